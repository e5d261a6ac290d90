// Numbered messages: what a test publishes, and the judgement that each arrived once and in order.

import assert from 'node:assert/strict';

/** `count` texts `PREFIX1`, `PREFIX2`, ... */
export function numbered(count, prefix = 'm') {
  return Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
}

/** Fails with a short account of what was lost, doubled or swapped. */
export function assertOnceInOrder(received, expected, who = 'the subscriber') {
  const seen = new Map();
  for (const text of received) seen.set(text, (seen.get(text) ?? 0) + 1);
  const lost = expected.filter((text) => !seen.has(text));
  const doubled = [...seen].filter(([, n]) => n > 1).map(([text]) => text);
  const foreign = [...seen.keys()].filter((text) => !expected.includes(text));
  const short = (list) => `${list.length}: ${list.slice(0, 8).join(' ')}`;
  assert.ok(lost.length === 0 && doubled.length === 0 && foreign.length === 0,
    `${who} lost ${short(lost)}; doubled ${short(doubled)}; foreign ${short(foreign)}`);
  assert.deepEqual(received, expected, `${who} got them in another order`);
}
