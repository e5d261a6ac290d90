// The image, unpacked and run by an OCI runtime as its users are told to: not root, no capability, nothing to write but its volume.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { installCertificate, root, scratch } from '../harness/configs.mjs';
import { accepts, eventually, Program, run } from '../harness/programs.mjs';
import { request } from '../harness/server.mjs';
import { built, dist } from './machine.mjs';
import { BEGINNING, frames, say } from './traffic.mjs';

const USER = 65532;
const archive = built(/-image\.docker\.tar$/);
let bundle;
let image;

before(async () => {
  const dir = scratch();
  await run('tar', ['-xf', archive, '-C', dir]);
  const [manifest] = JSON.parse(fs.readFileSync(path.join(dir, 'manifest.json'), 'utf8'));
  image = { tags: manifest.RepoTags, layers: manifest.Layers, ...JSON.parse(fs.readFileSync(path.join(dir, manifest.Config), 'utf8')).config };
  bundle = path.join(dir, 'bundle');
  for (const name of ['rootfs', 'volume']) fs.mkdirSync(path.join(bundle, name), { recursive: true });
  for (const layer of manifest.Layers) await run('tar', ['-xpf', path.join(dir, layer), '-C', path.join(bundle, 'rootfs')]);
  // As a new volume: with the owner of the directory it covers.
  const { uid, gid } = fs.statSync(path.join(bundle, 'rootfs/var/lib/pushstreamd'));
  fs.chownSync(path.join(bundle, 'volume'), uid, gid);
});

/** Runs the image's program, with `args` in the place of the image's own. */
function container(name, args = image.Cmd, entry = image.Entrypoint) {
  const config = {
    ociVersion: '1.0.0',
    root: { path: 'rootfs', readonly: true },
    process: {
      user: { uid: USER, gid: USER }, args: [...entry, ...args], env: image.Env ?? ['PATH=/usr/bin'],
      cwd: image.WorkingDir, noNewPrivileges: true,
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/var/lib/pushstreamd', type: 'bind', source: path.join(bundle, 'volume'), options: ['bind', 'rw'] },
    ],
    // The network is the one of the tests.
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }] },
  };
  fs.writeFileSync(path.join(bundle, 'config.json'), JSON.stringify(config));
  return new Program(name, 'runc', ['--root', path.join(bundle, 'run'), 'run', '-b', bundle, name]);
}

after(() => fs.rmSync(path.dirname(bundle), { recursive: true, force: true }));

const history = `http://127.0.0.1:8893/bitrix/sub/?CHANNEL_ID=boxed${BEGINNING}`;

test('the image says who it is', () => {
  const version = /pushstreamd-(.*)-image/.exec(archive)[1];
  // What `docker load` calls pushstreamd:VERSION.
  assert.deepEqual(image.tags, [`docker.io/library/pushstreamd:${version}`]);
  assert.equal(image.User, `${USER}:${USER}`);
  assert.deepEqual(image.Volumes, { '/var/lib/pushstreamd': {} });
  assert.deepEqual(image.ExposedPorts, { '8893/tcp': {} });
  assert.equal(image.StopSignal, 'SIGQUIT');
  assert.deepEqual(image.Healthcheck.Test, ['CMD', '/usr/bin/pushstreamd', 'health', '127.0.0.1:8896']);
  const files = fs.readdirSync(path.join(bundle, 'rootfs'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  assert.deepEqual(files.map((entry) => entry.name).sort(), ['THIRD-PARTY', 'ca-certificates.crt', 'group', 'nginx.conf', 'passwd', 'pushstreamd']);
});

test('the archive of the OCI has the same layer', async () => {
  const index = JSON.parse(await run('tar', ['-xOf', built(/-image\.oci\.tar$/), 'index.json']));
  const blob = async (digest) => JSON.parse(await run('tar', ['-xOf', built(/-image\.oci\.tar$/), `blobs/${digest.replace(':', '/')}`]));
  const manifest = await blob(index.manifests[0].digest);
  const config = await blob(manifest.config.digest);
  assert.equal(config.config.User, image.User);
  assert.deepEqual(config.config.Entrypoint, image.Entrypoint);
  assert.deepEqual(config.rootfs.diff_ids, image.layers.map((layer) => `sha256:${path.basename(layer, '.tar')}`));
});

test('it runs without a right to anything, is healthy, and has its messages after a restart', async () => {
  const health = () => container('health', [], image.Healthcheck.Test.slice(1)).exited;
  for (const round of [1, 2]) {
    const program = container(`push-${round}`);
    await program.ready([8893, 8895, 8896]);
    const pid = Number(await eventually('it has a process', async () => (await run('pgrep', ['-u', String(USER), '-x', 'pushstreamd'])).trim()));
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    assert.match(status, new RegExp(`^Uid:\\t${USER}\\t${USER}\\t${USER}\\t${USER}$`, 'm'));
    assert.match(status, /^CapEff:\t0{16}$/m);
    assert.match(status, /^CapBnd:\t0{16}$/m);
    assert.deepEqual(await health(), { code: 0, signal: null });
    if (round === 1) assert.ok(await say('boxed', 'hello'));
    assert.deepEqual(frames((await request(history)).body).map((message) => message.text), ['hello']);
    process.kill(pid, image.StopSignal);
    const how = await program.exited;
    assert.deepEqual(how, { code: 0, signal: null }, program.output);
    assert.doesNotMatch(program.output, /panicked|\[emerg\]|\[alert\]|\[crit\]/);
    assert.equal(await accepts(8893), false);
    assert.equal((await health()).code, 1);
  }
});

test('the files for compose name this image and publish no publisher', () => {
  const names = fs.readdirSync(dist).filter((name) => /^compose-.*\.yml$/.test(name));
  assert.deepEqual(names, ['compose-bitrix.yml', 'compose-plain.yml']);
  const version = /pushstreamd-(.*)-image/.exec(archive)[1];
  for (const name of names) {
    const text = fs.readFileSync(path.join(dist, name), 'utf8');
    assert.ok(text.includes(`image: pushstreamd:${version}\n`), name);
    assert.doesNotMatch(text, /^ +- "?[\d:]*8895/m);
    assert.ok(text.includes(JSON.stringify(image.Healthcheck.Test.slice(1)).slice(1, -1).replaceAll(',', ', ')), name);
  }
});

test("nginx of compose's Bitrix file passes messages on", async () => {
  const dir = scratch();
  const text = fs.readFileSync(path.join(root, 'packaging/compose/nginx.conf'), 'utf8');
  fs.writeFileSync(path.join(dir, 'nginx.conf'), `daemon off; pid ${dir}/nginx.pid; error_log stderr;\n${text
    .replace('include mime.types;', `access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p;`)
    .replaceAll('/etc/nginx/tls/', `${dir}/`).replaceAll('http://push:', 'http://127.0.0.1:')}`);
  await installCertificate(dir);
  const program = container('behind');
  await program.ready([8893, 8895]);
  const nginx = new Program('nginx', 'nginx', ['-c', path.join(dir, 'nginx.conf'), '-p', dir, '-e', 'stderr']);
  await nginx.ready([80]);
  const waiting = request('http://127.0.0.1/bitrix/sub/?CHANNEL_ID=boxed', { timeout: 20000 });
  await eventually('it waits', async () => (
    Number(JSON.parse((await request('http://127.0.0.1:8895/channels-stats?id=boxed')).body).subscribers) === 1));
  assert.ok(await say('boxed', 'through nginx'));
  assert.deepEqual(frames((await waiting).body).map((message) => message.text), ['through nginx']);
  await nginx.stop('SIGQUIT');
  await run('pkill', ['-QUIT', '-u', String(USER), '-x', 'pushstreamd']);
  await program.exited;
});
