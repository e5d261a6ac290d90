// A Debian that is booted: systemd as it is, in a directory of its own, with the network of the tests.
// Knows how to start it, to run commands in it and to put files there; what is installed is the tests' business.

import fs from 'node:fs';
import path from 'node:path';
import { root } from '../harness/configs.mjs';
import { eventually, Program, run } from '../harness/programs.mjs';

const packages = path.join(root, 'target/packages');
export const dist = path.join(root, 'target/dist');

/** The one file of target/dist whose name matches. */
export function built(pattern) {
  const found = fs.readdirSync(dist).filter((name) => pattern.test(name));
  if (found.length !== 1) throw new Error(`target/dist has ${found.length} files like ${pattern}: make dist`);
  return path.join(dist, found[0]);
}

export class Machine {
  /** Boots a fresh copy of target/packages/base. */
  static async boot(name) {
    const machine = new Machine();
    machine.dir = path.join(packages, 'machines', name);
    fs.rmSync(machine.dir, { recursive: true, force: true });
    fs.mkdirSync(path.dirname(machine.dir), { recursive: true });
    await run('cp', ['-a', '--reflink=auto', path.join(packages, 'base'), machine.dir]);
    // debootstrap leaves it to the installer.
    machine.write('etc/hosts', '127.0.0.1 localhost\n');
    // The machine's own nginx is started by those who want it.
    fs.rmSync(machine.path('etc/systemd/system/multi-user.target.wants/nginx.service'), { force: true });
    machine.program = new Program('systemd-nspawn', 'systemd-nspawn', ['--quiet', '--register=no', '--keep-unit',
      '--console=pipe', '--kill-signal=SIGRTMIN+3', '-b', '-D', machine.dir]);
    machine.init = await eventually('the machine has a first process', () => machine.#first(), 20000)
      .catch((error) => { throw new Error(`${error.message}\n${machine.program.output}`); });
    await eventually('the machine is up', async () => {
      if (machine.program.how) throw new Error(`it ended: ${machine.program.output}`);
      return ['running', 'degraded'].includes((await machine.try('systemctl is-system-running')).trim());
    }, 60000);
    return machine;
  }

  #first() {
    const { pid } = this.program.child;
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    return children.find((child) => fs.readlinkSync(`/proc/${child}/exe`).endsWith('/systemd')) ?? null;
  }

  path(name) {
    return path.join(this.dir, name);
  }

  read(name) {
    return fs.readFileSync(this.path(name), 'utf8');
  }

  write(name, text) {
    fs.mkdirSync(path.dirname(this.path(name)), { recursive: true });
    fs.writeFileSync(this.path(name), text);
  }

  /** Runs a shell's text in the machine, as root; fails when it fails. */
  sh(text, timeout = 120000) {
    return run('nsenter', ['-t', this.init, '-m', '-p', '-u', '-i', '--', 'sh', '-euc', text],
      { timeout, env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8', PATH: '/usr/sbin:/usr/bin:/sbin:/bin', SYSTEMD_PAGER: '' } });
  }

  /** The same, but a failure is an answer too. */
  async try(text) {
    return this.sh(`{ ${text}\n} 2>&1 || true`);
  }

  /** Copies a file of ours into the machine; its path there. */
  take(file) {
    const name = `/root/${path.basename(file)}`;
    fs.copyFileSync(file, this.path(name));
    return name;
  }

  /** A property of a unit. */
  async show(property, unit = 'pushstreamd.service') {
    return (await this.sh(`systemctl show -P ${property} ${unit}`)).trim();
  }

  async halt() {
    await this.program.stop('SIGTERM', 30000);
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
