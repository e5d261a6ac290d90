// Takes a file of nginx-conf-examples and moves it to free ports and a directory of the test.
// Knows the syntax of the examples only as far as ports and certificate names go; everything else stays as published.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePorts, run } from './programs.mjs';

/** Root of the repository. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

const cache = path.join(root, 'compat-tests/.cache');

/** Text of an example, by its path below nginx-conf-examples. */
export function example(name) {
  return fs.readFileSync(path.join(root, 'nginx-conf-examples', name), 'utf8');
}

const made = new Set();
process.on('exit', () => {
  if (!process.env.KEEP_SCRATCH) for (const dir of made) fs.rmSync(dir, { recursive: true, force: true });
});

/** A new directory of this test, removed when the process ends. */
export function scratch() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pushstreamd-'));
  // nginx's and Apache's workers may run as another user.
  fs.chmodSync(dir, 0o755);
  made.add(dir);
  return dir;
}

/**
 * Replaces every port that `text` listens on or connects to. `known` maps published ports to ports already chosen (of the
 * server behind a proxy); the others get free ones. Listening happens on the loopback address only.
 */
export async function moved(text, known = {}) {
  const found = new Set();
  for (const match of text.matchAll(PORT)) found.add(Number(match[2] ?? match[4]));
  const missing = [...found].filter((port) => !(port in known));
  const free = await freePorts(missing.length);
  const ports = { ...known };
  missing.forEach((port, i) => { ports[port] = free[i]; });
  const result = text.replace(PORT, (_, listen, bare, address, port) => (
    bare ? `${listen}127.0.0.1:${ports[bare]}` : `${address}${ports[port]}`));
  return { text: result, ports };
}
// `listen 8893`, `listen [::]:8893` are not told apart from a bare port; `127.0.0.1:8895` wherever it stands.
const PORT = /(\blisten\s+)(\d+)(?=[\s;])|(127\.0\.0\.1:)(\d+)\b/g;

/** Names of a self-signed certificate for localhost and its key, made once. */
export async function certificate() {
  const home = path.join(cache, 'certificate');
  const pair = { cert: path.join(home, 'fullchain.pem'), key: path.join(home, 'privkey.pem') };
  if (fs.existsSync(home)) return pair;
  fs.mkdirSync(cache, { recursive: true });
  const draft = fs.mkdtempSync(path.join(cache, 'draft-'));
  await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '3650', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-keyout', path.join(draft, 'privkey.pem'), '-out', path.join(draft, 'fullchain.pem')]);
  try {
    fs.renameSync(draft, home);
  } catch (error) {
    // Another test file was first: its pair is as good.
    if (!['ENOTEMPTY', 'EEXIST'].includes(error.code)) throw error;
    fs.rmSync(draft, { recursive: true });
  }
  return pair;
}

/** Puts the certificate under the names the examples use into `dir`. */
export async function installCertificate(dir) {
  const { cert, key } = await certificate();
  fs.copyFileSync(cert, path.join(dir, 'fullchain.pem'));
  fs.copyFileSync(key, path.join(dir, 'privkey.pem'));
}
