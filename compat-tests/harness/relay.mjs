// A line that can be cut: TCP from a port of its own to another one. Stands for every network between client and server.

import net from 'node:net';

export class Relay {
  /** A relay to `port` of the loopback address. */
  static async to(port) {
    const relay = new Relay();
    relay.target = port;
    relay.sockets = new Set();
    relay.listener = net.createServer((client) => relay.#join(client));
    await relay.#listen(0);
    relay.port = relay.listener.address().port;
    return relay;
  }

  #listen(port) {
    return new Promise((resolve, reject) => {
      this.listener.once('error', reject);
      this.listener.listen(port, '127.0.0.1', resolve);
    });
  }

  #join(client) {
    const server = net.connect(this.target, '127.0.0.1');
    for (const [from, to] of [[client, server], [server, client]]) {
      from.setNoDelay(true);
      this.sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => { this.sockets.delete(from); to.destroy(); });
    }
  }

  /** Drops every connection and takes no new one. */
  async cut() {
    const closed = new Promise((resolve) => this.listener.close(resolve));
    for (const socket of this.sockets) socket.resetAndDestroy();
    await closed;
  }

  /** Takes connections again, on the same port. */
  restore() {
    return this.#listen(this.port);
  }

  async close() {
    if (this.listener.listening) await this.cut();
  }
}
