// The status page in Chromium: it shows what happens, finds channels, and can be used by keyboard, at night and on a phone.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { eventually } from '../harness/programs.mjs';
import { Browser, objections } from './page.mjs';
import { Watched } from './status-page.mjs';

describe('the status page', () => {
  let watched;
  let browser;
  before(async () => {
    watched = await Watched.start();
    browser = await Browser.launch();
  });
  afterEach(() => browser.closePages());
  after(async () => {
    await browser.close();
    await watched.stop();
  });

  /** The page, open and live; nothing may go wrong on it. */
  async function open({ language = 'en', colorScheme = 'light', width = 1200 } = {}) {
    const page = await browser.context.newPage();
    page.wrongs = [];
    page.on('pageerror', (error) => page.wrongs.push(String(error)));
    page.on('console', (message) => { if (message.type() === 'error') page.wrongs.push(message.text()); });
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 800 });
    await page.addInitScript((wanted) => { if (!localStorage.getItem('language')) localStorage.setItem('language', wanted); }, language);
    await page.goto(watched.page);
    await page.waitForSelector('#live.good');
    return page;
  }
  const text = (page, selector) => page.locator(selector).innerText();
  const whole = (page) => assert.deepEqual(page.wrongs, []);

  test('what happens is shown as it happens', async () => {
    const page = await open();
    assert.equal(await text(page, '#subscribers'), '0');
    watched.subscribe('ws', 'room', 3);
    watched.subscribe('ev', 'room', 2);
    await eventually('five subscribers', async () => (await text(page, '#subscribers')) === '5');
    assert.match(await text(page, '#modes'), /eventsource\s*2[\s\S]*websocket\s*3/);
    for (let i = 0; i < 20; i += 1) await watched.publish('room');
    await eventually('deliveries', async () => Number((await text(page, '#delivered')).replace(/[^\d.]/g, '')) > 0);
    await eventually('stored messages', async () => (await text(page, '#stored')) === '20');
    await watched.refused('/known/nobody');
    await eventually('the refusal', async () => (await text(page, '#refusals')).includes('not authorized'));
    for (const client of watched.clients.splice(0)) client.destroy();
    await eventually('nobody', async () => (await text(page, '#subscribers')) === '0');
    assert.match(await text(page, '#ends'), /client\s*5/);
    assert.notEqual(await page.locator('#c3 .line').getAttribute('d'), '');
    whole(page);
  });

  test('channels are found by how their id begins, a page at a time', async () => {
    for (let i = 0; i < 60; i += 1) await watched.publish(`page-${i}`);
    const page = await open();
    await page.locator('#prefix').fill('page-');
    const ids = () => page.locator('#rows td:first-child').allInnerTexts();
    await eventually('the first page', async () => {
      const found = await ids();
      return found.length === 50 && found.every((id) => id.startsWith('page-'));
    });
    await page.locator('#more').click();
    await eventually('all', async () => (await page.locator('#rows tr').count()) === 60);
    // The button is gone; whoever has pressed it is still there.
    assert.equal(await page.evaluate(() => document.activeElement.id), 'channels');
    assert.equal(await page.locator('#more').isVisible(), false);
    assert.equal(new Set(await ids()).size, 60);
    await page.locator('#prefix').fill('page-59');
    await eventually('one', async () => (await page.locator('#rows tr').count()) === 1);
    whole(page);
  });

  test('the messages of a channel are shown, newest first, and are text', async () => {
    for (let i = 0; i < 130; i += 1) await watched.publish('read-me', `line ${i}\n<b>"&`);
    const page = await open();
    await page.locator('#prefix').fill('read-me');
    await page.getByRole('button', { name: 'read-me' }).click();
    const texts = () => page.locator('#texts pre').allInnerTexts();
    await eventually('the first page', async () => (await texts()).length === 128);
    assert.equal((await texts())[0], 'line 129\n<b>"&');
    await page.locator('#older').click();
    await eventually('all', async () => (await texts()).length === 130);
    assert.equal((await texts()).at(-1), 'line 0\n<b>"&');
    assert.equal(await page.locator('#older').isVisible(), false);
    assert.equal(await text(page, '#of'), 'read-me');
    await watched.publish('nothing-kept');
    whole(page);
  });

  test('it speaks the language the browser asks for until another is chosen', async () => {
    const page = await browser.context.newPage();
    await page.setExtraHTTPHeaders({ 'Accept-Language': 'ru-RU,ru;q=0.9,en;q=0.8' });
    // Whatever was chosen before, but not what is chosen from now on.
    await page.addInitScript(() => {
      if (sessionStorage.getItem('begun')) return;
      localStorage.removeItem('language');
      sessionStorage.setItem('begun', 'yes');
    });
    await page.goto(watched.page);
    await page.waitForSelector('#live.good');
    assert.equal(await text(page, '#t1'), 'Подписчики');
    await page.locator('#language').click();
    await page.reload();
    assert.equal(await text(page, '#t1'), 'Subscribers');
  });

  test('an id that is a script is text', async () => {
    const id = '<img src=x onerror="window.hit=1"><script>window.hit=2';
    await watched.publish(id);
    const page = await open();
    await page.locator('#prefix').fill('<img');
    await eventually('it is found', async () => (await page.locator('#rows tr').count()) === 1);
    assert.equal(await text(page, '#rows td:first-child'), id);
    assert.equal(await page.evaluate(() => window.hit), undefined);
    assert.equal(await page.locator('#rows img, #rows script').count(), 0);
    whole(page);
  });

  test('ids of any characters are shown as they are, found, and opened, also on a phone', async () => {
    const ids = ['a b  c', '100 % sure', '%41%2f', '"quoted" & \'so\'', 'кабинет-7', '日本語', '\u{1f4ec} post', '\\u0041', 'dots...', '+plus+', '#hash', '&lt;b&gt;', '{{x}}',
      '\u202Ereversed', 'long-'.repeat(400)];
    const odd = (id) => `odd ${id}`;
    for (const id of ids) await watched.publish(odd(id), `of ${id.slice(0, 20)}`);
    const page = await open({ width: 340 });
    for (const id of ids) {
      await page.locator('#prefix').fill(odd(id));
      await eventually(`${id.slice(0, 20)} is found`, async () => (await page.locator('#rows td:first-child').allTextContents()).join('\n') === odd(id));
      await page.locator('#rows td:first-child button').click();
      await eventually('its message is shown', async () => (await page.locator('#texts pre').allTextContents()).join() === `of ${id.slice(0, 20)}`);
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(wide <= room, `${id.slice(0, 20)}: ${wide} of ${room}`);
      await page.keyboard.press('Escape');
    }
    whole(page);
  });

  test('with ten thousand channels it shows a page of them and stays quick', async () => {
    const many = Array.from({ length: 10000 }, (_, number) => `many-${number}`);
    while (many.length > 0) await watched.publish(many.splice(0, 500).join('/'));
    const page = await open();
    await page.locator('#prefix').fill('many-');
    await eventually('a page of them', async () => (await page.locator('#rows tr').count()) === 50);
    const began = Date.now();
    await page.locator('#prefix').fill('many-9999');
    await eventually('the last of them', async () => (await page.locator('#rows').innerText()).startsWith('many-9999'));
    assert.ok(Date.now() - began < 5000);
    whole(page);
  });

  test('the keyboard reaches everything that can be used', async () => {
    const page = await open();
    await page.locator('#prefix').fill('page-');
    await page.waitForSelector('#more:not([hidden])');
    await eventually('the channels asked for', async () => (await page.locator('#rows td:first-child').allInnerTexts()).every((id) => id.startsWith('page-')));
    await page.locator('h1').click();
    const reached = new Set();
    // Each channel is a button where texts are shown.
    for (let i = 0; i < 14 + 50; i += 1) {
      await page.keyboard.press('Tab');
      reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
    }
    const all = await page.evaluate(() => [...document.querySelectorAll('a[href], button, input')].filter((e) => e.offsetParent || e.className === 'skip').map((e) => e.id || e.textContent));
    for (const one of all.filter((name) => name !== 'To the channels')) assert.ok(reached.has(one), `${one} is not reached, but ${[...reached]}`);
    await page.locator('#language').focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'ru');
    assert.equal(await text(page, '#t1'), 'Подписчики');
    await page.evaluate(() => localStorage.clear());
    whole(page);
  });

  test('it is dark at night, and what a screen reader needs is there', async () => {
    const light = await open();
    const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const day = await background(light);
    const dark = await open({ colorScheme: 'dark' });
    assert.notEqual(day, await background(dark));
    const unnamed = await dark.evaluate(() => [...document.querySelectorAll('section, svg[role=img], input, button')]
      .filter((e) => !(e.getAttribute('aria-labelledby') || e.labels?.length || e.textContent.trim())).length);
    assert.equal(unnamed, 0);
    whole(light);
    whole(dark);
  });

  test('axe-core has nothing against it, in either language, by day and night, on a screen and a phone', async () => {
    await watched.publish('read-me');
    await watched.refused('/known/nobody');
    watched.subscribe('ws', 'read-me', 2);
    for (const language of ['en', 'ru']) {
      for (const colorScheme of ['light', 'dark']) {
        for (const width of [1200, 360]) {
          const page = await open({ language, colorScheme, width });
          await page.locator('#prefix').fill('read-me');
          await eventually('the refusal', async () => (await page.locator('#refusals li').count()) > 0);
          await page.getByRole('button', { name: 'read-me' }).click();
          await page.waitForSelector('#texts li');
          assert.deepEqual(await objections(page), [], `${language} ${colorScheme} ${width}`);
          whole(page);
          await page.evaluate(() => localStorage.clear());
          await page.close();
        }
      }
    }
  });

  test('nor where there are zones to choose from', async () => {
    const zoned = await Watched.start({ zones: true });
    try {
      const page = await browser.context.newPage();
      await page.addInitScript(() => localStorage.setItem('language', 'en'));
      await page.goto(zoned.page);
      await page.getByLabel('Zone').selectOption('other');
      await eventually('nothing is shown', async () => (await text(page, '#found')) === '0 shown');
      assert.deepEqual(await objections(page), []);
      await page.evaluate(() => localStorage.clear());
    } finally {
      await zoned.stop();
    }
  });

  test('a connection that is lost is said to everybody, and what was shown stays', async () => {
    const own = await Watched.start();
    const page = await browser.context.newPage();
    await page.addInitScript(() => localStorage.setItem('language', 'en'));
    own.subscribe('ws', 'room', 3);
    await page.goto(own.page);
    await eventually('three', async () => (await text(page, '#subscribers')) === '3');
    await own.stop();
    await page.waitForSelector('#live.bad');
    assert.equal(await page.getByRole('status').filter({ hasText: 'connection lost' }).count(), 1);
    assert.match(await text(page, '#about'), /0\.\d+\.\d+ · /);
    await page.evaluate(() => localStorage.clear());
  });

  test('a server that is started anew is live again on the page that was open', async () => {
    const first = await Watched.start();
    const page = await browser.context.newPage();
    await page.addInitScript(() => localStorage.setItem('language', 'en'));
    first.subscribe('ws', 'room', 3);
    await page.goto(first.page);
    await eventually('three', async () => (await text(page, '#subscribers')) === '3');
    await page.evaluate(() => { window.same = true; });
    await first.stop();
    await page.waitForSelector('#live.bad');
    const second = await Watched.start({ port: first.port });
    try {
      second.subscribe('ws', 'room', 2);
      await page.waitForSelector('#live.good', { timeout: 30000 });
      await eventually('two', async () => (await text(page, '#subscribers')) === '2', 15000);
      assert.equal(await page.evaluate(() => window.same), true);
      assert.doesNotMatch(await page.locator('main').innerText(), /NaN|undefined|-\d+ ?\/s/);
    } finally {
      await second.stop();
    }
    await page.evaluate(() => localStorage.clear());
  });

  test('on a phone nothing is beside the screen, in both languages', async () => {
    for (const language of ['en', 'ru']) {
      const page = await open({ width: 340, language });
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(wide <= room, `${language}: ${wide} of ${room}`);
      await page.evaluate(() => localStorage.clear());
      whole(page);
    }
  });
});
