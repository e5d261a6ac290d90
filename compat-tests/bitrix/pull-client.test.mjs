// Bitrix's own client, unmodified, on every configuration a portal may have: nothing lost, nothing twice, in order.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Proxy } from '../proxies/proxy.mjs';
import { Server, publish } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { body, channelId, clientConfig, oneWorker, open, php, withoutTime } from './portal.mjs';
import { PullClient } from './pull.mjs';

const FORMS = [
  { name: 'the embedded default', config: 'default.conf', edit: oneWorker },
  { name: 'the 0.4 form', config: 'bitrix-0.4.conf' },
  { name: 'the 0.4 form without a time in long-polling', config: 'bitrix-0.4.conf', edit: withoutTime },
];

/** A connected client on one or two fresh channels that PHP has opened. */
async function connected(host, pubPort, transport, count) {
  const ids = { private: channelId('private'), ...(count > 1 ? { shared: channelId('shared') } : {}) };
  await php('socket-wait', pubPort, [{ ids: Object.values(ids), body: open }]);
  const client = PullClient.start(clientConfig({ host, transport, ids }));
  return { ids, list: Object.values(ids), client };
}

for (const form of FORMS) {
  describe(`b24jssdk on ${form.name}`, { concurrency: 2 }, () => {
    let server;
    before(async () => { server = await Server.start(form); });
    after(() => server.stop());
    const host = () => `127.0.0.1:${server.ports[8893]}`;
    const pub = () => server.ports[8895];
    const waiting = (ids) => async () => {
      const answer = await (await fetch(`http://127.0.0.1:${pub()}/bitrix/pub/?CHANNEL_ID=${ids[0]}`)).json();
      return Number(answer.subscribers) > 0;
    };

    for (const transport of ['long-polling', 'websocket']) {
      for (const count of [1, 2]) {
        test(`${transport}, channels: ${count}: alternating, then back to back`, async () => {
          const { client, list } = await connected(host(), pub(), transport, count);
          try {
            await until(waiting(list));
            const texts = numbered(9);
            for (const [i, text] of texts.slice(0, 3).entries()) {
              await php('curl', pub(), [{ ids: [list[i % count]], body: body(text) }]);
            }
            await sleep(700);
            await php('curl', pub(), texts.slice(3).map((text) => ({ ids: [list[0]], body: body(text) })));
            assertOnceInOrder(await client.received(9), texts, transport);
          } finally {
            await client.stop();
          }
        });

        test(`${transport}, channels: ${count}: hundreds of messages in bursts over many polls`, async () => {
          const { client, list } = await connected(host(), pub(), transport, count);
          try {
            await until(waiting(list));
            const texts = numbered(300);
            let sent = 0;
            for (let round = 0; sent < texts.length; round += 1) {
              const burst = texts.slice(sent, sent + 1 + ((round * 7) % 13));
              sent += burst.length;
              for (const [i, text] of burst.entries()) {
                await publish(`http://127.0.0.1:${pub()}/bitrix/pub/?CHANNEL_ID=${list[(round + i) % count]}`, body(text));
              }
              await sleep((round % 4) * 30);
            }
            assertOnceInOrder(await client.received(300), texts, transport);
            if (transport === 'long-polling') assert.ok(client.answers.length > 10, `only ${client.answers.length} polls`);
          } finally {
            await client.stop();
          }
        });
      }

      test(`${transport}: one message to both channels arrives once from each`, async () => {
        const { client, list } = await connected(host(), pub(), transport, 2);
        try {
          await until(waiting(list));
          await php('curl', pub(), [{ ids: list, body: body('both') }]);
          await php('curl', pub(), [{ ids: [list[0]], body: body('end') }]);
          const texts = await client.received(3);
          assert.deepEqual(texts, ['both', 'both', 'end']);
        } finally {
          await client.stop();
        }
      });
    }

    test('a server that was lost comes back: the client goes on by itself', async () => {
      const lone = await Server.start(form);
      const lonePub = lone.ports[8895];
      const { client, list } = await connected(`127.0.0.1:${lone.ports[8893]}`, lonePub, 'websocket', 1);
      try {
        await lone.subscribers(1);
        await php('curl', lonePub, [{ ids: list, body: body('before') }]);
        await client.received(1);
        await lone.kill();
        await lone.launch();
        // A new process knows no channel until PHP opens it.
        await php('curl', lonePub, [{ ids: list, body: open }]);
        await lone.subscribers(1, 25000);
        await php('curl', lonePub, [{ ids: list, body: body('after') }]);
        assertOnceInOrder(await client.received(2), ['before', 'after']);
      } finally {
        await client.stop();
        await lone.stop();
      }
    });
  });
}

describe('b24jssdk over restarts, with the log of the embedded default', { concurrency: 2 }, () => {
  for (const transport of ['long-polling', 'websocket']) {
    for (const end of ['SIGTERM', 'SIGKILL']) {
      test(`${transport}, ${end}: nothing is missed and nobody is sent to PHP`, async () => {
        const server = await Server.start({ config: 'default.conf', edit: oneWorker });
        const pub = server.ports[8895];
        const { client, list } = await connected(`127.0.0.1:${server.ports[8893]}`, pub, transport, 2);
        try {
          await server.subscribers(1);
          const texts = numbered(6);
          for (let round = 0; round < 3; round += 1) {
            await php('curl', pub, [{ ids: [list[0]], body: body(texts[2 * round]) }]);
            await client.received(2 * round + 1);
            // A kill may cost what came within the last moment.
            if (end === 'SIGKILL') await sleep(400);
            await (end === 'SIGKILL' ? server.kill() : server.stop({ leftovers: false }));
            await server.launch();
            // Nobody opens the channels anew: they are there.
            await php('curl', pub, [{ ids: [list[1]], body: body(texts[2 * round + 1]) }]);
            await client.received(2 * round + 2, 25000);
          }
          assertOnceInOrder(await client.received(6), texts, transport);
          assert.ok(!client.answers.some((answer) => answer.status === 403), 'a channel was unknown');
        } finally {
          await client.stop();
          await server.stop();
        }
      });
    }
  }
});

describe('b24jssdk through the site\'s nginx', () => {
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

  for (const transport of ['long-polling', 'websocket']) {
    test(`${transport}: two channels, bursts`, async () => {
      const pub = proxy.ports[8896];
      const { client, list } = await connected(`127.0.0.1:${proxy.ports[8080]}`, pub, transport, 2);
      try {
        await server.subscribers(1);
        const texts = numbered(200);
        for (let at = 0; at < texts.length; at += 10) {
          for (const [i, text] of texts.slice(at, at + 10).entries()) {
            await publish(`http://127.0.0.1:${pub}/bitrix/pub/?CHANNEL_ID=${list[i % 2]}`, body(text));
          }
          await sleep(40);
        }
        assertOnceInOrder(await client.received(200), texts, transport);
      } finally {
        await client.stop();
      }
      await server.subscribers(0);
    });
  }
});

async function until(check, timeout = 8000) {
  const end = Date.now() + timeout;
  while (!(await check())) {
    if (Date.now() > end) throw new Error('the client does not subscribe');
    await sleep(30);
  }
}
