// Requests that try to desynchronize the connection a proxy shares among its clients: HAProxy with each way of reusing
// connections, and nginx with kept connections and unbuffered bodies. The proxy forbids publishing; whoever gets a request
// past it deletes the channel `victim`. Whatever one client sends, all others are answered what they asked for.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { scratch } from '../harness/configs.mjs';
import { freePorts, Program } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { Wire } from '../harness/wire.mjs';

const TEXT = `
daemon off; worker_processes 1;
error_log stderr crit;
pid server.pid;
events { worker_connections 512; }
http {
    access_log access.log;
    push_stream_shared_memory_size 32m;
    keepalive_requests 100000;
    client_max_body_size 1k;
    server {
        listen 127.0.0.1:9080;
        root html;
        location /r200 { return 200 "ok"; }
        location /r204 { return 204; }
        location /deny { deny all; }
        location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
        location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
        location /open { push_stream_publisher; push_stream_channels_path $arg_id; }
        location /poll { push_stream_subscriber polling; push_stream_channels_path $arg_id; }
        location /lp { push_stream_subscriber long-polling; push_stream_channels_path $arg_id; push_stream_longpolling_connection_ttl 100ms; }
        location /ev { push_stream_subscriber eventsource; push_stream_channels_path $arg_id; push_stream_subscriber_connection_ttl 100ms; }
        location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; }
    }
}
`;

const REUSE = ['never', 'safe', 'aggressive', 'always'];

/** HAProxy with one way of reusing connections. */
async function haproxy(server, reuse) {
  const [port] = await freePorts(1);
  const file = path.join(scratch(), 'haproxy.cfg');
  fs.writeFileSync(file, `global
  maxconn 200
defaults
  mode http
  timeout connect 2s
  timeout client 20s
  timeout server 20s
  http-reuse ${reuse}
  retries 0
frontend f
  bind 127.0.0.1:${port}
  http-request deny if { path_beg /pub }
  default_backend b
backend b
  server s 127.0.0.1:${server.ports[9080]}
`);
  const program = new Program('haproxy', 'haproxy', ['-db', '-f', file]);
  await program.ready([port]);
  return { port, program };
}

/** nginx with kept connections, which passes bodies on as they come. */
async function nginx(server) {
  const [port] = await freePorts(1);
  const dir = scratch();
  fs.writeFileSync(path.join(dir, 'nginx.conf'), `
daemon off; worker_processes 1; error_log stderr crit; pid nginx.pid;
events { worker_connections 512; }
http {
    access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream u { server 127.0.0.1:${server.ports[9080]}; keepalive 1; }
    server {
        listen 127.0.0.1:${port};
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; proxy_next_upstream off;
        location / { proxy_pass http://u; }
        location /pub { return 403; }
    }
}`);
  const program = new Program('nginx', 'nginx', ['-c', path.join(dir, 'nginx.conf'), '-p', `${dir}/`, '-e', 'stderr']);
  await program.ready([port]);
  return { port, program };
}

const hidden = 'DELETE /pub?id=victim&smuggled HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n';
const chunk = (data) => `${data.length.toString(16)}\r\n${data}\r\n`;
const chunked = (...parts) => ['Transfer-Encoding: chunked', parts];
const sized = (body) => [`Content-Length: ${body.length}`, [body]];

/** Bodies in the pieces they are sent in; the head goes before, alone. */
const BODIES = {
  'an empty chunked body': chunked('0\r\n\r\n'),
  'an empty chunked body with a trailer': chunked('0\r\nX-A: b\r\n\r\n'),
  'a chunk that is a request': chunked(`${chunk(hidden)}0\r\n\r\n`),
  'a chunk that is an end and a request': chunked(`${chunk(`0\r\n\r\n${hidden}`)}0\r\n\r\n`),
  'a chunk that is an end and a request, its size before it': chunked(`${(hidden.length + 5).toString(16)}\r\n`, `0\r\n\r\n${hidden}\r\n0\r\n\r\n`),
  'a chunk that begins with a line end': chunked(`${(hidden.length + 7).toString(16)}\r\n`, `\r\n0\r\n\r\n${hidden}\r\n0\r\n\r\n`),
  'a chunk with an extension': chunked(`5;a="0\r\n\r\n`, `hello\r\n0\r\n\r\n`),
  'a body that is a request': sized(hidden),
  'a body that is an end and a request': sized(`0\r\n\r\n${hidden}`),
  'a body that is too large': sized(hidden.repeat(20)),
  'chunks that are too large': chunked(chunk(hidden.repeat(20)), '0\r\n\r\n'),
  'a size that is no number': chunked('xyz\r\n', hidden),
};

const LINES = ['POST /r200', 'GET /r200', 'POST /r204', 'POST /deny', 'POST /nowhere', 'POST /stats', 'GET /stats?id=victim', 'POST /open?id=a',
  'PUT /open?id=ALL', 'PATCH /open?id=a', 'OPTIONS /open?id=a', 'GET /open?id=a', 'POST /poll?id=a', 'GET /poll?id=a', 'GET /lp?id=a', 'GET /ev?id=a', 'POST /ws?id=a'];

/** Sends one attack, and then what a decoder that begun anew would take for a chunk holding a request. */
async function attack(port, line, [field, pieces], atOnce) {
  const wire = await Wire.open(port);
  const head = `${line} HTTP/1.1\r\nHost: h\r\n${field}\r\n\r\n`;
  const parts = atOnce ? [head + pieces.join('')] : [head, ...pieces];
  for (const part of parts) {
    wire.send(part);
    await wire.until(() => false, 3);
  }
  await wire.answer({ timeout: 500 });
  // As HAProxy and nginx pass it on, this is "AA /r200 ...": a size of 170, whose data ends where the body begins.
  const inner = `\r\n0\r\n\r\n${hidden}`;
  const fields = `host: h\r\ncontent-length: ${inner.length}\r\nx: `;
  wire.send(`AA /r200 HTTP/1.1\r\n${fields}${'p'.repeat(Math.max(0, 0xAA - fields.length - 4))}\r\n\r\n${inner}`);
  await wire.answer({ timeout: 100 });
  wire.close();
}

const FRONTS = [...REUSE.map((reuse) => [`HAProxy, http-reuse ${reuse}`, (server) => haproxy(server, reuse)]), ['nginx, keepalive', nginx]];

describe('nothing gets past a proxy in a body', { concurrency: 2 }, () => {
  for (const [name, front] of FRONTS) {
    test(name, async () => {
      const server = await Server.start({ text: TEXT, args: ['--take-over'] });
      const { port, program } = await front(server);
      await publish(server.url(9080, '/pub?id=victim'), 'x');
      assert.equal((await request(`http://127.0.0.1:${port}/pub?id=victim`, { method: 'DELETE' })).status, 403);
      for (const [what, body] of Object.entries(BODIES)) {
        for (const atOnce of [true, false]) {
          await Promise.all(LINES.map((line) => attack(port, line, body, atOnce)));
          // Alone, the attacker gets the connection back that was spoilt.
          await attack(port, LINES[0], body, atOnce);
        }
        for (let i = 0; i < 6; i += 1) {
          const victim = await request(`http://127.0.0.1:${port}/r200`, { headers: { 'X-Attack': 'none' } });
          assert.deepEqual([victim.status, victim.body], [200, 'ok'], `somebody else's request after ${what}`);
        }
        assert.equal((await request(server.url(9080, '/stats?id=victim'))).status, 200, `${what} got past the proxy`);
      }
      const log = fs.readFileSync(path.join(server.dir, 'access.log'), 'utf8');
      assert.ok(!log.split('\n').some((line) => line.includes('"DELETE /pub?id=victim')), 'a hidden request was run');
      await program.stop();
      await server.stop();
    });
  }
});
