// The rpm on a machine that is booted, installed by rpm itself: used, upgraded under traffic, removed. The machine is a Debian that has rpm,
// since no other distribution can be had everywhere; so what the package needs of others is not resolved (--nodeps), and SELinux is not there.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { root, scratch } from '../harness/configs.mjs';
import { accepts, eventually, run } from '../harness/programs.mjs';
import { assertOnceInOrder } from '../harness/sequence.mjs';
import { request } from '../harness/server.mjs';
import { built, Machine } from './machine.mjs';
import { BEGINNING, frames, say, Traffic } from './traffic.mjs';

// Debian's rpm asks twice whether it is meant.
const RPM = 'rpm --force-debian --nodeps';
const CONF = 'etc/pushstreamd/nginx.conf';
let machine;

before(async () => { machine = await Machine.boot('rpm'); });
after(async () => { await machine?.halt(); });

async function serving() {
  await eventually('the service is active', async () => (await machine.show('ActiveState')) === 'active', 20000)
    .catch(async (error) => { throw new Error(`${error.message}\n${await machine.try('journalctl -u pushstreamd --no-pager | tail -n 30')}`); });
  for (const port of [8893, 8895, 8896]) await eventually(`${port} accepts`, () => accepts(port), 10000);
}

/** The same package, a release further. */
async function newer() {
  const dir = scratch();
  const [machineName] = (await run('uname', ['-m'])).trim().split('\n');
  await run('cargo', ['generate-rpm', '--target', `${machineName}-unknown-linux-musl`, '--payload-compress', 'gzip', '--set-metadata', 'release = "2"', '--output', `${dir}/`],
    // It asks cargo, which waits while somebody builds.
    { cwd: root, timeout: 240000, env: { PATH: `${path.join(root, 'target/tools/bin')}:${process.env.PATH}` } });
  const [name] = fs.readdirSync(dir);
  return machine.take(path.join(dir, name));
}

test('installed, it has its files and its user, and starts when it is told to', async () => {
  await machine.sh(`${RPM} -i ${machine.take(built(/\.rpm$/))}`);
  assert.equal((await machine.sh(`${RPM} -V pushstreamd`)).trim(), '', 'every file is as it was packed');
  assert.match(await machine.sh('getent passwd pushstreamd'), /^pushstreamd:x:\d+:\d+::\/var\/lib\/pushstreamd:\/sbin\/nologin$/m);
  assert.equal(await machine.show('ActiveState'), 'inactive');
  assert.equal(await accepts(8893), false);
  await machine.sh('systemctl enable --now pushstreamd');
  await serving();
  const pid = await machine.show('MainPID');
  const uid = (await machine.sh('id -u pushstreamd')).trim();
  assert.match(await machine.sh(`cat /proc/${pid}/status`), new RegExp(`^Uid:\\t${uid}\\t${uid}\\t${uid}\\t${uid}$`, 'm'));
  assert.equal(await machine.sh('pushstreamd health'), 'ready\n');
  assert.equal((await machine.sh('systemd-analyze verify --man=no pushstreamd.service 2>&1')).trim(), '');
  for (const [place, owner] of [['/etc/pushstreamd/nginx.conf', 'root'], ['/usr/bin/pushstreamd', 'root'], ['/var/lib/pushstreamd', 'pushstreamd'], ['/var/log/pushstreamd', 'pushstreamd']]) {
    assert.equal((await machine.sh(`stat -c %U ${place}`)).trim(), owner, place);
  }
});

test('what is published is received, and the log is rotated by what it brought', async () => {
  assert.ok(await say('first', 'hello'));
  const answer = await request(`http://127.0.0.1:8893/bitrix/sub/?CHANNEL_ID=first${BEGINNING}`);
  assert.deepEqual(frames(answer.body).map((message) => message.text), ['hello']);
  await machine.sh('logrotate -f /etc/logrotate.d/pushstreamd');
  await eventually('the new log has lines', async () => {
    await machine.sh('systemctl reload pushstreamd');
    return machine.read('var/log/pushstreamd/error.log').length > 0;
  });
});

test('an upgrade under traffic loses no message, repeats none, and keeps an edited configuration', async () => {
  const edited = `${machine.read(CONF)}# Edited here.\n`;
  machine.write(CONF, edited);
  const file = await newer();
  const pid = await machine.show('MainPID');
  const traffic = Traffic.begin('upgrade');
  await eventually('there is traffic', () => traffic.polled.length > 50 && traffic.pushed.length > 50, 20000);
  await machine.sh(`${RPM} -U ${file}`);
  await serving();
  const since = traffic.acknowledged.length;
  await eventually('the traffic goes on', () => traffic.acknowledged.length > since + 50, 20000);
  await traffic.end();
  assert.notEqual(await machine.show('MainPID'), pid, 'the new program serves');
  assert.equal((await machine.sh("rpm -q --qf '%{RELEASE}' pushstreamd")).trim(), '2');
  assert.equal(machine.read(CONF), edited);
  assertOnceInOrder(traffic.polled, traffic.acknowledged, 'the long-poll client');
  assertOnceInOrder(traffic.pushed, traffic.acknowledged, 'the websocket client');
});

test('removed, it is stopped and gone; an edited configuration, messages and logs stay', async () => {
  await machine.sh(`${RPM} -e pushstreamd`);
  assert.equal(await accepts(8893), false);
  assert.equal((await machine.sh('find /proc -maxdepth 1 -user pushstreamd')).trim(), '');
  assert.match(await machine.show('LoadState'), /not-found/);
  assert.equal((await machine.try('systemctl is-enabled pushstreamd')).includes('enabled'), false);
  assert.match(machine.read(`${CONF}.rpmsave`), /# Edited here\./);
  const left = (await machine.sh('find / -xdev \\( -path /proc -o -path /sys -o -path /root \\) -prune -o -name "*pushstreamd*" -print')).trim();
  assert.deepEqual(left.split('\n').sort(), ['/etc/pushstreamd', '/var/lib/pushstreamd', '/var/log/pushstreamd']);
});
