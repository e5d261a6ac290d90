// The programs in README.md, taken from its text and run as they stand.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Browser } from '../browser/page.mjs';
import { example, scratch } from '../harness/configs.mjs';
import { block } from '../harness/documentation.mjs';
import { eventually, run } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';

const readme = (name) => block('README.md', name);

test('the long-polling loop of the README prints each message once', async () => {
  const server = await Server.start({ config: 'default.conf', edit: (text) => text.replace('connection_ttl 40;', 'connection_ttl 2;') });
  const file = path.join(scratch(), 'listen.sh');
  fs.writeFileSync(file, readme('listen.sh'));
  const pub = server.url(8895, '/bitrix/pub/?CHANNEL_ID=news');
  // Before anybody has published the loop is refused and tries again.
  const loop = spawn('sh', [file, 'news'], { env: { ...process.env, SERVER: server.url(8893) }, detached: true });
  let printed = '';
  let said = '';
  loop.stdout.on('data', (text) => { printed += text; });
  loop.stderr.on('data', (text) => { said += text; });
  try {
    await eventually('it says why it waits', () => said !== '', 10000);
    await sleep(1500);
    assert.equal(said, 'listen.sh waits: 403: nobody has published to this channel yet\n', 'once');
    await run('curl', ['-sS', '-d', '"open"', pub]);
    await server.subscribers(1, 10000);
    const seen = () => [...printed.matchAll(/"text":"(.*?)"/g)].map((match) => match[1]);
    const texts = numbered(120);
    for (const [i, text] of texts.entries()) {
      if (i % 5 === 0) await run('curl', ['-sS', '-d', `"${text}"`, pub]);
      else await publish(pub, `"${text}"`);
      // Twice beyond the time of a poll: its 304 has to lead on.
      if (i % 50 === 49) await sleep(2500);
      else if (i % 10 === 0) await sleep(60);
    }
    await eventually('the last is printed', () => seen().includes('m120'), 10000);
    assertOnceInOrder(seen().filter((text) => text !== 'open'), texts, 'the loop');
    assert.equal(said.trim().split('\n').length, 1, said);
    await server.stop({ leftovers: false });
    await eventually('it says that nobody is there', () => said.endsWith(`listen.sh waits: no answer from ${server.url(8893)}\n`), 10000);
    await server.launch();
  } finally {
    process.kill(-loop.pid, 'SIGKILL');
  }
  await server.stop();
});

test('the page of the README receives by EventSource and by WebSocket, over a restart too', async () => {
  const server = await Server.start({ config: 'all-modes.conf' });
  const html = readme('page.html').replace('127.0.0.1:9080', `127.0.0.1:${server.ports[9080]}`);
  const site = http.createServer((_, res) => res.writeHead(200, { 'Content-Type': 'text/html' }).end(html));
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  const browser = await Browser.launch();
  const page = await browser.context.newPage();
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  const lines = async (kind) => (await page.textContent('#log')).split('\n')
    .filter((line) => line.startsWith(`${kind} `)).map((line) => line.split(' ')[1]);
  const both = (count) => eventually(`${count} lines of each`, async () => (
    (await lines('eventsource')).length >= count && (await lines('websocket')).length >= count), 15000);

  await server.subscribers(2);
  const texts = numbered(40);
  for (const [i, text] of texts.slice(0, 20).entries()) {
    await run('curl', ['-sS', '-H', `Event-Id: ${i + 1}`, '-d', text, server.url(9080, '/pub?id=news')]);
  }
  await both(20);
  await server.stop({ leftovers: false });
  await server.launch();
  await server.subscribers(2, 15000);
  for (const [i, text] of texts.slice(20).entries()) {
    await run('curl', ['-sS', '-H', `Event-Id: ${i + 21}`, '-d', text, server.url(9080, '/pub?id=news')]);
  }
  await both(40);
  assertOnceInOrder(await lines('eventsource'), texts, 'EventSource');
  assertOnceInOrder(await lines('websocket'), texts, 'WebSocket');
  await page.close();
  await browser.close();
  site.closeAllConnections();
  site.close();
  await server.stop();
});

/** Texts that quoting in a shell, JSON or a form would spoil. */
const HARD = ['"', "it's", '\\', 'a\nb\r\n\tc\n', '100 % %s %n', 'a & b = c + d ; $HOME `id` $(id) !', '<script>"\'</script>', 'Привет \u2028 \u{1f600}', '\u0001\u001b[31m', ''];

/** The command of the README that publishes any text, with another in place of its own. */
function withText(commands) {
  const line = commands.split('\n').find((command) => command.includes('jq'));
  assert.ok(line.includes("'any \"text\", 100 % & more'"), line);
  return line.replace("'any \"text\", 100 % & more'", '"$TEXT"');
}

test('the commands of the README publish any text', async () => {
  const bitrix = await Server.start({ config: 'default.conf' });
  const commands = withText(readme('readme-publish')).replaceAll('127.0.0.1:8895', `127.0.0.1:${bitrix.ports[8895]}`);
  const modes = await Server.start({ config: 'all-modes.conf' });
  const quoted = withText(readme('readme-event')).replaceAll('127.0.0.1:9080', `127.0.0.1:${modes.ports[9080]}`);
  for (const text of HARD) {
    await run('sh', ['-eu'], { input: commands, env: { TEXT: text } });
    // An empty text is no message of the module's.
    if (text !== '') await run('sh', ['-eu'], { input: quoted, env: { TEXT: text } });
  }
  const past = { 'If-Modified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT' };
  const polled = await request(bitrix.url(8893, '/bitrix/sub/?CHANNEL_ID=news&time=Thu,%2001%20Jan%201970%2000:00:00%20GMT'), { headers: past });
  const messages = [...polled.body.matchAll(/#!NGINXNMS!#(.*?)#!NGINXNME!#/gs)].map((match) => JSON.parse(match[1]).text);
  assert.deepEqual(messages, HARD);
  const page = await request(modes.url(9080, '/poll/news'), { headers: past });
  const texts = page.body.replaceAll('}{', '}\n{').split('\n').map((line) => JSON.parse(line).text);
  assert.deepEqual(texts, HARD.filter((text) => text !== ''));
  await bitrix.stop();
  await modes.stop();
});

test('the commands of the README publish and tell', async () => {
  const bitrix = await Server.start({ config: 'default.conf' });
  const commands = readme('readme-publish').replaceAll('127.0.0.1:8895', `127.0.0.1:${bitrix.ports[8895]}`);
  const said = await run('sh', ['-eu'], { input: commands });
  assert.match(said, /"channel": ?"news"/);
  assert.equal(commands, block('README.ru.md', 'readme-publish').replaceAll('127.0.0.1:8895', `127.0.0.1:${bitrix.ports[8895]}`));
  await bitrix.stop();
  const modes = await Server.start({ config: 'all-modes.conf' });
  await run('sh', ['-eu'], { input: readme('readme-event').replaceAll('127.0.0.1:9080', `127.0.0.1:${modes.ports[9080]}`) });
  assert.equal(Number((await modes.statistics()).stored_messages), 2);
  await modes.stop();
});

test('the location of docs/OPERATIONS.md tells statistics', async () => {
  // Beside the modes of an example: a server that only tells statistics would push nothing.
  const text = example('all-modes.conf').replace(/location \S*\s*\/channels-stats \{[^}]*\}/, () => block('docs/OPERATIONS.md', 'statistics'));
  assert.ok(text.includes('allow 127.0.0.1;'));
  const server = await Server.start({ text, statistics: false });
  assert.match((await request(server.url(9080, '/channels-stats'))).body, /"subscribers"/);
  assert.equal((await request(server.url(9080, '/channels-stats?id=ALL'))).status, 200);
  assert.deepEqual(await server.program.stop('SIGTERM'), { code: 0, signal: null });
});
