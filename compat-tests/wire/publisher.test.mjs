// The publisher on the wire: methods, answers, refusals; all headers, in their order.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { ask, assertAnswer, assertLine, behaviour, connection, cors, post, start, UNCACHED, value } from './exchange.mjs';

const KEEP = 'Connection: keep-alive';
const info = (id, published, stored = published, subscribers = 0) => (
  `{"channel": "${id}", "published_messages": ${published}, "stored_messages": ${stored}, "subscribers": ${subscribers}}\r\n`);

describe('publisher', { concurrency: 4 }, () => {
  let server;
  before(async () => { server = await start(); });
  after(() => server.stop({ leftovers: false }));

  behaviour('POST stores the message and tells about the channel', async (t) => {
    const wire = await connection(t, server);
    for (const method of ['POST', 'PUT']) {
      const answer = await ask(wire, `${method} /pub?id=p1${method} HTTP/1.1`, ['Content-Length: 2'], 'hi');
      const body = info(`p1${method}`, 1);
      assertAnswer(answer, ['HTTP/1.1 200 OK', 'Content-Type: application/json', `Content-Length: ${body.length}`, KEEP, UNCACHED], body);
    }
  });

  behaviour('POST in chunks is the same as with a length', async (t) => {
    const wire = await connection(t, server);
    const answer = await ask(wire, 'POST /pub?id=p2 HTTP/1.1', ['Transfer-Encoding: chunked'], '3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n');
    assert.equal(answer.body, info('p2', 1));
    const read = await ask(wire, 'GET /poll/p2.b1 HTTP/1.1');
    assert.equal(read.body, '<abcde>');
  });

  behaviour('Expect: 100-continue is answered before the body', async (t) => {
    const wire = await connection(t, server);
    wire.send('POST /pub?id=p3 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n');
    await wire.until((text) => text.includes('\r\n\r\n'));
    assert.equal(wire.text, 'HTTP/1.1 100 Continue\r\n\r\n', 'it is told to go on');
    wire.bytes = Buffer.alloc(0);
    wire.send('hi');
    assert.equal((await wire.answer()).body, info('p3', 1));
  });

  behaviour('several channels in one request are told as a group', async (t) => {
    const wire = await connection(t, server);
    const { body } = await post(wire, '/pub?id=p4a/p4b%2Fp4c', 'x');
    assert.match(body, /^\{"hostname": ".*", "time": "[-\dT:]{19}", "channels": \d+, "wildcard_channels": 0, "uptime": \d+, "infos": \[\r\n/);
    const row = (id) => info(id, 1).slice(0, -2);
    assert.ok(body.endsWith(`"infos": [\r\n${row('p4a')},\r\n${row('p4b')},\r\n${row('p4c')}\r\n]}\r\n`), body);
  });

  behaviour('an empty message is refused, the channel exists afterwards', async (t) => {
    const wire = await connection(t, server);
    const answer = await post(wire, '/pub?id=p5', '');
    assertAnswer(answer, ['HTTP/1.1 400 Bad Request', 'Content-Length: 0', KEEP, UNCACHED,
      'X-Nginx-PushStream-Explain: Empty post requests are not allowed.']);
    assert.equal((await ask(wire, 'GET /pub?id=p5 HTTP/1.1')).body, info('p5', 0));
  });

  behaviour('no id, a reserved id, a long id are refused', async (t) => {
    const wire = await connection(t, server);
    const refusals = [
      ['/pub', '400 Bad Request', 'No channel id provided.'],
      ['/pub?id=ALL', '403 Forbidden', 'Channel id not authorized for this method.'],
      ['/pub?id=a*b', '403 Forbidden', 'Channel id not authorized for this method.'],
      [`/pub?id=${'x'.repeat(21)}`, '400 Bad Request', 'Channel id is too large.'],
    ];
    for (const [target, status, explain] of refusals) {
      const answer = await ask(wire, `GET ${target} HTTP/1.1`);
      assertAnswer(answer, [`HTTP/1.1 ${status}`, 'Content-Length: 0', KEEP, UNCACHED, `X-Nginx-PushStream-Explain: ${explain}`]);
    }
  });

  behaviour('GET of an unknown channel is an empty 404', async (t) => {
    const wire = await connection(t, server);
    assertAnswer(await ask(wire, 'GET /pub?id=none HTTP/1.1'), ['HTTP/1.1 404 Not Found', 'Content-Length: 0', KEEP, UNCACHED]);
  });

  behaviour('DELETE is for the admin publisher', async (t) => {
    const wire = await connection(t, server);
    await post(wire, '/pub?id=p6', 'x');
    assertAnswer(await ask(wire, 'DELETE /pub?id=p6 HTTP/1.1'),
      ['HTTP/1.1 405 Not Allowed', 'Content-Length: 0', KEEP, UNCACHED, 'Allow: GET, POST, PUT']);
    const methods = 'GET, POST, PUT, DELETE';
    assertAnswer(await ask(wire, 'DELETE /admin?id=p6 HTTP/1.1'),
      ['HTTP/1.1 200 OK', 'Content-Length: 0', KEEP, UNCACHED, cors(methods), 'X-Nginx-PushStream-Explain: Channel deleted.']);
    assertAnswer(await ask(wire, 'DELETE /admin?id=p6 HTTP/1.1'),
      ['HTTP/1.1 404 Not Found', 'Content-Length: 0', KEEP, UNCACHED, cors(methods)]);
  });

  behaviour('OPTIONS needs no id; HEAD and PATCH are not allowed', async (t) => {
    const wire = await connection(t, server);
    const methods = 'GET, POST, PUT, DELETE';
    assertAnswer(await ask(wire, 'OPTIONS /admin HTTP/1.1'), ['HTTP/1.1 200 OK', 'Content-Length: 0', KEEP, UNCACHED, cors(methods)]);
    for (const method of ['HEAD', 'PATCH']) {
      assertAnswer(await ask(wire, `${method} /admin?id=a HTTP/1.1`),
        ['HTTP/1.1 405 Not Allowed', 'Content-Length: 0', KEEP, UNCACHED, cors(methods), `Allow: ${methods}`]);
    }
  });

  behaviour('with channel info off the answer is empty', async (t) => {
    const wire = await connection(t, server);
    assertAnswer(await post(wire, '/quiet?id=p7', 'x'), ['HTTP/1.1 200 OK', 'Content-Length: 0', KEEP, UNCACHED]);
  });

  behaviour('a body above client_max_body_size is 413', async (t) => {
    const wire = await connection(t, server);
    assertLine(await post(wire, '/pub?id=p8', 'x'.repeat(10241)), 'HTTP/1.1 413 Request Entity Too Large');
    const other = await connection(t, server);
    assert.equal((await post(other, '/pub?id=p8', 'x'.repeat(10240))).body, info('p8', 1));
  });

  behaviour('a body that is refused ends the connection', async (t) => {
    const wire = await connection(t, server);
    assert.equal(value(await post(wire, '/pub?id=p13', 'x'.repeat(10241)), 'Connection'), 'close', 'it is closed');
    assert.ok(await wire.until(() => wire.ended));
  });

  behaviour('the format is chosen by what follows a slash in Accept', async (t) => {
    const wire = await connection(t, server);
    await post(wire, '/pub?id=p9', 'x');
    const formats = {
      'text/plain': ['text/plain', 'channel: p9\r\npublished_messages: 1\r\nstored_messages: 1\r\nactive_subscribers: 0\r\n'],
      'text/x-json': ['text/x-json', info('p9', 1)],
      'application/yaml': ['application/yaml', '  channel: p9\r\n  published_messages: 1\r\n  stored_messages: 1\r\n  subscribers: 0\r\n'],
      'text/html, application/xml;q=0.1': ['application/xml', '<?xml version="1.0" encoding="UTF-8" ?>\r\n<channel>\r\n  <name>p9</name>\r\n'
        + '  <published_messages>1</published_messages>\r\n  <stored_messages>1</stored_messages>\r\n  <subscribers>0</subscribers>\r\n</channel>\r\n\r\n'],
      '*/*': ['application/json', info('p9', 1)],
    };
    for (const [accept, [type, body]] of Object.entries(formats)) {
      const answer = await ask(wire, 'GET /pub?id=p9 HTTP/1.1', [`Accept: ${accept}`]);
      assertAnswer(answer, ['HTTP/1.1 200 OK', `Content-Type: ${type}`, `Content-Length: ${body.length}`, KEEP, UNCACHED], body);
    }
  });

  behaviour('more messages than may be stored push out the oldest', async (t) => {
    const wire = await connection(t, server);
    for (let i = 1; i <= 8; i += 1) assert.equal((await post(wire, '/pub?id=p10', `m${i}`)).body, info('p10', i, Math.min(i, 5)));
    assert.equal((await ask(wire, 'GET /poll/p10.b9 HTTP/1.1')).body, '<m4><m5><m6><m7><m8>');
  });

  behaviour('HTTP/1.0 is answered in HTTP/1.1 words', async (t) => {
    const wire = await connection(t, server);
    const answer = await ask(wire, 'POST /pub?id=p11 HTTP/1.0', ['Content-Length: 1'], 'x');
    const body = info('p11', 1);
    assertAnswer(answer, ['HTTP/1.1 200 OK', 'Content-Type: application/json', `Content-Length: ${body.length}`, 'Connection: close', UNCACHED], body);
  });

  behaviour('the end of an answer to HTTP/1.0 is that of its connection', async (t) => {
    const wire = await connection(t, server);
    await ask(wire, 'POST /pub?id=p14 HTTP/1.0', ['Content-Length: 1'], 'x');
    assert.ok(await wire.until(() => wire.ended), 'it ends');
  });

  behaviour('requests in one write are answered in their order', async (t) => {
    const wire = await connection(t, server);
    const one = (n) => `POST /pub?id=p12 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nm${n}`;
    wire.send(one(1) + one(2) + one(3));
    for (let i = 1; i <= 3; i += 1) assert.equal((await wire.answer()).body, info('p12', i));
  });
});
