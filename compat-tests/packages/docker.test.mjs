// The part of docs/QUICKSTART.md with containers, command by command, by a Docker of its own. The image `nginx:stable` is made of the Debian that machines are booted from.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Browser } from '../browser/page.mjs';
import { root } from '../harness/configs.mjs';
import { block } from '../harness/documentation.mjs';
import { accepts, eventually } from '../harness/programs.mjs';
import { request } from '../harness/server.mjs';
import { Dockerd } from './dockerd.mjs';
import { dist } from './machine.mjs';

const packages = path.join(root, 'target/packages');
let docker;
let browser;
let began;

/** Runs a shell's text where the packages lie. */
const sh = (text, timeout) => docker.sh(text, timeout);
const follow = (name) => sh(block('docs/QUICKSTART.md', name)).catch(async (error) => {
  throw new Error(`${error.message}\n${await sh('docker ps -a; docker-compose -f compose-bitrix.yml logs --tail 20').catch((also) => also.message)}\n${docker.output.slice(-4000)}`);
});

before(async () => {
  docker = await Dockerd.start(path.join(packages, 'docker'), 'quick');
  for (const name of fs.readdirSync(dist).filter((name) => /^compose-|docker\.tar$/.test(name))) fs.copyFileSync(path.join(dist, name), path.join(docker.work, name));
  // Only what nginx needs is in it, and what compose-nginx.conf looks for.
  const kept = ['usr/sbin/nginx', 'usr/lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu', 'usr/lib64', 'lib', 'lib64', 'etc/nginx', 'etc/passwd', 'etc/group', 'var/log/nginx', 'var/lib/nginx', 'run', 'tmp']
    .filter((name) => fs.existsSync(path.join(packages, 'base', name)));
  // Directories that a tar does not name are made for root alone.
  const above = 'usr usr/sbin usr/share etc var var/lib var/log';
  await sh(`tar -C ${packages}/base -c --no-recursion ${above} --recursion ${kept.join(' ')} | docker import --change 'CMD ["/usr/sbin/nginx", "-g", "daemon off;"]' - nginx:stable`);
  browser = await Browser.launch();
  began = Date.now();
});
after(async () => {
  await browser?.close();
  await docker?.stop();
});

const step = (name, body) => test(name, async (t) => {
  await body();
  t.diagnostic(`done ${((Date.now() - began) / 1000).toFixed(1)} s after the beginning`);
});

step('the image is loaded, and nginx and pushstreamd are up, healthy and closed', async () => {
  await follow('quick-compose');
  await eventually('443 accepts', () => accepts(443), 60000);
  const id = (await sh('docker-compose -f compose-bitrix.yml ps -q push')).trim();
  const [told] = JSON.parse(await sh(`docker inspect ${id}`));
  assert.equal(told.State.Health.Status, 'healthy');
  assert.equal(told.HostConfig.ReadonlyRootfs, true);
  const status = fs.readFileSync(`/proc/${told.State.Pid}/status`, 'utf8');
  assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
  assert.match(status, /^CapBnd:\t0{16}$/m);
  assert.match(status, /^NoNewPrivs:\t1$/m);
  // Neither subscribers nor publishers get past nginx.
  for (const port of [8893, 8895]) assert.equal(await accepts(port), false, `${port}`);
});

step('a page behind nginx with TLS receives what is published in the container', async () => {
  const page = await browser.context.newPage();
  await page.goto('https://localhost/push.html');
  await eventually('the page waits for the channel', async () => (await page.textContent('#state')) === 'Nobody has published here yet.', 10000);
  await follow('quick-compose-publish');
  await eventually('the page is connected', async () => (await page.textContent('#state')) === 'Connected by WebSocket.', 10000);
  const said = await follow('quick-compose-publish');
  assert.match(said, /^pushstreamd_messages_published_total 2$/m);
  await eventually('the message is on the page', async () => (await page.$$eval('#messages li', (items) => items.map((item) => item.textContent))).at(-1) === 'hello', 10000);
});

step('the status page asks for the token', async () => {
  assert.equal((await request('http://127.0.0.1:8896/')).status, 401);
  const token = fs.readFileSync(path.join(docker.work, 'status-token'), 'utf8').trim();
  const answer = await request('http://127.0.0.1:8896/', { headers: { Authorization: `Basic ${Buffer.from(`me:${token}`).toString('base64')}` } });
  assert.match(answer.body, /<title>pushstreamd/);
});

step('a container that is made anew has its messages, and was ended in order', async () => {
  const before = (await sh('docker-compose -f compose-bitrix.yml ps -q push')).trim();
  await sh('docker-compose -f compose-bitrix.yml stop push');
  assert.equal((await sh(`docker inspect -f '{{.State.ExitCode}}' ${before}`)).trim(), '0');
  await sh('docker-compose -f compose-bitrix.yml rm -f push; docker-compose -f compose-bitrix.yml up -d');
  const heard = await eventually('its history is there', async () => {
    const answer = await sh('timeout 20 docker-compose -f compose-bitrix.yml exec -T push /usr/bin/pushstreamd tail --from start --count 2 news');
    return answer.trim().split('\n');
  }, 30000);
  assert.deepEqual(heard.map((line) => /"text":("[^"]*")/.exec(line)[1]), ['"hello"', '"hello"']);
});

step('the file for pushstreamd alone serves on 8893', async () => {
  await docker.down();
  await sh('docker-compose -f compose-plain.yml up -d');
  await eventually('8893 accepts', () => accepts(8893), 30000);
  await sh("docker-compose -f compose-plain.yml exec -T push /usr/bin/pushstreamd pub --quote plain 'here'");
  const answer = await request('http://127.0.0.1:8893/bitrix/sub/?CHANNEL_ID=plain&time=Thu,%2001%20Jan%201970%2000:00:00%20GMT&tag=0');
  assert.match(answer.body, /"text":"here"/);
});
