// pushstreamd for one test: started on a moved example, stopped by SIGTERM, judged at the end.
// Invariant of `stop`: no panic in the log, a clean exit, and (asked before) no subscriber left in the statistics.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { example, installCertificate, moved, root, scratch } from './configs.mjs';
import { Nodes } from './nodes.mjs';
import { eventually, freePorts, Program } from './programs.mjs';

/** The binary under test. */
export const binary = process.env.PUSHSTREAMD ?? path.join(root, 'target/release/pushstreamd');

/** A program of `examples/`, built beside the binary. */
export const builtExample = (name) => path.join(path.dirname(binary), 'examples', name);

export class Server {
  /**
   * `config`: name of an example, or `text`: a configuration. `args`: of pushstreamd. `edit` may change the text.
   * A statistics server is added beside it, so that a test can count subscribers, unless `statistics` is false.
   * `program`: another one that takes `-c` and `-p`.
   * With NODES=3 in the environment the server is three nodes of one zone, and each request goes to another one than the one before.
   */
  static async start({ config, text, args = [], edit = (t) => t, statistics = true, program = binary } = {}) {
    assert.ok(fs.existsSync(program), `${program} is not built: cargo build --release --bins --examples`);
    const nodes = Number(process.env.NODES ?? 0);
    const server = new (nodes > 0 ? Nodes.of(Server) : Server)();
    server.count = nodes;
    server.binary = program;
    server.dir = scratch();
    server.args = args;
    await installCertificate(server.dir);
    const source = edit(text ?? example(config));
    const placed = await moved(source);
    [server.statisticsPort] = await freePorts(1);
    server.ports = placed.ports;
    server.file = path.join(server.dir, 'nginx.conf');
    fs.writeFileSync(server.file, statistics ? withStatistics(placed.text, server.statisticsPort) : placed.text);
    await server.launch();
    return server;
  }

  /** Starts the process (again, after `stop` or `kill`) on the same files and ports. */
  async launch() {
    this.program = new Program(path.basename(this.binary), this.binary, [...this.args, '-c', this.file, '-p', this.dir], { cwd: this.dir });
    await this.program.ready(listening(fs.readFileSync(this.file, 'utf8')));
    return this;
  }

  /** `http://127.0.0.1:PORT` of a published port of the example. */
  url(port, target = '') {
    return `http://127.0.0.1:${this.ports[port]}${target}`;
  }

  /** A member of the summary. */
  async statistics() {
    return JSON.parse((await request(`http://127.0.0.1:${this.statisticsPort}/statistics`)).body);
  }

  /** Waits until `count` subscriber connections are counted. */
  async subscribers(count, timeout = 5000) {
    let seen;
    await eventually(`${count} subscribers`, async () => {
      seen = Number((await this.statistics()).subscribers);
      return seen === count;
    }, timeout).catch((error) => { throw new Error(`${error.message}, counted ${seen}`); });
  }

  /** Ends the process as an operator would and judges what it leaves behind. */
  async stop({ leftovers = true } = {}) {
    if (leftovers && !this.program.how) await this.subscribers(0, 8000);
    const how = await this.program.stop('SIGTERM');
    this.judge();
    assert.deepEqual(how, { code: 0, signal: null }, `pushstreamd ended with ${JSON.stringify(how)}\n${this.program.output}`);
  }

  /** Ends the process without a farewell, as a crash or a power cut would. */
  async kill() {
    await this.program.stop('SIGKILL');
    this.judge();
  }

  judge() {
    assert.doesNotMatch(this.program.output, /panicked/i, this.program.output);
  }
}

/** The ports that a configuration listens on. */
export const listening = (text) => [...text.matchAll(/listen\s+127\.0\.0\.1:(\d+)/g)].map((m) => Number(m[1]));

function withStatistics(text, port) {
  const end = text.lastIndexOf('}');
  // A word of a later version would choose the wire.
  const old = /set\s+\$push_stream_channel/.test(text);
  const ids = old ? 'set $push_stream_channel_id $arg_id;' : 'push_stream_channels_path $arg_id;';
  return `${text.slice(0, end)}
    server {
        listen 127.0.0.1:${port};
        location = /statistics {
            push_stream_channels_statistics;
            ${ids}
        }
    }
${text.slice(end)}`;
}

/** One request on a connection of its own; the whole answer. */
export function request(url, { method = 'GET', headers = {}, body, agent = false, timeout = 60000 } = {}) {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
    const req = http.request(url, { method, headers: { ...length, ...headers }, agent, timeout }, (res) => {
      const parts = [];
      res.on('data', (part) => parts.push(part));
      res.on('error', reject);
      res.on('end', () => {
        const bytes = Buffer.concat(parts);
        resolve({ status: res.statusCode, headers: res.headers, rawHeaders: res.rawHeaders, bytes, body: bytes.toString() });
      });
    });
    req.on('timeout', () => req.destroy(new Error(`no answer from ${url} in ${timeout} ms`)));
    req.on('error', reject);
    req.end(body);
  });
}

/** Publishes; fails unless it is accepted. */
export async function publish(url, text, headers = {}) {
  const answer = await request(url, { method: 'POST', body: text, headers });
  assert.equal(answer.status, 200, `publish answered ${answer.status} ${answer.body}`);
  return answer;
}
