// Helpers of the wire tests: a request as text, an answer as lines; what changes from run to run is replaced by a name.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server } from '../harness/server.mjs';
import { TEXT } from './configuration.mjs';
import { door } from './door.mjs';

/** A server for the tests of one file. */
export const start = () => Server.start({ text: TEXT, args: ['--strict'], program: door.program });

/**
 * One behaviour. Where the door has an exception for it, it has to fail in exactly that way: an exception that is needed no
 * longer is found.
 */
export function behaviour(name, body) {
  const exception = door.exceptions[name];
  if (!exception) return test(name, body);
  return test(`${name}; not here: ${exception.reason}`, (t) => assert.rejects(body(t), exception.failure));
}

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
function head(answer) {
  const names = answer.headers.map(([name]) => door.name(name));
  const first = ['Server', 'Date'].map((name) => door.name(name));
  if (door.ordered) assert.deepEqual(names.slice(0, 2), first, `it begins with ${names.slice(0, 2)}`);
  for (const name of first) assert.equal(names.filter((n) => n === name).length, 1, `${name} comes once`);
  assert.match(value(answer, 'Date'), DATE);
  const rest = answer.headers.filter((_, i) => !first.includes(names[i]));
  return [answer.line, ...rest.map(([name, text]) => {
    const recent = DATE.test(text) && Math.abs(Date.parse(text) - Date.now()) < 10000;
    return `${name}: ${recent ? '<now>' : text}`;
  })];
}

/** A field of an answer. */
export function value(answer, name) {
  return answer.headers.find(([n]) => door.name(n) === door.name(name))?.[1];
}

/** Compares the whole head, as far as the door keeps it. */
export function assertHead(answer, lines) {
  assert.deepEqual(door.comparable(head(answer)), door.comparable(lines.flat()));
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
  assertHead(answer, lines);
  assert.equal(answer.body, body);
}

/** Compares the status line. */
export function assertLine(answer, line) {
  assert.deepEqual(door.comparable([answer.line]), door.comparable([line]));
}

/** Compares the head of a handshake, and all that has come behind it. */
export function assertSwitched(wire, lines, frames) {
  const end = wire.text.indexOf('\r\n\r\n');
  assert.deepEqual(door.comparable(door.switched(wire.text.slice(0, end).split('\r\n'))), door.comparable(lines));
  assert.equal(wire.text.slice(end + 4), frames);
}

/** A connection for one test, closed at its end. */
export async function connection(t, server, port = 9080) {
  const wire = await door.open(server.ports[port]);
  t.after(() => wire.close());
  return wire;
}
