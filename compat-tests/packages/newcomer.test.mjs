// docs/QUICKSTART.md by the clock, command by command as it stands: from a Debian that has never seen pushstreamd to a page in Chromium that
// receives through nginx with TLS, the status page, metrics scraped by a Prometheus, and a doctor's word. A step's time is told with it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Browser } from '../browser/page.mjs';
import { block } from '../harness/documentation.mjs';
import { accepts, eventually } from '../harness/programs.mjs';
import { request } from '../harness/server.mjs';
import { Prometheus } from '../monitoring/prometheus.mjs';
import { built, Machine } from './machine.mjs';

/** What the way may take in all, seconds; the machine is there, nothing is installed. */
const AT_MOST = 600;

let machine;
let browser;
let began;
before(async () => {
  [machine, browser] = await Promise.all([Machine.boot('newcomer'), Browser.launch()]);
  machine.take(built(/^pushstreamd_.*\.deb$/));
  began = Date.now();
});
after(async () => {
  await browser?.close();
  await machine?.halt();
});

/** Carries out a block of the page. */
const follow = (name) => machine.sh(`cd /root\n${block('docs/QUICKSTART.md', name)}`).catch(async (error) => {
  throw new Error(`${error.message}\n${await machine.try('journalctl -u pushstreamd -u nginx --no-pager -n 30; tail -n 20 /var/log/pushstreamd/*.log')}`);
});

/** A step of the way; when it was done is told. */
const step = (name, body) => test(name, async (t) => {
  await body();
  t.diagnostic(`done ${((Date.now() - began) / 1000).toFixed(1)} s after the beginning`);
});

const shown = (page, id) => page.textContent(`#${id}`);
const messages = (page) => page.$$eval('#messages li', (items) => items.map((item) => item.textContent));

async function open(query) {
  const page = await browser.context.newPage();
  page.failures = [];
  page.on('pageerror', (error) => page.failures.push(String(error)));
  await page.goto(`https://localhost/push.html${query}`);
  return page;
}

step('the package is installed and serves', async () => {
  assert.match(await follow('quick-install'), /Active: active \(running\)/);
  await eventually('8893 accepts', () => accepts(8893), 15000);
});

step('nginx has a certificate and passes the push paths on', async () => {
  await follow('quick-certificate');
  await follow('quick-nginx');
  await eventually('443 accepts', () => accepts(443), 15000);
});

step('a page behind nginx with TLS receives what is published, by WebSocket and by long-polling', async () => {
  const [socket, poll] = [await open(''), await open('?by=poll')];
  for (const page of [socket, poll]) {
    await eventually('the page waits for the channel', async () => (await shown(page, 'state')) === 'Nobody has published here yet.', 10000);
  }
  const said = await follow('quick-publish');
  assert.match(said, /"channel": "news"/);
  // Either may connect when the first of the two messages is there already: one is new to it, and the next is to both.
  await eventually('WebSocket', async () => (await shown(socket, 'state')) === 'Connected by WebSocket.', 10000);
  await eventually('long-polling', async () => (await shown(poll, 'state')) === 'Connected by long-polling.', 10000);
  await follow('quick-publish');
  for (const page of [socket, poll]) {
    await eventually('the messages are on the page', async () => (await messages(page)).slice(-2).join() === 'hello,as PHP does it', 10000);
    assert.deepEqual(page.failures, []);
  }
  // nginx goes and comes: the page goes on where it was.
  await machine.sh('systemctl stop nginx');
  await eventually('the page says so', async () => (await shown(socket, 'state')) === 'The server is away.', 10000);
  assert.equal((await request('http://127.0.0.1:8895/bitrix/pub/?CHANNEL_ID=news', { method: 'POST', body: '"missed"' })).status, 200);
  await machine.sh('systemctl start nginx');
  for (const page of [socket, poll]) {
    await eventually('what was missed comes', async () => (await messages(page)).at(-1) === 'missed', 20000);
  }
});

step('the status page is open and shows both', async () => {
  const page = await browser.context.newPage();
  await page.goto('http://127.0.0.1:8896/');
  await eventually('two subscribers are shown', async () => (await page.textContent('#subscribers')) === '2', 15000);
  await eventually('their channel is shown', async () => (await page.textContent('#rows')).startsWith('news'), 15000);
});

step('metrics are there, and a Prometheus scrapes them by what OPERATIONS.md says', async () => {
  assert.match(await follow('quick-metrics'), /^pushstreamd_messages_published_total 5$/m);
  const prometheus = await Prometheus.start('127.0.0.1:8896');
  const [sample] = await eventually('it has been scraped', async () => {
    const found = await prometheus.query('pushstreamd_messages_published_total');
    return found.length > 0 && found;
  }, 30000);
  assert.equal(sample.value[1], '5');
  await prometheus.stop();
  for (const name of ['alerts/pushstreamd.rules.yml', 'grafana/pushstreamd.json', 'images/status-light.png', 'QUICKSTART.md']) {
    assert.ok(fs.existsSync(machine.path(path.join('usr/share/doc/pushstreamd/docs', name))), name);
  }
});

step('a doctor gets a message through nginx with TLS', async () => {
  // What else it finds (the clock of the machine that tests, its limits) may be bad.
  const said = await machine.try(block('docs/QUICKSTART.md', 'quick-doctor'));
  assert.match(said, /^fine {2}tls: localhost:443, which is trusted, ends in \d+ days$/m);
  assert.match(said, /^fine {2}front: a message was there after [\d.]+ ms$/m);
  // Of the service, not of the shell it is asked in.
  assert.match(said, /^fine {2}server: process \d+ runs with it$/m);
  assert.match(said, /^(fine|note|BAD ) {2}open files: process \d+ may have \d+ open/m);
  assert.match(said, /^fine {2}socket: 127\.0\.0\.1:8896 is held by pushstreamd \(pid \d+\)$/m);
  assert.doesNotMatch(said, /^BAD {3}(front|tls|socket|configuration)/m);
});

test('all of it takes less than ten minutes', () => {
  assert.ok((Date.now() - began) / 1000 < AT_MOST);
});
