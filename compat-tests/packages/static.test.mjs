// The program that is linked statically: the archive and the rpm. What it allocates by, and whether memory comes back.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { example, scratch } from '../harness/configs.mjs';
import { eventually, run } from '../harness/programs.mjs';
import { binary, publish, request, Server } from '../harness/server.mjs';
import { built, dist } from './machine.mjs';

const archive = built(/-linux-static\.tar\.gz$/);

async function unpacked() {
  const dir = scratch();
  await run('tar', ['-xzf', archive, '-C', dir]);
  return path.join(dir, fs.readdirSync(dir)[0]);
}

test('the archive needs nothing of the system, and allocates by jemalloc', async () => {
  const dir = await unpacked();
  const program = path.join(dir, 'pushstreamd');
  assert.match(await run('file', ['-b', program]), /static/);
  const said = await run('sh', ['-c', '"$0" -V 2>&1', program], { env: { LD_LIBRARY_PATH: '' } });
  assert.match(said, /^allocator: jemalloc 5/m);
  assert.deepEqual(fs.readdirSync(dir).sort(), ['CHANGELOG.md', 'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'THIRD-PARTY', 'completions', 'man',
    'nginx.conf', 'pushstreamd', 'pushstreamd.service', 'pushstreamd.socket']);
});

/** Memory of a process that is its own, in bytes. */
const memory = (pid) => Number(/^Pss_Anon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) * 1024;

/** A crowd comes to a server of `program` and goes: its memory before, at the height, and now; some of it has been given back. */
async function crowd(program) {
  const text = example('default.conf').replace('    push_stream_state state;\n', '').replace('worker_processes auto;', 'worker_processes 2;');
  const server = await Server.start({ text, program, statistics: false });
  const { pid } = server.program.child;
  const threads = fs.readdirSync(`/proc/${pid}/task`).map((task) => fs.readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8').trim());
  assert.ok(threads.some((name) => name.startsWith('jemalloc')), `threads of the server: ${threads.join(' ')}`);
  const before = memory(pid);
  const channels = Array.from({ length: 50 }, (_, i) => `c${i}`);
  for (const channel of channels) await publish(server.url(8895, `/bitrix/pub/?CHANNEL_ID=${channel}`), '"first"');
  const agent = new http.Agent({ maxSockets: Infinity });
  const ended = [];
  for (let i = 0; i < 6000; i += 1) {
    ended.push(new Promise((resolve) => {
      http.get(server.url(8893, `/bitrix/sub/?CHANNEL_ID=${channels[i % 50]}`), { agent }, (answer) => {
        answer.resume().on('end', resolve);
      }).on('error', resolve);
    }));
    if (i % 200 === 199) await sleep(20);
  }
  await eventually('the crowd waits', async () => (
    Number(JSON.parse((await request(server.url(8895, '/channels-stats'))).body).subscribers) === 6000), 60000);
  const height = memory(pid);
  for (const channel of channels) await publish(server.url(8895, `/bitrix/pub/?CHANNEL_ID=${channel}`), '"last"');
  await Promise.all(ended);
  agent.destroy();
  // Free pages are given back over ten seconds; a quarter of what the crowd took is enough to tell that they are.
  await eventually('memory is given back', () => memory(pid) < height - (height - before) / 4, 60000)
    .catch((error) => { throw new Error(`${error.message}: ${before} before, ${height} at the height, ${memory(pid)} now`); });
  return { server, before, height, now: () => memory(pid) };
}

test('the static program gives memory back as the other one does, by a thread of its allocator', async () => {
  const [own, other] = await Promise.all([crowd(path.join(await unpacked(), 'pushstreamd')), crowd(binary)]);
  assert.ok(own.height - own.before > 4e6, `a crowd of 6,000 takes ${own.height - own.before} bytes`);
  await eventually('both hold about the same', () => own.now() < other.now() * 1.3, 60000)
    .catch((error) => { throw new Error(`${error.message}: ${own.now()} and ${other.now()} bytes`); });
  for (const { server } of [own, other]) await server.stop({ leftovers: false });
});

test('the rpm has the static program, and everything the deb has', async () => {
  const file = built(/\.rpm$/);
  const dir = scratch();
  await run('sh', ['-c', 'rpm2cpio "$0" | cpio -id --quiet', file], { cwd: dir });
  assert.match(await run('file', ['-b', path.join(dir, 'usr/bin/pushstreamd')]), /static/);
  for (const name of ['usr/lib/systemd/system/pushstreamd.service', 'etc/logrotate.d/pushstreamd', 'usr/share/man/man1/pushstreamd.1.gz',
    'usr/share/zsh/site-functions/_pushstreamd', 'usr/share/licenses/pushstreamd/LICENSE-MIT', 'usr/share/licenses/pushstreamd/THIRD-PARTY', 'etc/pushstreamd/nginx.conf']) {
    assert.ok(fs.existsSync(path.join(dir, name)), name);
  }
  const kept = await run('rpm', ['-qp', '--configfiles', file]);
  assert.deepEqual(kept.trim().split('\n'), ['/etc/logrotate.d/pushstreamd', '/etc/pushstreamd/nginx.conf']);
  const scripts = await run('rpm', ['-qp', '--scripts', file]);
  for (const [, text] of scripts.matchAll(/^\w+ scriptlet \(using \/bin\/sh\):\n((?:(?!\w+ scriptlet )[^\n]*\n?)*)/gm)) {
    await run('sh', ['-n'], { input: text });
  }
  assert.match(scripts, /useradd -r/);
  assert.match(await run('rpm', ['-K', '--nosignature', file]), /OK/);
});

test('the sums are those of the files', async () => {
  const sums = fs.readFileSync(path.join(dist, 'SHA256SUMS'), 'utf8').trim().split('\n').map((line) => line.split(/ [ *]/));
  assert.deepEqual(sums.map(([, name]) => name).sort(), fs.readdirSync(dist).filter((name) => name !== 'SHA256SUMS').sort());
  for (const [sum, name] of sums) {
    assert.equal(createHash('sha256').update(fs.readFileSync(path.join(dist, name))).digest('hex'), sum, name);
  }
});
