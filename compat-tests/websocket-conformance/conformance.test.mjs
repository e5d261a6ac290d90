// Runs the cases against a websocket location that publishes to its own channel: each case alone on a channel, as with an echo server.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Server } from '../harness/server.mjs';
import { cases } from './cases.mjs';
import { closing, frame, OP, Peer } from './peer.mjs';

const TEXT = `
daemon off;
error_log stderr notice;
pid pushstreamd.pid;
events { worker_connections 1024; }
http {
    access_log off;
    push_stream_shared_memory_size 256m;
    server {
        listen 127.0.0.1:9080;
        push_stream_websocket_max_message_size 64m;
        location ~ ^/ws/(.*) {
            push_stream_subscriber websocket;
            push_stream_channels_path $1;
            push_stream_websocket_allow_publish on;
        }
    }
}
`;

/** What came, short enough to be printed. */
const brief = (events) => events.map(([kind, what, reason]) => (
  Buffer.isBuffer(what) ? `${kind}(${what.length}: ${what.subarray(0, 16).toString('hex')})` : `${kind}(${what}${reason ? ` ${reason}` : ''})`)).join(' ');

/** Equal, whatever the order of pongs and messages is: a message comes back by way of its channel. */
function assertEvents(got, expected) {
  for (const control of [true, false]) {
    const of = (events) => events.filter(([kind]) => (kind === 'pong') === control);
    const [have, want] = [of(got), of(expected)];
    assert.equal(have.length, want.length, `got ${brief(got)} instead of ${brief(expected)}`);
    have.forEach(([kind, payload], i) => {
      assert.equal(kind, want[i][0], `got ${brief(got)} instead of ${brief(expected)}`);
      assert.ok(payload.equals(want[i][1]), `got ${brief([have[i]])} instead of ${brief([want[i]])}`);
    });
  }
}

async function play(one, port) {
  const peer = await Peer.open(port, `/ws/${encodeURIComponent(one.id.replaceAll(' ', '-'))}`);
  try {
    for (const bytes of one.send) await peer.send(bytes, one.chop);
    const timeout = one.large ? 12000 : 5000;
    const ends = one.end !== 'open';
    await peer.settle(one.expect.length, timeout);
    if (one.end === 'fail' && one.allowWhole && !peer.ended) {
      // Autobahn calls failing before the frame is complete "strict" and after it "non-strict": both pass.
      await new Promise((resolve) => setTimeout(resolve, 300));
      if (!peer.ended) await peer.send(Buffer.alloc(6));
    }
    if (ends) await peer.end(timeout);
    const illegal = peer.events.filter(([kind]) => kind === 'illegal');
    assert.deepEqual(illegal, [], 'the server sent what it may not');
    const farewell = peer.events.find(([kind]) => kind === 'close');
    const got = peer.events.filter(([kind]) => kind !== 'close' && kind !== 'ping');
    // What was sent before the mistake is published; that the offender hears of it is not asked (Autobahn: "non-strict").
    assertEvents(got, one.end === 'open' ? one.expect : one.expect.slice(0, got.length));
    if (one.end === 'open') {
      assert.ok(!peer.ended && !farewell, `the server ended it: ${brief(peer.events)}`);
      await peer.send(frame(OP.close, closing(1000)));
      await peer.end();
      const answer = peer.events.find(([kind]) => kind === 'close');
      assert.ok(answer, 'the close was not answered');
      assert.ok([1000, 1005].includes(answer[1]), `the close was answered with ${answer[1]}`);
    }
    if (one.end === 'fail' && farewell) assert.ok([...one.codes, 1005].includes(farewell[1]), `closed with ${farewell[1]}`);
    if (one.end === 'closed') {
      assert.ok(farewell, 'the close was not answered');
      assert.ok([...one.codes, 1005].includes(farewell[1]), `the close was answered with ${farewell[1]}`);
    }
  } finally {
    peer.destroy();
  }
}

describe('RFC 6455', () => {
  let server;
  before(async () => { server = await Server.start({ text: TEXT }); });
  after(() => server.stop());

  describe('cases', { concurrency: 8 }, () => {
    for (const one of cases.filter(({ large }) => !large)) {
      test(`${one.id}: ${one.does}`, () => play(one, server.ports[9080]));
    }
  });
  describe('large cases', { concurrency: 2 }, () => {
    for (const one of cases.filter(({ large }) => large)) {
      test(`${one.id}: ${one.does}`, { timeout: 60000 }, () => play(one, server.ports[9080]));
    }
  });

  test('a length field is no reason to take memory', async () => {
    const peer = await Peer.open(server.ports[9080], '/ws/length');
    const head = Buffer.from('81ff0000010000000000', 'hex');
    await peer.send(Buffer.concat([head, Buffer.alloc(4), Buffer.from('x')]));
    await peer.end();
    const farewell = peer.events.find(([kind]) => kind === 'close');
    if (farewell) assert.equal(farewell[1], 1009);
    peer.destroy();
  });

  test('a client that does not mask is served all the same', async () => {
    const peer = await Peer.open(server.ports[9080], '/ws/unmasked');
    await peer.send(Buffer.concat([Buffer.from([0x81, 2]), Buffer.from('hi')]));
    await peer.settle(1);
    assert.deepEqual(peer.events, [['text', Buffer.from('hi')]]);
    peer.destroy();
  });
});
