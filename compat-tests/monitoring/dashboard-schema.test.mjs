// The dashboard as Grafana's own types see it (npm's @grafana/schema, by the TypeScript compiler: an unknown member or value is an error), and as a
// person does: a place for each panel, a unit, a word about what it shows, names for its lines.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '../harness/configs.mjs';
import { run } from '../harness/programs.mjs';

const dashboard = JSON.parse(fs.readFileSync(path.join(root, 'docs/grafana/pushstreamd.json'), 'utf8'));
const rows = dashboard.panels.filter(({ type }) => type === 'row');
const shown = dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]).filter(({ type }) => type !== 'row');
const here = path.join(root, 'compat-tests');

/** Grafana's types have enums, JSON their values; of options a panel says what is not usual. */
const TYPES = `
import type { Dashboard, FieldConfig, FieldConfigSource, GraphFieldConfig, Panel, RowPanel } from '@grafana/schema';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TimeSeries } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Plain<T> = unknown extends T ? T : T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Some<T> = T extends (infer U)[] ? Some<U>[] : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;
type Target = { refId: string; expr: string; legendFormat?: string };
type Config<Custom> = Omit<Plain<FieldConfigSource>, 'defaults'>
  & { defaults: Omit<Plain<FieldConfig>, 'custom'> & { custom?: Some<Plain<Custom>> } };
type Shown<Type, Options, Custom> = Omit<Plain<Panel>, 'type' | 'targets' | 'options' | 'fieldConfig'>
  & { type: Type; targets: Target[]; options: Some<Plain<Options>>; fieldConfig: Config<Custom> };
type Any = Shown<'timeseries', TimeSeries, GraphFieldConfig> | Shown<'stat', Stat, {}>;
type Row = Omit<Plain<RowPanel>, 'panels'> & { panels: Any[] };
type Variables = Omit<Plain<Dashboard>, 'panels' | 'annotations'> & { panels: (Any | Row)[]; annotations: { list: unknown[] } };
`;

/** Mistakes that the types have to find, each in a dashboard of its own. */
const MISTAKES = {
  'an unknown member of the legend': (all) => { all.panels[7].options.legend.placment = 'bottom'; },
  'an unknown value': (all) => { all.panels[7].options.legend.displayMode = 'tabel'; },
  'a place that is text': (all) => { all.panels[7].gridPos.x = '8'; },
  'a unit that is a number': (all) => { all.panels[7].fieldConfig.defaults.unit = 3; },
  'an unknown member of a line': (all) => { all.panels[7].fieldConfig.defaults.custom.fill = 3; },
  'a wrong way to reduce a number': (all) => { all.panels[0].options.reduceOptions.calcs = 'lastNotNull'; },
  'an unknown panel': (all) => { all.panels[7].type = 'graf'; },
  'an unknown member of the whole': (all) => { all.refreshes = '10s'; },
  'a mistake within a folded row': (all) => { all.panels.at(-1).panels[0].gridPos.h = null; },
};

test("Grafana's own types have nothing against the dashboard, and would find what is wrong", async () => {
  const wrong = Object.values(MISTAKES).map((spoil) => {
    const copy = structuredClone(dashboard);
    spoil(copy);
    return copy;
  });
  // On a line of its own: the one below the remark is the one that has to be wrong.
  const constants = wrong.map((copy, number) => `// @ts-expect-error\nexport const wrong${number}: Variables = ${JSON.stringify(copy)};`);
  const file = path.join(here, `.cache/dashboard-${process.pid}.ts`);
  fs.writeFileSync(file, `${TYPES}\nexport const right: Variables = ${JSON.stringify(dashboard, null, 1)};\n${constants.join('\n')}\n`);
  try {
    const tsc = path.join(here, 'node_modules/.bin/tsc');
    const said = await run(tsc, ['--noEmit', '--strict', '--skipLibCheck', '--ignoreConfig', '--module', 'esnext', '--moduleResolution', 'bundler', '--types', '', '--pretty', 'false', file]);
    assert.equal(said, '');
  } finally {
    fs.rmSync(file);
  }
});

test('each panel has a name, a word, a unit and a place of its own', () => {
  const units = new Set(['short', 'none', 'cps', 'reqps', 's', 'percentunit', 'bytes', 'Bps', 'bool_yes_no']);
  const ids = [...rows, ...shown].map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(new Set(shown.map(({ title }) => title)).size, shown.length);
  const taken = new Map();
  for (const panel of [...rows, ...shown]) {
    const { x, y, w, h } = panel.gridPos;
    assert.ok(w > 0 && h > 0 && x >= 0 && x + w <= 24, panel.title);
    for (let column = x; column < x + w; column += 1) {
      for (let line = y; line < y + h; line += 1) {
        const place = `${column} ${line}`;
        assert.ok(!taken.has(place), `${panel.title} lies on ${taken.get(place)}`);
        taken.set(place, panel.title);
      }
    }
  }
  for (const panel of shown) {
    assert.ok(panel.title && panel.description, panel.title);
    assert.ok(units.has(panel.fieldConfig.defaults.unit), panel.title);
    assert.equal(new Set(panel.targets.map(({ refId }) => refId)).size, panel.targets.length);
    assert.deepEqual(panel.datasource, { type: 'prometheus', uid: '${datasource}' });
  }
});

/** The labels of each metric, as docs/METRICS.md has them. */
const labels = new Map([...fs.readFileSync(path.join(root, 'docs/METRICS.md'), 'utf8').matchAll(/^\| `(\w+)` \| \w+ \|([^|]*)\|/gm)]
  .map(([, name, told]) => [name, told.split(',').map((label) => label.trim()).filter(Boolean)]));

test('each line has a name, made of labels that its metric has', () => {
  for (const { title, type, targets } of shown) {
    if (type === 'stat') continue;
    assert.equal(new Set(targets.map(({ legendFormat }) => legendFormat)).size, targets.length, title);
    for (const { expr, legendFormat } of targets) {
      assert.ok(legendFormat, title);
      const [metric] = /\b(pushstreamd|process)_\w+/.exec(expr);
      const known = [...(labels.get(metric) ?? labels.get(metric.replace(/_bucket$/, ''))), 'instance'];
      for (const [, label] of legendFormat.matchAll(/\{\{\s*(\w+)\s*\}\}/g)) assert.ok(known.includes(label), `${title}: ${label} of ${metric}`);
      // What is summed over instances is not named after one.
      const kept = /^(?:sum|max) by \(([^)]*)\)/.exec(expr)?.[1].split(', ') ?? (expr.startsWith('sum(') || expr.startsWith('histogram_quantile') ? [] : known);
      for (const [, label] of legendFormat.matchAll(/\{\{\s*(\w+)\s*\}\}/g)) assert.ok(kept.includes(label), `${title}: ${label} is summed up`);
    }
  }
});

test('a panel that may have nothing to show says so', () => {
  for (const { title, targets, fieldConfig } of shown) {
    const all = targets.map(({ expr }) => expr);
    if (all.every((expr) => /_log_|backplane_|_zone_|certificate|> 0$|histogram_quantile\(.*delivery/.test(expr))) assert.ok(fieldConfig.defaults.noValue, title);
  }
});
