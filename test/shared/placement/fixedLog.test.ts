// The logarithm in fixed point: exact where it can be, close elsewhere, and falling everywhere.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { negativeLog2 } from '../../../shared/placement/fixedLog.ts';

const ONE = 2 ** 32;
const hash = fc.oneof(fc.integer({ min: 1, max: ONE - 1 }), fc.integer({ min: ONE - 100_000, max: ONE - 1 }));

test('fixed log - exact at the powers of two', () => {
  for (let bit = 0; bit < 32; bit++) assert.equal(negativeLog2((1 << bit) >>> 0), (32 - bit) * ONE);
  assert.equal(negativeLog2(0), 2 ** 37 + 1);
});

test('fixed log - close to the logarithm, close to 1 too', () => {
  fc.assert(
    fc.property(hash, (x) => {
      const exact = -Math.log2(x / ONE) * ONE;
      assert.ok(Math.abs(negativeLog2(x | 0) - exact) <= exact * 3e-4 + 1, `${x}: ${negativeLog2(x | 0)} for ${exact}`);
    }),
    { numRuns: 2_000 },
  );
});

test('fixed log - falls strictly as the hash rises', () => {
  fc.assert(
    fc.property(hash, (x) => x === ONE - 1 || negativeLog2(x | 0) > negativeLog2((x + 1) | 0)),
    { numRuns: 5_000 },
  );
  // Also over the joints of the chords.
  for (let joint = 2 ** 31; joint < ONE; joint += 2 ** 21) {
    assert.ok(negativeLog2((joint - 1) | 0) > negativeLog2(joint | 0), `${joint}`);
  }
});

test('fixed log - a score times a weight is exact', () => {
  assert.ok(negativeLog2(0) * 65_535 < Number.MAX_SAFE_INTEGER);
  fc.assert(fc.property(hash, (x) => Number.isInteger(negativeLog2(x | 0))));
});
