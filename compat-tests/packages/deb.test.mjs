// The deb on a Debian that is booted: installed, used, reloaded, rotated, watched, upgraded under traffic, removed, purged.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { accepts, eventually, run } from '../harness/programs.mjs';
import { assertOnceInOrder } from '../harness/sequence.mjs';
import { request } from '../harness/server.mjs';
import { built, Machine } from './machine.mjs';
import { BEGINNING, frames, say, Traffic } from './traffic.mjs';

const deb = built(/^pushstreamd_.*\.deb$/);
const LOG = 'var/log/pushstreamd/error.log';
const CONF = 'etc/pushstreamd/nginx.conf';
let machine;

before(async () => { machine = await Machine.boot('deb'); });
after(async () => { await machine?.halt(); });

/** Waits until the service is up and both ports accept. */
async function serving() {
  await eventually('the service is active', async () => (await machine.show('ActiveState')) === 'active', 20000)
    .catch(async (error) => { throw new Error(`${error.message}\n${await machine.try('journalctl -u pushstreamd --no-pager | tail -n 30')}`); });
  await eventually('8893 accepts', () => accepts(8893), 10000);
  await eventually('8895 accepts', () => accepts(8895), 10000);
}

/** The same package, one revision further. */
async function newer() {
  const version = (await run('dpkg-deb', ['-f', deb, 'Version'])).trim();
  const tree = machine.path('root/newer');
  await run('dpkg-deb', ['-R', deb, tree]);
  const control = `${tree}/DEBIAN/control`;
  fs.writeFileSync(control, fs.readFileSync(control, 'utf8').replace(`Version: ${version}`, `Version: ${version}.1`));
  fs.appendFileSync(`${tree}/etc/pushstreamd/nginx.conf`, '# A newer default.\n');
  const sums = `${tree}/DEBIAN/md5sums`;
  fs.writeFileSync(sums, (await run('sh', ['-c', 'find . -type f ! -path "./DEBIAN/*" ! -path "./etc/*" -printf "%P\\0" | xargs -0 md5sum'], { cwd: tree })));
  await run('dpkg-deb', ['--root-owner-group', '-Zgzip', '-b', tree, machine.path('root/newer.deb')]);
  fs.rmSync(tree, { recursive: true });
  return { file: '/root/newer.deb', version: `${version}.1` };
}

test('lintian finds no error in the deb', async () => {
  // The address of somebody who builds for himself is none for the world.
  await run('lintian', ['--fail-on', 'error', '--suppress-tags', 'bogus-mail-host,bogus-mail-host-in-debian-changelog,root-in-contact', deb]);
});

test('installed, it serves its default configuration as a user of its own', async () => {
  await machine.sh(`dpkg -i ${machine.take(deb)}`);
  await serving();
  assert.equal(await machine.show('UnitFileState'), 'enabled');
  const pid = await machine.show('MainPID');
  const status = await machine.sh(`cat /proc/${pid}/status`);
  const uid = (await machine.sh('id -u pushstreamd')).trim();
  assert.match(status, new RegExp(`^Uid:\\t${uid}\\t${uid}\\t${uid}\\t${uid}$`, 'm'));
  // CAP_NET_BIND_SERVICE.
  assert.match(status, /^CapEff:\t0000000000000400$/m);
  assert.match(status, /^CapBnd:\t0000000000000400$/m);
  assert.match(status, /^NoNewPrivs:\t1$/m);
  // As far as the machine lets it.
  assert.equal(await machine.show('LimitNOFILE'), '1048576');
  assert.equal((await machine.sh('cat /run/pushstreamd/pushstreamd.pid')).trim(), pid);
  assert.match(machine.read(CONF), /^ *push_stream_state \/var\/lib\/pushstreamd;$/m);
  assert.match(await machine.sh('pushstreamd -t 2>&1'), /\/etc\/pushstreamd\/nginx.conf test is successful/);
  assert.match(await machine.sh('pushstreamd -V 2>&1'), /^allocator: jemalloc .*, with a thread that gives memory back$/m);
  for (const file of ['man/man1/pushstreamd.1.gz', 'man/man1/pushstreamd-migrate.1.gz', 'bash-completion/completions/pushstreamd',
    'zsh/vendor-completions/_pushstreamd', 'fish/vendor_completions.d/pushstreamd.fish', 'doc/pushstreamd/copyright', 'doc/pushstreamd/THIRD-PARTY',
    'doc/pushstreamd/examples/pushstreamd.socket', 'doc/pushstreamd/docs/MIGRATION.md']) {
    assert.ok(fs.existsSync(machine.path(`usr/share/${file}`)), file);
  }
});

test('the unit is sound and closed', async () => {
  assert.equal((await machine.sh('systemd-analyze verify --man=no pushstreamd.service 2>&1')).trim(), '');
  // 2 of 10, where 10 is all that an ordinary service may do.
  await machine.sh('systemd-analyze security --no-pager --threshold=20 pushstreamd.service');
  assert.equal((await machine.try('systemctl is-enabled pushstreamd.socket')).includes('enabled'), false);
});

test('what is published is received, and counted for Prometheus', async () => {
  assert.ok(await say('first', 'hello'));
  assert.match((await request('http://127.0.0.1:8896/')).body, /<title>pushstreamd/);
  assert.match((await request('http://127.0.0.1:8896/metrics')).body, /^pushstreamd_messages_published_total 1$/m);
  assert.equal(await machine.sh('pushstreamd health'), 'ready\n');
  const answer = await request(`http://127.0.0.1:8893/bitrix/sub/?CHANNEL_ID=first${BEGINNING}`);
  assert.deepEqual(frames(answer.body).map((message) => message.text), ['hello']);
});

test('a reload by systemd applies a good configuration and refuses a broken one', async () => {
  const text = machine.read(CONF);
  const pid = await machine.show('MainPID');
  machine.write(CONF, text.replace('connection_ttl 40;', 'connection_ttl 1;'));
  await machine.sh('systemctl reload pushstreamd');
  await eventually('a poll takes a second', async () => {
    const began = Date.now();
    const answer = await request('http://127.0.0.1:8893/bitrix/sub/?CHANNEL_ID=first', { timeout: 3000 });
    return answer.status === 304 && Date.now() - began < 2500;
  }, 15000);
  machine.write(CONF, text.replace('push_stream_publisher admin;', 'push_stream_publisher nobody;'));
  assert.match(await machine.try('systemctl reload pushstreamd'), /failed/i);
  assert.ok(await say('first', 'still there'));
  assert.equal(await machine.show('MainPID'), pid);
  machine.write(CONF, text);
  await machine.sh('systemctl reload pushstreamd');
});

test('logrotate moves the log and the server goes on in a new one', async () => {
  assert.match(machine.read(LOG), /\S/);
  await machine.sh('logrotate -f /etc/logrotate.d/pushstreamd');
  assert.match(machine.read(`${LOG}.1`), /\S/);
  await machine.sh('systemctl reload pushstreamd');
  await eventually('the new log has lines', () => machine.read(LOG).length > 0);
});

test('a server that stands still is started anew, with its messages', async () => {
  machine.write('etc/systemd/system/pushstreamd.service.d/quick.conf', '[Service]\nWatchdogSec=2\n');
  await machine.sh('systemctl daemon-reload && systemctl restart pushstreamd');
  await serving();
  const heard = () => machine.show('WatchdogTimestampMonotonic');
  const first = await heard();
  await eventually('the supervisor hears of the workers', async () => (await heard()) !== first, 10000);
  const pid = await machine.show('MainPID');
  await machine.sh(`kill -STOP ${pid}`);
  await eventually('another process serves', async () => {
    const now = await machine.show('MainPID');
    return now !== '0' && now !== pid && (await machine.show('ActiveState')) === 'active';
  }, 30000);
  await serving();
  const answer = await request(`http://127.0.0.1:8893/bitrix/sub/?CHANNEL_ID=first${BEGINNING}`);
  assert.deepEqual(frames(answer.body).map((message) => message.text), ['hello', 'still there']);
  fs.rmSync(machine.path('etc/systemd/system/pushstreamd.service.d'), { recursive: true });
  await machine.sh('systemctl daemon-reload && systemctl restart pushstreamd');
  await serving();
});

test('an upgrade under traffic loses no message, repeats none, and keeps an edited configuration', async () => {
  const edited = `${machine.read(CONF)}# Edited here.\n`;
  machine.write(CONF, edited);
  const { file, version } = await newer();
  const pid = await machine.show('MainPID');
  const traffic = Traffic.begin('upgrade');
  await eventually('there is traffic', () => traffic.polled.length > 50 && traffic.pushed.length > 50, 20000);
  await machine.sh(`dpkg --force-confold -i ${file}`);
  await serving();
  const since = traffic.acknowledged.length;
  await eventually('the traffic goes on', () => traffic.acknowledged.length > since + 50, 20000);
  await traffic.end();
  assert.notEqual(await machine.show('MainPID'), pid);
  assert.equal((await machine.sh("dpkg-query -W -f '${Version}' pushstreamd")).trim(), version);
  assert.equal(machine.read(CONF), edited);
  assertOnceInOrder(traffic.polled, traffic.acknowledged, 'the long-poll client');
  assertOnceInOrder(traffic.pushed, traffic.acknowledged, 'the websocket client');
});

test('with the socket unit a restart refuses nobody', async () => {
  fs.copyFileSync(new URL('../../packaging/pushstreamd.socket', import.meta.url), machine.path('etc/systemd/system/pushstreamd.socket'));
  await machine.sh('systemctl daemon-reload; systemctl stop pushstreamd; systemctl enable --now pushstreamd.socket; systemctl start pushstreamd');
  await serving();
  const traffic = Traffic.begin('sockets');
  await eventually('there is traffic', () => traffic.polled.length > 20 && traffic.pushed.length > 20, 20000);
  await machine.sh('systemctl restart pushstreamd');
  await serving();
  const since = traffic.acknowledged.length;
  await eventually('the traffic goes on', () => traffic.acknowledged.length > since + 20, 20000);
  await traffic.end();
  assertOnceInOrder(traffic.polled, traffic.acknowledged, 'the long-poll client');
  assertOnceInOrder(traffic.pushed, traffic.acknowledged, 'the websocket client');
  assert.deepEqual(traffic.refused.filter((why) => why === 'ECONNREFUSED'), []);
  await machine.sh('systemctl disable --now pushstreamd.socket; rm /etc/systemd/system/pushstreamd.socket; systemctl daemon-reload');
});

test('removed, it is gone from the system; purged, its messages are too', async () => {
  assert.doesNotMatch(machine.read(LOG), /panicked/);
  await machine.sh('dpkg -r pushstreamd');
  assert.equal(await accepts(8893), false);
  assert.equal((await machine.sh('find /proc -maxdepth 1 -user pushstreamd')).trim(), '');
  assert.ok(fs.existsSync(machine.path(CONF)), 'the configuration stays until a purge');
  assert.ok(fs.readdirSync(machine.path('var/lib/pushstreamd')).length > 0, 'messages stay until a purge');
  assert.ok(!fs.existsSync(machine.path('usr/bin/pushstreamd')));
  await machine.sh('dpkg -P pushstreamd');
  const left = (await machine.sh('find / -xdev \\( -path /proc -o -path /sys -o -path /root \\) -prune -o -name "*pushstreamd*" -print')).trim();
  assert.equal(left, '');
  assert.equal((await machine.try('systemctl is-enabled pushstreamd')).includes('enabled'), false);
  assert.match(await machine.show('LoadState'), /not-found/);
});
