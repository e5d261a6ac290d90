// Chromium's own EventSource, WebSocket, fetch, XMLHttpRequest and script tags, from a page of another origin.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../harness/programs.mjs';
import { Relay } from '../harness/relay.mjs';
import { publish, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { Proxy } from '../proxies/proxy.mjs';
import { Browser, received } from './page.mjs';

let number = 0;
const channel = () => `browser${(number += 1)}`;

/** Publishes `texts` in bursts of uneven size with Event-Ids. */
async function bursts(server, id, texts) {
  for (let sent = 0, round = 0; sent < texts.length; round += 1) {
    const burst = texts.slice(sent, sent + 1 + ((round * 7) % 13));
    sent += burst.length;
    for (const text of burst) await publish(server.url(9080, `/pub?id=${id}`), text, { 'Event-Id': `e-${text}` });
    await sleep((round % 3) * 30);
  }
}

describe('Chromium', () => {
  let server;
  let browser;
  before(async () => {
    server = await Server.start({ config: 'all-modes.conf' });
    browser = await Browser.launch();
  });
  afterEach(() => browser.closePages());
  after(async () => {
    await browser.close();
    await server.stop();
  });
  const address = () => `127.0.0.1:${server.ports[9080]}`;

  for (const transport of ['eventsource', 'websocket', 'fetch', 'xhr', 'preflight', 'jsonp']) {
    test(`${transport}: 200 messages in bursts arrive once each, in order`, async () => {
      const id = channel();
      const page = await browser.open('native.html', { transport, server: address(), channel: id });
      await server.subscribers(1);
      const texts = numbered(200);
      await bursts(server, id, texts);
      assertOnceInOrder(await received(page, 200), texts, transport);
      await page.close();
      await server.subscribers(0);
    });
  }

  for (const transport of ['eventsource', 'websocket', 'xhr', 'jsonp']) {
    test(`${transport}: a line that is cut three times loses and doubles nothing`, async () => {
      const id = channel();
      const relay = await Relay.to(server.ports[9080]);
      const page = await browser.open('native.html', { transport, server: `127.0.0.1:${relay.port}`, channel: id });
      await server.subscribers(1);
      const texts = numbered(80);
      for (let part = 0; part < 4; part += 1) {
        await bursts(server, id, texts.slice(part * 20, part * 20 + 10));
        if (part === 3) {
          await bursts(server, id, texts.slice(70));
          break;
        }
        // Without a message there would be nothing to go on from.
        await received(page, part * 20 + 10);
        await relay.cut();
        await server.subscribers(0);
        await bursts(server, id, texts.slice(part * 20 + 10, part * 20 + 20));
        await relay.restore();
        await server.subscribers(1, 15000);
      }
      assertOnceInOrder(await received(page, 80), texts, transport);
      await page.close();
      await relay.close();
      await server.subscribers(0);
    });
  }

  test('a page publishes over its websocket and hears itself', async () => {
    const page = await browser.open('native.html', { transport: 'websocket', server: address(), channel: channel() });
    await eventually('it is open', () => page.evaluate(() => window.opened > 0));
    for (const text of ['one', 'dva', 'три', '四']) await page.evaluate((t) => window.send(t), text);
    assert.deepEqual(await received(page, 4), ['one', 'dva', 'три', '四']);
    await page.close();
  });

  test('a message of a megabyte reaches every transport', async () => {
    const id = channel();
    const large = 'я'.repeat(524288);
    const pages = [];
    const all = ['eventsource', 'websocket', 'fetch', 'xhr'];
    for (const transport of all) pages.push(await browser.open('native.html', { transport, server: address(), channel: id }));
    await server.subscribers(4);
    await publish(server.url(9080, `/pub?id=${id}`), large);
    for (const [i, page] of pages.entries()) {
      const got = await received(page, 1);
      assert.equal(got.length, 1, all[i]);
      assert.ok(got[0] === large, `${all[i]} got ${got[0].length} characters`);
      await page.close();
    }
  });
});

describe('Chromium and a server that goes away', () => {
  let browser;
  before(async () => { browser = await Browser.launch(); });
  afterEach(() => browser.closePages());
  after(() => browser.close());

  for (const way of ['stop', 'kill']) {
    for (const transport of ['eventsource', 'websocket', 'xhr', 'jsonp']) {
      test(`${transport}: ${way} and start, the page is there again and hears everything`, async () => {
        const server = await Server.start({ config: 'all-modes.conf' });
        const id = channel();
        const page = await browser.open('native.html', { transport, server: `127.0.0.1:${server.ports[9080]}`, channel: id });
        await server.subscribers(1);
        await bursts(server, id, numbered(20, 'a'));
        await received(page, 20);
        await (way === 'stop' ? server.stop({ leftovers: false }) : server.kill());
        await server.launch();
        await server.subscribers(1, 15000);
        await bursts(server, id, numbered(20, 'b'));
        assertOnceInOrder(await received(page, 40), [...numbered(20, 'a'), ...numbered(20, 'b')], transport);
        await page.close();
        await server.stop();
      });
    }
  }
});

describe('Chromium through nginx with TLS and HTTP/2', () => {
  let server;
  let proxy;
  let browser;
  before(async () => {
    server = await Server.start({ config: 'all-modes.conf' });
    proxy = await Proxy.nginx('proxies/nginx-tls-http2.conf', server);
    browser = await Browser.launch();
  });
  afterEach(() => browser.closePages());
  after(async () => {
    await browser.close();
    await proxy.stop();
    await server.stop();
  });

  test('more subscribers at once than six connections would allow, all by EventSource', async () => {
    const ids = Array.from({ length: 9 }, channel);
    const options = { transport: 'eventsource', server: `127.0.0.1:${proxy.ports[8443]}`, scheme: 'https' };
    const pages = [];
    for (const id of ids) pages.push(await browser.open('native.html', { ...options, channel: id }));
    await server.subscribers(9, 15000);
    const texts = numbered(30);
    for (const id of ids) for (const text of texts) await publish(server.url(9080, `/pub?id=${id}`), text);
    for (const page of pages) {
      assertOnceInOrder(await received(page, 30), texts);
      await page.close();
    }
  });

  for (const transport of ['websocket', 'fetch', 'xhr']) {
    test(`${transport}: bursts`, async () => {
      const id = channel();
      const page = await browser.open('native.html', {
        transport, server: `127.0.0.1:${proxy.ports[8443]}`, scheme: 'https', channel: id,
      });
      await server.subscribers(1);
      const texts = numbered(100);
      await bursts(server, id, texts);
      assertOnceInOrder(await received(page, 100), texts, transport);
      await page.close();
    });
  }
});
