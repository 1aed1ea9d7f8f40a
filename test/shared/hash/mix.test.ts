// The mixing function: one to one, well spread, and fixed for all time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mix32, mixSeeded } from '../../../shared/hash/mix.ts';
import { excessOverShares } from '../../support/shares.ts';

test('mix - no two integers have the same result', () => {
  const seen = new Set<number>();
  for (let x = -50_000; x < 50_000; x++) seen.add(mix32(x));
  assert.equal(seen.size, 100_000);
});

test('mix - results are fixed, since views on other machines depend on them', () => {
  assert.deepEqual([0, 1, -1, 0x12345678].map(mix32), [0, 114_555_507, -642_423_165, -152_652_099]);
  assert.equal(mixSeeded(0x01234567, 0x89abcdef | 0, 0x0badcafe, 0xdeadbeef | 0), 630_073_439);
});

test('mix - unsigned and signed halves are the same', () => {
  assert.equal(
    mixSeeded(0xffffffff, 0x80000000, 0xfffffffe, 0x90000000),
    mixSeeded(-1, 0x80000000 | 0, -2, 0x90000000 | 0),
  );
});

test('mix - one input bit flips half of the output bits', () => {
  for (let bit = 0; bit < 64; bit++) {
    let flipped = 0;
    for (let x = 0; x < 2_000; x++) {
      const before = mixSeeded(x, x * 7, 11, 13);
      const after =
        bit < 32 ? mixSeeded(x, (x * 7) ^ (1 << bit), 11, 13) : mixSeeded(x ^ (1 << (bit - 32)), x * 7, 11, 13);
      for (let rest = before ^ after; rest !== 0; rest &= rest - 1) flipped++;
    }
    assert.ok(Math.abs(flipped / 2_000 - 16) < 0.5, `bit ${bit}: ${flipped / 2_000}`);
  }
});

test('mix - counters under two seeds look independent of each other', () => {
  const counts = new Array<number>(256).fill(0);
  for (let x = 0; x < 100_000; x++) counts[((mixSeeded(0, x, 1, 2) >>> 28) << 4) | (mixSeeded(0, x, 1, 3) >>> 28)]++;
  assert.ok(
    excessOverShares(
      counts,
      counts.map(() => 1),
    ) < 5,
  );
});
