// The cases of the Autobahn testsuite's sections 1-7, 9 and 10, said anew: what is sent, what has to come, how it ends.
//
// A case: { id, does, send: [bytes, ...], chop, expect: [[kind, payload], ...], end }. `end` is `open` (a closing handshake by the
// client afterwards has to work), `fail` (the server ends the connection, with one of `codes` if it says any), or `closed` (the
// server answers a close frame, with one of `codes` or none).
// Two things differ from an echo server, because what is sent here is published: an empty message is not published (each such case
// sends another message behind it), and a channel has an order of its own, which one publisher keeps.

import { closing, frame, OP } from './peer.mjs';

const text = (payload, options) => frame(OP.text, payload, options);
const binary = (payload, options) => frame(OP.binary, payload, options);
const more = (payload, options) => frame(OP.continuation, payload, options);
const ping = (payload, options) => frame(OP.ping, payload, options);
const pong = (payload, options) => frame(OP.pong, payload, options);
const close = (payload, options) => frame(OP.close, payload, options);
const first = { fin: false };
const echo = (payload) => ['text', Buffer.from(payload)];
const hello = Buffer.from('Hello-µ@ßöäüàá-UTF-8!!');

export const cases = [];
const add = (id, does, send, rest) => cases.push({ id, does, send, chop: 0, expect: [], end: 'open', codes: [], ...rest });
const PROTOCOL = { end: 'fail', codes: [1002] };
const NOT_UTF8 = { end: 'fail', codes: [1007] };

// 1: framing
for (const [i, size] of [0, 125, 126, 127, 128, 65535, 65536].entries()) {
  const star = '*'.repeat(size);
  const bytes = Buffer.alloc(size, 0xfe);
  const marker = size === 0;
  add(`1.1.${i + 1}`, `text of ${size} bytes`, marker ? [text(''), text('x')] : [text(star)], { expect: [echo(marker ? 'x' : star)] });
  add(`1.2.${i + 1}`, `binary of ${size} bytes`, marker ? [binary(''), text('x')] : [binary(bytes)],
    { expect: [marker ? echo('x') : ['binary', bytes]] });
}
add('1.1.8', 'text of 65536 bytes in pieces of 997', [text('*'.repeat(65536))], { chop: 997, expect: [echo('*'.repeat(65536))] });
add('1.2.8', 'binary of 65536 bytes in pieces of 997', [binary(Buffer.alloc(65536, 0xfe))],
  { chop: 997, expect: [['binary', Buffer.alloc(65536, 0xfe)]] });

// 2: ping and pong
const odd = Buffer.from([0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]);
add('2.1', 'ping without payload', [ping()], { expect: [['pong', Buffer.alloc(0)]] });
add('2.2', 'ping with text', [ping('Hello, world!')], { expect: [['pong', Buffer.from('Hello, world!')]] });
add('2.3', 'ping with bytes that are no text', [ping(odd)], { expect: [['pong', odd]] });
add('2.4', 'ping of 125 bytes', [ping(Buffer.alloc(125, 0xfe))], { expect: [['pong', Buffer.alloc(125, 0xfe)]] });
add('2.5', 'ping of 126 bytes', [ping(Buffer.alloc(126, 0xfe))], PROTOCOL);
add('2.6', 'ping of 125 bytes, byte by byte', [ping(Buffer.alloc(125, 0xfe))], { chop: 1, expect: [['pong', Buffer.alloc(125, 0xfe)]] });
add('2.7', 'pong nobody asked for', [pong()], {});
add('2.8', 'pong nobody asked for, with payload', [pong('unsolicited')], {});
add('2.9', 'pong nobody asked for, then a ping', [pong('unsolicited'), ping('ping')], { expect: [['pong', Buffer.from('ping')]] });
const ten = Array.from({ length: 10 }, (_, i) => Buffer.from(`payload-${i}`));
add('2.10', 'ten pings', ten.map((p) => ping(p)), { expect: ten.map((p) => ['pong', p]) });
add('2.11', 'ten pings, byte by byte', ten.map((p) => ping(p)), { chop: 1, expect: ten.map((p) => ['pong', p]) });

// 3: reserved bits
add('3.1', 'text with RSV 1', [text(hello, { rsv: 1 })], PROTOCOL);
add('3.2', 'text, text with RSV 2, ping', [text(hello), text(hello, { rsv: 2 }), ping()], { ...PROTOCOL, expect: [echo(hello)] });
add('3.3', 'the same in one write', [Buffer.concat([text(hello), text(hello, { rsv: 3 }), ping()])], { ...PROTOCOL, expect: [echo(hello)] });
add('3.4', 'the same byte by byte', [Buffer.concat([text(hello), text(hello, { rsv: 4 }), ping()])], { ...PROTOCOL, chop: 1, expect: [echo(hello)] });
add('3.5', 'binary with RSV 5', [binary(odd, { rsv: 5 })], PROTOCOL);
add('3.6', 'ping with RSV 6', [ping('x', { rsv: 6 })], PROTOCOL);
add('3.7', 'close with RSV 7', [close(closing(1000), { rsv: 7 })], PROTOCOL);

// 4: reserved opcodes
for (const [section, opcodes] of [['4.1', [3, 4, 5, 6, 7]], ['4.2', [11, 12, 13, 14, 15]]]) {
  for (const [i, opcode] of opcodes.entries()) {
    const bad = frame(opcode, i % 2 ? 'payload' : '');
    if (i < 2) add(`${section}.${i + 1}`, `opcode ${opcode}`, [bad], PROTOCOL);
    else {
      add(`${section}.${i + 1}`, `text, opcode ${opcode}, ping`, [text(hello), bad, ping()],
        { ...PROTOCOL, expect: [echo(hello)], chop: i === 4 ? 1 : 0 });
    }
  }
}

// 5: fragments
add('5.1', 'fragmented ping', [ping('frag', first), more('ment')], PROTOCOL);
add('5.2', 'fragmented pong', [pong('frag', first), more('ment')], PROTOCOL);
for (const [i, [how, chop]] of [['in two writes', 0], ['in one write', 'one'], ['byte by byte', 1]].entries()) {
  const parts = [text('fragment1', first), more('fragment2')];
  add(`5.${3 + i}`, `text in two fragments, ${how}`, chop === 'one' ? [Buffer.concat(parts)] : parts,
    { chop: chop === 'one' ? 0 : chop, expect: [echo('fragment1fragment2')] });
  const mixed = [text('fragment1', first), ping('between'), more('fragment2')];
  add(`5.${6 + i}`, `the same with a ping between, ${how}`, chop === 'one' ? [Buffer.concat(mixed)] : mixed,
    { chop: chop === 'one' ? 0 : chop, expect: [['pong', Buffer.from('between')], echo('fragment1fragment2')] });
}
for (const [n, fin] of [[9, true], [12, false]]) {
  for (const [i, how] of ['in writes of their own', 'in one write', 'byte by byte'].entries()) {
    const parts = [more('lost', { fin }), text(hello)];
    add(`5.${n + i}`, `continuation without a start, FIN ${fin}, ${how}`, i === 1 ? [Buffer.concat(parts)] : parts, { ...PROTOCOL, chop: i === 2 ? 1 : 0 });
  }
}
add('5.15', 'a whole text in fragments, then a continuation', [text('a', first), more('b'), more('c', first), text('d')],
  { ...PROTOCOL, expect: [echo('ab')] });
add('5.16', 'continuation FIN false first, then fragments', [more('a', first), text('b', first), more('c')], PROTOCOL);
add('5.17', 'continuation FIN true first, then fragments', [more('a'), text('b', first), more('c')], PROTOCOL);
add('5.18', 'two fragments that both say text', [text('fragment1', first), text('fragment2')], PROTOCOL);
const five = [text('1', first), more('2', first), ping('p1'), more('3', first), more('4', first), ping('p2'), more('5')];
const fiveExpected = [['pong', Buffer.from('p1')], ['pong', Buffer.from('p2')], echo('12345')];
add('5.19', 'five fragments with pings between', five, { expect: fiveExpected });
add('5.20', 'the same byte by byte', five, { chop: 1, expect: fiveExpected });

// 6: UTF-8
add('6.1.1', 'empty text', [text(''), text('x')], { expect: [echo('x')] });
add('6.1.2', 'three empty fragments', [text('', first), more('', first), more(''), text('x')], { expect: [echo('x')] });
add('6.1.3', 'the middle one is not empty', [text('', first), more('middle', first), more('')], { expect: [echo('middle')] });
add('6.2.1', 'valid text', [text(hello)], { expect: [echo(hello)] });
add('6.2.2', 'valid text in fragments', [text('Hello-µ@ßöä', first), more('üàá-UTF-8!!')], { expect: [echo(hello)] });
const octets = (bytes) => [...bytes].map((_, i) => frame(i === 0 ? OP.text : OP.continuation, bytes.subarray(i, i + 1), { fin: i === bytes.length - 1 }));
add('6.2.3', 'valid text in fragments of one byte', octets(hello), { expect: [echo(hello)] });
const kosme = Buffer.from('κόσμε');
add('6.2.4', 'valid text, characters cut by fragments', octets(kosme), { expect: [echo(kosme)] });
const invalid = Buffer.from('cebae1bdb9cf83cebcceb5eda080656469746564', 'hex');
add('6.3.1', 'a surrogate', [text(invalid)], NOT_UTF8);
add('6.3.2', 'a surrogate, in fragments of one byte', octets(invalid), NOT_UTF8);
const [head, bad, tail] = ['cebae1bdb9cf83cebcceb5', 'f4908080', '656469746564'].map((h) => Buffer.from(h, 'hex'));
add('6.4.1', 'bytes that cannot be text fail at once, in a fragment of their own', [text(head, first), more(bad, first)], { ...NOT_UTF8, fast: true });
add('6.4.2', 'the same, the third byte already', [text(Buffer.concat([head, bad.subarray(0, 2)]), first), more(bad.subarray(2), first)], { ...NOT_UTF8, fast: true });
add('6.4.3', 'the same inside one frame that is not complete', [text(Buffer.concat([head, bad, tail])).subarray(0, -6)], { ...NOT_UTF8, fast: true, allowWhole: tail });
add('6.4.4', 'the same, byte by byte', [text(Buffer.concat([head, bad, tail])).subarray(0, -6)], { ...NOT_UTF8, fast: true, chop: 1, allowWhole: tail });
const VALID = [
  'cebae1bdb9cf83cebcceb5', '00', 'c280', 'e0a080', 'f0908080', '7f', 'dfbf', 'efbfbf', 'f48fbfbf', 'ed9fbf', 'ee8080', 'efbfbd', 'f48fbfbf',
  'efbfbe', 'efbfbf', 'f09fbfbe', 'f09fbfbf', 'f0afbfbe', 'f0bfbfbf', 'f18fbfbe', 'f3bfbfbf',
];
const INVALID = [
  'f888808080', 'fc8480808080', 'f7bfbfbf', 'fbbfbfbfbf', 'fdbfbfbfbfbf', 'f4908080', '80', 'bf', '80bf', '80bf80', '80bf80bf', '80bf80bf80', '80bf80bf80bf',
  '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbe',
  'c020c120', 'e020e120', 'f020f120', 'f820', 'fc20', 'c0', 'e080', 'f08080', 'f8808080', 'fc80808080', 'df', 'efbf', 'f7bfbf', 'fbbfbfbf', 'fdbfbfbfbf',
  'c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf', 'fe', 'ff', 'fefeffff', 'c0af', 'e080af', 'f08080af', 'f8808080af', 'fc80808080af',
  'c1bf', 'e09fbf', 'f08fbfbf', 'f887bfbfbf', 'fc83bfbfbfbf', 'c080', 'e08080', 'f0808080', 'f880808080', 'fc8080808080',
  'eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80', 'edbfbf', 'eda080edb080', 'eda080edbfbf', 'edadbfedb080', 'edadbfedbfbf', 'edae80edb080', 'edae80edbfbf', 'edafbfedb080', 'edafbfedbfbf',
];
for (const [i, hex] of VALID.entries()) {
  const bytes = Buffer.from(hex, 'hex');
  add(`6.5-6.23 valid ${i + 1}`, `text ${hex}`, [text(bytes)], { expect: [echo(bytes)] });
}
for (const [i, hex] of INVALID.entries()) add(`6.5-6.21 invalid ${i + 1}`, `text ${hex.slice(0, 40)}`, [text(Buffer.from(hex, 'hex'))], NOT_UTF8);

// 7: closing
add('7.1.1', 'text, then close', [text(hello), close(closing(1000))], { expect: [echo(hello)], end: 'closed', codes: [1000] });
add('7.1.2', 'two closes', [close(closing(1000)), close(closing(1000))], { end: 'closed', codes: [1000] });
add('7.1.3', 'a ping after the close is not answered', [Buffer.concat([close(closing(1000)), ping('x')])], { end: 'closed', codes: [1000] });
add('7.1.4', 'a text after the close is not published', [Buffer.concat([close(closing(1000)), text(hello)])], { end: 'closed', codes: [1000] });
add('7.1.5', 'a close between fragments', [text('fragment1', first), close(closing(1000)), more('fragment2')], { end: 'closed', codes: [1000] });
add('7.1.6', 'a large text, then close and ping', [text('*'.repeat(262144)), text(hello), close(closing(1000)), ping()],
  { end: 'closed', codes: [1000], expect: [echo('*'.repeat(262144)), echo(hello)] });
add('7.3.1', 'close without payload', [close('')], { end: 'closed', codes: [1000, 1005] });
add('7.3.2', 'close with one byte', [close('a')], PROTOCOL);
add('7.3.3', 'close with a code', [close(closing(1000))], { end: 'closed', codes: [1000] });
add('7.3.4', 'close with a code and a reason', [close(closing(1000, 'Hello World!'))], { end: 'closed', codes: [1000] });
add('7.3.5', 'close with the longest reason', [close(closing(1000, '*'.repeat(123)))], { end: 'closed', codes: [1000] });
add('7.3.6', 'close with a reason that is too long', [close(closing(1000, '*'.repeat(124)))], PROTOCOL);
add('7.5.1', 'close with a reason that is no text', [close(Buffer.concat([closing(1000), invalid]))], NOT_UTF8);
for (const [i, code] of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].entries()) {
  add(`7.7.${i + 1}`, `close with ${code}`, [close(closing(code))], { end: 'closed', codes: [code, 1000] });
}
for (const [i, code] of [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535].entries()) {
  add(i < 9 ? `7.9.${i + 1}` : `7.13.${i - 8}`, `close with ${code}, which may not be sent`, [close(closing(code))], PROTOCOL);
}

// 9: size and number
const MiB = 1024 * 1024;
const sized = (n) => Buffer.alloc(n, '*');
for (const [i, size] of [65536, 262144, MiB, 4 * MiB, 8 * MiB, 16 * MiB].entries()) {
  add(`9.1.${i + 1}`, `text of ${size} bytes`, [text(sized(size))], { expect: [echo(sized(size))], large: true });
  add(`9.2.${i + 1}`, `binary of ${size} bytes`, [binary(Buffer.alloc(size, 0xfe))], { expect: [['binary', Buffer.alloc(size, 0xfe)]], large: true });
}
for (const [i, part] of [64, 256, 1024, 4096, 16384, 65536, 262144, MiB, 4 * MiB].entries()) {
  for (const [section, start, fill, kind] of [['9.3', text, 0x2a, 'text'], ['9.4', binary, 0xfe, 'binary']]) {
    const parts = [];
    for (let at = 0; at < 4 * MiB; at += part) {
      const piece = Buffer.alloc(part, fill);
      parts.push((at === 0 ? start : more)(piece, { fin: at + part >= 4 * MiB }));
    }
    add(`${section}.${i + 1}`, `${kind} of 4 MiB in fragments of ${part}`, [Buffer.concat(parts)], { expect: [[kind, Buffer.alloc(4 * MiB, fill)]], large: true });
  }
}
for (const [i, chop] of [64, 128, 256, 512, 1024, 2048].entries()) {
  add(`9.5.${i + 1}`, `text of 1 MiB in pieces of ${chop}`, [text(sized(MiB))], { chop, expect: [echo(sized(MiB))], large: true });
  add(`9.6.${i + 1}`, `binary of 1 MiB in pieces of ${chop}`, [binary(Buffer.alloc(MiB, 0xfe))], { chop, expect: [['binary', Buffer.alloc(MiB, 0xfe)]], large: true });
}
for (const [i, size] of [1, 16, 64, 256, 1024, 4096].entries()) {
  const payload = '*'.repeat(size);
  add(`9.7.${i + 1}`, `1000 texts of ${size} bytes`, Array(1000).fill(text(payload)), { expect: Array(1000).fill(echo(payload)), large: true });
  const bytes = Buffer.alloc(size, 0xfe);
  add(`9.8.${i + 1}`, `1000 binaries of ${size} bytes`, Array(1000).fill(binary(bytes)), { expect: Array(1000).fill(['binary', bytes]), large: true });
}

// 10: fragments made by a library
const auto = [];
for (let at = 0; at < 65536; at += 1300) auto.push(frame(at === 0 ? OP.text : OP.continuation, sized(Math.min(1300, 65536 - at)), { fin: at + 1300 >= 65536 }));
add('10.1.1', 'text of 65536 bytes in fragments of 1300', auto, { expect: [echo(sized(65536))] });
