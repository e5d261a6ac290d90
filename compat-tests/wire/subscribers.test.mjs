// Polling, long-polling, streaming and eventsource on the wire.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { chunks } from '../harness/wire.mjs';
import { ask, assertAnswer, assertHead, behaviour, connection, cors, post, start, UNCACHED, value } from './exchange.mjs';

const KEEP = 'Connection: keep-alive';
const NOW = () => new Date().toUTCString();

describe('subscribers', { concurrency: 4 }, () => {
  let server;
  before(async () => { server = await start(); });
  after(() => server.stop());

  behaviour('polling without anything to say is 304 without validators', async (t) => {
    const wire = await connection(t, server);
    assertAnswer(await ask(wire, 'GET /poll/s1 HTTP/1.1'),
      ['HTTP/1.1 304 Not Modified', 'Content-Type: text/plain', 'Content-Length: 0', KEEP, UNCACHED]);
  });

  behaviour('polling goes on from Last-Modified and Etag, message by message', async (t) => {
    const wire = await connection(t, server);
    let position = [`If-Modified-Since: ${new Date(Date.now() - 5000).toUTCString()}`];
    for (const text of ['one', 'two', 'three']) {
      await post(wire, '/pub?id=s2', text);
      const answer = await ask(wire, 'GET /poll/s2 HTTP/1.1', position);
      const tag = value(answer, 'Etag');
      assert.match(tag, /^W\/\d+$/);
      assertAnswer(answer, ['HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Last-Modified: <now>', 'Transfer-Encoding: chunked', KEEP,
        UNCACHED, `Etag: ${tag}`], `<${text}>`);
      position = [`If-Modified-Since: ${value(answer, 'Last-Modified')}`, `If-None-Match: ${tag}`];
      assertAnswer(await ask(wire, 'GET /poll/s2 HTTP/1.1', position), ['HTTP/1.1 304 Not Modified', 'Content-Type: text/plain',
        'Content-Length: 0', 'Last-Modified: <now>', KEEP, UNCACHED, `Etag: ${tag}`]);
    }
  });

  behaviour('a message is one chunk', async (t) => {
    const wire = await connection(t, server);
    for (const text of ['a', 'b', 'c']) await post(wire, '/pub?id=s3', text);
    assert.deepEqual(chunks((await ask(wire, 'GET /poll/s3.b9 HTTP/1.1')).raw), ['<a>', '<b>', '<c>'], 'one chunk each');
  });

  behaviour('JSONP wraps the messages', async (t) => {
    const wire = await connection(t, server);
    for (const text of ['a', 'b']) await post(wire, '/pub?id=s4', text);
    const answer = await ask(wire, 'GET /poll/s4.b9?callback=f HTTP/1.1');
    assert.equal(value(answer, 'Content-Type'), 'application/javascript');
    assert.equal(answer.body, 'f([<a>,<b>]);');
  });

  behaviour('only known channels where that is asked for, and known means a stored message', async (t) => {
    const wire = await connection(t, server);
    const refused = ['HTTP/1.1 403 Forbidden', 'Content-Length: 0', KEEP, UNCACHED, 'X-Nginx-PushStream-Explain: Subscriber could not create channels.'];
    assertAnswer(await ask(wire, 'GET /known/s5 HTTP/1.1'), refused);
    await post(wire, '/quiet?id=s5', 'not stored');
    assertAnswer(await ask(wire, 'GET /known/s5 HTTP/1.1'), refused);
    await post(wire, '/pub?id=s5', 'stored');
    assert.equal((await ask(wire, 'GET /known/s5 HTTP/1.1')).status, 304);
  });

  behaviour('methods: OPTIONS is answered, others are not allowed', async (t) => {
    const wire = await connection(t, server);
    assertAnswer(await ask(wire, 'OPTIONS /lp/s6 HTTP/1.1'), ['HTTP/1.1 200 OK', 'Content-Length: 0', KEEP, cors('GET')]);
    for (const method of ['HEAD', 'DELETE']) {
      assertAnswer(await ask(wire, `${method} /lp/s6 HTTP/1.1`),
        ['HTTP/1.1 405 Not Allowed', 'Content-Length: 0', KEEP, cors('GET'), UNCACHED, 'Allow: GET']);
    }
  });

  behaviour('long-polling is answered by the next message', async (t) => {
    const wire = await connection(t, server);
    const publisher = await connection(t, server);
    wire.send('GET /lp/s7 HTTP/1.1\r\nHost: x\r\n\r\n');
    await sleep(150);
    assert.equal(wire.text, '');
    await post(publisher, '/pub?id=s7', 'live');
    const answer = await wire.answer();
    assertAnswer(answer, ['HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Last-Modified: <now>', 'Transfer-Encoding: chunked', KEEP,
      cors('GET'), UNCACHED, `Etag: ${value(answer, 'Etag')}`], '<live>');
    // The connection is good for the next poll.
    const again = await ask(wire, 'GET /lp/s7.b1 HTTP/1.1');
    assert.equal(again.body, '<live>');
  });

  behaviour('long-polling ends with 304 of now, from where the next one goes on', async (t) => {
    const wire = await connection(t, server);
    const none = await ask(wire, 'GET /lp/s8 HTTP/1.1', [`If-Modified-Since: ${NOW()}`]);
    assertAnswer(none, ['HTTP/1.1 304 Not Modified', 'Content-Type: text/plain', 'Content-Length: 0', 'Last-Modified: <now>', KEEP,
      cors('GET'), UNCACHED, `Etag: ${value(none, 'Etag')}`]);
    // 0, or the tag of the last message on any channel in this second.
    assert.match(value(none, 'Etag'), /^W\/\d+$/);
    await post(wire, '/pub?id=s8', 'next');
    const position = [`If-Modified-Since: ${value(none, 'Last-Modified')}`, `If-None-Match: ${value(none, 'Etag')}`];
    assert.equal((await ask(wire, 'GET /lp/s8 HTTP/1.1', position)).body, '<next>');
  });

  behaviour('long-polling hears of a deleted channel, and goes on behind it', async (t) => {
    const wire = await connection(t, server);
    const publisher = await connection(t, server);
    wire.send('GET /lp/s9 HTTP/1.1\r\nHost: x\r\n\r\n');
    await sleep(150);
    await ask(publisher, 'DELETE /admin?id=s9 HTTP/1.1', ['Content-Length: 3'], 'bye');
    const answer = await wire.answer();
    assert.equal(answer.status, 200);
    assert.equal(answer.body, '<bye>');
    await post(publisher, '/pub?id=s9', 'next');
    const position = [`If-Modified-Since: ${value(answer, 'Last-Modified')}`, `If-None-Match: ${value(answer, 'Etag')}`];
    assert.equal((await ask(wire, 'GET /lp/s9 HTTP/1.1', position)).body, '<next>');
  });

  behaviour('streaming: header, history, live, deletion, footer; each one chunk', async (t) => {
    const wire = await connection(t, server);
    const publisher = await connection(t, server);
    await post(publisher, '/pub?id=s10', 'old', ['Event-Id: e1', 'Event-Type: t1']);
    wire.send('GET /sub/s10.b1 HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.ok(await wire.until((text) => text.includes('old')));
    await post(publisher, '/pub?id=s10', 'new');
    assert.ok(await wire.until((text) => text.includes('new')));
    await ask(publisher, 'DELETE /admin?id=s10 HTTP/1.1');
    const answer = await wire.answer();
    assertHead(answer, ['HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Transfer-Encoding: chunked', KEEP, ...cors('GET'), ...UNCACHED]);
    assert.deepEqual(chunks(answer.raw), ['HEAD ~id~|', '[1:s10:old:3:e1:t1]', '[2:s10:new:3::]', '[-2:s10:Channel deleted:15::]', '|FOOT']);
  });

  behaviour('streaming: pings while nothing happens, the end after the ttl, then the next request', async (t) => {
    const wire = await connection(t, server);
    wire.send('GET /short/s11 HTTP/1.1\r\nHost: x\r\n\r\nGET /poll/s11 HTTP/1.1\r\nHost: x\r\n\r\n');
    const answer = await wire.answer();
    assert.deepEqual(chunks(answer.raw), ['H', ' ', ' ', 'F']);
    assert.equal((await wire.answer()).status, 304);
  });

  behaviour('eventsource: lines of one message, id and type', async (t) => {
    const wire = await connection(t, server);
    const publisher = await connection(t, server);
    wire.send('GET /ev/s12 HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.ok(await wire.until((text) => text.includes(': \n')));
    await post(publisher, '/pub?id=s12', 'a\r\nb\n\nc', ['Event-Id: 7', 'Event-Type: t']);
    await ask(publisher, 'DELETE /admin?id=s12 HTTP/1.1');
    const answer = await wire.answer();
    assertHead(answer, ['HTTP/1.1 200 OK', 'Content-Type: text/event-stream; charset=utf-8', 'Transfer-Encoding: chunked', KEEP, ...UNCACHED]);
    assert.equal(answer.body, ': \nid: 7\nevent: t\ndata: a\ndata: b\ndata: c\n\ndata: Channel deleted\n\n');
  });

  behaviour('eventsource goes on after the last event id', async (t) => {
    const wire = await connection(t, server);
    const publisher = await connection(t, server);
    for (const n of [1, 2, 3]) await post(publisher, '/pub?id=s13', `m${n}`, [`Event-Id: ${n}`]);
    wire.send('GET /ev/s13 HTTP/1.1\r\nHost: x\r\nLast-Event-Id: 1\r\n\r\n');
    assert.ok(await wire.until((text) => text.includes('data: m3')));
    assert.ok(wire.text.includes('data: m2') && !wire.text.includes('data: m1'));
    wire.close();
  });

  behaviour('HTTP/1.0: the same bytes without chunks, the end is the end of the connection', async (t) => {
    const wire = await connection(t, server);
    wire.send('GET /short/s14 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    const answer = await wire.answer();
    assertHead(answer, ['HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Connection: close', ...UNCACHED]);
    assert.equal(answer.body, 'H  F');
  });
});
