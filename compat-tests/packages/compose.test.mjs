// nginx-conf-examples/proxies/compose-three-nodes.yaml by a Docker of its own, as its head says. What it takes from a registry is made here of the
// Debian that runs the test: the images hold redis-server, nginx and what the program is linked with, and nothing else.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { example, root } from '../harness/configs.mjs';
import { eventually, run } from '../harness/programs.mjs';
import { binary, request } from '../harness/server.mjs';
import { Dockerd } from './dockerd.mjs';

let docker;
const sh = (text) => docker.sh(text);
const url = (target) => `http://127.0.0.1:8080${target}`;

/** An image of programs of this system, with the libraries they are linked with. */
async function image(name, programs, more = []) {
  const linked = await Promise.all(programs.map((program) => run('ldd', [program])));
  const libraries = linked.join('').match(/\/\S+(?= \()/g);
  const files = [...new Set([...programs.filter((program) => program.startsWith('/usr/')), ...libraries, '/etc/passwd', '/etc/group', ...more])];
  // Links are followed: what they lead to is all that is there.
  // Directories that a tar does not name are made for root alone.
  const above = new Set(['usr/share', 'usr']);
  for (const file of files) for (let dir = path.dirname(file.slice(1)); dir !== '.'; dir = path.dirname(dir)) above.add(dir);
  for (const dir of ['usr/share/nginx', 'run', 'tmp']) fs.mkdirSync(path.join(docker.work, 'empty', dir), { recursive: true });
  await sh(`tar -chf - -C empty run tmp --no-recursion usr/share/nginx -C / ${[...above].join(' ')} ${files.map((file) => file.slice(1)).join(' ')} | docker import - ${name}`);
}

before(async () => {
  docker = await Dockerd.start(path.join(root, 'target/packages/three-nodes'), 'three');
  await image('debian:stable-slim', [binary]);
  await image('redis:7', ['/usr/bin/redis-server']);
  await image('nginx:stable', ['/usr/sbin/nginx'], ['/etc/nginx/mime.types', '/var/lib/nginx', '/var/log/nginx']);
  const write = (name, text) => fs.writeFileSync(path.join(docker.work, name), text);
  // What the real images do by themselves.
  const compose = example('proxies/compose-three-nodes.yaml').replace('image: nginx:stable', "image: nginx:stable\n    command: /usr/sbin/nginx -g 'daemon off;'");
  write('compose.yaml', compose.replace('command: redis-server', 'command: redis-server --protected-mode no'));
  write('all-modes.conf', example('all-modes.conf').replace(/listen 127\.0\.0\.1:9080/, 'listen 9080'));
  let node = 0;
  const front = example('proxies/nginx-three-nodes.conf').replace('listen 127.0.0.1:8080', 'listen 8080').replace(/server 127\.0\.0\.1:90\d+/g, () => {
    node += 1;
    return `server node${node}:9080`;
  });
  write('nginx.conf', front);
  fs.copyFileSync(binary, path.join(docker.work, 'pushstreamd'));
  fs.chmodSync(path.join(docker.work, 'pushstreamd'), 0o755);
  await sh('docker-compose -f compose.yaml up -d');
});
after(() => docker?.stop());

/** Publishes until it is accepted; what may have been published is not repeated. */
async function publish(text) {
  await eventually(`${text} is published`, async () => {
    const answer = await request(url('/pub?id=a'), { method: 'POST', body: text }).catch(() => null);
    assert.ok(!`${answer?.headers['x-nginx-pushstream-explain']}`.includes('may have been'), `${text} is uncertain`);
    return answer?.status === 200;
  }, 60000).catch(async (error) => { throw new Error(`${error.message}\n${await sh('docker-compose -f compose.yaml logs --tail 20')}`); });
}

test('three nodes, their Redis and nginx come up, share what is published, and go on without one of them', async () => {
  const texts = Array.from({ length: 30 }, (_, n) => `m${n}.`);
  for (const text of texts.slice(0, 15)) await publish(text);
  await sh('docker kill three_node2_1');
  for (const text of texts.slice(15)) await publish(text);
  // Whatever node answers.
  for (let round = 0; round < 6; round += 1) {
    await eventually('all are there', async () => {
      const answer = await request(url('/lp/a?time=Thu,%2001%20Jan%201970%2000:00:00%20GMT&tag=0'));
      return JSON.stringify(answer.body.match(/m\d+\./g)) === JSON.stringify(texts);
    }, 20000);
  }
});
