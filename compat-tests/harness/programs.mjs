// Starts and stops a program of a test: waits until its ports accept, keeps what it prints, ends it by its own pid.
// Knows nothing of pushstreamd. Invariant: no program outlives the test process.

import { spawn } from 'node:child_process';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Ports nobody listens on at this moment, all different. */
export async function freePorts(count) {
  const servers = [];
  for (let i = 0; i < count; i += 1) {
    const server = net.createServer();
    await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
    servers.push(server);
  }
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Whether something accepts connections on `port` of the loopback address. */
export function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}

/** Repeats `check` until it gives something true; fails with `what` after `timeout` milliseconds. */
export async function eventually(what, check, timeout = 5000) {
  const end = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not so after ${timeout} ms (last: ${last})`);
    await sleep(25);
  }
}

/** A running program. `output` is everything it has printed. */
export class Program {
  constructor(name, command, args, options = {}) {
    this.name = name;
    this.output = '';
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    running.add(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => { this.output += text; });
    }
    this.exited = new Promise((resolve) => {
      this.child.once('error', (error) => { running.delete(this.child); resolve({ error }); });
      this.child.once('exit', (code, signal) => { running.delete(this.child); resolve({ code, signal }); });
    });
    this.exited.then((how) => { this.how = how; });
  }

  /** Waits until all of `ports` accept; fails at once when the program has ended. */
  async ready(ports, timeout = 15000) {
    for (const port of ports) {
      await eventually(`${this.name} accepts on ${port}`, async () => {
        if (this.how) throw new Error(`it ended: ${JSON.stringify(this.how)}`);
        return accepts(port);
      }, timeout).catch((error) => { throw new Error(`${error.message}\n${this.output}`); });
    }
    return this;
  }

  /** Sends `signal` and waits for the end; a program that ignores it is killed and the test fails. */
  async stop(signal = 'SIGTERM', timeout = 8000) {
    if (this.how) return this.how;
    this.child.kill(signal);
    const how = await Promise.race([this.exited, sleep(timeout, null, { ref: false })]);
    if (how) return how;
    this.child.kill('SIGKILL');
    await this.exited;
    throw new Error(`${this.name} did not end within ${timeout} ms of ${signal}\n${this.output.slice(-4000)}`);
  }
}

/** Runs a program to its end; gives its standard output, fails when it fails or takes longer than `timeout`. */
export async function run(command, args, { input, timeout = 60000, env, cwd } = {}) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env }, cwd });
  running.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve(status ?? signal));
  });
  clearTimeout(timer);
  running.delete(child);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}\n${stdout}\n${stderr}`);
  return stdout;
}
