// A WebSocket client that may break every rule: frames are made by ws's Sender and judged by ws's Receiver, the bytes between
// them are in the hands of the case. Invariant: what the server sends has to be legal at all times, or the case fails.

import { createHash } from 'node:crypto';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Receiver, Sender } from 'ws';
import { eventually } from '../harness/programs.mjs';

/** Opcodes. */
export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/** The bytes of one masked client frame; `rsv` as a number from 0 to 7. */
export function frame(opcode, payload = '', { fin = true, rsv = 0 } = {}) {
  const data = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
  const bytes = Buffer.concat(Sender.frame(data, { fin, opcode, mask: true, readOnly: true, rsv1: false }));
  bytes[0] |= rsv << 4;
  return bytes;
}

/** The payload of a close frame. */
export function closing(code, reason = '') {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
}

export class Peer {
  /** Connects and shakes hands on `ws://127.0.0.1:PORT/TARGET`. */
  static async open(port, target) {
    const peer = new Peer();
    peer.events = [];
    peer.ended = false;
    peer.socket = net.connect(port, '127.0.0.1');
    peer.socket.setNoDelay(true);
    peer.socket.on('error', () => { peer.ended = true; });
    peer.socket.on('close', () => { peer.ended = true; });
    const key = Buffer.from('conformance case').toString('base64');
    peer.socket.write(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
      + `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    const rest = await peer.#handshake(key);
    peer.#receive(rest);
    return peer;
  }

  async #handshake(key) {
    let bytes = Buffer.alloc(0);
    for await (const part of this.#parts()) {
      bytes = Buffer.concat([bytes, part]);
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) continue;
      const head = bytes.subarray(0, end).toString('latin1');
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      if (!head.startsWith('HTTP/1.1 101 ') || !head.includes(`Sec-WebSocket-Accept: ${accept}`)) {
        throw new Error(`handshake answered with ${head}`);
      }
      return bytes.subarray(end + 4);
    }
    throw new Error('the connection ended in the handshake');
  }

  async *#parts() {
    while (!this.ended) {
      const part = this.socket.read();
      if (part) yield part;
      else await sleep(1);
    }
  }

  #receive(rest) {
    const receiver = new Receiver({ isServer: false, allowSynchronousEvents: true, maxPayload: 256 * 1024 * 1024 });
    receiver.on('message', (data, binary) => this.events.push([binary ? 'binary' : 'text', Buffer.from(data)]));
    receiver.on('ping', (data) => this.events.push(['ping', data]));
    receiver.on('pong', (data) => this.events.push(['pong', data]));
    receiver.on('conclude', (code, reason) => this.events.push(['close', code, String(reason)]));
    receiver.on('error', (error) => this.events.push(['illegal', error.message]));
    if (rest.length > 0) receiver.write(rest);
    this.socket.on('data', (part) => receiver.write(part));
    this.socket.resume();
  }

  /** Sends `bytes`; in pieces of `chop` bytes when that is given. */
  async send(bytes, chop = 0) {
    if (!chop) {
      this.socket.write(bytes);
      return;
    }
    for (let at = 0; at < bytes.length && !this.ended; at += chop) {
      this.socket.write(bytes.subarray(at, at + chop));
      // Pieces of a small case go out one by one; of a large one the kernel makes the pieces.
      if (bytes.length < 4096) await sleep(1);
    }
  }

  /** Waits until `count` events are there or the connection has ended. */
  async settle(count, timeout = 10000) {
    await eventually(`${count} events`, () => this.events.length >= count || this.ended, timeout);
  }

  /** Waits for the end of the connection. */
  async end(timeout = 5000) {
    await eventually('the connection ends', () => this.ended, timeout);
  }

  destroy() {
    this.socket.destroy();
  }
}
