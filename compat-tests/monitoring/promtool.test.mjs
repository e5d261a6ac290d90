// Prometheus' own tool on what is for Prometheus: the alert rules, and the page of a server that has had traffic.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Watched } from '../browser/status-page.mjs';
import { root } from '../harness/configs.mjs';
import { eventually, run } from '../harness/programs.mjs';

test('promtool finds nothing wrong with the alert rules', async () => {
  const rules = path.join(root, 'docs/alerts/pushstreamd.rules.yml');
  const said = await run('promtool', ['check', 'rules', rules]);
  const count = fs.readFileSync(rules, 'utf8').match(/- alert:/g).length;
  assert.match(said, new RegExp(`SUCCESS: ${count} rules found`));
});

test('promtool finds nothing wrong with what is scraped', async () => {
  const watched = await Watched.start();
  try {
    watched.subscribe('ev', 'room', 3);
    await watched.publish('room');
    await watched.refused('/known/nobody');
    const scrape = async () => (await fetch(`${watched.page}metrics`)).text();
    await eventually('three subscribers', async () => (await scrape()).includes('pushstreamd_subscribers{mode="eventsource"} 3'));
    const page = await scrape();
    assert.match(page, /^pushstreamd_refusals_total\{reason="not_authorized"\} 1$/m);
    // What it would rather have otherwise ends it with an error too.
    assert.equal(await run('promtool', ['check', 'metrics'], { input: page }), '');
  } finally {
    await watched.stop();
  }
});
