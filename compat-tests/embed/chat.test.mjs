// examples/chat.rs in Chromium: what is said in one window is seen in all, a new one sees what was said, a lost line loses nothing.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { Browser } from '../browser/page.mjs';
import { scratch } from '../harness/configs.mjs';
import { eventually, freePorts, Program } from '../harness/programs.mjs';
import { Relay } from '../harness/relay.mjs';
import { builtExample, request } from '../harness/server.mjs';

const lines = (page) => page.$$eval('#lines li', (items) => items.map((item) => item.textContent));
const see = (page, expected) => eventually(`${expected.at(-1)} is seen`, async () => (await lines(page)).length >= expected.length)
  .catch(() => {}).then(async () => assert.deepEqual(await lines(page), expected));

async function say(page, name, text) {
  await page.fill('#name', name);
  await page.fill('#text', text);
  await page.click('button');
}

describe('the chat', () => {
  let program;
  let port;
  let browser;
  before(async () => {
    [port] = await freePorts(1);
    const chat = builtExample('chat');
    assert.ok(fs.existsSync(chat), `${chat} is not built: cargo build --release --examples`);
    program = new Program('chat', chat, [], { cwd: scratch(), env: { ...process.env, PORT: String(port) } });
    await program.ready([port]);
    browser = await Browser.launch();
  });
  afterEach(() => browser.closePages());
  after(async () => {
    await browser.close();
    await program.stop('SIGTERM');
    assert.doesNotMatch(program.output, /panicked/i);
  });

  async function visit(at = port) {
    const page = await browser.context.newPage();
    await page.goto(`http://127.0.0.1:${at}/`, { waitUntil: 'domcontentloaded' });
    return page;
  }

  test('what is said is seen by everybody, by those who come later too, and after a lost line', async () => {
    const [one, two] = [await visit(), await visit()];
    await say(one, 'ann', 'hello');
    await see(two, ['ann: hello']);
    await say(two, 'bob', '<b>привет</b> & "quotes"');
    const said = ['ann: hello', 'bob: <b>привет</b> & "quotes"'];
    await see(one, said);
    await see(two, said);

    const relay = await Relay.to(port);
    const three = await visit(relay.port);
    await see(three, said);
    await relay.cut();
    await say(one, 'ann', 'are you there?');
    said.push('ann: are you there?');
    await see(two, said);
    await relay.restore();
    await say(two, 'bob', 'yes');
    said.push('bob: yes');
    for (const page of [one, two, three]) await see(page, said);
    await relay.close();
  });

  test('nobody publishes but through the application, which has its bounds', async () => {
    const body = JSON.stringify({ name: 'x', text: 'y'.repeat(5000) });
    const headers = { 'Content-Type': 'application/json' };
    assert.equal((await request(`http://127.0.0.1:${port}/say`, { method: 'POST', headers, body })).status, 413);
    assert.equal((await request(`http://127.0.0.1:${port}/push/events`, { method: 'POST', body: 'x' })).status, 405);
    assert.equal((await request(`http://127.0.0.1:${port}/push/pub?id=chat`, { method: 'POST', body: 'x' })).status, 404);
  });
});
