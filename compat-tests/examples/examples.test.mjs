// Every file of nginx-conf-examples is loaded by the program it is for; a file that no test of the suite names fails here.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { example, installCertificate, moved, root, scratch } from '../harness/configs.mjs';
import { run } from '../harness/programs.mjs';
import { binary, publish, request, Server } from '../harness/server.mjs';
import { Subscriber } from '../bitrix/subscriber.mjs';

const folder = path.join(root, 'nginx-conf-examples');
const files = fs.readdirSync(folder, { recursive: true }).map(String).filter((name) => /\.(conf|cfg)$/.test(name)).sort();

/** Everything the suite says, to look for the names of examples in it. */
const suite = fs.readdirSync(path.join(root, 'compat-tests'), { recursive: true }).map(String)
  .filter((name) => name.endsWith('.test.mjs') && !name.startsWith('node_modules') && !name.startsWith('.cache'))
  .map((name) => fs.readFileSync(path.join(root, 'compat-tests', name), 'utf8')).join('\n');

/** Writes `text` where `-c` finds it. */
async function placed(text) {
  const dir = scratch();
  await installCertificate(dir);
  const file = path.join(dir, 'nginx.conf');
  fs.writeFileSync(file, (await moved(text)).text);
  return { dir, file };
}

describe('examples', () => {
  for (const name of files) {
    test(`${name} is exercised by a test`, () => {
      const stem = path.basename(name).replace(/\.conf$/, '');
      assert.ok(suite.includes(`'${name}'`) || suite.includes(`'${stem}'`), `no test names ${name}`);
    });
    if (name.startsWith('proxies/') || name === 'default-tls.conf') continue;
    test(`${name} passes -t`, async () => {
      const { dir, file } = await placed(example(name));
      await run(binary, ['-t', '-c', file, '-p', dir]);
    });
    // The module knows no zones.
    if (name === 'bitrix-sites.conf') continue;
    test(`${name} passes -t --strict`, async () => {
      // The default leaves out there what the module does not know.
      const text = name === 'default.conf' ? await run(binary, ['--strict', '--print-default-config']) : example(name);
      const { dir, file } = await placed(text);
      await run(binary, ['--strict', ...(name === 'bitrix-0.3.4.conf' ? ['--compat', '0.3.4'] : []), '-t', '-c', file, '-p', dir]);
    });
  }

  test('sites of bitrix-sites.conf share nothing', async () => {
    const server = await Server.start({ config: 'bitrix-sites.conf', statistics: false });
    const poll = (host) => request(server.url(8893, '/bitrix/sub/?CHANNEL_ID=id'), {
      headers: { Host: host, 'If-Modified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT', 'If-None-Match': '0' },
    });
    await publish(server.url(8901, '/bitrix/pub/?CHANNEL_ID=id'), '"of the shop"');
    assert.match((await poll('shop.example')).body, /"of the shop"/);
    // A channel that is not there.
    assert.equal((await poll('portal.example')).status, 403);
    await publish(server.url(8902, '/bitrix/pub/?CHANNEL_ID=id'), '"of the portal"');
    const { body } = await poll('portal.example');
    assert.ok(body.includes('"of the portal"') && !body.includes('shop'), body);
    assert.equal((await poll('other.example')).status, 404);
    await server.stop({ leftovers: false });
    assert.ok(fs.existsSync(path.join(server.dir, 'state/zones/portal')) && !fs.existsSync(path.join(server.dir, 'state/lock')));
  });

  test('--print-default-config prints the default, byte for byte', async () => {
    assert.equal(await run(binary, ['--print-default-config']), example('default.conf'));
  });

  test('the lines of default-tls.conf in the place the default has for them serve 8894', async () => {
    const lines = example('default-tls.conf');
    const server = await Server.start({
      config: 'default.conf',
      edit: (text) => {
        const whole = text.replace(/^.*Port 8894 \(TLS\) is added here.*\n/m, lines);
        assert.notEqual(whole, text, 'the place is gone');
        return whole;
      },
    });
    await publish(server.url(8895, '/bitrix/pub/?CHANNEL_ID=tls'), '"x"');
    const url = `https://127.0.0.1:${server.ports[8894]}/bitrix/sub/?CHANNEL_ID=tls&time=Thu,%2001%20Jan%202015%2000:00:00%20GMT`;
    assert.ok((await run('curl', ['-sSk', url])).includes('"text":"x"'));
    const http2 = await run('curl', ['-sSki', '--http2', url]);
    assert.match(http2, /^HTTP\/(2|1\.1) 200/);
    await server.stop();
  });

  test('the statistics of the default stand on the publisher\'s server', async () => {
    const server = await Server.start({ config: 'default.conf' });
    await publish(server.url(8895, '/bitrix/pub/?CHANNEL_ID=a/b'), '"x"');
    const all = JSON.parse((await request(server.url(8895, '/channels-stats?id=ALL'))).body);
    assert.deepEqual(all.infos.map((info) => info.channel), ['a', 'b']);
    assert.equal((await request(server.url(8893, '/channels-stats?id=ALL'))).status, 403);
    assert.equal((await request(server.url(8893, '/bitrix/sub/?CHANNEL_ID=a&callback=f'))).status, 400);
    await server.stop();
  });

  test('the 0.3.4 example speaks the wire of 0.3.4', async () => {
    const server = await Server.start({ config: 'bitrix-0.3.4.conf' });
    await publish(server.url(8895, '/bitrix/pub/?CHANNEL_ID=a'), '"x"');
    const answer = await request(server.url(8893, '/bitrix/sub/?CHANNEL_ID=a&tag=0'));
    assert.equal(answer.status, 200, 'without a time 0.3.4 gave what is stored');
    assert.match(answer.headers.etag, /^\d+$/);
    assert.equal(answer.headers['content-type'], 'text/html; charset=utf-8');
    const subscriber = await Subscriber.websocket(server.ports[8893], ['a']);
    await publish(server.url(8895, '/bitrix/pub/?CHANNEL_ID=a'), '"y"');
    assert.deepEqual((await subscriber.received(1)).map((frame) => frame.text), ['y']);
    subscriber.close();
    await server.stop();
  });
});
