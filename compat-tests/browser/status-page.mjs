// The status page with something to see on it: a server, subscribers of every mode, and publishes.

import http from 'node:http';
import WebSocket from 'ws';
import { freePorts } from '../harness/programs.mjs';
import { publish, Server } from '../harness/server.mjs';

/** A server that shares nothing with the other. */
const OTHER = 'server { listen 127.0.0.1:9081; push_stream_zone other; location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; } }';

/** A configuration with an operators' listener at `port`. */
const configuration = (port, more) => `
worker_processes 2; pid server.pid; error_log error.log notice; daemon off; events { worker_connections 1024; }
http {
    access_log off; push_stream_shared_memory_size 64m; push_stream_state state; push_stream_status ${port}; push_stream_status_messages on;
    server {
        listen 127.0.0.1:9080;
        location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
        location ~ ^/sub/(.*) { push_stream_subscriber; push_stream_channels_path $1; }
        location ~ ^/ev/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
        location ~ ^/lp/(.*) { push_stream_subscriber long-polling; push_stream_channels_path $1; }
        location ~ ^/ws/(.*) { push_stream_subscriber websocket; push_stream_channels_path $1; }
        location ~ ^/known/(.*) { push_stream_subscriber; push_stream_channels_path $1; push_stream_authorized_channels_only on; }
    }
    ${more}
}`;

export class Watched {
  /** `port`: where another one's page was. */
  static async start({ zones = false, port = 0 } = {}) {
    const watched = new Watched();
    port ||= (await freePorts(1))[0];
    watched.port = port;
    watched.server = await Server.start({ text: configuration(port, zones ? OTHER : ''), statistics: false });
    watched.page = `http://127.0.0.1:${port}/`;
    watched.clients = [];
    return watched;
  }

  /** So many subscribers of a mode (`sub`, `ev`, `lp`, `ws`) on a channel. */
  subscribe(mode, channel, count = 1) {
    for (let i = 0; i < count; i += 1) {
      if (mode === 'ws') {
        const socket = new WebSocket(this.server.url(9080, `/ws/${channel}`).replace('http', 'ws'));
        socket.on('error', () => {});
        this.clients.push({ destroy: () => socket.terminate() });
      } else {
        const asked = http.get(this.server.url(9080, `/${mode}/${channel}`), { agent: false }, (answer) => answer.on('error', () => {}).resume());
        asked.on('error', () => {});
        this.clients.push(asked);
      }
    }
  }

  /** So many long-polls on a channel, which ask again with every answer, from where they are. */
  poll(channel, count = 1) {
    for (let i = 0; i < count; i += 1) {
      const client = { asked: null, over: false, destroy() { this.over = true; this.asked.destroy(); } };
      const ask = (headers) => {
        client.asked = http.get(this.server.url(9080, `/lp/${channel}`), { agent: false, headers }, (answer) => {
          const { etag, 'last-modified': time } = answer.headers;
          answer.on('error', () => {}).on('end', () => { if (!client.over) ask({ 'If-None-Match': etag, 'If-Modified-Since': time }); }).resume();
        });
        client.asked.on('error', () => {});
      };
      ask({});
      this.clients.push(client);
    }
  }

  publish(channel, text = 'news') {
    return publish(this.server.url(9080, `/pub?id=${encodeURIComponent(channel)}`), text);
  }

  /** Asks for something that is refused. */
  refused(target) {
    return new Promise((resolve) => { http.get(this.server.url(9080, target), { agent: false }, (answer) => answer.resume().on('end', resolve)); });
  }

  async stop() {
    for (const client of this.clients) client.destroy();
    await this.server.stop({ leftovers: false });
  }
}
