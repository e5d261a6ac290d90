// Headless Chromium and a web site of another origin whose pages use the server under test.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { chromium } from 'playwright-core';
import { root, scratch } from '../harness/configs.mjs';
import { eventually } from '../harness/programs.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const venv = path.join(root, 'compat-tests/.cache/venv/lib');

/** Scripts of other people, by the name a page loads them under. */
const SCRIPTS = {
  '/b24jssdk.js': () => path.join(root, 'compat-tests/node_modules/@bitrix24/b24jssdk/dist/umd/index.min.js'),
  '/pushstream.js': () => path.join(venv, fs.readdirSync(venv)[0], 'site-packages/nginx_push_stream/static/nginx_push_stream/js/pushstream.js'),
};

export class Browser {
  static async launch() {
    const browser = new Browser();
    browser.site = http.createServer((req, res) => {
      const name = new URL(req.url, 'http://site').pathname;
      const file = SCRIPTS[name]?.() ?? path.join(here, 'pages', path.basename(name));
      if (!fs.existsSync(file)) {
        res.writeHead(404).end();
        return;
      }
      res.writeHead(200, { 'Content-Type': file.endsWith('.js') ? 'text/javascript' : 'text/html; charset=utf-8' });
      fs.createReadStream(file).pipe(res);
    });
    await new Promise((resolve) => browser.site.listen(0, '127.0.0.1', resolve));
    browser.origin = `http://127.0.0.1:${browser.site.address().port}`;
    browser.context = await chromium.launchPersistentContext(scratch(), {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      ignoreHTTPSErrors: true,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync'],
    });
    return browser;
  }

  /** Opens a page of the site. What it puts into `window.received` is read by `Page.received`. */
  async open(name, options = {}) {
    const page = await this.context.newPage();
    page.failures = [];
    page.on('pageerror', (error) => page.failures.push(String(error)));
    await page.goto(`${this.origin}/${name}#${encodeURIComponent(JSON.stringify(options))}`, {
      // A script that waits for a message would hold back `load`.
      waitUntil: 'domcontentloaded',
    });
    return page;
  }

  /** Closes what a test has left open, so that the next one counts its own subscribers. */
  async closePages() {
    for (const page of this.context.pages().slice(1)) await page.close();
  }

  async close() {
    await this.context.close();
    this.site.closeAllConnections();
    await new Promise((resolve) => this.site.close(resolve));
  }
}

/** What a page has received once there are `count` of it, or what there is when they do not come. */
export async function received(page, count, timeout = 20000) {
  await eventually(`${count} messages`, async () => (await page.evaluate(() => window.received.length)) >= count, timeout)
    .catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  if (page.failures.length > 0) throw new Error(`the page failed: ${page.failures.join('; ')}`);
  return page.evaluate(() => window.received);
}

/** What axe-core has against a page as it is now, by WCAG 2.2 AA and its own good practice: rule and element, a line each. */
export async function objections(page) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  if (found.passes.length < 10) throw new Error('axe-core has looked at next to nothing');
  return found.violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary.replaceAll(/\s+/g, ' ')}`));
}
