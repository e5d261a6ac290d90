// The rpm as dnf judges it: what it is, what it needs, and that its scripts run below another root. No other distribution can be had everywhere, so
// the root is the Debian that machines are copies of, and a package without files stands for what a distribution has: a shell and useradd.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { root, scratch } from '../harness/configs.mjs';
import { run } from '../harness/programs.mjs';
import { built } from './machine.mjs';

const packages = path.join(root, 'target/packages');
const place = path.join(packages, 'machines', 'dnf');
const dir = scratch();
const OLD = path.join(place, 'usr/lib/systemd/system/pushstreamd.service.d');
let own;

/** dnf below the root, with these packages and no mirror. */
const dnf = (...words) => run('dnf', ['-y', `--installroot=${place}`, '--releasever=1', '--disablerepo=*', '--nogpgcheck', `--setopt=cachedir=${dir}/cache`, ...words], { timeout: 240000 });
const query = (...words) => run('rpm', ['-qp', ...words, own]);

/** A package that only says that it provides these. */
async function standIn(...provided) {
  fs.writeFileSync(path.join(dir, 'stand-in.spec'), `Name: stand-in\nVersion: 1\nRelease: 1\nSummary: What a distribution has\nLicense: none\nBuildArch: noarch\n${provided.map((word) => `Provides: ${word}\n`).join('')}%description\nNothing.\n%files\n`);
  await run('rpmbuild', ['-bb', '--define', `_topdir ${dir}`, path.join(dir, 'stand-in.spec')]);
  return path.join(dir, 'RPMS/noarch/stand-in-1-1.noarch.rpm');
}

before(async () => {
  own = built(/\.rpm$/);
  fs.rmSync(place, { recursive: true, force: true });
  fs.mkdirSync(path.dirname(place), { recursive: true });
  await run('cp', ['-a', '--reflink=auto', path.join(packages, 'base'), place]);
});
after(() => fs.rmSync(place, { recursive: true, force: true }));

test('it needs a shell and useradd, and says what it is', async () => {
  const needs = (await query('--requires')).trim().split('\n').filter((word) => !/^(rpmlib|config)\(/.test(word));
  assert.deepEqual([...new Set(needs)].sort(), ['/bin/sh', 'shadow-utils']);
  assert.match(await query('--queryformat', '%{NAME} %{LICENSE}\n'), /^pushstreamd MIT OR Apache-2\.0$/m);
});

test('it is packed so that the rpm of RHEL 7 and BitrixVM 7 can unpack it', async () => {
  assert.equal((await query('--queryformat', '%{PAYLOADCOMPRESSOR}')).trim(), 'gzip');
});

test('without them dnf refuses it and says which', async () => {
  await assert.rejects(dnf('install', own), /nothing provides (\/bin\/sh|shadow-utils) needed by pushstreamd/);
});

test('dnf installs it with its user, finds nothing changed, and removes it', async () => {
  await dnf('install', await standIn('/bin/sh', 'shadow-utils'), own);
  assert.match(fs.readFileSync(path.join(place, 'etc/passwd'), 'utf8'), /^pushstreamd:x:\d+:\d+::\/var\/lib\/pushstreamd:\/sbin\/nologin$/m);
  assert.match(await run('chroot', [place, 'sh', '-c', '/usr/bin/pushstreamd -v 2>&1']), /^pushstreamd version: pushstreamd\//);
  assert.equal((await run('rpm', ['--root', place, '-V', 'pushstreamd'])).trim(), '');
  for (const name of ['var/lib/pushstreamd', 'var/log/pushstreamd']) {
    const { mode, uid } = fs.statSync(path.join(place, name));
    assert.ok((mode & 0o777) === 0o750 && uid > 0, name);
  }
  assert.equal(fs.existsSync(OLD), false);
  await dnf('remove', 'pushstreamd');
  assert.equal(fs.existsSync(path.join(place, 'usr/bin/pushstreamd')), false);
  assert.equal(fs.existsSync(path.join(place, 'etc/pushstreamd')), false);
});

test('where systemd is too old for the filter of system calls there is none', async () => {
  const systemctl = path.join(place, 'usr/bin/systemctl');
  fs.rmSync(systemctl);
  fs.writeFileSync(systemctl, '#!/bin/sh\necho "systemd 219"\n', { mode: 0o755 });
  await dnf('install', own);
  assert.equal(fs.readFileSync(path.join(OLD, '10-old-systemd.conf'), 'utf8'), '[Service]\nSystemCallFilter=\n');
  await dnf('remove', 'pushstreamd');
  assert.equal(fs.existsSync(OLD), false);
});
