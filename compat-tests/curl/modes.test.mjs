// curl in every mode, as the module's documentation uses it: one example file each, by its own command lines.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { eventually, run } from '../harness/programs.mjs';
import { Server } from '../harness/server.mjs';

const curl = (...args) => run('curl', ['-sS', '--max-time', '20', ...args]);

/** curl in the background: what it has printed so far. */
function stream(...args) {
  const child = spawn('curl', ['-sSN', '--max-time', '30', ...args]);
  const state = { text: '', child, ended: new Promise((resolve) => child.once('close', resolve)) };
  child.stdout.on('data', (part) => { state.text += part; });
  // Of an answer that switches protocols curl shows the head only as part of its diary (-v).
  child.stderr.on('data', (part) => { state.text += part; });
  return state;
}

describe('curl', () => {
  const servers = {};
  const names = ['streaming', 'polling', 'long-polling', 'eventsource', 'websocket', 'statistics', 'wildcard-channels', 'events-channel', 'all-modes'];
  before(async () => {
    for (const name of names) servers[name] = await Server.start({ config: `${name}.conf` });
  });
  after(async () => {
    for (const server of Object.values(servers)) await server.stop();
  });
  const at = (name, target) => servers[name].url(9080, target);

  test('streaming: header, messages, backtrack, end by deletion', async () => {
    await curl('-d', 'stored', at('streaming', '/pub?id=ch'));
    const state = stream(at('streaming', '/sub/ch.b5'));
    await eventually('history comes at once', () => state.text === '# stream\r\n1 ch stored\r\n');
    await curl('-d', 'live', at('streaming', '/pub?id=ch'));
    await eventually('live comes', () => state.text.endsWith('2 ch live\r\n'));
    await curl('-X', 'DELETE', at('streaming', '/pub?id=ch'));
    assert.equal(await state.ended, 0);
    assert.ok(state.text.endsWith('-2 ch Channel deleted\r\n# end\r\n'), state.text);
  });

  test('streaming: HTTP/1.0 gets the same text without chunks', async () => {
    const state = stream('--http1.0', '-i', at('streaming', '/sub/old'));
    await servers.streaming.subscribers(1);
    await curl('-d', 'x', at('streaming', '/pub?id=old'));
    await eventually('it comes', () => state.text.endsWith('\r\n\r\n# stream\r\n1 old x\r\n'));
    state.child.kill();
    await servers.streaming.subscribers(0);
  });

  test('polling: 304, then what is new', async () => {
    const since = new Date(Date.now() - 5000).toUTCString();
    await curl('-d', 'a', '-d', 'b', at('polling', '/pub?id=ch'));
    const head = await curl('-i', '-H', `If-Modified-Since: ${since}`, at('polling', '/poll/ch'));
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
    assert.ok(head.endsWith('a&b\n'), head);
    const again = [/Last-Modified: (.*)\r/.exec(head)[1], /Etag: (.*)\r/.exec(head)[1]];
    const nothing = await curl('-i', '-H', `If-Modified-Since: ${again[0]}`, '-H', `If-None-Match: ${again[1]}`, at('polling', '/poll/ch'));
    assert.match(nothing, /^HTTP\/1\.1 304 Not Modified\r\n/);
  });

  test('long-polling: waits for the next message', async () => {
    const state = stream(at('long-polling', '/lp/ch'));
    await servers['long-polling'].subscribers(1);
    await curl('-d', 'next', at('long-polling', '/pub?id=ch'));
    assert.equal(await state.ended, 0);
    assert.equal(state.text, 'next\n');
    const byArguments = stream(at('long-polling', '/lpa?id=ch&time=&tag='));
    await servers['long-polling'].subscribers(1);
    await curl('-d', 'one more', at('long-polling', '/pub?id=ch'));
    await byArguments.ended;
    assert.equal(JSON.parse(byArguments.text).text, 'one more');
  });

  test('eventsource: comment, id, type, data', async () => {
    const state = stream(at('eventsource', '/ev/ch'));
    await servers.eventsource.subscribers(1);
    await curl('-H', 'Event-Id: 7', '-H', 'Event-Type: note', '-d', 'x', at('eventsource', '/pub?id=ch'));
    await eventually('it comes', () => state.text.endsWith('\n\n'));
    assert.equal(state.text, ': \nid: 7\nevent: note\ndata: {"id":1,"channel":"ch","text":"x"}\n\n');
    state.child.kill();
    await servers.eventsource.subscribers(0);
  });

  test('websocket: a plain request is told what is missing', async () => {
    const answer = await curl('-i', at('websocket', '/ws/ch'));
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(answer, /X-Nginx-PushStream-Explain: Don't have at least one of the mandatory headers/);
    const handshake = stream('-v', '-H', 'Connection: Upgrade', '-H', 'Upgrade: websocket', '-H', 'Sec-WebSocket-Version: 13',
      '-H', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', at('websocket', '/ws/ch'));
    await eventually('it is accepted', () => handshake.text.includes('Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='));
    handshake.child.kill();
    await servers.websocket.subscribers(0);
  });

  test('statistics: summary and channels in every format', async () => {
    await curl('-d', 'x', at('statistics', '/pub?id=ch1'));
    await curl('-d', 'x', at('statistics', '/pub?id=ch2'));
    const summary = JSON.parse(await curl(at('statistics', '/channels-stats')));
    assert.equal(summary.channels, 2);
    assert.equal(summary.published_messages, 2);
    const all = JSON.parse(await curl(at('statistics', '/channels-stats?id=ALL')));
    assert.deepEqual(all.infos.map((info) => info.channel), ['ch1', 'ch2']);
    assert.equal(JSON.parse(await curl(at('statistics', '/channels-stats?id=ch1'))).stored_messages, 1);
    assert.equal(JSON.parse(await curl(at('statistics', '/channels-stats?id=ch*'))).infos.length, 2);
    for (const [accept, pattern] of [['text/plain', /^channel: ch1\r\n/], ['application/xml', /^<\?xml/], ['application/yaml', /^ {2}channel: ch1\r\n/]]) {
      assert.match(await curl('-H', `Accept: ${accept}`, at('statistics', '/channels-stats?id=ch1')), pattern);
    }
    assert.match(await curl('-i', at('statistics', '/channels-stats?id=none')), /^HTTP\/1\.1 404 Not Found\r\n/);
  });

  test('wildcard channels: beside a channel of one\'s own, and no more than allowed', async () => {
    const state = stream(at('wildcard-channels', '/sub/mine/all_news'));
    await servers['wildcard-channels'].subscribers(1);
    await curl('-d', 'hot', at('wildcard-channels', '/pub?id=all_news'));
    await eventually('it comes', () => state.text === 'all_news: hot\r\n');
    state.child.kill();
    for (const ids of ['all_news', 'mine/all_1/all_2/all_3']) {
      assert.match(await curl('-i', at('wildcard-channels', `/sub/${ids}`)), /403 Forbidden\r\n[\s\S]*Subscribed too much wildcard channels\./);
    }
  });

  test('events channel: tells of channels and subscribers', async () => {
    const events = stream(at('events-channel', '/events'));
    await servers['events-channel'].subscribers(1);
    const state = stream(at('events-channel', '/sub/ch'));
    await eventually('coming is told', () => events.text.includes('"client_subscribed", "channel": "ch"'));
    state.child.kill();
    await eventually('leaving is told', () => events.text.includes('"client_unsubscribed", "channel": "ch"'));
    assert.match(events.text, /event: channel_created\ndata: \{"type": "channel_created", "channel": "ch"\}\n\n/);
    events.child.kill();
    await servers['events-channel'].subscribers(0);
  });

  test('JSONP and the mode header', async () => {
    await curl('-d', 'x', at('all-modes', '/pub?id=jsonp'));
    const since = encodeURIComponent(new Date(Date.now() - 60000).toUTCString());
    const text = await curl(at('all-modes', `/lp/jsonp?callback=f&time=${since}&tag=0`));
    assert.match(text, /^f\(\[\{"id":1,.*\}\]\);$/);
    const answer = await curl('-i', '-H', 'X-Nginx-PushStream-Mode: polling', at('all-modes', '/sub/jsonp'));
    assert.match(answer, /^HTTP\/1\.1 304 Not Modified\r\n/);
  });
});
