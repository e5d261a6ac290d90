// Blocks of the documentation, by the name in their mark: `<!-- tested: NAME -->` above a fenced or an indented block.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { root } from './configs.mjs';

/** The text of the block `name` of a page, as it stands. */
export function block(page, name) {
  const text = fs.readFileSync(path.join(root, page), 'utf8');
  const found = new RegExp(`<!-- tested: ${name} -->\\n(?:\`\`\`\\w+\\n([\\s\\S]*?)\`\`\`|\\n((?: {4}.*\\n|\\n(?= {4}))+))`).exec(text);
  assert.ok(found, `${page} has no block ${name}`);
  return found[1] ?? found[2].replace(/^ {4}/gm, '');
}
