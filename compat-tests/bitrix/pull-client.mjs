// Bitrix's own JavaScript client (npm @bitrix24/b24jssdk, unmodified) in a process of its own: prints one line of JSON for
// each thing that happens. What a browser would bring (XMLHttpRequest, WebSocket, window events) is put around it first.
// Usage: node pull-client.mjs CONFIG_JSON

import http from 'node:http';
import WebSocket from 'ws';

const config = JSON.parse(process.argv[2]);
const print = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

/** As much of a browser's XMLHttpRequest as a page needs for GET, over node:http with keep-alive. */
const agent = new http.Agent({ keepAlive: true, maxSockets: 6 });
class XMLHttpRequest {
  readyState = 0;
  status = 0;
  response = '';
  responseType = '';
  #listeners = [];
  #headers = {};
  #request = null;

  addEventListener(type, listener) {
    if (type === 'readystatechange') this.#listeners.push(listener);
  }

  open(method, url) {
    this.method = method;
    this.url = url;
    this.readyState = 1;
    this.status = 0;
    this.response = '';
  }

  send(data) {
    const request = http.request(this.url, { method: this.method, agent, headers: { Origin: 'http://portal.test' } }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('error', () => this.#finish(0, {}, Buffer.alloc(0)));
      answer.on('end', () => {
        // A page of another origin sees an answer only when the server allows it.
        const allowed = answer.headers['access-control-allow-origin'];
        if (allowed === '*' || allowed === 'http://portal.test') this.#finish(answer.statusCode, answer.headers, Buffer.concat(parts));
        else this.#finish(0, {}, Buffer.alloc(0));
      });
    });
    this.#request = request;
    request.on('error', () => { if (this.#request === request) this.#finish(0, {}, Buffer.alloc(0)); });
    request.end(data);
  }

  #finish(status, headers, bytes) {
    print({ event: 'answer', status, url: this.url });
    this.#request = null;
    this.status = status;
    this.#headers = headers;
    this.response = this.responseType === 'arraybuffer'
      ? bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
      : bytes.toString('utf8');
    this.readyState = 4;
    for (const listener of this.#listeners) listener();
  }

  abort() {
    const request = this.#request;
    this.#request = null;
    if (request) {
      request.destroy();
      this.#finish(0, {}, Buffer.alloc(0));
    }
    this.readyState = 0;
  }

  getResponseHeader(name) {
    return this.#headers[name.toLowerCase()] ?? null;
  }
}

class PageSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols ?? [], { origin: 'http://portal.test' });
  }
}

globalThis.XMLHttpRequest = XMLHttpRequest;
globalThis.window = { addEventListener() {}, removeEventListener() {}, location: { hostname: 'portal.test', protocol: 'http:' } };
if (config.server.websocket_enabled) {
  globalThis.WebSocket = PageSocket;
  window.WebSocket = PageSocket;
}

const { B24PullClientManager } = await import('@bitrix24/b24jssdk');
const client = new B24PullClientManager({
  b24: {}, userId: 1, siteId: 's1', serverEnabled: true, skipStorageInit: true, skipCheckRevision: true, configTimestamp: 0,
});
client.subscribe({
  type: 'server',
  moduleId: 'compat',
  callback: ({ command, params }) => print({ event: 'message', command, params }),
});
client.start(config).then(
  () => print({ event: 'connected' }),
  (error) => print({ event: 'refused', error: String(error?.ex?.error ?? error) }),
);
print({ event: 'started' });

process.stdin.on('end', () => process.exit(0)).resume();
