// How long the second level is: lines of its sources, without the egress, which is about servers and not about groups. A member
// that agrees with the others by an ordered log needs no repair, and this is where that shows.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchmarkResult } from '../runner.ts';

const folder = join(import.meta.dirname, '../../../services/dssl');

export function run(): BenchmarkResult {
  const byPart: Record<string, number> = {};
  let lines = 0;
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.startsWith('egress/')) continue;
    const count = readFileSync(join(folder, file), 'utf8').split('\n').length - 1;
    const part = file.includes('/') ? file.slice(0, file.indexOf('/')) : 'itself';
    byPart[part] = (byPart[part] ?? 0) + count;
    lines += count;
  }
  return { figures: [{ key: 'dsslLines', value: lines, unit: 'lines', explain: { without: 'egress', byPart } }] };
}
