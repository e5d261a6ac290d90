// WebSocket on the wire: the handshake byte for byte, frames as the module sends them.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { ask, assertAnswer, assertSwitched, behaviour, connection, post, start, UNCACHED } from './exchange.mjs';

const OFFER = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'];
const request = (target, offer = OFFER) => `GET ${target} HTTP/1.1\r\nHost: x\r\n${offer.join('\r\n')}\r\n\r\n`;
const ACCEPTED = ['HTTP/1.1 101 Switching Protocols', ...UNCACHED, 'Upgrade: WebSocket', 'Connection: Upgrade',
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='];
const text = (payload) => `\x81${String.fromCharCode(payload.length)}${payload}`;

describe('websocket', { concurrency: 4 }, () => {
  let server;
  before(async () => { server = await start(); });
  after(() => server.stop());

  behaviour('handshake, header, history, live, deletion, footer, close', async (t) => {
    const wire = await connection(t, server);
    const publisher = await connection(t, server);
    await post(publisher, '/pub?id=w1', 'old');
    wire.send(request('/ws/w1.b1'));
    assert.ok(await wire.until((got) => got.endsWith(text('<1 old>'))), wire.text);
    await post(publisher, '/pub?id=w1', 'new');
    await ask(publisher, 'DELETE /admin?id=w1 HTTP/1.1');
    assert.ok(await wire.until(() => wire.ended));
    assertSwitched(wire, ACCEPTED, text('HEAD') + text('<1 old>') + text('<2 new>') + text('<-2 Channel deleted>') + text('FOOT') + '\x88\x00');
  });

  behaviour('the three lengths of a frame', async (t) => {
    const wire = await connection(t, server);
    const publisher = await connection(t, server);
    wire.send(request('/ws/w2'));
    assert.ok(await wire.until((got) => got.endsWith(text('HEAD'))));
    wire.bytes = Buffer.alloc(0);
    // `<1 ` and `>` are four bytes.
    await post(publisher, '/pub?id=w2', 'x'.repeat(121));
    await post(publisher, '/pub?id=w2', 'x'.repeat(122));
    assert.ok(await wire.until((got) => got.length === 2 + 125 + 4 + 126));
    assert.equal(wire.bytes.subarray(0, 2).toString('hex'), '817d');
    assert.equal(wire.bytes.subarray(127, 131).toString('hex'), '817e007e');
  });

  behaviour('a refusal comes after the handshake, as close 1008 with a reason in JSON', async (t) => {
    const wire = await connection(t, server);
    wire.send(request('/ws/ALL'));
    assert.ok(await wire.until(() => wire.ended));
    const reason = '{"http_status": 403, "explain":"Channel id not authorized for this method."}';
    assertSwitched(wire, ACCEPTED, `\x88${String.fromCharCode(reason.length + 2)}\x03\xf0${reason}`);
  });

  behaviour('what is missing or wrong in the offer', async (t) => {
    for (let i = 0; i < OFFER.length; i += 1) {
      const wire = await connection(t, server);
      const answer = await ask(wire, 'GET /ws/w3 HTTP/1.1', OFFER.filter((_, n) => n !== i));
      assertAnswer(answer, ['HTTP/1.1 400 Bad Request', 'Content-Length: 0', 'Connection: close', UNCACHED,
        "X-Nginx-PushStream-Explain: Don't have at least one of the mandatory headers: Connection, Upgrade, Sec-WebSocket-Key and Sec-WebSocket-Version"]);
    }
    const wire = await connection(t, server);
    const answer = await ask(wire, 'GET /ws/w3 HTTP/1.1', [...OFFER.slice(0, 3), 'Sec-WebSocket-Version: 12']);
    assertAnswer(answer, ['HTTP/1.1 400 Bad Request', 'Content-Length: 0', 'Connection: close', UNCACHED, 'Sec-WebSocket-Version: 8, 13',
      'X-Nginx-PushStream-Explain: Version not supported. Supported versions: 8, 13']);
  });

  behaviour('only GET', async (t) => {
    const wire = await connection(t, server);
    assertAnswer(await ask(wire, 'OPTIONS /ws/w4 HTTP/1.1', OFFER), ['HTTP/1.1 405 Not Allowed', 'Content-Length: 0', 'Connection: close', 'Allow: GET']);
  });
});
