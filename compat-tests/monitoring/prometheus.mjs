// A real Prometheus (Debian's) that scrapes a server by the piece of configuration in docs/OPERATIONS.md, with the alert rules beside it.
// Knows Prometheus' own API as far as queries and rules go.

import fs from 'node:fs';
import path from 'node:path';
import { root, scratch } from '../harness/configs.mjs';
import { block } from '../harness/documentation.mjs';
import { freePorts, Program } from '../harness/programs.mjs';

export const RULES = path.join(root, 'docs/alerts/pushstreamd.rules.yml');

export class Prometheus {
  /** Scrapes `target` (an address and a port) each second. */
  static async start(target) {
    const prometheus = new Prometheus();
    const dir = scratch();
    const [port] = await freePorts(1);
    const configuration = block('docs/OPERATIONS.md', 'prometheus').replace("'127.0.0.1:8896'", `'${target}'`);
    fs.writeFileSync(path.join(dir, 'prometheus.yml'), `global: { scrape_interval: 1s, evaluation_interval: 1s }\n${configuration}`);
    fs.copyFileSync(RULES, path.join(dir, path.basename(RULES)));
    prometheus.address = `127.0.0.1:${port}`;
    prometheus.program = new Program('prometheus', 'prometheus', [`--config.file=${dir}/prometheus.yml`, `--storage.tsdb.path=${dir}/data`,
      `--web.listen-address=${prometheus.address}`]);
    await prometheus.program.ready([port], 30000);
    return prometheus;
  }

  async #ask(target) {
    const answer = await (await fetch(`http://${this.address}/api/v1/${target}`)).json();
    if (answer.status !== 'success') throw new Error(`${target}: ${JSON.stringify(answer)}`);
    return answer.data;
  }

  /** The samples of an expression, now. */
  async query(expression) {
    return (await this.#ask(`query?query=${encodeURIComponent(expression)}`)).result;
  }

  async rules() {
    return (await this.#ask('rules')).groups.flatMap((group) => group.rules);
  }

  async stop() {
    await this.program.stop('SIGTERM', 15000);
  }
}
