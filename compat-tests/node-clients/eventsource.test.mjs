// npm `eventsource` in Node: what is not a browser but behaves like one.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import { eventually } from '../harness/programs.mjs';
import { Relay } from '../harness/relay.mjs';
import { publish, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';

describe('eventsource', () => {
  let server;
  before(async () => { server = await Server.start({ config: 'eventsource.conf' }); });
  after(() => server.stop());
  const pub = (id) => server.url(9080, `/pub?id=${id}`);
  const texts = (events) => events.map((event) => JSON.parse(event.data).text);

  test('hundreds of messages on two channels, once each, in order', async () => {
    const source = new EventSource(server.url(9080, '/ev/one/two'));
    const events = [];
    source.onmessage = (event) => events.push(event);
    await server.subscribers(1);
    const all = numbered(300);
    for (const [i, text] of all.entries()) await publish(pub(i % 3 ? 'one' : 'two'), text);
    await eventually('all arrive', () => events.length >= 300);
    assertOnceInOrder(texts(events), all);
    source.close();
  });

  test('goes on after the last Event-Id when the line was cut', async () => {
    const relay = await Relay.to(server.ports[9080]);
    const source = new EventSource(`http://127.0.0.1:${relay.port}/ev/resume`);
    const events = [];
    source.onmessage = (event) => events.push(event);
    await server.subscribers(1);
    const all = numbered(50);
    const send = async (list) => {
      for (const text of list) await publish(pub('resume'), text, { 'Event-Id': text });
    };
    await send(all.slice(0, 20));
    await eventually('the first part arrives', () => events.length === 20);
    await relay.cut();
    await server.subscribers(0);
    await send(all.slice(20));
    await relay.restore();
    await eventually('the rest arrives', () => events.length >= 50, 15000);
    assertOnceInOrder(texts(events), all);
    assert.deepEqual(events.map((event) => event.lastEventId), all);
    source.close();
    await relay.close();
  });

  test('event types and texts of several lines', async () => {
    const source = new EventSource(server.url(9080, '/ev/typed'));
    const events = [];
    source.addEventListener('price', (event) => events.push(event));
    await server.subscribers(1);
    await publish(pub('typed'), 'up\ndown', { 'Event-Type': 'price' });
    await eventually('it arrives', () => events.length === 1);
    // The template is repeated for each line.
    assert.deepEqual(events[0].data.split('\n').map((line) => JSON.parse(line).text), ['up', 'down']);
    source.close();
  });
});
