// Every published proxy file in front of pushstreamd: each mode flows at once, nothing is lost, nobody is left behind.

import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { eventually, run } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { Proxy } from './proxy.mjs';
import { Reader } from './reader.mjs';

const PROXIES = [
  { name: 'nginx', start: (server) => Proxy.nginx('proxies/nginx.conf', server), port: 8080, websocket: true },
  { name: 'nginx without tuning', start: (server) => Proxy.nginx('proxies/nginx-untuned.conf', server), port: 8080 },
  { name: 'HAProxy', start: (server) => Proxy.haproxy('proxies/haproxy.cfg', server), port: 8080, websocket: true },
  { name: 'Apache httpd', start: (server) => Proxy.apache('proxies/apache.conf', server), port: 8080, websocket: true },
];

/** A proxy that looks only at what comes from the server learns by the next ping that its client has gone. */
const quickPings = (text) => text.replaceAll('ping_message_interval 10s', 'ping_message_interval 500ms');

/** How long a message may take through a proxy that holds nothing back. */
const AT_ONCE = 1000;

for (const { name, start, port, websocket } of PROXIES) {
  describe(`through ${name}`, () => {
    let server;
    let proxy;
    before(async () => {
      server = await Server.start({ config: 'all-modes.conf', edit: quickPings });
      proxy = await start(server);
    });
    after(async () => {
      await proxy.stop();
      await server.stop();
    });
    const pub = (id) => proxy.url(port, `/pub?id=${id}`);

    for (const mode of ['sub', 'ev']) {
      test(`/${mode}/: each message comes at once`, async () => {
        const reader = await Reader.open(proxy.url(port, `/${mode}/p-${mode}`));
        await server.subscribers(1);
        const texts = numbered(20);
        for (const text of texts) {
          await publish(pub(`p-${mode}`), text);
          await eventually(`${text} comes`, () => reader.text.includes(`"${text}"`), AT_ONCE);
        }
        const got = [...reader.text.matchAll(/"text":"(m\d+)"/g)].map((match) => match[1]);
        assertOnceInOrder(got, texts);
        reader.close();
        await server.subscribers(0);
      });
    }

    test('the head of a silent stream comes at once', async () => {
      const reader = await Reader.open(proxy.url(port, '/sub/p-silent'), AT_ONCE);
      assert.equal(reader.status, 200);
      reader.close();
      await server.subscribers(0);
    });

    test('long-polling: 200 messages in bursts over many polls', async () => {
      const texts = numbered(200);
      const got = [];
      let polls = 0;
      let position = { time: new Date(Date.now() - 1000).toUTCString(), tag: '0' };
      const loop = (async () => {
        while (got.length < texts.length) {
          const answer = await request(proxy.url(port, `/lp/p-lp?time=${encodeURIComponent(position.time)}&tag=${position.tag}`));
          assert.ok([200, 304].includes(answer.status), `${answer.status}`);
          polls += 1;
          for (const text of answer.body.split(/(?<=\})(?=\{)/).filter(Boolean)) {
            position = JSON.parse(text);
            got.push(position.text);
          }
        }
      })();
      loop.catch(() => {});
      await server.subscribers(1);
      for (const [i, text] of texts.entries()) {
        await publish(pub('p-lp'), text);
        if (i % 7 === 0) await sleep(25);
      }
      await Promise.race([loop, sleep(20000, null, { ref: false })]);
      assertOnceInOrder(got, texts);
      assert.ok(polls > 10, `only ${polls} polls`);
    });

    test('EventSource goes on when the proxy is restarted', async () => {
      const source = new EventSource(proxy.url(port, '/ev/p-restart'));
      const got = [];
      source.onmessage = (event) => got.push(JSON.parse(event.data).text);
      await server.subscribers(1);
      const texts = numbered(30);
      const send = async (list) => {
        for (const text of list) await publish(server.url(9080, '/pub?id=p-restart'), text, { 'Event-Id': text });
      };
      await send(texts.slice(0, 10));
      await eventually('the first part', () => got.length === 10);
      await proxy.stop('SIGTERM');
      await server.subscribers(0);
      await send(texts.slice(10, 20));
      await proxy.start();
      await server.subscribers(1, 15000);
      await send(texts.slice(20));
      await eventually('the rest', () => got.length >= 30, 10000).catch(() => {});
      assertOnceInOrder(got, texts);
      source.close();
      await server.subscribers(0);
    });

    test('a proxy that is killed leaves no subscriber behind', async () => {
      const readers = [];
      for (let i = 0; i < 20; i += 1) readers.push(await Reader.open(proxy.url(port, `/${i % 2 ? 'sub' : 'ev'}/p-kill`)));
      await server.subscribers(20);
      await proxy.killAll();
      await server.subscribers(0);
      for (const reader of readers) reader.close();
      await proxy.start();
    });

    test('a publish of ten megabytes', async () => {
      if (name === 'nginx without tuning') return;
      const answer = await publish(pub('p-large'), 'x'.repeat(10 * 1024 * 1024));
      assert.equal(JSON.parse(answer.body).stored_messages, 1);
    });

    if (websocket) {
      test('websocket: both directions, at once, and a clean end', async () => {
        const ws = new WebSocket(`ws://127.0.0.1:${proxy.ports[port]}/ws/p-ws`);
        const got = [];
        ws.on('message', (data) => got.push(JSON.parse(String(data)).text));
        await new Promise((resolve, reject) => { ws.once('open', resolve); ws.once('error', reject); });
        await server.subscribers(1);
        const texts = numbered(40);
        for (const [i, text] of texts.entries()) {
          if (i % 2) ws.send(text);
          else await publish(pub('p-ws'), text);
          await eventually(`${text} comes`, () => got.length > i, AT_ONCE);
        }
        assertOnceInOrder(got, texts);
        ws.close();
        await server.subscribers(0);
      });
    }
  });
}

describe('through nginx with TLS and HTTP/2', () => {
  let server;
  let proxy;
  before(async () => {
    server = await Server.start({ config: 'all-modes.conf', edit: quickPings });
    proxy = await Proxy.nginx('proxies/nginx-tls-http2.conf', server);
  });
  after(async () => {
    await proxy.stop();
    await server.stop();
  });

  test('a hundred streams on one HTTP/2 connection, each message at once', async () => {
    const session = http2.connect(`https://127.0.0.1:${proxy.ports[8443]}`, { rejectUnauthorized: false });
    const streams = Array.from({ length: 100 }, (_, i) => {
      const stream = session.request({ ':path': `/ev/h2-${i}` });
      stream.setEncoding('utf8');
      const state = { text: '', stream };
      stream.on('data', (part) => { state.text += part; });
      stream.on('error', () => {});
      return state;
    });
    await server.subscribers(100, 15000);
    for (let i = 0; i < 100; i += 1) await publish(server.url(9080, `/pub?id=h2-${i}`), `for ${i}`);
    await eventually('all have theirs', () => streams.every((state, i) => state.text.includes(`"text":"for ${i}"`)));
    session.destroy();
    await server.subscribers(0);
  });

  test('curl and nghttp speak HTTP/2 to it', async () => {
    await publish(server.url(9080, '/pub?id=h2-tool'), 'x');
    const url = `https://127.0.0.1:${proxy.ports[8443]}/poll/h2-tool.b1`;
    const curl = await run('curl', ['-sSik', '--http2', url]);
    assert.match(curl, /^HTTP\/2 200/);
    assert.ok(curl.includes('"text":"x"'));
    const nghttp = await run('nghttp', ['--no-verify-peer', url]);
    assert.ok(nghttp.includes('"text":"x"'), nghttp);
  });

  test('a websocket over TLS', async () => {
    const ws = new WebSocket(`wss://127.0.0.1:${proxy.ports[8443]}/ws/h2-ws`, { rejectUnauthorized: false });
    await new Promise((resolve, reject) => { ws.once('open', resolve); ws.once('error', reject); });
    const message = new Promise((resolve) => ws.once('message', (data) => resolve(JSON.parse(String(data)))));
    await publish(server.url(9080, '/pub?id=h2-ws'), 'x');
    assert.equal((await message).text, 'x');
    ws.close();
  });
});

test('a site with TLS, as docs/QUICKSTART.md installs it, passes long-polls and websockets on', async () => {
  const server = await Server.start({ config: 'default.conf' });
  // It is a file among others of a site's nginx.
  const proxy = await Proxy.nginx('proxies/site.conf', server, (text) => `events {} http { access_log off; ${text
    .replace('/etc/ssl/certs/push.pem', 'fullchain.pem').replace('/etc/ssl/private/push.key', 'privkey.pem')} }`);
  const host = `127.0.0.1:${proxy.ports[443]}`;
  const pub = () => publish(server.url(8895, '/bitrix/pub/?CHANNEL_ID=site'), '"here"');
  await pub();
  const socket = new WebSocket(`wss://${host}/bitrix/subws/?CHANNEL_ID=site`, { rejectUnauthorized: false });
  const heard = [];
  socket.on('message', (data) => heard.push(String(data)));
  const polled = run('curl', ['-sSk', `https://${host}/bitrix/sub/?CHANNEL_ID=site`]);
  await server.subscribers(2);
  await pub();
  assert.match(await polled, /"text":"here"/);
  await eventually('the websocket has it', () => heard.some((text) => text.includes('"text":"here"')), AT_ONCE);
  socket.terminate();
  await proxy.stop();
  await server.stop();
});
