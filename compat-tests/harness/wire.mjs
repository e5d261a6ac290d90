// A bare connection: bytes out, bytes in. For tests that look at what an HTTP library hides.

import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export class Wire {
  /** Connects to `port` of the loopback address. */
  static async open(port) {
    const wire = new Wire();
    wire.bytes = Buffer.alloc(0);
    wire.ended = false;
    wire.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    wire.socket.setNoDelay(true);
    wire.socket.on('data', (part) => { wire.bytes = Buffer.concat([wire.bytes, part]); });
    wire.socket.on('end', () => { wire.ended = true; });
    wire.socket.on('close', () => { wire.ended = true; });
    await new Promise((resolve, reject) => wire.socket.once('connect', resolve).once('error', reject));
    wire.socket.on('error', () => { wire.ended = true; });
    return wire;
  }

  send(bytes) {
    this.socket.write(bytes);
    return this;
  }

  get text() {
    return this.bytes.toString('latin1');
  }

  /** Waits until `done(text)` is true, or until the other side has ended; false when neither came in time. */
  async until(done, timeout = 3000) {
    const end = Date.now() + timeout;
    while (!done(this.text)) {
      if (this.ended) return done(this.text);
      if (Date.now() > end) return false;
      await sleep(5);
    }
    return true;
  }

  /** Takes one complete answer (by Content-Length, chunks, or the end) off the front; null when none came in time. */
  async answer({ timeout = 3000, bodiless = false } = {}) {
    await this.until((text) => cut(text, this.ended, bodiless) !== null, timeout);
    const end = cut(this.text, this.ended, bodiless);
    if (end === null) return null;
    const text = this.text.slice(0, end);
    this.bytes = this.bytes.subarray(end);
    const [head] = text.split('\r\n\r\n', 1);
    const lines = head.split('\r\n');
    const headers = lines.slice(1).map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);
    const raw = text.slice(head.length + 4);
    const chunked = /^transfer-encoding:\s*chunked/im.test(head);
    return { line: lines[0], status: Number(lines[0].split(' ')[1]), headers, raw, body: chunked ? dechunked(raw) : raw };
  }

  close() {
    this.socket.destroy();
  }
}

/** Where the first answer of `text` ends; null while it is not complete. */
export function cut(text, ended, bodiless) {
  const head = text.indexOf('\r\n\r\n');
  if (head < 0) return null;
  const lines = text.slice(0, head);
  const start = head + 4;
  const length = /^content-length:\s*(\d+)/im.exec(lines);
  if (bodiless || / (304|204|101) /.test(lines.split('\r\n', 1)[0])) return start;
  if (length) return text.length >= start + Number(length[1]) ? start + Number(length[1]) : null;
  if (/^transfer-encoding:\s*chunked/im.test(lines)) {
    let at = start;
    for (;;) {
      const eol = text.indexOf('\r\n', at);
      if (eol < 0) return null;
      const size = parseInt(text.slice(at, eol), 16);
      at = eol + 2 + size + 2;
      if (at > text.length) return null;
      if (size === 0) return at;
    }
  }
  return ended ? text.length : null;
}

/** The chunks of a chunked body, without their framing. */
export function chunks(raw) {
  const list = [];
  for (let at = 0; at < raw.length;) {
    const eol = raw.indexOf('\r\n', at);
    if (eol < 0) break;
    const size = parseInt(raw.slice(at, eol), 16);
    if (!(size > 0)) break;
    list.push(raw.slice(eol + 2, eol + 2 + size));
    at = eol + 2 + size + 2;
  }
  return list;
}

function dechunked(raw) {
  return chunks(raw).join('');
}
