// A front of several nodes that sends each request of a connection to another node than the one before, byte for byte, once that node has all
// that was published before: what a node of its own would be asked. What is not HTTP/1 goes to one node whole.

import net from 'node:net';
import { cut } from './wire.mjs';

const HEAD_END = '\r\n\r\n';

/** What has come over a connection and was not taken yet. */
class Inbox {
  constructor(socket) {
    this.bytes = Buffer.alloc(0);
    this.ended = false;
    this.socket = socket;
    this.take = (part) => { this.bytes = Buffer.concat([this.bytes, part]); this.ring?.(); };
    this.finish = () => { this.ended = true; this.ring?.(); };
    socket.on('data', this.take).on('end', this.finish).on('close', this.finish).on('error', () => {});
  }

  /** Waits until something more has come, or the end. */
  more() {
    return new Promise((resolve) => { this.ring = resolve; });
  }

  /** Hands over what is here and all that comes. */
  pass(to) {
    this.socket.off('data', this.take);
    to.write(this.bytes);
    this.socket.pipe(to);
  }
}

export class Spread {
  /**
   * Listens on `port`. `ports`: of the nodes. `before(n, head)` ends once a node may be asked what this head says, `after(n, head)` once what it
   * has answered may be passed on.
   */
  static async start(port, ports, { before, after }) {
    const spread = new Spread();
    Object.assign(spread, { ports, before, after, next: 0, asked: ports.map(() => 0), sockets: new Set() });
    spread.listener = net.createServer({ allowHalfOpen: true }, (client) => {
      client.setNoDelay(true);
      // Each request of it waits for its end.
      client.setMaxListeners(0);
      spread.sockets.add(client);
      client.on('close', () => spread.sockets.delete(client));
      spread.serve(client).catch(() => client.destroy());
    });
    await new Promise((resolve, reject) => spread.listener.once('error', reject).listen(port, '127.0.0.1', resolve));
    return spread;
  }

  /** A connection to the next node, and its number. */
  async connect(client, head) {
    const number = this.next % this.ports.length;
    this.next += 1;
    this.asked[number] += 1;
    await this.before(number, head);
    const node = net.connect({ port: this.ports[number], host: '127.0.0.1', allowHalfOpen: true });
    node.setNoDelay(true);
    client.on('close', () => node.destroy());
    await new Promise((resolve, reject) => node.once('connect', resolve).once('error', reject));
    if (client.destroyed) node.destroy();
    return [node, number];
  }

  async serve(client) {
    const inbox = new Inbox(client);
    for (;;) {
      while (!inbox.ended && !inbox.bytes.includes(HEAD_END) && !isForeign(inbox.bytes)) await inbox.more();
      if (inbox.bytes.length === 0) return client.end();
      const head = inbox.bytes.toString('latin1').split(HEAD_END, 1)[0];
      const [node, number] = await this.connect(client, head);
      if (inbox.ended || isForeign(inbox.bytes) || /^upgrade:/im.test(head)) {
        node.pipe(client);
        node.on('error', () => client.destroy());
        return inbox.pass(node);
      }
      const sent = this.send(inbox, node, head);
      // Who has nothing more to say may be gone.
      if (inbox.ended) node.end();
      else client.once('end', () => node.end());
      const goesOn = await answered(node, client, head.startsWith('HEAD '));
      await this.after(number, head);
      node.destroy();
      if (!goesOn) return client.end();
      await sent;
    }
  }

  /** Sends a head, and its body as it comes. */
  async send(inbox, node, head) {
    const length = Number(/^content-length:\s*(\d+)/im.exec(head)?.[1] ?? 0);
    let left = head.length + HEAD_END.length + length;
    if (/^transfer-encoding:\s*chunked/im.test(head)) {
      const last = () => inbox.bytes.indexOf(`0${HEAD_END}`, head.length + HEAD_END.length);
      while (!inbox.ended && last() < 0) await inbox.more();
      left = last() < 0 ? inbox.bytes.length : last() + 5;
    }
    for (;;) {
      const part = inbox.bytes.subarray(0, left);
      // A head goes before its body has come: somebody may wait to be told to go on.
      node.write(part);
      inbox.bytes = inbox.bytes.subarray(part.length);
      left -= part.length;
      if (left <= 0) return;
      if (inbox.ended) {
        node.end();
        return;
      }
      await inbox.more();
    }
  }

  async close() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.listener.close(resolve));
  }
}

/** TLS, HTTP/2, or the address of a proxy. */
function isForeign(bytes) {
  const first = bytes.subarray(0, 6).toString('latin1');
  return first !== '' && (!/^[A-Z]/.test(first) || /^PR(I|OXY) /.test(first));
}

/** Passes an answer on as it comes; whether the connection goes on behind it. */
function answered(node, client, bodiless) {
  return new Promise((resolve) => {
    let text = '';
    let done = false;
    const look = (ended) => {
      if (done) return;
      if (/^HTTP\/1\.1 100 [^\n]*\r\n\r\n/.test(text)) text = text.slice(text.indexOf(HEAD_END) + 4);
      const at = cut(text, ended, bodiless);
      if (at === null && !ended) return;
      done = true;
      resolve(at !== null && !ended && !/^connection:\s*close/im.test(text.split(HEAD_END, 1)[0]));
    };
    node.on('data', (part) => {
      client.write(part);
      text += part.toString('latin1');
      look(false);
    });
    node.on('end', () => look(true)).on('error', () => look(true)).on('close', () => look(true));
    client.on('close', () => look(true));
  });
}
