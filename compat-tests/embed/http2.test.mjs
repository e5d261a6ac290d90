// The wire tests once more, through the router inside an axum application that is asked over HTTP/2; a websocket by extended CONNECT.

import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../harness/programs.mjs';

process.env.WIRE_DOOR = 'http2';
for (const suite of ['publisher', 'statistics', 'subscribers']) await import(`../wire/${suite}.test.mjs`);
const { ask, connection, post, start } = await import('../wire/exchange.mjs');

describe('websocket over HTTP/2', () => {
  let server;
  before(async () => { server = await start(); });
  after(() => server.stop());

  test('header, history, live, deletion, footer, close', async (t) => {
    const publisher = await connection(t, server);
    await post(publisher, '/pub?id=w1', 'old');
    const session = http2.connect(server.url(9080));
    t.after(() => session.destroy());
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws/w1.b1', 'sec-websocket-version': '13' });
    let head;
    let got = '';
    let ended = false;
    stream.on('response', (fields) => { head = fields; });
    stream.on('data', (data) => { got += data.toString('latin1'); });
    stream.on('end', () => { ended = true; });
    const text = (payload) => `\x81${String.fromCharCode(payload.length)}${payload}`;
    await eventually('the history is there', () => got.endsWith(text('<1 old>')));
    assert.equal(head[':status'], 200);
    await post(publisher, '/pub?id=w1', 'new');
    await ask(publisher, 'DELETE /admin?id=w1 HTTP/1.1');
    await eventually('it has ended', () => ended);
    assert.equal(got, `${text('HEAD')}${text('<1 old>')}${text('<2 new>')}${text('<-2 Channel deleted>')}${text('FOOT')}\x88\x00`);
  });
});
