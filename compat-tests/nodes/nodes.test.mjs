// Three nodes behind the published front files, over a real Redis: each request goes to any node, one of them is killed.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { scratch } from '../harness/configs.mjs';
import { eventually, freePorts, Program } from '../harness/programs.mjs';
import { request, Server } from '../harness/server.mjs';
import { Proxy } from '../proxies/proxy.mjs';

for (const [name, start] of [
  ['nginx', (nodes) => Proxy.nginx('proxies/nginx-three-nodes.conf', nodes)],
  ['HAProxy', (nodes) => Proxy.haproxy('proxies/haproxy-three-nodes.cfg', nodes)],
]) {
  describe(`three nodes behind ${name}`, () => {
    let redis;
    let nodes;
    let front;
    before(async () => {
      const [port] = await freePorts(1);
      const dir = scratch();
      redis = new Program('redis', 'redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', dir]);
      await redis.ready([port]);
      nodes = await Promise.all([1, 2, 3].map(() => Server.start({ config: 'all-modes.conf', args: ['--backplane', `redis://127.0.0.1:${port}`] })));
      const [one, two, three] = nodes.map((node) => node.ports[9080]);
      front = await start({ ports: { 9080: one, 9081: two, 9082: three } });
    });
    after(async () => {
      await front?.stop();
      for (const node of nodes ?? []) if (!node.program.how) await node.stop({ leftovers: false });
      await redis?.stop('SIGTERM');
    });
    const url = (target) => front.url(8080, target);

    /** Publishes until it is accepted; what may have been published is not repeated. */
    async function publish(id, text) {
      await eventually(`${text} is published`, async () => {
        const answer = await request(url(`/pub?id=${id}`), { method: 'POST', body: text }).catch((error) => ({ status: 0, error }));
        assert.ok(answer.status === 200 || !`${answer.headers?.['x-nginx-pushstream-explain']}`.includes('may have been'), `${text} is uncertain`);
        return answer.status === 200;
      }, 20000);
    }

    /** Long-polls from node to node until so many messages were seen. */
    async function follow(id, count) {
      const seen = [];
      let position = { time: 'Thu, 01 Jan 1970 00:00:00 GMT', tag: '0' };
      await eventually(`${count} messages of ${id}`, async () => {
        const answer = await request(url(`/lp/${id}?time=${encodeURIComponent(position.time)}&tag=${position.tag}`)).catch(() => null);
        if (answer?.status === 200) seen.push(...answer.body.match(/m\d+\./g) ?? []);
        if (answer?.headers['last-modified']) {
          position = { time: answer.headers['last-modified'], tag: answer.headers.etag.replace(/^W\//, '') };
        }
        return seen.length >= count;
      }, 60000);
      return seen;
    }

    test('who polls from node to node sees each message once and in order, also when a node is killed', async () => {
      const followers = ['a', 'a', 'a'].map((id) => follow(id, 60));
      for (let n = 0; n < 60; n += 1) {
        if (n === 30) await nodes[2].kill();
        await publish('a', `m${n}.`);
      }
      const expected = Array.from({ length: 60 }, (_, n) => `m${n}.`);
      for (const follower of followers) {
        assert.deepEqual(await follower, expected);
      }
    });
  });
}
