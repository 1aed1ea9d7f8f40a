// Idle limits: what people write, what is read from a map, and what the README says of the defaults.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  defaultIdle,
  type IdleName,
  idleNames,
  mostIdleSeconds,
  parseIdle,
  readIdle,
} from '../../../shared/membership/idleLimits.ts';

test('idle limits - as people write them', () => {
  for (const [text, seconds] of [
    ['tcp-established=90', 90],
    ['udp-opening=5m', 300],
    ['tcp-reset=2h4m', 7_440],
    ['tcp-closing=1d1s', 86_401],
  ] as const) {
    assert.deepEqual(parseIdle(text), { name: text.split('=')[0], seconds });
  }
  for (const text of ['tcp', 'tcp-established', 'udp-closing=5', 'tcp-reset=', 'tcp-reset=5x', 'tcp-reset=-1']) {
    assert.equal(typeof parseIdle(text), 'string', text);
  }
  for (const text of ['tcp-reset=0', 'tcp-reset=8d', 'tcp-reset=1=2', 'tcp-reset=1.5', 'constructor=5']) {
    assert.equal(typeof parseIdle(text), 'string', text);
  }
});

test('idle limits - of a map that was written before there were any, and of one that is wrong', () => {
  assert.deepEqual(readIdle(undefined), defaultIdle);
  assert.deepEqual(readIdle({ 'udp-opening': 7 }), { ...defaultIdle, 'udp-opening': 7 });
  assert.deepEqual(Object.keys(readIdle({ 'other-opening': 7, 'tcp-reset': 8 }) ?? {}), idleNames);
  for (const wrong of [
    { 'udp-closing': 5 },
    { toString: 5 },
    { 'udp-opening': 0 },
    { 'udp-opening': mostIdleSeconds + 1 },
    5,
    [],
  ]) {
    assert.equal(readIdle(wrong), undefined, JSON.stringify(wrong));
  }
});

test('idle limits - the README has the defaults', () => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const rows = /\| protocol \| `opening`.*\n\|[-|]+\n((?:\|.*\n)+)/.exec(readme)?.[1] ?? '';
  const states = ['opening', 'established', 'half-closed', 'closing', 'reset'];
  const found: Record<string, number> = {};
  for (const line of rows.trim().split('\n')) {
    const [protocol, ...cells] = line
      .split('|')
      .map((cell) => cell.trim())
      .slice(1, -1);
    for (const [index, cell] of cells.entries()) {
      if (cell === '') continue;
      const name = `${protocol.replaceAll('`', '')}-${states[index]}` as IdleName;
      const parsed = parseIdle(`${name}=${cell.replaceAll(' ', '').replace('min', 'm')}`);
      assert.ok(typeof parsed !== 'string', `${name}: ${cell}`);
      found[name] = parsed.seconds;
    }
  }
  assert.deepEqual(found, { ...defaultIdle });
});
