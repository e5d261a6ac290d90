// Malformed and ambiguous requests against Debian's nginx and pushstreamd with the same configuration: the same statuses, the
// same number of answers, the connection closed or kept alike. And what is refused early must not leave its body as a request.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { moved, scratch } from '../harness/configs.mjs';
import { Program } from '../harness/programs.mjs';
import { publish, request, Server } from '../harness/server.mjs';
import { Wire } from '../harness/wire.mjs';
import { requests } from './requests.mjs';

// `return` answers before any handler: both programs judge the request itself and nothing else.
const TEXT = `
daemon off;
error_log stderr crit;
pid server.pid;
events { worker_connections 512; }
http {
    access_log off;
    server {
        listen 127.0.0.1:9080;
        location / {
            return 200 "ok";
        }
    }
}
`;

/** Statuses of all answers to `bytes`, and whether the connection is kept (nginx reads on for a while before it closes). */
async function judged(port, bytes) {
  const wire = await Wire.open(port);
  wire.send(Buffer.from(bytes, 'latin1'));
  const statuses = [];
  let kept = true;
  for (;;) {
    if (!(await wire.until((text) => text.length > 0, 250))) break;
    if (!wire.text.startsWith('HTTP/')) {
      statuses.push(`no status line: ${wire.text.slice(0, 20)}`);
      break;
    }
    const answer = await wire.answer({ timeout: 400 });
    if (!answer) {
      statuses.push(`incomplete: ${wire.text.slice(0, 20)}`);
      break;
    }
    statuses.push(answer.status);
    kept = !answer.headers.some(([name, value]) => name.toLowerCase() === 'connection' && value === 'close');
  }
  await wire.until(() => false, 100);
  const open = kept && !wire.ended;
  wire.close();
  return { statuses, open };
}

describe('malformed requests', () => {
  let server;
  let nginx;
  let nginxPort;
  before(async () => {
    server = await Server.start({ text: TEXT, args: ['--strict'], statistics: false });
    const dir = scratch();
    const placed = await moved(TEXT);
    nginxPort = placed.ports[9080];
    fs.writeFileSync(path.join(dir, 'nginx.conf'), placed.text);
    nginx = new Program('nginx', 'nginx', ['-c', path.join(dir, 'nginx.conf'), '-p', `${dir}/`, '-e', 'stderr']);
    await nginx.ready([nginxPort]);
  });
  after(async () => {
    await nginx.stop();
    await server.stop({ leftovers: false });
  });

  describe('judged as nginx does', { concurrency: 4 }, () => {
    for (const [name, bytes] of Object.entries(requests)) {
      test(name, async () => {
        const expected = await judged(nginxPort, bytes);
        assert.deepEqual(await judged(server.ports[9080], bytes), expected);
      });
    }
  });
});

describe('request smuggling at push locations', () => {
  for (const args of [[], ['--strict']]) {
    const how = args.length ? 'strict' : 'default';
    test(`${how}: the body of a refused request is not a request`, async () => {
      const server = await Server.start({ config: 'all-modes.conf', args });
      const hidden = 'DELETE /pub?id=victim HTTP/1.1\r\nHost: x\r\n\r\n';
      await publish(server.url(9080, '/pub?id=victim'), 'x');
      const refused = ['POST /pub?id=ALL', 'POST /pub', 'PATCH /pub?id=a', 'POST /sub/a', 'POST /channels-stats', 'GET /lp/ALL', 'OPTIONS /pub', 'GET /pub?id=none', 'POST /ws/a', 'POST /nowhere'];
      for (const line of refused) {
        for (const framing of ['length', 'chunks']) {
          const wire = await Wire.open(server.ports[9080]);
          wire.send(framing === 'length'
            ? `${line} HTTP/1.1\r\nHost: x\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`
            : `${line} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`);
          const answer = await wire.answer({ bodiless: line.startsWith('HEAD') });
          assert.ok(answer, `${line} ${framing}: no answer`);
          assert.equal(await wire.until((text) => text.length > 0, 150), false, `${line} ${framing}: a second answer\n${wire.text}`);
          wire.close();
        }
      }
      assert.equal((await request(server.url(9080, '/pub?id=victim'))).status, 200, 'the hidden request was run');
      await server.stop();
    });
  }

  test('a channel id, a message and a callback of any bytes break no framing', async () => {
    const server = await Server.start({ config: 'all-modes.conf' });
    const ids = ['a"b', 'a\\b', 'a<b>&', "a'b", 'a%0d%0aX-Injected:%201', 'a%00b', '%ff%fe', 'a b', '%22%7d'];
    for (const id of ids) {
      const escaped = id.replace(/[^%\w]/g, encodeURIComponent);
      const answer = await request(server.url(9080, `/pub?id=${escaped}`), { method: 'POST', body: Buffer.from([0, 13, 10, 255, 126]) });
      assert.ok([200, 400].includes(answer.status), `${id}: ${answer.status}`);
      assert.equal(answer.headers['x-injected'], undefined);
      if (answer.status === 200) JSON.parse(answer.bytes.toString('latin1'));
    }
    const all = await request(server.url(9080, '/channels-stats?id=ALL'));
    assert.ok(JSON.parse(all.bytes.toString('latin1')).infos.length > 0);
    for (const callback of ['<script>', 'a%0d%0aX-Injected:1', '%00']) {
      const answer = await request(server.url(9080, `/poll/a?callback=${callback}`));
      assert.equal(answer.headers['x-injected'], undefined);
      assert.ok(!answer.body.includes('<script>'), answer.body);
    }
    await server.stop();
  });
});
