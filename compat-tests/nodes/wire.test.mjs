// The wire tests once more, where the server is three nodes and each request goes to another one than the one before; and what they do not ask.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { eventually } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';

process.env.NODES = '3';
for (const suite of ['publisher', 'statistics', 'subscribers', 'websocket']) await import(`../wire/${suite}.test.mjs`);

const TEXT = `
daemon off;
error_log stderr notice;
pid pushstreamd.pid;
events { }
http {
    access_log off;
    push_stream_shared_memory_size 32m;
    push_stream_events_channel_id events;
    push_stream_allow_connections_to_events_channel on;
    push_stream_wildcard_channel_prefix wild_;
    push_stream_max_number_of_wildcard_channels 2;
    server {
        listen 127.0.0.1:9080;
        location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
        location /quiet { push_stream_publisher; push_stream_channels_path $arg_id; push_stream_store_messages off; }
        location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
        location ~ ^/lp/(.*) {
            push_stream_subscriber long-polling;
            push_stream_channels_path $1;
            push_stream_message_template "~text~,";
            push_stream_longpolling_connection_ttl 2s;
        }
        location ~ ^/sub/(.*) { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template "~text~,"; }
        location ~ ^/ev/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
        location ~ ^/ws/(.*) {
            push_stream_subscriber websocket;
            push_stream_channels_path $1;
            push_stream_websocket_allow_publish on;
            push_stream_store_messages on;
            push_stream_message_template "~text~";
        }
    }
}
`;

describe('three nodes, each request to another one', () => {
  let server;
  before(async () => { server = await Server.start({ text: TEXT }); });
  after(() => server.stop());
  const url = (target) => server.url(9080, target);

  /** What a stream says, until it says all of `texts`. */
  async function stream(t, target, headers = {}) {
    const seen = { text: '' };
    const end = new AbortController();
    t.after(() => end.abort());
    const answer = await fetch(url(target), { headers, signal: end.signal });
    (async () => {
      for await (const part of answer.body) seen.text += Buffer.from(part).toString();
    })().catch(() => {});
    return seen;
  }

  test('long-polls by header and by X-Nginx-PushStream-Mode see what is published meanwhile, once and in order', async () => {
    const texts = numbered(60);
    const followers = [{}, { 'X-Nginx-PushStream-Mode': 'polling' }].map(async (mode) => {
      const got = [];
      let headers = { 'If-Modified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT', 'If-None-Match': '0' };
      await eventually('all are there', async () => {
        const answer = await request(url('/lp/h'), { headers: { ...headers, ...mode } });
        got.push(...answer.body.split(',').filter(Boolean));
        if (answer.headers.etag) headers = { 'If-Modified-Since': answer.headers['last-modified'], 'If-None-Match': answer.headers.etag };
        return got.length >= texts.length;
      }, 30000);
      return got;
    });
    for (const text of texts) await publish(url('/pub?id=h'), text);
    for (const follower of followers) assertOnceInOrder(await follower, texts);
    assert.ok(Math.min(...server.asked) > 20, `requests went to ${server.asked}`);
  });

  test('JSONP wraps what was published on another node', async () => {
    await publish(url('/pub?id=j'), 'one');
    const answer = await request(url('/lp/j.b1?callback=f'));
    assert.equal(answer.body, 'f([one,]);');
  });

  test('an eventsource goes on by the id of the last event, on another node each time', async (t) => {
    let last = 0;
    for (let round = 1; round <= 6; round += 1) {
      for (const id of [2 * round - 1, 2 * round]) await publish(url('/pub?id=e'), `<${id}>`, { 'Event-Id': `${id}` });
      const seen = await stream(t, '/ev/e', last > 0 ? { 'Last-Event-ID': `${last}` } : { 'If-Modified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT' });
      await eventually('the newest', () => seen.text.includes(`<${2 * round}>`));
      assert.deepEqual(seen.text.match(/<\d+>/g), [2 * round - 1, 2 * round].map((id) => `<${id}>`));
      last = 2 * round;
    }
  });

  test('what is published over a websocket comes to those of other nodes, in one order', async () => {
    const got = [[], [], []];
    const sockets = await Promise.all(got.map((list) => new Promise((resolve, reject) => {
      const socket = new WebSocket(url('/ws/w').replace('http', 'ws'));
      socket.on('message', (data) => list.push(String(data))).once('open', () => resolve(socket)).once('error', reject);
    })));
    for (const [at, socket] of sockets.entries()) for (const text of numbered(20, `s${at}-`)) socket.send(text);
    await eventually('all have all', () => got.every((list) => list.length === 60));
    assert.deepEqual(got[1], got[0]);
    assert.deepEqual(got[2], got[0]);
    for (const at of [0, 1, 2]) assert.deepEqual(got[0].filter((text) => text.startsWith(`s${at}-`)), numbered(20, `s${at}-`));
    for (const socket of sockets) socket.close();
    await server.subscribers(0);
  });

  test('a message that is not stored reaches who listens and nobody else; DELETE ends all', async (t) => {
    const streams = await Promise.all([1, 2, 3].map(() => stream(t, '/sub/q')));
    assert.equal((await request(url('/quiet?id=q'), { method: 'POST', body: 'now' })).status, 200);
    for (const seen of streams) await eventually('it is there', () => seen.text.includes('now,'));
    assert.equal(JSON.parse((await request(url('/stats?id=q'))).body).stored_messages, 0);
    assert.equal((await request(url('/pub?id=q'), { method: 'DELETE' })).status, 200);
    for (const seen of streams) await eventually('it has ended', () => seen.text.includes('Channel deleted'));
    for (const _ of [1, 2, 3]) assert.equal((await request(url('/stats?id=q'))).status, 404);
  });

  test('the events channel tells each thing once, to all', async (t) => {
    const streams = await Promise.all([1, 2, 3].map(() => stream(t, '/sub/events')));
    await publish(url('/pub?id=told'), 'x');
    const listening = await stream(t, '/sub/told');
    await publish(url('/pub?id=told'), 'y');
    await eventually('it listens', () => listening.text.includes('y'));
    for (const seen of streams) {
      await eventually('subscribed', () => /client_subscribed[^}]*"told"/.test(seen.text));
      assert.equal(seen.text.match(/channel_created[^}]*"told"/g).length, 1, seen.text);
      assert.equal(seen.text.match(/client_subscribed[^}]*"told"/g).length, 1, seen.text);
    }
  });

  test('wildcard channels are counted apart and bounded on each node', async () => {
    for (const id of ['wild_a', 'wild_b']) await publish(url(`/pub?id=${id}`), 'x');
    for (const _ of [1, 2, 3]) {
      assert.equal(JSON.parse((await request(url('/stats'))).body).wildcard_channels, 2);
      assert.equal((await request(url('/pub?id=wild_c'), { method: 'POST', body: 'x' })).status, 403);
    }
  });
});
