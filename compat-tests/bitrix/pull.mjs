// Runs pull-client.mjs and collects what it reports. With stdin closed, or the test gone, the client ends by itself.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { eventually } from '../harness/programs.mjs';

const file = path.join(path.dirname(fileURLToPath(import.meta.url)), 'pull-client.mjs');

export class PullClient {
  static start(config) {
    const client = new PullClient();
    client.events = [];
    client.errors = '';
    client.child = spawn(process.execPath, [file, JSON.stringify(config)], { stdio: ['pipe', 'pipe', 'pipe'] });
    client.child.stderr.setEncoding('utf8').on('data', (text) => { client.errors += text; });
    createInterface({ input: client.child.stdout }).on('line', (line) => client.events.push(JSON.parse(line)));
    return client;
  }

  /** The texts received, in order of arrival. */
  get texts() {
    return this.events.filter((e) => e.event === 'message').map((e) => e.params.text);
  }

  /** HTTP answers of long-polling. */
  get answers() {
    return this.events.filter((e) => e.event === 'answer');
  }

  /** Waits for `count` messages; gives what there is when they do not come (the caller judges). */
  async received(count, timeout = 20000) {
    await eventually(`${count} messages`, () => this.texts.length >= count, timeout).catch(() => {});
    // Whatever comes too much comes soon.
    await new Promise((resolve) => setTimeout(resolve, 300));
    return this.texts;
  }

  async stop() {
    this.child.stdin.end();
    await eventually('the client ends', () => this.child.exitCode !== null || this.child.signalCode !== null)
      .catch(() => this.child.kill('SIGKILL'));
  }
}
