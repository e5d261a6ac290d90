// docs/MIGRATION.md, executed: there, back and there again, with pages in Chromium that listen through Debian's nginx.
// That nginx has no push module: what it is given back is its configuration without the push lines.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Browser, received } from '../browser/page.mjs';
import { root } from '../harness/configs.mjs';
import { accepts, eventually, freePorts } from '../harness/programs.mjs';
import { publish, request } from '../harness/server.mjs';
import { assertOnceInOrder, numbered } from '../harness/sequence.mjs';
import { Machine } from './machine.mjs';

const TRANSPORTS = ['eventsource', 'websocket', 'xhr'];

let machine;
let browser;
let site;
let publisher;
before(async () => {
  const [own, ...others] = await freePorts(3);
  [site, publisher] = others;
  machine = new Machine(own);
  fs.copyFileSync(path.join(root, 'compat-tests/browser/pages/native.html'), machine.path('www/native.html'));
  browser = await Browser.launch();
  browser.origin = `http://127.0.0.1:${site}`;
});
after(async () => {
  await browser.close();
  await machine.front?.stop();
});

/** nginx's files as BitrixVM lays them out; without `push`, what a nginx without the module can run. */
function configuration(push) {
  const settings = `push_stream_shared_memory_size 64M;
push_stream_max_messages_stored_per_channel 1000;
push_stream_message_ttl 3600;
push_stream_ping_message_interval 10s;
push_stream_message_template '{"id":~id~,"text":"~text~","tag":"~tag~","time":"~time~"}';

server {
    listen 127.0.0.1:${publisher};
    location ^~ /bitrix/pub/ {
        push_stream_publisher admin;
        push_stream_channels_path $arg_CHANNEL_ID;
        push_stream_store_messages on;
        allow 127.0.0.0/8;
        deny all;
    }
    location = /channels-stats {
        push_stream_channels_statistics;
        push_stream_channels_path $arg_id;
    }
    location / { deny all; }
}
`;
  const locations = `location ~ ^/ev/(.*)$ {
    push_stream_subscriber eventsource;
    push_stream_channels_path $1;
}
location ~ ^/ws/(.*)$ {
    push_stream_subscriber websocket;
    push_stream_channels_path $1;
    push_stream_last_received_message_tag "$arg_tag";
    push_stream_last_received_message_time "$arg_time";
}
location ~ ^/lp/(.*)$ {
    push_stream_subscriber long-polling;
    push_stream_channels_path $1;
    push_stream_longpolling_connection_ttl 5;
    push_stream_last_received_message_tag "$arg_tag";
    push_stream_last_received_message_time "$arg_time";
}
`;
  return {
    'nginx.conf': `pid ${machine.path('run/nginx.pid')};
error_log ${machine.path('run/nginx.log')};
worker_processes 1;
# Streams move to the new workers soon after a reload.
worker_shutdown_timeout 1s;
events { worker_connections 512; }
http {
    types { text/html html; }
    access_log off;
    client_body_temp_path ${machine.path('run/body')};
    proxy_temp_path ${machine.path('run/proxy')};
    fastcgi_temp_path ${machine.path('run/fastcgi')};
    uwsgi_temp_path ${machine.path('run/uwsgi')};
    scgi_temp_path ${machine.path('run/scgi')};
    include bx/settings/*.conf;
    server {
        listen 127.0.0.1:${site};
        root ${machine.path('www')};
        include bx/site/*.conf;
        location / { index index.html; }
    }
}
`,
    'bx/settings/push.conf': push ? settings : '',
    'bx/site/push.conf': push ? locations : '',
  };
}

/** From nginx with push to nginx and pushstreamd, as the guide says. */
async function there() {
  machine.write('nginx', configuration(true));
  await machine.follow('divide');
  assert.equal(machine.apply(), 9, 'five settings, a server and three locations are to be changed');
  await machine.follow('start');
}

/** From nginx and pushstreamd to nginx, as the guide says. */
async function back() {
  machine.write('nginx.with-push', configuration(false));
  await machine.follow('back');
  await eventually('pushstreamd has ended', async () => !(await accepts(publisher)) && !(await accepts(machine.port)));
  assert.equal((await request(`${browser.origin}/native.html`)).status, 200);
  await eventually('nginx knows no push', async () => (await request(`${browser.origin}/lp/news`)).status === 404);
}

const post = (text) => publish(`http://127.0.0.1:${publisher}/bitrix/pub/?CHANNEL_ID=news`, text, { 'Event-Id': text });

/** Waits until every page is a subscriber. */
async function listening() {
  await eventually('all pages listen', async () => {
    const { subscribers } = JSON.parse((await request(`http://127.0.0.1:${publisher}/channels-stats`)).body);
    return Number(subscribers) === TRANSPORTS.length;
  }, 15000);
}

/** Publishes `texts`, a few a moment, until all are out. */
async function steadily(texts) {
  for (const text of texts) {
    await post(text);
    await sleep(20);
  }
}

async function assertReceived(pages, texts) {
  for (const [i, page] of pages.entries()) assertOnceInOrder(await received(page, texts.length), texts, TRANSPORTS[i]);
}

test('pages receive over the migration, over reloads, and again after the way back and there', async () => {
  machine.write('nginx', configuration(false));
  await machine.nginx(site);
  const pages = [];
  // They are open before there is anything to listen to.
  for (const transport of TRANSPORTS) pages.push(await browser.open('native.html', { transport, server: `127.0.0.1:${site}`, channel: 'news' }));

  await there();
  await listening();
  const first = numbered(40, 'first');
  await steadily(first);
  await assertReceived(pages, first);

  const opened = () => Promise.all(pages.map((page) => page.evaluate(() => window.opened)));
  const before = await opened();
  const pid = machine.pid('pushstreamd');
  const reloads = numbered(200, 'reloads');
  const publishing = steadily(reloads);
  publishing.catch(() => {});
  await sleep(300);
  await machine.follow('reload');
  await publishing;
  await assertReceived(pages, [...first, ...reloads]);
  assert.equal(machine.pid('pushstreamd'), pid, 'a reload is no restart');
  (await opened()).forEach((count, i) => assert.ok(count > before[i], `${TRANSPORTS[i]} never left the old nginx`));

  await back();
  await there();
  await listening();
  assert.notEqual(machine.pid('pushstreamd'), pid);
  const second = numbered(40, 'second');
  await steadily(second);
  await assertReceived(pages, [...first, ...reloads, ...second]);

  for (const page of pages) await page.close();
  const log = fs.readFileSync(machine.path('run/pushstreamd.log'), 'utf8');
  assert.doesNotMatch(log, /panicked/i, log);
  await back();
});
