// Requests as Bitrix's older JavaScript (BX.PULL, 2013-2018) sends them: long-polling by arguments and headers, WebSocket.
// Not a copy of that program: only what it puts on the wire and how it goes on from the last frame.

import http from 'node:http';
import WebSocket from 'ws';
import { eventually } from '../harness/programs.mjs';

/** The frames in a body; line breaks inside are allowed here, because the 0.3.4 template has one. */
export function frames(text) {
  return [...text.matchAll(/#!NGINXNMS!#([\s\S]*?)#!NGINXNME!#/g)].map((match) => JSON.parse(match[1]));
}

export class Subscriber {
  frames = [];
  statuses = [];
  #stopped = false;

  /** Waits for `count` frames. */
  async received(count, timeout = 15000) {
    await eventually(`${count} frames`, () => this.frames.length >= count, timeout).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 200));
    return this.frames;
  }

  static async websocket(port, ids, { tag, time } = {}) {
    const subscriber = new Subscriber();
    const resume = time ? `&tag=${tag}&time=${encodeURIComponent(time)}` : '';
    const ws = new WebSocket(`ws://127.0.0.1:${port}/bitrix/subws/?CHANNEL_ID=${ids.join('/')}${resume}`);
    ws.on('message', (data) => subscriber.frames.push(...frames(String(data))));
    ws.on('error', () => {});
    await new Promise((resolve, reject) => { ws.once('open', resolve); ws.once('error', reject); });
    subscriber.close = () => ws.close();
    return subscriber;
  }

  /**
   * `years`: 2013 (tag in the query, time as a header, `If-None-Match: 0`), 2016 (both in query and headers) or 2018 (query
   * only, no preflight). `history`: begin with all that is stored, as the first request of those years did in effect.
   */
  static async longPolling(port, ids, { years = 2016, history = false, pause = 0 } = {}) {
    const subscriber = new Subscriber();
    const agent = new http.Agent({ keepAlive: true });
    let tag = history ? '1' : '0';
    let time = new Date(history ? Date.now() - 86400e3 : Date.now() - 1000).toUTCString();
    if (!history) time = new Date().toUTCString();
    const poll = () => {
      const query = years === 2013 ? `&tag=${tag}` : `&tag=${tag}&time=${time.replaceAll(' ', '%20')}&mid=`;
      const headers = years === 2013
        ? { 'If-Modified-Since': time, 'If-None-Match': '0' }
        : years === 2016 ? { 'If-Modified-Since': time, 'If-None-Match': tag } : {};
      const req = http.get({
        host: '127.0.0.1', port, agent, path: `/bitrix/sub/?CHANNEL_ID=${ids.join('/')}${query}&rnd=${Date.now()}`, headers,
      }, (res) => {
        let text = '';
        res.setEncoding('utf8').on('data', (part) => { text += part; });
        res.on('end', () => {
          if (subscriber.#stopped) return;
          subscriber.statuses.push(res.statusCode);
          const found = frames(text);
          subscriber.frames.push(...found);
          if (found.length > 0) ({ tag, time } = found.at(-1));
          if (res.statusCode === 200 || res.statusCode === 304) setTimeout(poll, pause);
        });
      });
      req.on('error', () => { if (!subscriber.#stopped) setTimeout(poll, 300); });
      subscriber.close = () => {
        subscriber.#stopped = true;
        req.destroy();
        agent.destroy();
      };
    };
    poll();
    return subscriber;
  }
}
