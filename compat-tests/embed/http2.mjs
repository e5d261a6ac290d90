// A connection of HTTP/2 without TLS that takes requests as the text of HTTP/1 and shows answers as such: what is written for a
// bare connection can be asked here too. One request after the other.

import http2 from 'node:http2';
import { Wire } from '../harness/wire.mjs';

/** Fields that HTTP/2 does not have. */
const OF_HTTP_1 = ['host', 'connection', 'transfer-encoding', 'keep-alive', 'upgrade'];

export class Http2Wire extends Wire {
  static async open(port) {
    const wire = new Http2Wire();
    wire.bytes = Buffer.alloc(0);
    wire.ended = false;
    wire.unread = '';
    wire.turn = Promise.resolve();
    wire.session = http2.connect(`http://127.0.0.1:${port}`);
    wire.session.on('close', () => { wire.ended = true; });
    await new Promise((resolve, reject) => wire.session.once('connect', resolve).once('error', reject));
    wire.session.on('error', () => { wire.ended = true; });
    return wire;
  }

  send(text) {
    this.unread += text;
    while (this.request ? this.readBody() : this.readHead());
    return this;
  }

  close() {
    this.session.destroy();
  }

  readHead() {
    const end = this.unread.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const [line, ...lines] = this.unread.slice(0, end).split('\r\n');
    this.unread = this.unread.slice(end + 4);
    const fields = lines.map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]);
    const [method, path] = line.split(' ');
    const head = { ':method': method, ':path': path };
    for (const [name, value] of fields) {
      if (name === 'host') head[':authority'] = value;
      else if (!OF_HTTP_1.includes(name)) head[name] = value;
    }
    const sent = Object.fromEntries(fields);
    this.request = { length: Number(sent['content-length'] ?? 0), chunked: sent['transfer-encoding'] === 'chunked' };
    const body = new Promise((resolve) => { this.request.finish = resolve; });
    const bodiless = this.request.length === 0 && !this.request.chunked;
    this.turn = this.turn.then(() => this.exchange(head, bodiless ? null : body));
    return true;
  }

  readBody() {
    const { length, chunked, finish } = this.request;
    const end = chunked ? this.unread.indexOf('0\r\n\r\n') + 5 : length;
    if (this.unread.length < end || (chunked && end < 5)) return false;
    const text = this.unread.slice(0, end);
    this.unread = this.unread.slice(end);
    this.request = null;
    finish(chunked ? text.replace(/[0-9a-f]+(;[^\r]*)?\r\n([^\r]*)\r\n/g, '$2') : text);
    return true;
  }

  async exchange(head, body) {
    const stream = this.session.request(head, { endStream: body === null });
    const show = (bytes) => { this.bytes = Buffer.concat([this.bytes, Buffer.from(bytes, 'latin1')]); };
    let chunked = false;
    stream.on('continue', () => show('HTTP/1.1 100 Continue\r\n\r\n'));
    stream.on('response', (fields) => {
      const lines = Object.entries(fields).filter(([name]) => !name.startsWith(':'));
      chunked = !('content-length' in fields) && fields[':status'] !== 304;
      if (chunked) lines.push(['transfer-encoding', 'chunked']);
      show(`HTTP/1.1 ${fields[':status']}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`);
    });
    stream.on('data', (data) => {
      const text = data.toString('latin1');
      show(chunked ? `${text.length.toString(16)}\r\n${text}\r\n` : text);
    });
    const over = new Promise((resolve) => stream.once('close', resolve).once('error', resolve));
    stream.once('end', () => { if (chunked) show('0\r\n\r\n'); });
    if (body !== null) body.then((text) => stream.end(text));
    await over;
  }
}
