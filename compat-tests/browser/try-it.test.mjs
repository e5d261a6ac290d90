// The page on which the embedded layout is tried, in Chromium: what it says can be done is done, by keyboard too.
// The ports of the layout are fixed; nobody else may have them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { promisify } from 'node:util';
import { root, scratch } from '../harness/configs.mjs';
import { eventually, Program } from '../harness/programs.mjs';
import { binary, publish, request } from '../harness/server.mjs';
import { Browser, objections } from './page.mjs';

let browser;
let program;
before(async () => {
  program = new Program(path.basename(binary), binary, ['-p', scratch()], {});
  await program.ready([8893, 8895]);
  browser = await Browser.launch();
});
afterEach(() => browser.closePages());
after(async () => {
  await browser?.close();
  const how = await program.stop('SIGTERM');
  assert.deepEqual(how, { code: 0, signal: null }, program.output);
  assert.doesNotMatch(program.output, /panicked/i);
});

/** The page, with whatever its policy or its script complains of. */
async function open(url = 'http://127.0.0.1:8895/') {
  const page = await browser.context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (line) => {
    // A refusal is a failed request to a browser.
    if (line.type() === 'error' && !/status of 40\d/.test(line.text())) page.complaints.push(line.text());
  });
  await page.goto(url);
  return page;
}

const says = (page, id, text) => eventually(`#${id} says ${text}`, async () => (await page.textContent(`#${id}`)).includes(text), 10000);
const messages = (page) => page.$$eval('#messages li', (items) => items.map((item) => item.lastChild.textContent));

for (const [mode, shown] of [['poll', 'long-polling'], ['socket', 'WebSocket']]) {
  test(`${shown}: a channel is waited for, and what is published comes, whatever it holds`, async () => {
    const page = await open();
    const channel = `try-${mode}-${Date.now()}`;
    for (const form of ['subscribe', 'publish']) await page.fill(`#${form} [name=channel]`, channel);
    await page.selectOption('#subscribe [name=mode]', mode);
    await page.click('#subscribe button');
    await says(page, 'state', '403: nobody has published to this channel yet');
    const texts = ['it\'s "so"', 'two\nlines', '<b>no</b> & ünï ✓', '#!NGINX'];
    await page.fill('#publish [name=text]', 'opens the channel');
    await page.click('#publish button');
    await says(page, 'answer', 'Published: {"channel": "');
    await says(page, 'state', `Waiting for messages of ${channel} by ${shown}.`);
    const before = (await messages(page)).length;
    for (const [n, text] of texts.entries()) {
      await page.fill('#publish [name=text]', text);
      await page.click('#publish button');
      await eventually(text, async () => (await messages(page)).length === before + n + 1, 10000);
    }
    assert.deepEqual((await messages(page)).slice(before), texts);
    // From outside, as PHP does it.
    await publish(`http://127.0.0.1:8895/bitrix/pub/?CHANNEL_ID=${channel}`, '{"module":"im"}');
    await eventually('JSON is shown as it is', async () => (await messages(page)).at(-1) === '{"module":"im"}', 10000);
    await page.click('#stop');
    await says(page, 'state', 'Not subscribed.');
    assert.deepEqual(page.complaints, []);
  });
}

test('a refusal says why on the page', async () => {
  const page = await open();
  await page.fill('#publish [name=channel]', '');
  await page.click('#publish button');
  await says(page, 'answer', '400 Bad Request: No channel id provided.');
  await page.fill('#publish [name=channel]', 'x'.repeat(40));
  await page.click('#publish button');
  await says(page, 'answer', 'Channel id is too large.');
  assert.deepEqual(page.complaints, []);
});

test('everything can be done by keyboard and is announced', async () => {
  const page = await open('http://127.0.0.1:8893/');
  assert.equal(page.url(), 'http://127.0.0.1:8895/');
  const channel = `keys-${Date.now()}`;
  await publish(`http://127.0.0.1:8895/bitrix/pub/?CHANNEL_ID=${channel}`, '"open"');
  const names = [];
  for (let n = 0; n < 9; n += 1) {
    await page.keyboard.press('Tab');
    names.push(await page.evaluate(() => document.activeElement.labels?.[0]?.firstChild.textContent.trim()
      ?? document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()));
    if (names.at(-1) === 'Channel') await page.keyboard.insertText(channel);
    if (names.at(-1) === 'Subscribe') await page.keyboard.press('Enter');
    if (names.at(-1) === 'Message') {
      await page.keyboard.press('Control+A');
      await page.keyboard.insertText('typed');
    }
    if (names.at(-1) === 'Publish') await page.keyboard.press('Enter');
  }
  assert.deepEqual(names.slice(0, 4), ['Channel', 'By', 'Subscribe', 'Stop'], names.join());
  await eventually('the message is there', async () => (await messages(page)).includes('typed'), 10000);
  const roles = await page.$$eval('[role]', (found) => found.map((element) => element.getAttribute('role')));
  assert.deepEqual(roles, ['status', 'log', 'status']);
  assert.deepEqual(page.complaints, []);
});

test('it fits a telephone, in light and in dark', async () => {
  const page = await open();
  await page.setViewportSize({ width: 360, height: 640 });
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const [wide, colors] = await page.evaluate(() => [document.documentElement.scrollWidth, [getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]]);
    assert.ok(wide <= 360, `${wide} wide`);
    assert.equal(colors[0] === 'rgb(255, 255, 255)', colorScheme === 'dark', colors.join());
  }
});

test('axe-core has nothing against it, by day and night, on a screen and a phone', async () => {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1200, 360]) {
      const page = await open();
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 640 });
      for (const form of ['subscribe', 'publish']) await page.fill(`#${form} [name=channel]`, `seen-${colorScheme}-${width}`);
      await page.click('#publish button');
      await says(page, 'answer', 'Published: ');
      await page.click('#subscribe button');
      await says(page, 'state', 'Waiting for messages');
      await page.click('#publish button');
      await eventually('the message is there', async () => (await messages(page)).length > 0, 10000);
      assert.deepEqual(await objections(page), [], `${colorScheme} ${width}`);
      await page.close();
    }
  }
});

test('what a user has written has no such page', async () => {
  const printed = new Program('printed', binary, ['--print-default-config'], {});
  await printed.exited;
  assert.match(printed.output, /listen 8893/);
  assert.doesNotMatch(printed.output, /try\.js/);
  assert.equal((await request('http://127.0.0.1:8895/try.css')).headers['content-type'], 'text/css; charset=utf-8');
  assert.equal((await request('http://127.0.0.1:8893/try.js')).status, 403);
});

test('the commands that docs/TOOLS.md publishes with do it', async () => {
  const text = fs.readFileSync(path.join(root, 'docs/TOOLS.md'), 'utf8');
  const [, block] = text.split(`<!-- tested: ${'tools-pub'} -->\n\n`);
  const commands = block.split('\n').filter((line, n, all) => all.slice(0, n + 1).every((before) => before.startsWith('    ')));
  const dir = scratch();
  const env = { ...process.env, PATH: `${dir}:${process.env.PATH}` };
  fs.symlinkSync(path.resolve(binary), path.join(dir, 'pushstreamd'));
  const run = promisify(execFile);
  await run('sh', ['-ec', commands.join('\n')], { cwd: dir, env });
  const { stdout } = await run('pushstreamd', ['tail', '--from', 'start', '--count', '5', 'news'], { env });
  const texts = stdout.trim().split('\n').map((line) => JSON.parse(line).text);
  assert.equal(texts[0], 'it\'s');
  assert.match(texts[1], /20\d\d/);
  assert.deepEqual(texts.slice(2), [{ a: 1 }, 'one', 'two']);
});
