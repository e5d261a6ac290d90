// A streaming answer as it comes in.

import http from 'node:http';

export class Reader {
  /** Opens `url`; fails when the head has not come after `timeout` milliseconds. */
  static open(url, timeout = 5000) {
    return new Promise((resolve, reject) => {
      const reader = new Reader();
      reader.text = '';
      const req = http.get(url, { agent: false }, (res) => {
        clearTimeout(timer);
        reader.status = res.statusCode;
        reader.headers = res.headers;
        res.setEncoding('utf8');
        res.on('data', (part) => { reader.text += part; });
        res.on('end', () => { reader.ended = true; });
        res.on('error', () => { reader.ended = true; });
        resolve(reader);
      });
      const timer = setTimeout(() => req.destroy(new Error(`no head from ${url} in ${timeout} ms`)), timeout);
      req.on('error', (error) => { clearTimeout(timer); reader.ended = true; reject(error); });
      reader.close = () => req.destroy();
    });
  }
}
