// Scripts of other people in Chromium: the module's pushstream.js (as django-nginx-push-stream ships it), Bitrix's b24jssdk.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { body, channelId, clientConfig, oneWorker, open, php } from '../bitrix/portal.mjs';
import { eventually } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { Browser, received } from './page.mjs';

let browser;
before(async () => { browser = await Browser.launch(); });
afterEach(() => browser.closePages());
after(() => browser.close());

describe('pushstream.js', () => {
  let server;
  before(async () => { server = await Server.start({ config: 'all-modes.conf' }); });
  after(() => server.stop());

  const ways = {
    eventsource: { modes: 'eventsource' },
    websocket: { modes: 'websocket' },
    'long-polling by arguments': { modes: 'longpolling', messagesControlByArgument: true, messagesPublishedAfter: 1 },
    'long-polling by JSONP': { modes: 'longpolling', useJSONP: true, messagesControlByArgument: true, messagesPublishedAfter: 1 },
  };
  for (const [name, options] of Object.entries(ways)) {
    test(`${name}: two channels, bursts, a deleted channel`, async () => {
      const ids = [`p${Date.now()}a`, `p${Date.now()}b`];
      const page = await browser.open('pushstream.html', {
        host: '127.0.0.1', port: server.ports[9080], channels: ids, ...options,
      });
      await server.subscribers(1);
      const texts = numbered(120);
      for (const [i, text] of texts.entries()) {
        await publish(server.url(9080, `/pub?id=${ids[i % 2]}`), text);
        if (i % 9 === 0) await sleep(40);
      }
      const got = await received(page, 120);
      for (const [i, id] of ids.entries()) {
        assertOnceInOrder(got.filter((m) => m.channel === id).map((m) => m.text), texts.filter((_, n) => n % 2 === i), `${name} ${id}`);
      }
      await server.subscribers(1);
      assert.equal((await request(server.url(9080, `/pub?id=${ids[0]}`), { method: 'DELETE' })).status, 200);
      await eventually('the script hears of the deletion', () => page.evaluate((id) => window.deleted.includes(id), ids[0]));
      await page.evaluate(() => window.client.disconnect());
      await page.close();
      await server.subscribers(0);
    });
  }
});

describe('b24jssdk', () => {
  let server;
  before(async () => { server = await Server.start({ config: 'default.conf', edit: oneWorker }); });
  after(() => server.stop());

  for (const transport of ['long-polling', 'websocket']) {
    test(`${transport}: two channels, bursts`, async () => {
      const ids = { private: channelId(), shared: channelId() };
      const list = Object.values(ids);
      await php('socket-wait', server.ports[8895], [{ ids: list, body: open }]);
      const page = await browser.open('b24jssdk.html', clientConfig({
        host: `127.0.0.1:${server.ports[8893]}`, transport, ids,
      }));
      await server.subscribers(1, 10000);
      const texts = numbered(120);
      for (const [i, text] of texts.entries()) {
        await publish(server.url(8895, `/bitrix/pub/?CHANNEL_ID=${list[i % 2]}`), body(text));
        if (i % 11 === 0) await sleep(50);
      }
      assertOnceInOrder(await received(page, 120), texts, transport);
      await page.close();
      await server.subscribers(0);
    });
  }
});
