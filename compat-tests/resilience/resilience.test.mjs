// Clients, publishers and lines that go away at any moment: no panic, no subscriber left in the statistics, nothing lost.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { eventually } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { Wire } from '../harness/wire.mjs';
import { Reader } from '../proxies/reader.mjs';

/** Numbers that look random and are the same in every run. */
function dice(seed) {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % sides;
  };
}

describe('whatever goes away', () => {
  let server;
  before(async () => { server = await Server.start({ config: 'all-modes.conf', edit: (t) => t.replaceAll('ping_message_interval 10s', 'ping_message_interval 500ms') }); });
  after(() => server.stop());
  const pub = (id) => server.url(9080, `/pub?id=${id}`);
  const upgrade = (target) => `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
    + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

  test('subscribers of every mode dropped at every stage of a request', async () => {
    const roll = dice(7);
    const requests = ['/sub/gone', '/lp/gone', '/poll/gone', '/ev/gone'].map((t) => `GET ${t} HTTP/1.1\r\nHost: x\r\n\r\n`);
    requests.push(upgrade('/ws/gone'), 'POST /pub?id=gone HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc');
    for (let round = 0; round < 300; round += 1) {
      const wire = await Wire.open(server.ports[9080]);
      const text = requests[roll(requests.length)];
      wire.send(text.slice(0, roll(2) ? text.length : 1 + roll(text.length)));
      if (roll(3) === 0) await publish(pub('gone'), 'x'.repeat(roll(5000) + 1));
      if (roll(2)) await sleep(roll(8));
      if (roll(2)) wire.socket.resetAndDestroy();
      else wire.close();
    }
    await server.subscribers(0);
  });

  test('a killed client process', async () => {
    const children = Array.from({ length: 10 }, () => spawn('curl', ['-sSN', server.url(9080, '/sub/killed')], { stdio: 'ignore' }));
    await server.subscribers(10);
    for (const child of children) child.kill('SIGKILL');
    await server.subscribers(0);
  });

  test('a publisher that dies in the middle of a body publishes nothing', async () => {
    for (const head of ['Content-Length: 100', 'Transfer-Encoding: chunked']) {
      const wire = await Wire.open(server.ports[9080]);
      wire.send(`POST /pub?id=half HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n${head.startsWith('C') ? 'only so much' : '5\r\nhello\r\n'}`);
      await sleep(50);
      wire.socket.resetAndDestroy();
    }
    await sleep(100);
    const info = await request(pub('half'));
    assert.ok(info.status === 404 || JSON.parse(info.body).published_messages === 0, info.body);
  });

  test('half-closed subscribers are gone', async () => {
    const wires = [];
    for (const target of ['/sub/half-closed', '/ev/half-closed', '/lp/half-closed']) {
      const wire = await Wire.open(server.ports[9080]);
      wire.send(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
      wires.push(wire);
    }
    await server.subscribers(3);
    for (const wire of wires) wire.socket.end();
    await server.subscribers(0);
    for (const wire of wires) wire.close();
  });

  test('a subscriber that does not read neither slows nor harms the others', { timeout: 120000 }, async () => {
    const stalled = net.connect(server.ports[9080], '127.0.0.1');
    stalled.on('error', () => {});
    stalled.write('GET /sub/stalled HTTP/1.1\r\nHost: x\r\n\r\n');
    stalled.pause();
    const reader = await Reader.open(server.url(9080, '/sub/stalled'));
    await server.subscribers(2);
    const filling = 'x'.repeat(100000);
    const texts = numbered(300);
    const begin = Date.now();
    for (const text of texts) await publish(pub('stalled'), `${text}:${filling}`);
    await eventually('the other has all', () => (reader.text.match(/"text":"m\d+:/g) ?? []).length === 300, 20000);
    assert.ok(Date.now() - begin < 20000);
    assertOnceInOrder([...reader.text.matchAll(/"text":"(m\d+):/g)].map((m) => m[1]), texts);
    reader.close();
    stalled.destroy();
    await server.subscribers(0);
  });

  test('a channel deleted while polls wait and sockets are open', async () => {
    const roll = dice(11);
    for (let round = 0; round < 20; round += 1) {
      const id = `deleted${round}`;
      const polls = Array.from({ length: 5 }, () => request(server.url(9080, `/lp/${id}`)).catch((error) => error));
      const ws = new WebSocket(`ws://127.0.0.1:${server.ports[9080]}/ws/${id}`);
      ws.on('error', () => {});
      const closed = new Promise((resolve) => ws.once('close', resolve));
      await server.subscribers(6);
      if (roll(2)) publish(pub(id), 'x').catch(() => {});
      await request(pub(id), { method: 'DELETE' });
      for (const poll of await Promise.all(polls)) assert.equal(poll.status, 200);
      await closed;
    }
    await server.subscribers(0);
  });

  test('the same channel twice in one request', async () => {
    for (const mode of ['lp', 'sub', 'ev']) {
      const reader = Reader.open(server.url(9080, `/${mode}/twice/twice`));
      await server.subscribers(1);
      await publish(pub('twice'), 'x');
      const got = await reader;
      await eventually('it comes', () => got.text.includes('"text":"x"'));
      got.close();
      await server.subscribers(0);
    }
  });

  test('long-polling clients under load: 60 clients, bursts, nothing lost or doubled', { timeout: 90000 }, async () => {
    const texts = numbered(150);
    const clients = Array.from({ length: 60 }, async (_, n) => {
      const got = [];
      let position = { time: new Date(Date.now() - 1000).toUTCString(), tag: '0' };
      while (got.length < texts.length) {
        const answer = await request(server.url(9080, `/lp/load?time=${encodeURIComponent(position.time)}&tag=${position.tag}&n=${n}`));
        for (const text of answer.body.split(/(?<=\})(?=\{)/).filter(Boolean)) {
          position = JSON.parse(text);
          got.push(position.text);
        }
      }
      return got;
    });
    for (const client of clients) client.catch(() => {});
    await server.subscribers(60);
    for (let at = 0; at < texts.length; at += 3) {
      await Promise.resolve();
      for (const text of texts.slice(at, at + 3)) await publish(pub('load'), text);
      await sleep(15);
    }
    for (const client of clients) assertOnceInOrder(await client, texts);
    await server.subscribers(0);
  });
});

describe('stopping', () => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    test(`${signal} ends every mode properly`, async () => {
      const server = await Server.start({ config: 'all-modes.conf' });
      const streaming = await Wire.open(server.ports[9080]);
      streaming.send('GET /sub/stop HTTP/1.1\r\nHost: x\r\n\r\n');
      const poll = await Wire.open(server.ports[9080]);
      poll.send('GET /lp/stop HTTP/1.1\r\nHost: x\r\n\r\n');
      const ws = new WebSocket(`ws://127.0.0.1:${server.ports[9080]}/ws/stop`);
      ws.on('error', () => {});
      const closed = new Promise((resolve) => ws.once('close', resolve));
      await server.subscribers(3);
      const how = await server.program.stop(signal);
      assert.deepEqual(how, { code: 0, signal: null });
      assert.ok(await streaming.until((text) => text.endsWith('0\r\n\r\n')), streaming.text);
      assert.equal((await poll.answer()).status, 304);
      assert.notEqual(await closed, 1006);
      server.judge();
    });
  }

  test('QUIT says farewell to subscribers and ends', async () => {
    const server = await Server.start({ config: 'all-modes.conf' });
    const reader = await Reader.open(server.url(9080, '/sub/quit'));
    await server.subscribers(1);
    server.program.child.kill('SIGQUIT');
    await eventually('the stream ends', () => reader.ended);
    const how = await Promise.race([server.program.exited, sleep(8000)]);
    assert.deepEqual(how, { code: 0, signal: null });
  });

  test('reload keeps messages and serves the new configuration', async () => {
    const server = await Server.start({ config: 'all-modes.conf' });
    await publish(server.url(9080, '/pub?id=kept'), 'x');
    const fs = await import('node:fs');
    const text = fs.readFileSync(server.file, 'utf8');
    fs.writeFileSync(server.file, text.replaceAll('location ~ ^/poll/', 'location ~ ^/(?:poll|again)/'));
    server.program.child.kill('SIGHUP');
    await eventually('the new location answers', async () => (await request(server.url(9080, '/again/kept.b1'))).body.includes('"text":"x"'));
    fs.writeFileSync(server.file, 'http { mistake');
    server.program.child.kill('SIGHUP');
    await sleep(500);
    assert.equal((await request(server.url(9080, '/poll/kept.b1'))).status, 200);
    fs.writeFileSync(server.file, text);
    await server.stop();
  });
});
