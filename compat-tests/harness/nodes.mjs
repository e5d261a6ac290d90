// A server that is several nodes of one zone: the same configuration at other ports and in other directories, a Redis of the test's own, and
// fronts where the server would listen. A test that knows nothing of it uses it as it uses one server.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installCertificate, scratch } from './configs.mjs';
import { eventually, freePorts, Program } from './programs.mjs';
import { listening, request } from './server.mjs';
import { Spread } from './spread.mjs';

/** Requests that may change something. */
const CHANGES = /^(POST|PUT|DELETE) /;

const place = (position) => position.split('-').map((part) => part.padStart(20, '0')).join();

let redis;

/** The port of the Redis of this process. */
async function backplane() {
  redis ??= (async () => {
    const [port] = await freePorts(1);
    const program = new Program('redis', 'redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--databases', '4096', '--dir', scratch()]);
    await program.ready([port]);
    return port;
  })();
  return redis;
}

/** How many of its databases have a zone. */
let databases = 0;

export const Nodes = {
  /** The class of servers that are nodes. */
  of: (Server) => class extends Server {
    async launch() {
      const text = fs.readFileSync(this.file, 'utf8');
      const fronts = listening(text);
      if (!this.spreads) await this.prepare(text, fronts);
      this.programs = this.nodes.map((node) => new Program(`node ${node.number}`, this.binary, [...node.args, '-c', node.file, '-p', node.dir], { cwd: node.dir }));
      await Promise.all(this.programs.map((program, at) => program.ready([...this.nodes[at].ports, this.nodes[at].status])));
      [this.program] = this.programs;
      await eventually('the nodes know each other', async () => {
        const told = await Promise.all(this.nodes.map((_, at) => this.backplane(at)));
        return told.every((node) => node.nodes.length === this.count && node.position !== '0-0');
      }, 15000);
      return this;
    }

    /** Writes the files of the nodes, and begins the fronts. */
    async prepare(text, fronts) {
      if (this.database === undefined) {
        this.database = databases;
        databases += 1;
      }
      const url = `redis://127.0.0.1:${await backplane()}/${this.database}`;
      this.nodes = [];
      this.has = Array(this.count).fill(true);
      this.changes = new Map();
      this.last = '0-0';
      for (let number = 0; number < this.count; number += 1) {
        const dir = path.join(this.dir, `node${number}`);
        fs.mkdirSync(dir);
        await installCertificate(dir);
        const [status, ...ports] = await freePorts(fronts.length + 1);
        const own = fronts.reduce((moved, front, at) => moved.replaceAll(`127.0.0.1:${front}`, `127.0.0.1:${ports[at]}`), text);
        const file = path.join(dir, 'nginx.conf');
        fs.writeFileSync(file, own);
        this.nodes.push({ number, dir, file, ports, status, args: [...this.args, '--backplane', url, '--status', `127.0.0.1:${status}`] });
      }
      this.spreads = await Promise.all(fronts.map((front, at) => (
        Spread.start(front, this.nodes.map((node) => node.ports[at]), { before: (number, head) => this.before(number, head), after: (number, head) => this.after(number, head) }))));
    }

    /** What a node says of itself. */
    async status(at) {
      return JSON.parse((await request(`http://127.0.0.1:${this.nodes[at].status}/status`)).body);
    }

    async backplane(at) {
      return (await this.status(at)).backplane;
    }

    /** A summary with the subscribers that each node has itself: what it tells of the others may be a second old. */
    async statistics() {
      const told = await Promise.all(this.nodes.map((_, at) => this.status(at)));
      return { ...await super.statistics(), subscribers: told.reduce((sum, node) => sum + node.subscribers, 0) };
    }

    /** Whoever reads has what was published before: on one server it would be there. */
    async before(number, head) {
      if (CHANGES.test(head)) {
        this.has = this.nodes.map((_, at) => at === number);
        const change = {};
        change.done = new Promise((resolve) => { change.end = resolve; });
        this.changes.set(number, change);
        return;
      }
      if (this.has[number]) return;
      // One whose body does not come is not waited for.
      await Promise.race([Promise.all([...this.changes.values()].map((change) => change.done)), sleep(500)]);
      const { last, has } = this;
      await eventually(`node ${number} has come to ${last}`, async () => place((await this.backplane(number)).position) >= place(last));
      if (this.has === has) has[number] = true;
    }

    /** Where the zone is after something may have changed it. */
    async after(number, head) {
      if (!CHANGES.test(head)) return;
      const { position } = await this.backplane(number);
      if (place(position) > place(this.last)) this.last = position;
      this.changes.get(number)?.end();
    }

    /** How many requests each node was sent. */
    get asked() {
      return this.nodes.map((_, at) => this.spreads.reduce((sum, spread) => sum + spread.asked[at], 0));
    }

    async stop(how) {
      const [, ...others] = this.programs;
      await super.stop(how);
      await Promise.all(others.map((program) => program.stop('SIGTERM')));
      await this.end();
    }

    async kill() {
      await Promise.all(this.programs.map((program) => program.stop('SIGKILL')));
      this.judge();
    }

    judge() {
      for (this.program of this.programs) super.judge();
      [this.program] = this.programs;
    }

    /** Ends the fronts: a server that is launched again has new ones. */
    async end() {
      await Promise.all(this.spreads.map((spread) => spread.close()));
      this.spreads = undefined;
      for (const node of this.nodes) fs.rmSync(node.dir, { recursive: true });
    }
  },
};
