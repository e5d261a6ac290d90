// Prometheus' own tool and its strict client library on what is for Prometheus: the alert rules, and the page of a server that has traffic.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
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

test("Prometheus' client library can read every scrape under load, and no counter goes back over reloads", async () => {
  const watched = await Watched.start({ zones: true });
  const python = path.join(root, 'compat-tests/.cache/venv/bin/python');
  const scrapes = spawn(python, [path.join(root, 'compat-tests/monitoring/scrapes.py'), `${watched.page}metrics`], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = readline.createInterface(scrapes.stdout);
  const asked = async () => {
    const line = once(lines, 'line');
    scrapes.stdin.write('\n');
    return (await line)[0];
  };
  let going = true;
  const load = (async () => {
    for (let i = 0; going; i += 1) {
      watched.subscribe(['ws', 'ev', 'lp', 'sub'][i % 4], `room-${i % 7}`);
      await watched.publish(`room-${i % 7}`).catch(() => {});
      await watched.refused('/known/nobody');
      if (watched.clients.length > 40) watched.clients.shift().destroy();
    }
  })();
  try {
    assert.match(await asked(), /^\d+ good$/);
    for (let i = 0; i < 4; i += 1) {
      watched.server.program.child.kill('SIGHUP');
      assert.match(await asked(), /^\d+ good$/);
    }
    const page = await (await fetch(`${watched.page}metrics`)).text();
    assert.match(page, /^pushstreamd_zone_messages_published_total\{zone="default"\} [1-9]\d*$/m);
  } finally {
    going = false;
    await load;
    scrapes.stdin.end();
    await once(scrapes, 'exit');
    await watched.stop();
  }
});
