// A Docker of a test's own: its daemon runs for this test alone, with its data in a directory of the test and in the network of the tests.

import fs from 'node:fs';
import path from 'node:path';
import { eventually, Program, run } from '../harness/programs.mjs';

export class Dockerd {
  /** Starts one with its data in `home`; `project` is what compose calls what it starts. */
  static async start(home, project) {
    const docker = new Dockerd();
    // Containers cannot have a root below a symbolic link.
    fs.mkdirSync(home, { recursive: true });
    home = fs.realpathSync(home);
    docker.home = home;
    docker.work = path.join(home, 'work');
    docker.env = { DOCKER_HOST: `unix://${home}/socket`, COMPOSE_PROJECT_NAME: project };
    await docker.clear();
    fs.mkdirSync(docker.work, { recursive: true });
    docker.daemon = new Program('dockerd', 'dockerd', ['--data-root', `${home}/data`, '--exec-root', `${home}/exec`, '--pidfile', `${home}/pid`, '-H', `unix://${home}/socket`,
      '--storage-driver', 'vfs', '--log-level', 'warn']);
    await eventually('the daemon answers', () => {
      if (docker.daemon.how) throw new Error(`it ended: ${docker.output}`);
      return docker.sh('docker version >/dev/null').then(() => true, () => false);
    }, 60000);
    return docker;
  }

  get output() {
    return this.daemon.output;
  }

  /** Runs a shell's text in the directory of the test, with this daemon. */
  sh(text, timeout = 180000) {
    return run('sh', ['-euc', text], { timeout, cwd: this.work, env: this.env });
  }

  /** Removes all containers and volumes. */
  down() {
    return this.sh('docker ps -aq | xargs -r docker rm -f -v; docker volume ls -q | xargs -r docker volume rm');
  }

  async stop() {
    await this.down().catch(() => {});
    await this.daemon.stop('SIGTERM', 60000);
    await this.clear();
  }

  /** Removes what a daemon has left, one that was killed too: it mounts its own data. */
  async clear() {
    const left = fs.readFileSync('/proc/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '').filter((place) => place.startsWith(`${this.home}/`));
    for (const place of left.reverse()) await run('umount', ['--lazy', place]);
    fs.rmSync(this.home, { recursive: true, force: true });
  }
}
