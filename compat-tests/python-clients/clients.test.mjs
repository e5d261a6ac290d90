// Python: websockets, requests, sseclient-py and django-nginx-push-stream against every mode.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { root } from '../harness/configs.mjs';
import { run } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';

const python = path.join(root, 'compat-tests/.cache/venv/bin/python');
const script = path.join(path.dirname(fileURLToPath(import.meta.url)), 'clients.py');
const client = (...args) => run(python, [script, ...args.map(String)]).then((text) => (
  text.split('\n').filter(Boolean).map((line) => JSON.parse(line))));

describe('Python', () => {
  let server;
  before(async () => { server = await Server.start({ config: 'all-modes.conf' }); });
  after(() => server.stop());

  const ways = [
    ['websockets', 'ws', '/ws/'], ['requests-stream', 'http', '/sub/'], ['sseclient', 'http', '/ev/'],
    ['requests-long-poll', 'http', '/lp/'], ['requests-poll', 'http', '/poll/'],
  ];
  for (const [name, scheme, prefix] of ways) {
    test(`${name}: 200 messages in bursts, once each, in order`, async () => {
      const id = `py-${name}`;
      const got = client(name, `${scheme}://127.0.0.1:${server.ports[9080]}${prefix}${id}`, 200);
      got.catch(() => {});
      if (name === 'requests-poll') await sleep(500);
      else await server.subscribers(1, 10000);
      const texts = numbered(200);
      for (const [i, text] of texts.entries()) {
        await publish(server.url(9080, `/pub?id=${id}`), text, { 'Event-Id': String(i + 1) });
        if (i % 17 === 0) await sleep(40);
      }
      assertOnceInOrder((await got).map((message) => message.text), texts, name);
      await server.subscribers(0);
    });
  }

  test('websockets publishes, hears itself, and its ping is answered with its payload', async () => {
    const got = await client('websockets-publish', `ws://127.0.0.1:${server.ports[9080]}/ws/py-talk`, 50);
    assertOnceInOrder(got.map((message) => message.text), numbered(50));
  });

  test('sseclient sees Event-Id and Event-Type', async () => {
    const got = client('sseclient', server.url(9080, '/ev/py-typed'), 1);
    await server.subscribers(1, 10000);
    await publish(server.url(9080, '/pub?id=py-typed'), 'up', { 'Event-Id': '7', 'Event-Type': 'price' });
    const [event] = await got;
    assert.equal(event.event, 'price');
    assert.equal(event.text, 'up');
    assert.equal(event.eventid, '7');
  });

  test('a Django application publishes through django-nginx-push-stream', async () => {
    const answers = await client('django', '127.0.0.1', server.ports[9080], 'news', 'hello', 'Привет');
    assert.deepEqual(answers.map((a) => [a.channel, a.published_messages]), [['app_news', 1], ['app_news', 2]]);
    const { body } = await request(server.url(9080, '/poll/app_news.b2'));
    assert.ok(body.includes('\\u041f\\u0440'), body);
  });
});
