// Writes docs/images/status-*.png: the status page in Chromium, with traffic on it. `make screenshots`

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../harness/configs.mjs';
import { Browser } from './page.mjs';
import { Watched } from './status-page.mjs';

const SECONDS = 62;
const images = path.join(root, 'docs/images');
fs.mkdirSync(images, { recursive: true });

const watched = await Watched.start();
const browser = await Browser.launch();
try {
  const page = await browser.context.newPage();
  await page.goto(watched.page);
  for (const [mode, channel, count] of [['ws', 'news', 120], ['ev', 'news', 64], ['sub', 'orders', 22]]) {
    await watched.publish(channel, 'welcome');
    watched.subscribe(mode, channel, count);
  }
  // A quieter channel: whoever is answered is no subscriber until he has asked again.
  watched.poll('user-117', 34);
  for (let user = 1; user <= 24; user += 1) await watched.publish(`user-${100 + user}`, 'welcome');
  for (let i = 0; i < 7; i += 1) await watched.refused('/known/nobody');
  for (let i = 0; i < 3; i += 1) await watched.refused('/sub/');
  let over = false;
  const traffic = (async () => {
    for (let second = 0; !over; second += 1) {
      const many = Math.round(12 + 6 * Math.sin(second / 4) + (second % 3));
      for (let i = 0; i < many; i += 1) await watched.publish(i % 3 ? 'news' : 'orders', JSON.stringify({ second, i }));
      if (second % 4 === 2) await watched.publish('user-117', JSON.stringify({ second }));
      if (second % 9 === 4) watched.subscribe('ws', 'news', 14);
      if (second % 11 === 7) for (const client of watched.clients.splice(0, 9)) client.destroy();
      await sleep(900);
    }
  })();
  await sleep(SECONDS * 1000);
  const shoot = async (name, { locale, colorScheme, width, height }) => {
    const view = await browser.context.newPage();
    await view.emulateMedia({ colorScheme });
    await view.setViewportSize({ width, height });
    await view.goto(watched.page);
    await view.evaluate((language) => localStorage.setItem('language', language), locale);
    await view.reload();
    await view.waitForSelector('#live.good');
    await sleep(2500);
    await view.screenshot({ path: path.join(images, `status-${name}.png`), fullPage: false });
    await view.close();
  };
  await shoot('light', { locale: 'en', colorScheme: 'light', width: 1240, height: 920 });
  await shoot('dark-ru', { locale: 'ru', colorScheme: 'dark', width: 1240, height: 920 });
  await shoot('phone', { locale: 'en', colorScheme: 'light', width: 390, height: 844 });
  over = true;
  await traffic;
} finally {
  await browser.close();
  await watched.stop();
}
