// npm `ws` in Node.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { eventually } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';

describe('ws', () => {
  let server;
  before(async () => {
    server = await Server.start({
      config: 'websocket.conf',
      edit: (text) => text.replace('ping_message_interval 10s', 'ping_message_interval 300ms').replace('location = /pub {', 'location = /pub {\nclient_max_body_size 64m;'),
    });
  });
  after(() => server.stop());

  /** An open connection that keeps its messages. */
  const open = async (target) => {
    const ws = new WebSocket(`ws://127.0.0.1:${server.ports[9080]}${target}`);
    ws.messages = [];
    ws.on('message', (data) => ws.messages.push(JSON.parse(String(data))));
    ws.on('error', () => {});
    await new Promise((resolve, reject) => { ws.once('open', resolve); ws.once('error', reject); });
    return ws;
  };
  const pub = (id) => server.url(9080, `/pub?id=${id}`);
  const texts = (ws) => ws.messages.map((message) => message.text);

  test('hundreds of messages on two channels, once each, in order', async () => {
    const ws = await open('/ws/one/two');
    await server.subscribers(1);
    const all = numbered(500);
    for (const [i, text] of all.entries()) await publish(pub(i % 3 ? 'one' : 'two'), text);
    await eventually('all arrive', () => ws.messages.length >= 500);
    assertOnceInOrder(texts(ws), all);
    ws.close();
    await server.subscribers(0);
  });

  test('what one client sends all of the channel get, itself included', async () => {
    const clients = [];
    for (let i = 0; i < 10; i += 1) clients.push(await open('/ws/room'));
    await server.subscribers(10);
    const all = numbered(50);
    for (const text of all) clients[0].send(text);
    for (const ws of clients) {
      await eventually('all arrive', () => ws.messages.length >= 50);
      assertOnceInOrder(texts(ws), all);
      ws.close();
    }
    await server.subscribers(0);
  });

  test('time and tag of the last message bring what came after it', async () => {
    const first = await open('/ws/resume');
    await server.subscribers(1);
    const all = numbered(40);
    for (const text of all.slice(0, 15)) await publish(pub('resume'), text);
    await eventually('the first part arrives', () => first.messages.length === 15);
    first.terminate();
    await server.subscribers(0);
    for (const text of all.slice(15)) await publish(pub('resume'), text);
    const { time, tag } = first.messages.at(-1);
    const second = await open(`/ws/resume?time=${encodeURIComponent(time)}&tag=${tag}`);
    await eventually('the rest arrives', () => second.messages.length >= 25);
    assertOnceInOrder([...texts(first), ...texts(second)], all);
    second.close();
  });

  test('every length of a frame: around 125, 65535 and up to 16 megabytes', async () => {
    const ws = await open('/ws/large');
    await server.subscribers(1);
    const sizes = [1, 60, 61, 62, 63, 64, 65, 125, 126, 65400, 65450, 65535, 65536, 1048576, 16777216];
    for (const size of sizes) await publish(pub('large'), 'x'.repeat(size));
    await eventually('all arrive', () => ws.messages.length >= sizes.length, 20000);
    assert.deepEqual(texts(ws).map((text) => text.length), sizes);
    ws.close();
    await server.subscribers(0);
  });

  test('pings come and are answered', async () => {
    const ws = await open('/ws/ping');
    let pings = 0;
    ws.on('ping', () => { pings += 1; });
    await eventually('three pings', () => pings >= 3);
    assert.equal(ws.readyState, WebSocket.OPEN);
    ws.close();
  });

  test('closing is a handshake', async () => {
    const ws = await open('/ws/close');
    ws.close(1000, 'done');
    const code = await new Promise((resolve) => ws.once('close', resolve));
    assert.notEqual(code, 1006);
    await server.subscribers(0);
  });

  test('a deleted channel says so and closes', async () => {
    const ws = await open('/ws/deleted');
    await server.subscribers(1);
    // It may be closed before the answer has come.
    const closed = new Promise((resolve) => ws.once('close', resolve));
    assert.equal((await request(pub('deleted'), { method: 'DELETE' })).status, 200);
    await closed;
    assert.deepEqual(ws.messages.map(({ id, text }) => [id, text]), [[-2, 'Channel deleted']]);
  });
});
