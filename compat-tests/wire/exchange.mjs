// Helpers of the wire tests: a request as text, an answer as lines; what changes from run to run is replaced by a name.

import assert from 'node:assert/strict';
import { Wire } from '../harness/wire.mjs';

const DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/;

/** `EXP` of the specification: the two lines against caches. */
export const UNCACHED = ['Expires: Thu, 01 Jan 1970 00:00:01 GMT', 'Cache-Control: no-cache, no-store, must-revalidate'];

/** The three lines of an answer that other origins may read. */
export const cors = (methods) => [
  'Access-Control-Allow-Origin: *',
  `Access-Control-Allow-Methods: ${methods}`,
  'Access-Control-Allow-Headers: If-Modified-Since,If-None-Match,Etag,Event-Id,Event-Type,Last-Event-Id',
];

/** The head of an answer, in its order: Server and Date are checked and left out, times near now are `<now>`. */
export function head(answer) {
  const names = answer.headers.map(([name]) => name);
  assert.deepEqual(names.slice(0, 2), ['Server', 'Date'], `it begins with ${names.slice(0, 2)}`);
  assert.match(answer.headers[1][1], DATE);
  return [answer.line, ...answer.headers.slice(2).map(([name, value]) => {
    const recent = DATE.test(value) && Math.abs(Date.parse(value) - Date.now()) < 10000;
    return `${name}: ${recent ? '<now>' : value}`;
  })];
}

/** Sends one request; `headers` are lines. */
export async function ask(wire, line, headers = [], body = '') {
  wire.send(`${line}\r\nHost: 127.0.0.1\r\n${headers.map((h) => `${h}\r\n`).join('')}\r\n${body}`);
  const answer = await wire.answer({ timeout: 5000, bodiless: line.startsWith('HEAD ') });
  assert.ok(answer, `no answer to ${line}: ${wire.text}`);
  return answer;
}

/** POST with its length. */
export function post(wire, target, body, headers = []) {
  return ask(wire, `POST ${target} HTTP/1.1`, [`Content-Length: ${Buffer.byteLength(body)}`, ...headers], body);
}

/** Compares the whole head and the body. */
export function assertAnswer(answer, lines, body = '') {
  assert.deepEqual(head(answer), lines.flat());
  assert.equal(answer.body, body);
}

/** A connection for one test, closed at its end. */
export async function connection(t, server, port = 9080) {
  const wire = await Wire.open(server.ports[port]);
  t.after(() => wire.close());
  return wire;
}
