// PHP as Bitrix's publisher, directly and through nginx: batches, large bodies, sockets closed without reading, the site
// checker, the check of who is online.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Proxy } from '../proxies/proxy.mjs';
import { eventually } from '../harness/programs.mjs';
import { request, Server } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { body, channelId, oneWorker, open, php, script } from './portal.mjs';
import { frames, Subscriber } from './subscriber.mjs';

const CONFIGS = [
  { config: 'default.conf', edit: oneWorker, batches: true },
  { config: 'bitrix-0.4.conf', batches: true },
  { config: 'bitrix-0.3.4.conf', batches: false },
];

for (const { batches, ...form } of CONFIGS) {
  describe(`PHP publishes to ${form.config}`, () => {
    let server;
    before(async () => { server = await Server.start(form); });
    after(() => server.stop());
    const pub = () => server.ports[8895];
    const sub = () => server.ports[8893];

    /** What is stored of a channel. */
    const stored = async (id) => {
      const answer = await request(server.url(8895, `/bitrix/pub/?CHANNEL_ID=${id}`));
      return answer.status === 200 ? Number(JSON.parse(answer.body).stored_messages) : 0;
    };

    test('a message whose socket is closed right after the write goes out', async () => {
      const id = channelId();
      const texts = numbered(100);
      await php('socket-wait', pub(), [{ ids: [id], body: open }]);
      const subscriber = await Subscriber.websocket(sub(), [id]);
      await php('socket', pub(), texts.map((text) => ({ ids: [id], body: body(text) })));
      await eventually('all are stored', async () => (await stored(id)) === 101);
      const got = await subscriber.received(100);
      // Nothing says in which order the server meets sockets nobody waits for; ids say in which order it took them.
      assertOnceInOrder(got.map((frame) => frame.text.params.text).sort(byNumber), texts);
      assert.deepEqual(got.map((frame) => frame.id), numbered(100, '').map((n) => Number(n) + 1));
      subscriber.close();
    });

    test('the answer tells about the channel and is never empty', async () => {
      const id = channelId();
      const [answer] = await php('socket-wait', pub(), [{ ids: [id], body: body('one'), expiry: 86400 }]);
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
      const info = JSON.parse(answer.split('\r\n\r\n')[1]);
      assert.equal(info.channel, id);
      assert.equal(Number(info.stored_messages), 1);
    });

    test('curl with keep-alive refused gets its answers', async () => {
      const id = channelId();
      const answers = await php('curl', pub(), numbered(20).map((text) => ({ ids: [id], body: body(text) })));
      assert.deepEqual(answers.map((a) => a.status), Array(20).fill(200));
      assert.equal(await stored(id), 20);
    });

    test('bodies far above any buffer arrive whole', async () => {
      const id = channelId();
      await php('socket-wait', pub(), [{ ids: [id], body: open }]);
      const subscriber = await Subscriber.websocket(sub(), [id]);
      const sizes = [16385, 65535, 65536, 300000, 1048576, 5000000];
      const bodies = sizes.map((size) => body('large', { filling: 'я'.repeat(size / 2) }));
      for (const text of bodies) await php('socket', pub(), [{ ids: [id], body: text }]);
      const got = await subscriber.received(sizes.length, 20000);
      assert.deepEqual(got.map((frame) => frame.text.params.filling.length), sizes.map((size) => Math.floor(size / 2)));
      subscriber.close();
    });

    test('the site checker is satisfied', async () => {
      const out = await script('site-checker.php', sub(), '/bitrix/sub/', pub(), '/bitrix/pub/', channelId());
      assert.equal(out, 'OK\n');
      await eventually('nobody is left', async () => Number((await server.statistics()).subscribers) === 0);
    });

    if (batches) {
      test('a hundred channels in one request', async () => {
        const ids = Array.from({ length: 100 }, () => channelId());
        const [answer] = await php('curl', pub(), [{ ids, body: body('to all') }]);
        const info = JSON.parse(answer.body);
        assert.equal(info.infos.length, 100);
        assert.deepEqual(info.infos.map((one) => one.channel), ids);
        const subscriber = await Subscriber.longPolling(sub(), ids.slice(0, 3), { history: true });
        const got = await subscriber.received(3);
        assert.deepEqual(got.map((frame) => frame.text.params.text), ['to all', 'to all', 'to all']);
        subscriber.close();
      });

      test('who is online: infos with counts, with and without a body in the GET', async () => {
        const [here, away] = [channelId(), channelId()];
        await php('curl', pub(), [{ ids: [here, away], body: open }]);
        const subscriber = await Subscriber.websocket(sub(), [here]);
        await eventually('it is counted', async () => Number((await server.statistics()).subscribers) === 1);
        const lines = (await script('online.php', server.url(8895, '/bitrix/pub/'), here, away)).trim().split('\n');
        for (const line of lines) {
          const { status, body: text } = JSON.parse(line);
          assert.equal(status, 200);
          const online = JSON.parse(text).infos.map((info) => [info.channel, Number(info.subscribers)]);
          assert.deepEqual(online, [[here, 1], [away, 0]]);
        }
        subscriber.close();
      });

      test('who is online when nobody is known is an empty 404', async () => {
        const [first] = (await script('online.php', server.url(8895, '/bitrix/pub/'), channelId(), channelId())).split('\n');
        assert.deepEqual(JSON.parse(first), { status: 404, body: '' });
      });
    }

    test('an unknown channel is refused the way the client understands', async () => {
      const id = channelId();
      const poll = await request(server.url(8893, `/bitrix/sub/?CHANNEL_ID=${id}`));
      assert.equal(poll.status, 403);
      assert.equal(poll.headers['x-nginx-pushstream-explain'], 'Subscriber could not create channels.');
      const ws = new WebSocket(`ws://127.0.0.1:${sub()}/bitrix/subws/?CHANNEL_ID=${id}`);
      const how = await new Promise((resolve) => {
        ws.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
        ws.on('unexpected-response', (_, res) => resolve({ status: res.statusCode }));
        ws.on('error', () => {});
      });
      // 0.3.4 refused before the upgrade.
      assert.deepEqual(how, batches
        ? { code: 1008, reason: '{"http_status": 403, "explain":"Subscriber could not create channels."}' }
        : { status: 403 });
    });
  });
}

describe('PHP publishes through nginx', () => {
  let server;
  let proxy;
  before(async () => {
    server = await Server.start({ config: 'default.conf', edit: oneWorker });
    proxy = await Proxy.nginx('proxies/nginx-bitrix.conf', server);
  });
  after(async () => {
    await proxy.stop();
    await server.stop();
  });

  for (const kind of ['socket', 'curl']) {
    test(`${kind}: a hundred messages and a large one reach a subscriber behind nginx`, async () => {
      const id = channelId();
      await php('socket-wait', proxy.ports[8896], [{ ids: [id], body: open }]);
      const subscriber = await Subscriber.websocket(proxy.ports[8080], [id]);
      const texts = [...numbered(100), `${'x'.repeat(2000000)}101`];
      await php(kind, proxy.ports[8896], texts.map((text) => ({ ids: [id], body: body(text) })));
      const got = (await subscriber.received(101, 20000)).map((frame) => frame.text.params.text);
      assertOnceInOrder(kind === 'curl' ? got : got.sort(byNumber), texts);
      subscriber.close();
    });
  }

  test('the site checker is satisfied through nginx', async () => {
    const out = await script('site-checker.php', proxy.ports[8080], '/bitrix/sub/', proxy.ports[8896], '/bitrix/pub/', channelId());
    assert.equal(out, 'OK\n');
  });
});

test('frames are found as the JavaScript of every year finds them', () => {
  assert.deepEqual(frames('x#!NGINXNMS!#{"id":1,"text":{"a":"b"}}#!NGINXNME!##!NGINXNMS!#{"id":2,"text":3}#!NGINXNME!#'),
    [{ id: 1, text: { a: 'b' } }, { id: 2, text: 3 }]);
});

function byNumber(a, b) {
  return Number(/\d+$/.exec(a)[0]) - Number(/\d+$/.exec(b)[0]);
}
