// Channel statistics on the wire: the summary, all, by prefix, one, several, none.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { ask, assertAnswer, assertHead, behaviour, connection, post, start, UNCACHED } from './exchange.mjs';

const KEEP = 'Connection: keep-alive';
const VERSION = ['X-Nginx-PushStream-Tag: 0.5.4', 'X-Nginx-PushStream-Commit: 3d4cc6dc3ab97ac3516246c680a33cb83dd66ab7'];

describe('statistics', () => {
  let server;
  before(async () => { server = await start(); });
  after(() => server.stop());

  behaviour('the summary counts, channels are listed in the order they came to be', async (t) => {
    const wire = await connection(t, server);
    for (const id of ['news_b', 'news_a', 'other']) await post(wire, `/pub?id=${id}`, 'x');
    const summary = await ask(wire, 'GET /stats HTTP/1.1');
    const length = `Content-Length: ${summary.body.length}`;
    assertHead(summary, ['HTTP/1.1 200 OK', 'Content-Type: application/json', length, KEEP, UNCACHED, VERSION]);
    assert.match(summary.body, new RegExp('^\\{"hostname": ".*", "time": "[-\\dT:]{19}", "channels": 3, "wildcard_channels": 0, '
      + '"published_messages": 3, "stored_messages": 3, "messages_in_trash": 0, "channels_in_delete": 0, "channels_in_trash": 0, '
      + '"subscribers": 0, "uptime": \\d+, "by_worker": \\[\\r\\n(\\{"pid": "\\d+", "subscribers": 0, "uptime": \\d+\\},?\\r\\n)+\\]\\}\\r\\n$'));
    const ids = async (id) => JSON.parse((await ask(wire, `GET /stats?id=${id} HTTP/1.1`)).body).infos.map((info) => info.channel);
    assert.deepEqual(await ids('ALL'), ['news_b', 'news_a', 'other']);
    assert.deepEqual(await ids('news_*'), ['news_b', 'news_a']);
    assert.deepEqual(await ids('other/news_a'), ['other', 'news_a']);
    assert.deepEqual(await ids('nothing*'), []);
  });

  behaviour('the summary has a row for each worker', async (t) => {
    const wire = await connection(t, server);
    assert.equal(JSON.parse((await ask(wire, 'GET /stats HTTP/1.1')).body).by_worker.length, 1, 'one worker');
  });

  behaviour('one channel, no channel, a long id', async (t) => {
    const wire = await connection(t, server);
    await post(wire, '/pub?id=one', 'x');
    const body = '{"channel": "one", "published_messages": 1, "stored_messages": 1, "subscribers": 0}\r\n';
    assertAnswer(await ask(wire, 'GET /stats?id=one HTTP/1.1'),
      ['HTTP/1.1 200 OK', 'Content-Type: application/json', `Content-Length: ${body.length}`, KEEP, UNCACHED, VERSION], body);
    assertAnswer(await ask(wire, 'GET /stats?id=none HTTP/1.1'), ['HTTP/1.1 404 Not Found', 'Content-Length: 0', KEEP, UNCACHED, VERSION]);
    for (const id of ['x'.repeat(21), `${'x'.repeat(20)}*`, `one/${'x'.repeat(21)}/ALL`]) {
      const long = await ask(wire, `GET /stats?id=${id} HTTP/1.1`);
      assertAnswer(long, ['HTTP/1.1 400 Bad Request', 'Content-Length: 0', KEEP, UNCACHED, VERSION,
        'X-Nginx-PushStream-Explain: Channel id is too large.']);
    }
  });

  behaviour('only GET', async (t) => {
    const wire = await connection(t, server);
    for (const method of ['HEAD', 'OPTIONS', 'DELETE', 'PUT']) {
      assertAnswer(await ask(wire, `${method} /stats HTTP/1.1`), ['HTTP/1.1 405 Not Allowed', 'Content-Length: 0', KEEP, UNCACHED, 'Allow: GET']);
    }
  });

  behaviour('connections and subscriptions are counted apart', async (t) => {
    const wire = await connection(t, server);
    const subscriber = await connection(t, server);
    subscriber.send('GET /sub/s1/s2 HTTP/1.1\r\nHost: x\r\n\r\n');
    await server.subscribers(1);
    const infos = JSON.parse((await ask(wire, 'GET /stats?id=s1/s2 HTTP/1.1')).body).infos;
    assert.deepEqual(infos.map((info) => info.subscribers), [1, 1]);
    subscriber.close();
    await server.subscribers(0);
  });
});
