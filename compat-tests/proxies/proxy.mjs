// A proxy in front of a server under test: a published file of nginx-conf-examples/proxies, moved to free ports and onto
// the ports of that server, loaded by the program it is for.

import fs from 'node:fs';
import path from 'node:path';
import { example, installCertificate, moved, scratch } from '../harness/configs.mjs';
import { Program, run } from '../harness/programs.mjs';

export class Proxy {
  static async #placed(name, server, file, edit = (text) => text) {
    const proxy = new Proxy();
    proxy.dir = scratch();
    await installCertificate(proxy.dir);
    const placed = await moved(edit(example(name)), server.ports);
    proxy.ports = placed.ports;
    proxy.file = path.join(proxy.dir, file);
    fs.writeFileSync(proxy.file, placed.text);
    proxy.own = Object.entries(placed.ports).filter(([port]) => !(port in server.ports)).map(([, port]) => port);
    return proxy;
  }

  async #launch(name, command, args, options) {
    this.start = async () => {
      this.program = new Program(name, command, args, options);
      await this.program.ready(this.own);
      return this;
    };
    return this.start();
  }

  /** Debian's nginx; the file is tested by `nginx -t` first. `edit` may change its text. */
  static async nginx(name, server, edit) {
    const proxy = await Proxy.#placed(name, server, 'nginx.conf', edit);
    const args = ['-c', proxy.file, '-p', `${proxy.dir}/`, '-e', 'stderr',
      '-g', 'daemon off;'];
    await run('nginx', [...args, '-t']);
    return proxy.#launch('nginx', 'nginx', args);
  }

  /** Debian's HAProxy; the file is tested by `haproxy -c` first. */
  static async haproxy(name, server) {
    const proxy = await Proxy.#placed(name, server, 'haproxy.cfg');
    await run('haproxy', ['-c', '-f', proxy.file]);
    return proxy.#launch('haproxy', 'haproxy', ['-db', '-f', proxy.file]);
  }

  /** Debian's Apache httpd; the file is tested by `apache2 -t` first. */
  static async apache(name, server) {
    const proxy = await Proxy.#placed(name, server, 'apache.conf');
    const env = { ...process.env, RUNTIME_DIR: proxy.dir };
    await run('apache2', ['-t', '-f', proxy.file], { env });
    return proxy.#launch('apache2', 'apache2', ['-f', proxy.file, '-DFOREGROUND'], { env });
  }

  /** `http://127.0.0.1:PORT` of a published port of the file. */
  url(port, target = '') {
    return `http://127.0.0.1:${this.ports[port]}${target}`;
  }

  async stop(signal = 'SIGTERM') {
    // Apache gives its workers ten seconds.
    await this.program.stop(signal, 15000);
  }

  /** Kills it without a word: the process this test started and the workers that are its children. */
  async killAll() {
    const { pid } = this.program.child;
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    await this.program.stop('SIGKILL');
    for (const child of children) {
      try {
        process.kill(child, 'SIGKILL');
      } catch (error) {
        // It may have followed its parent already.
        if (error.code !== 'ESRCH') throw error;
      }
    }
  }
}
