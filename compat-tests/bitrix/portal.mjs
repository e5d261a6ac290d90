// What a Bitrix portal hands out and sends: channel ids, the configuration of the JavaScript client, message bodies.

import { createHash } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../harness/programs.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));

/** A channel id: md5, 32 lower-case hexadecimal digits. */
export function channelId(name) {
  return createHash('md5').update(`${name} ${process.pid} ${Date.now()} ${Math.random()}`).digest('hex');
}

/** A message body as PHP makes it since 2016. */
export function body(text, extra = {}) {
  const now = Date.now() / 1000;
  return JSON.stringify({
    module_id: 'compat',
    command: 'number',
    params: { text, ...extra },
    extra: { server_time: new Date().toISOString(), server_time_unix: now, server_name: 'localhost', revision_web: 19, revision_mobile: 3 },
  });
}

/** The message that makes a channel known, as PHP sent it until 2021. */
export const open = JSON.stringify({
  module_id: 'pull', command: 'open', expiry: 1, params: [], extra: { server_time_unix: Date.now() / 1000 },
});

/** The configuration PHP hands to the JavaScript client for a server of type "module 0.4 and later". */
export function clientConfig({ host, transport, ids: { private: own, shared } }) {
  const far = new Date(Date.now() + 12 * 3600e3).toISOString();
  const start = new Date().toISOString();
  const channels = { private: { id: own, public_id: '', type: 'private', start, end: far } };
  if (shared) channels.shared = { id: shared, type: 'shared', start, end: far };
  return {
    server: {
      version: 2,
      server_enabled: true,
      mode: 'personal',
      hostname: host,
      long_polling: `http://${host}/bitrix/sub/`,
      long_pooling_secure: `http://${host}/bitrix/sub/`,
      websocket_enabled: transport === 'websocket',
      websocket: `ws://${host}/bitrix/subws/`,
      websocket_secure: `ws://${host}/bitrix/subws/`,
      publish_enabled: false,
      publish: '',
      publish_secure: '',
      config_timestamp: 0,
      timeShift: 0,
    },
    api: { revision_web: 19, revision_mobile: 3 },
    channels,
    publicChannels: {},
  };
}

/** PHP as a publisher: `kind` is `socket` (closed after the write), `socket-wait` or `curl`; `messages`: [{ids, body}]. */
export async function php(kind, port, messages, target = '/bitrix/pub/') {
  const input = messages.map((message) => `${JSON.stringify(message)}\n`).join('');
  const args = kind === 'curl'
    ? ['publish-curl.php', `http://127.0.0.1:${port}${target}`]
    : ['publish-socket.php', String(port), target, ...(kind === 'socket-wait' ? ['wait'] : [])];
  args[0] = path.join(here, 'php', args[0]);
  const lines = (await run('php', args, { input })).split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line));
}

/** Runs one of the other PHP scripts. */
export function script(name, ...args) {
  return run('php', [path.join(here, 'php', name), ...args.map(String)]);
}

/** An example without the time directive of its long-polling location, as the server images of the vendor ship it. */
export function withoutTime(text) {
  return text.replace(/if \( ?\$arg_time ?\) \{[^}]*\}/, '');
}

/** One worker: messages of sockets that are closed without an answer arrive in the order of the sockets. */
export function oneWorker(text) {
  return text.replace(/worker_processes\s+\w+;/, 'worker_processes 1;');
}
