// The requests of Bitrix's older JavaScript on every configuration: hundreds of messages over many polls, once each, in order.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Proxy } from '../proxies/proxy.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { body, channelId, oneWorker, open, php, withoutTime } from './portal.mjs';
import { Subscriber } from './subscriber.mjs';

const FORMS = [
  { name: 'default.conf', config: 'default.conf', edit: oneWorker, years: [2013, 2016, 2018] },
  { name: 'bitrix-0.4.conf', config: 'bitrix-0.4.conf', years: [2013, 2016, 2018] },
  { name: 'bitrix-0.4.conf without a time', config: 'bitrix-0.4.conf', edit: withoutTime, years: [2013, 2016, 2018] },
  { name: 'bitrix-0.3.4.conf', config: 'bitrix-0.3.4.conf', years: [2013, 2016] },
];

for (const { years, name, ...form } of FORMS) {
  describe(`long-polling of old clients on ${name}`, { concurrency: 3 }, () => {
    let server;
    let proxy;
    before(async () => {
      server = await Server.start(form);
      proxy = await Proxy.nginx('proxies/nginx-bitrix.conf', server);
    });
    after(async () => {
      await proxy.stop();
      await server.stop();
    });

    for (const year of years) {
      for (const way of ['directly', 'through nginx']) {
        test(`the client of ${year}, ${way}: bursts over many polls`, async () => {
          const id = channelId();
          const ports = way === 'directly' ? server.ports : { 8893: proxy.ports[8080], 8895: proxy.ports[8896] };
          await php('socket-wait', ports[8895], [{ ids: [id], body: open }]);
          // Past the second of `open`, so that "from now on" does not include it.
          await sleep(1100);
          const subscriber = await Subscriber.longPolling(ports[8893], [id], { years: year, pause: 5 });
          await sleep(200);
          const texts = numbered(300);
          for (let sent = 0, round = 0; sent < texts.length; round += 1) {
            const burst = texts.slice(sent, sent + 1 + ((round * 5) % 11));
            sent += burst.length;
            for (const text of burst) await publish(`http://127.0.0.1:${ports[8895]}/bitrix/pub/?CHANNEL_ID=${id}`, body(text));
            await sleep((round % 4) * 25);
          }
          const got = (await subscriber.received(300)).map((frame) => frame.text.params.text);
          subscriber.close();
          assertOnceInOrder(got, texts, `the client of ${year}`);
          assert.ok(subscriber.statuses.length > 20, `only ${subscriber.statuses.length} polls`);
        });
      }
    }
  });
}

describe('resume', () => {
  let server;
  before(async () => { server = await Server.start({ config: 'default.conf', edit: oneWorker }); });
  after(() => server.stop());

  test('a websocket that comes back with tag and time gets exactly what it missed', async () => {
    const id = channelId();
    const texts = numbered(60);
    const send = async (list) => {
      for (const text of list) await publish(server.url(8895, `/bitrix/pub/?CHANNEL_ID=${id}`), body(text));
    };
    await send(['first']);
    await sleep(1100);
    const got = [];
    let last = {};
    for (let at = 0; at < 60; at += 20) {
      const subscriber = await Subscriber.websocket(server.ports[8893], [id], last);
      await send(texts.slice(at, at + 10));
      got.push(...await subscriber.received(at === 0 ? 10 : 20));
      last = got.at(-1);
      subscriber.close();
      await send(texts.slice(at + 10, at + 20));
    }
    const subscriber = await Subscriber.websocket(server.ports[8893], [id], last);
    got.push(...await subscriber.received(10));
    subscriber.close();
    assertOnceInOrder(got.map((frame) => frame.text.params.text), texts);
  });

  test('a preflight is answered and allows the headers of the poll', async () => {
    const answer = await request(server.url(8893, '/bitrix/sub/?CHANNEL_ID=a'), {
      method: 'OPTIONS',
      headers: {
        Origin: 'http://portal.test',
        'Access-Control-Request-Method': 'GET',
        'Access-Control-Request-Headers': 'if-modified-since,if-none-match',
      },
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    const allowed = answer.headers['access-control-allow-headers'].toLowerCase();
    for (const name of ['if-modified-since', 'if-none-match']) assert.ok(allowed.includes(name), allowed);
  });

  test('waiting ends after 40 seconds with 304', { timeout: 60000 }, async () => {
    const id = channelId();
    await php('socket-wait', server.ports[8895], [{ ids: [id], body: open }]);
    await sleep(1100);
    const begin = Date.now();
    const answer = await request(server.url(8893, `/bitrix/sub/?CHANNEL_ID=${id}`));
    const took = (Date.now() - begin) / 1000;
    assert.equal(answer.status, 304);
    assert.ok(took > 39 && took < 43, `it took ${took} s`);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
  });
});
