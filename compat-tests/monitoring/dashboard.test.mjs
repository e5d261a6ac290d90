// The dashboard and the alert rules as a real Prometheus sees them: each expression is evaluated on a server with traffic, and gives what its
// legend names; each alert fires on what it is about, and none is about to on a server that is well.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Watched } from '../browser/status-page.mjs';
import { root, scratch } from '../harness/configs.mjs';
import { eventually, run } from '../harness/programs.mjs';
import { Prometheus, RULES } from './prometheus.mjs';

const dashboard = JSON.parse(fs.readFileSync(path.join(root, 'docs/grafana/pushstreamd.json'), 'utf8'));
/** What gives nothing while nothing of the kind has happened. */
const QUIET = /connections_cut_total|turned_away_total|bodies_refused|certificate_expiry|backplane_|zone_/;
/** Those of folded rows too. */
const panels = dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
let watched;
let prometheus;
let traffic;

before(async () => {
  watched = await Watched.start();
  for (const mode of ['sub', 'ev', 'lp', 'ws']) watched.subscribe(mode, 'room', 2);
  traffic = setInterval(() => {
    watched.publish('room').catch(() => {});
    watched.refused('/known/nobody').catch(() => {});
    watched.subscribe('lp', 'room');
  }, 200);
  prometheus = await Prometheus.start(new URL(watched.page).host);
});
after(async () => {
  clearInterval(traffic);
  await prometheus?.stop();
  await watched?.stop();
});

/** As Grafana asks: its variables have their values. */
const asked = (expression) => expression.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '10s');

test('every expression of the dashboard is one, has something to show, and has the labels of its legend', async () => {
  const targets = panels.flatMap((panel) => (panel.targets ?? []).map((target) => ({ title: panel.title, ...target })));
  assert.ok(targets.length > 30);
  await eventually('two scrapes lie in a window', async () => (await prometheus.query('rate(pushstreamd_requests_total[10s])')).length > 0, 30000);
  for (const { title, expr, legendFormat = '' } of targets) {
    const labels = [...legendFormat.matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map((match) => match[1]);
    if (QUIET.test(expr)) {
      await prometheus.query(asked(expr));
      continue;
    }
    const samples = await eventually(`${title}: ${expr}`, async () => {
      const found = await prometheus.query(asked(expr));
      return found.some((sample) => Number.isFinite(Number(sample.value[1]))) && found;
    }, 20000);
    for (const label of labels) assert.ok(samples.every((sample) => label in sample.metric), `${title}: no ${label} in ${expr}`);
  }
});

test('the variable of the dashboard and its annotation find the server', async () => {
  const { query } = dashboard.templating.list.find(({ name }) => name === 'instance').query;
  const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(query);
  const [sample] = await prometheus.query(metric);
  assert.equal(sample.metric[label], new URL(watched.page).host);
  for (const { expr } of dashboard.annotations.list) await prometheus.query(asked(expr));
});

test('Prometheus evaluates every alert rule, and none is about to fire on a server that is well', async () => {
  const rules = await eventually('all rules were evaluated', async () => {
    const found = await prometheus.rules();
    return found.every((rule) => rule.health === 'ok') && found;
  }, 20000);
  assert.equal(rules.length, alerts().length);
  assert.deepEqual(rules.filter((rule) => rule.state !== 'inactive').map((rule) => rule.name), []);
});

const alerts = () => [...fs.readFileSync(RULES, 'utf8').matchAll(/- alert: (\w+)/g)].map((match) => match[1]);

/** Of each alert: series of an hour, a sample a minute, on which it fires. `a+bxn`: from a on, n times b more. */
const FIRES = {
  PushstreamdDown: { up: '0x60' },
  PushstreamdRestarts: { process_start_time_seconds: '0+60x60' },
  PushstreamdReloadFailed: { pushstreamd_reload_failed: '1x60' },
  PushstreamdMistake: { 'pushstreamd_connections_cut_total{reason="panic"}': '0+1x60' },
  PushstreamdWorkerLate: { 'pushstreamd_worker_lag_seconds{worker="0"}': '0.6x60' },
  PushstreamdDeliverySlow: { 'pushstreamd_delivery_seconds_bucket{le="0.5"}': '0+1x60', 'pushstreamd_delivery_seconds_bucket{le="1"}': '0+100x60', 'pushstreamd_delivery_seconds_bucket{le="+Inf"}': '0+100x60' },
  PushstreamdSlowReaders: { 'pushstreamd_connections_cut_total{reason="slow_reader"}': '0+120x60' },
  PushstreamdSubscribersGone: { 'pushstreamd_subscribers{mode="websocket"}': '1000x52 100x8' },
  PushstreamdConnectionsExhausted: { 'pushstreamd_connections_turned_away_total{bound="worker_connections"}': '0+1x60' },
  PushstreamdDescriptorsShort: { process_open_fds: '900x60', process_max_fds: '1000x60' },
  PushstreamdMemoryShort: { pushstreamd_memory_used_bytes: '96x60', pushstreamd_memory_limit_bytes: '100x60' },
  PushstreamdRefusesMuch: { 'pushstreamd_refusals_total{reason="not_authorized"}': '0+1200x60' },
  PushstreamdLogGap: { pushstreamd_log_gap: '1x60' },
  PushstreamdLogLate: { pushstreamd_log_sync_age_seconds: '31x60' },
  PushstreamdCertificateEnds: { 'pushstreamd_certificate_expiry_timestamp_seconds{certificate="a.pem"}': '1000000x70' },
  PushstreamdNodeAway: { pushstreamd_backplane_joined: '0x60' },
  PushstreamdBackplaneLost: { pushstreamd_backplane_losses_total: '0x50 1x10' },
  PushstreamdMessagesPassedOver: { pushstreamd_backplane_passed_over_total: '0x50 1x10' },
  PushstreamdCertificateEndsSoon: { 'pushstreamd_certificate_expiry_timestamp_seconds{certificate="a.pem"}': '200000x60' },
};

test('each alert fires on what it is about', async () => {
  assert.deepEqual(Object.keys(FIRES).sort(), alerts().sort());
  const tests = Object.entries(FIRES).map(([alert, series]) => ({
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => {
      const [, metric, labels = ''] = /^(\w+)(?:\{(.*)\})?$/.exec(name);
      return { series: `${metric}{job="pushstreamd",instance="a:1"${labels && `,${labels}`}}`, values };
    }),
    promql_expr_test: [{
      expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`, eval_time: alert === 'PushstreamdCertificateEnds' ? '65m' : '58m',
      exp_samples: [{ labels: '{}', value: 1 }],
    }],
  }));
  const file = path.join(scratch(), 'alerts.test.yml');
  // JSON is YAML.
  fs.writeFileSync(file, JSON.stringify({ rule_files: [RULES], evaluation_interval: '1m', tests }));
  assert.match(await run('promtool', ['test', 'rules', file]), /SUCCESS/);
});
