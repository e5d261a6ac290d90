// A machine in a directory: /etc/nginx and /etc/pushstreamd of docs/MIGRATION.md, and the commands of its blocks.
// Knows nginx's syntax only as far as braces and line numbers go: what somebody needs who does what `migrate` prints.

import fs from 'node:fs';
import path from 'node:path';
import { scratch } from '../harness/configs.mjs';
import { block } from '../harness/documentation.mjs';
import { Program, run } from '../harness/programs.mjs';
import { binary } from '../harness/server.mjs';

export class Machine {
  /** `port`: the first local port `migrate` may use. */
  constructor(port) {
    this.port = port;
    this.dir = scratch();
    for (const name of ['bin', 'nginx', 'run', 'www']) fs.mkdirSync(path.join(this.dir, name));
    this.#command('nginx', `nginx -c '${this.path('nginx/nginx.conf')}' -p '${this.dir}/' -e '${this.path('run/nginx.log')}'`);
    this.#command('pushstreamd', `'${path.resolve(binary)}'`);
    // Before the directory with the pid file is removed.
    process.prependListener('exit', () => this.end('SIGKILL'));
  }

  #command(name, command) {
    // The search path without this directory: the program itself is meant.
    const text = `#!/bin/sh\nPATH='${process.env.PATH}'\nexec ${command} "$@"\n`;
    fs.writeFileSync(this.path(`bin/${name}`), text, { mode: 0o755 });
  }

  path(name) {
    return path.join(this.dir, name);
  }

  /** Writes files below `folder`, which had others. */
  write(folder, files) {
    fs.rmSync(this.path(folder), { recursive: true, force: true });
    for (const [name, text] of Object.entries(files)) {
      const file = this.path(path.join(folder, name));
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text);
    }
  }

  /** Starts nginx in the foreground, on what is in its directory. */
  async nginx(port) {
    this.front = new Program('nginx', this.path('bin/nginx'), ['-g', 'daemon off;']);
    await this.front.ready([port]);
  }

  /** Runs a block of the guide, with this machine's directories and port in the place of `/etc` and 8896. */
  async follow(name) {
    const commands = block('docs/MIGRATION.md', name)
      .replaceAll('/etc/', `${this.dir}/`)
      .replaceAll('pushstreamd migrate ', `pushstreamd migrate --port ${this.port} `);
    return run('sh', ['-eux'], { input: commands, env: { PATH: `${this.path('bin')}:${process.env.PATH}` }, cwd: this.dir });
  }

  /** Does to nginx's configuration what `for-nginx.txt` says, and nothing else. */
  apply() {
    return change(fs.readFileSync(this.path('pushstreamd/for-nginx.txt'), 'utf8'));
  }

  /** The process that has written `run/NAME.pid`. */
  pid(name) {
    return Number(fs.readFileSync(this.path(`run/${name}.pid`), 'utf8'));
  }

  /** Ends the pushstreamd this machine has in the background, if it has one. */
  end(signal) {
    try {
      process.kill(this.pid('pushstreamd'), signal);
    } catch (error) {
      // No pid file and no such process: it was stopped as the guide says.
      if (!['ENOENT', 'ESRCH'].includes(error.code)) throw error;
    }
  }
}

/** Does to nginx's files what `said` says of them; how many changes that was. `locate` tells where a file is. */
export function change(said, locate = (file) => file) {
  const changes = [
    ...[...said.matchAll(/^# {5}server in (.+):(\d+) \(listen /gm)].map(([, file, line]) => ({ file, line, by: '' })),
    ...[...said.matchAll(/^# {5}push_stream_\w+ in (.+):(\d+)$/gm)].map(([, file, line]) => ({ file, line, by: '' })),
    ...[...said.matchAll(/^# was at (.+):(\d+)\n(location [^]*?^\}\n)/gm)].map(([, file, line, by]) => ({ file, line, by })),
  ];
  // From the last line to the first: what is above keeps its number.
  changes.sort((a, b) => Number(b.line) - Number(a.line));
  for (const { file, line, by } of changes) {
    const place = locate(file);
    const text = fs.readFileSync(place, 'utf8');
    const start = text.split('\n').slice(0, Number(line) - 1).join('\n').length + (Number(line) > 1 ? 1 : 0);
    fs.writeFileSync(place, text.slice(0, start) + by + text.slice(end(text, start)));
  }
  return changes.length;
}

/** Where the directive that begins at `start` ends: behind its semicolon or its closing brace. */
function end(text, start) {
  let depth = 0;
  let quote = '';
  for (let at = start; at < text.length; at += 1) {
    const c = text[at];
    if (quote) {
      if (c === quote) quote = '';
    } else if (c === '"' || c === "'") quote = c;
    else if (c === '{') depth += 1;
    else if (c === ';' && depth === 0) return at + 1;
    else if (c === '}' && (depth -= 1) === 0) return at + 1;
  }
  throw new Error(`no end of the directive at ${text.slice(start, start + 60)}`);
}
