// The commands of README.md, docs/MIGRATION.md and docs/OPERATIONS.md that need a machine, carried out on one as they stand: a fresh
// Debian with nginx, where the deb is installed and takes the push part over. That nginx has no push module: before, it is given
// its configuration without the push lines.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import https from 'node:https';
import { after, before, test } from 'node:test';
import { block } from '../harness/documentation.mjs';
import { accepts, eventually } from '../harness/programs.mjs';
import { request } from '../harness/server.mjs';
import { change } from '../migration/machine.mjs';
import { built, Machine } from './machine.mjs';
import { BEGINNING, frames, say } from './traffic.mjs';

let machine;
before(async () => {
  machine = await Machine.boot('documentation');
  for (const pattern of [/^pushstreamd_.*\.deb$/, /-linux-static\.tar\.gz$/]) machine.take(built(pattern));
});
after(async () => { await machine?.halt(); });

/** Carries a block out, in the directory with the packages. */
const follow = (page, name) => machine.sh(`cd /root\n${block(page, name)}`).catch(async (error) => {
  throw new Error(`${error.message}\n${await machine.try('journalctl -u pushstreamd --no-pager -n 20; tail -n 20 /var/log/pushstreamd/*.log')}`);
});
const serving = (port) => eventually(`${port} accepts`, () => accepts(port), 15000);
const silent = (port) => eventually(`${port} is closed`, async () => !(await accepts(port)), 15000);

test('the README installs the deb, and the static program', async () => {
  assert.match(await follow('README.md', 'install-deb'), /Active: active \(running\)/);
  await serving(8893);
  assert.match(await machine.sh(`cd /root\n( ${block('README.md', 'install-static')} ) 2>&1`), /allocator: jemalloc/);
});

test('OPERATIONS.md hands the ports to systemd', async () => {
  await follow('docs/OPERATIONS.md', 'sockets');
  await serving(8895);
  assert.ok(await say('held', 'hello'));
  await machine.sh('systemctl stop pushstreamd');
  // Held by systemd: whoever comes waits for the service that this starts.
  assert.ok(await say('held', 'again'));
  assert.equal(await machine.show('ActiveState'), 'active');
  await machine.sh('systemctl disable --now pushstreamd.socket; systemctl stop pushstreamd; rm /etc/systemd/system/pushstreamd.socket; systemctl daemon-reload');
  await silent(8893);
});

test('OPERATIONS.md and MIGRATION.md start a server by hand, and ask for its health', async () => {
  machine.write('etc/nginx/nginx.conf', `pid /run/by-hand.pid; error_log /var/log/by-hand.log; events {}
http { push_stream_shared_memory_size 8m; server { listen 127.0.0.1:8899; location = /pub { push_stream_publisher; push_stream_channels_path $arg_id; } } }
`);
  for (const [page, name] of [['docs/OPERATIONS.md', 'operations-start'], ['docs/MIGRATION.md', 'alone']]) {
    await follow(page, name);
    await serving(8899);
    assert.equal((await request('http://127.0.0.1:8899/pub?id=a', { method: 'POST', body: 'text' })).status, 200);
    await machine.sh('pushstreamd -s stop -c /etc/nginx/nginx.conf');
    await silent(8899);
  }
  await assert.rejects(() => follow('docs/OPERATIONS.md', 'health'), /does not answer/);
  await machine.sh('pushstreamd --status 127.0.0.1:8896 -c /etc/nginx/nginx.conf');
  await serving(8896);
  assert.equal(await follow('docs/OPERATIONS.md', 'health'), 'ready\n');
  await machine.sh('pushstreamd -s stop -c /etc/nginx/nginx.conf');
  await silent(8899);
});

/** nginx's files of a BitrixVM, without its push lines where `push` is false. */
function site(push) {
  const lines = (text) => (push ? text : '');
  const answers = lines(`
    location ^~ /bitrix/sub {
        push_stream_subscriber long-polling;
        push_stream_channels_path $arg_CHANNEL_ID;
        push_stream_last_received_message_tag $arg_tag;
        push_stream_last_received_message_time "$arg_time";
        push_stream_longpolling_connection_ttl 40;
    }`);
  fs.rmSync(machine.path('etc/nginx'), { recursive: true });
  machine.write('etc/nginx/nginx.conf', `user www-data;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log warn;
events { worker_connections 1024; }
http {
    access_log /var/log/nginx/access.log;
    ${lines('include bx/settings/*.conf;')}
    include bx/site_enabled/*.conf;
}
`);
  machine.write('etc/nginx/bx/settings/im_settings.conf', `push_stream_shared_memory_size 256M;
push_stream_max_messages_stored_per_channel 1000;
push_stream_message_ttl 86400;
push_stream_message_template '#!NGINXNMS!#{"id":~id~,"channel":"~channel~","tag":"~tag~","time":"~time~","text":~text~}#!NGINXNME!#';
`);
  machine.write('etc/nginx/bx/site_enabled/s1.conf', `server {
    listen 80;
    root /var/www/html;${answers}
    location / { index index.html; }
}
`);
  machine.write('etc/nginx/bx/site_enabled/push.conf', `server {
    listen 8893;
    listen 8894 ssl;
    ssl_certificate ssl/fullchain.pem;
    ssl_certificate_key ssl/privkey.pem;${answers}
    location / { deny all; }
}
server {
    listen 127.0.0.1:8895;${lines(`
    location ^~ /bitrix/pub/ {
        push_stream_publisher admin;
        push_stream_channels_path $arg_CHANNEL_ID;
        push_stream_store_messages on;
        allow 127.0.0.0/8;
        deny all;
    }`)}
    location / { deny all; }
}
`);
}

/** Everything stored on a channel, asked at `url`. */
async function heard(url, channel) {
  const target = `/bitrix/sub/?CHANNEL_ID=${channel}${BEGINNING}`;
  if (!url.startsWith('https:')) return frames((await request(`${url}${target}`)).body).map((message) => message.text);
  const body = await new Promise((resolve, reject) => {
    https.get(`${url}${target}`, { rejectUnauthorized: false, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => resolve(text));
    }).on('error', reject);
  });
  return frames(body).map((message) => message.text);
}

test('MIGRATION.md takes the push part of a site over by the package, and gives it back', async () => {
  site(false);
  machine.write('var/www/html/index.html', 'the site');
  await machine.sh(`mkdir -p /etc/nginx/ssl; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
    -keyout /etc/nginx/ssl/privkey.pem -out /etc/nginx/ssl/fullchain.pem 2>/dev/null; chmod 600 /etc/nginx/ssl/privkey.pem
    cp -a /etc/nginx/ssl /root/ssl; nginx -t; systemctl start nginx`);
  await serving(8894);
  // The ports are nginx's.
  assert.match(await machine.try('systemctl start pushstreamd; systemctl status --no-pager pushstreamd'), /failed|activating|Address already in use/);
  site(true);
  await machine.sh('cp -a /root/ssl /etc/nginx/ssl');

  await follow('docs/MIGRATION.md', 'divide-package');
  const said = machine.read('etc/pushstreamd/for-nginx.txt');
  assert.equal(change(said, (file) => machine.path(file)), 7, `four settings, two servers and a location are to be changed:\n${said}`);
  await follow('docs/MIGRATION.md', 'certificate-package');
  await follow('docs/MIGRATION.md', 'start-package');
  await serving(8893);
  await eventually('the service is active', async () => (await machine.show('ActiveState')) === 'active', 20000);
  assert.ok(await say('moved', 'hello'));
  for (const url of ['http://127.0.0.1:8893', 'https://127.0.0.1:8894', 'http://127.0.0.1']) {
    assert.deepEqual(await heard(url, 'moved'), ['hello'], url);
  }
  // Made by `pushstreamd -t`, as root, for the service.
  assert.equal((await machine.sh('stat -c %U /var/log/pushstreamd/pushstreamd.log')).trim(), 'pushstreamd');
  assert.equal((await request('http://127.0.0.1/')).body, 'the site');
  await machine.sh('systemctl restart pushstreamd');
  await serving(8893);
  assert.deepEqual(await heard('http://127.0.0.1', 'moved'), ['hello'], 'messages outlive a restart');

  // The way back leads to an nginx that can run without the module here.
  site(false);
  await machine.sh('cp -a /root/ssl /etc/nginx/ssl; rm -rf /etc/nginx.with-push; cp -a /etc/nginx /etc/nginx.with-push');
  await follow('docs/MIGRATION.md', 'back-package');
  await eventually('nginx has the ports', async () => (await request('http://127.0.0.1:8893/')).status === 403, 15000);
  assert.equal(await machine.show('ActiveState'), 'inactive');
});
