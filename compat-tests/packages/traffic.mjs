// Numbered messages to subscribers that come back: what goes on while a package is upgraded.
// A publisher that is refused or cut off asks again; a message counts once it was acknowledged.

import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { request } from '../harness/server.mjs';

const SUBSCRIBE = 'http://127.0.0.1:8893';
const PUBLISH = 'http://127.0.0.1:8895';

/** Where a subscriber begins that wants everything there is. */
export const BEGINNING = '&time=Thu,%2001%20Jan%201970%2000:00:00%20GMT&tag=0';

export const frames = (body) => [...body.matchAll(/#!NGINXNMS!#(.*?)#!NGINXNME!#/g)].map((match) => JSON.parse(match[1]));

/** Publishes one text; true when it was acknowledged. */
export async function say(channel, text) {
  const url = `${PUBLISH}/bitrix/pub/?CHANNEL_ID=${channel}`;
  return (await request(url, { method: 'POST', body: JSON.stringify(text), timeout: 10000 })).status === 200;
}

export class Traffic {
  /** Publishes to `channel` until it is told to stop, heard by long-polling and by websocket. */
  static begin(channel) {
    const traffic = new Traffic();
    Object.assign(traffic, { channel, acknowledged: [], polled: [], pushed: [], refused: [], going: true, listening: true });
    traffic.tasks = [traffic.#publish(), traffic.#poll(), traffic.#websocket()];
    return traffic;
  }

  async #publish() {
    for (let number = 1; this.going; number += 1) {
      for (;;) {
        try {
          if (await say(this.channel, `m${number}`)) break;
        } catch (error) {
          this.refused.push(error.code ?? error.message);
        }
        await sleep(50);
      }
      this.acknowledged.push(`m${number}`);
      await sleep(5);
    }
  }

  async #poll() {
    let position = BEGINNING;
    while (this.listening) {
      try {
        const answer = await request(`${SUBSCRIBE}/bitrix/sub/?CHANNEL_ID=${this.channel}${position}`, { timeout: 5000 });
        if (answer.headers['last-modified']) {
          position = `&time=${encodeURIComponent(answer.headers['last-modified'])}&tag=${answer.headers.etag.replace('W/', '')}`;
        }
        this.polled.push(...frames(answer.body).map((message) => message.text));
        if (![200, 304].includes(answer.status)) await sleep(50);
      } catch (error) {
        this.refused.push(error.code ?? error.message);
        await sleep(50);
      }
    }
  }

  async #websocket() {
    let position = BEGINNING;
    while (this.listening) {
      const socket = new WebSocket(`ws://127.0.0.1:8893/bitrix/subws/?CHANNEL_ID=${this.channel}${position}`);
      this.socket = socket;
      socket.on('message', (data) => {
        for (const message of frames(data.toString())) {
          position = `&time=${encodeURIComponent(message.time)}&tag=${message.tag}`;
          this.pushed.push(message.text);
        }
      });
      await new Promise((resolve) => {
        socket.on('error', (error) => this.refused.push(error.code ?? error.message));
        socket.on('close', resolve);
      });
      await sleep(50);
    }
  }

  /** Stops publishing, waits until both subscribers have what was acknowledged, and lets them go. */
  async end() {
    this.going = false;
    await this.tasks[0];
    const last = this.acknowledged.at(-1);
    const end = Date.now() + 20000;
    while (Date.now() < end && !(this.polled.includes(last) && this.pushed.includes(last))) await sleep(25);
    this.listening = false;
    this.socket.terminate();
    await say(this.channel, 'the end');
    await Promise.all(this.tasks);
    for (const heard of [this.polled, this.pushed]) if (heard.at(-1) === 'the end') heard.pop();
  }
}
