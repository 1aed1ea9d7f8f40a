// Draws and turns by integer weights: exact shares, and turns that are spread evenly.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cumulate, smoothCycle, weightedPick } from '../../../shared/placement/weighted.ts';
import { excessOverShares, forFlows } from '../../support/shares.ts';

const weightsArb = (max: number) => fc.array(fc.integer({ min: 1, max }), { minLength: 1, maxLength: 30 });

test('weighted - picks follow the weights', () => {
  for (const weights of [[1], [1, 2, 3], [65_535, 1, 300], [1, 65_535]]) {
    const ends = cumulate(weights);
    const counts = weights.map(() => 0);
    forFlows(100_000, 7, (hi) => counts[weightedPick(ends, hi)]++);
    assert.ok(excessOverShares(counts, weights) < 5, `${weights}: ${counts}`);
  }
});

test('weighted - the ends of the line', () => {
  const ends = cumulate(new Array(1_024).fill(65_535));
  assert.equal(weightedPick(ends, 0), 0);
  assert.equal(weightedPick(ends, -1), 1_023);
  assert.equal(weightedPick(cumulate([1, 1]), 0x7fffffff), 0);
  assert.equal(weightedPick(cumulate([1, 1]), 0x80000000 | 0), 1);
});

test('weighted - a cycle gives everybody exactly its turns', () => {
  fc.assert(
    fc.property(weightsArb(200), (weights) => {
      const cycle = smoothCycle(weights);
      const all = weights.reduce((a, b) => a + b, 0);
      for (const [index, count] of turns(cycle, weights.length).entries()) {
        assert.equal(count * all, weights[index] * cycle.length);
      }
    }),
  );
});

test('weighted - a cycle is even: every stretch of it has the shares of the whole', () => {
  fc.assert(
    fc.property(weightsArb(200), (weights) => {
      const cycle = smoothCycle(weights);
      const counts = weights.map(() => 0);
      const share = turns(cycle, weights.length).map((count) => count / cycle.length);
      for (const [turn, candidate] of cycle.entries()) {
        counts[candidate]++;
        for (const [index, count] of counts.entries()) {
          const error = Math.abs(count - share[index] * (turn + 1));
          assert.ok(error < 4, `turn ${turn}: ${count} turns of ${index}, off by ${error}`);
        }
      }
    }),
    { numRuns: 100 },
  );
});
test('weighted - small cycles', () => {
  assert.deepEqual([...smoothCycle([7, 7, 7])], [0, 1, 2]);
  assert.deepEqual([...smoothCycle([5, 1, 1])], [0, 1, 0, 0, 0, 2, 0]);
  assert.deepEqual([...smoothCycle([9])], [0]);
  assert.deepEqual([...smoothCycle([])], []);
});

test('weighted - a cycle that would be too long keeps the shares nearly and leaves nobody out', () => {
  const weights = [65_535, 65_534, 30_001, 1];
  const cycle = smoothCycle(weights, 1_000);
  assert.equal(cycle.length, 1_000);
  const counts = turns(cycle, weights.length);
  assert.equal(counts[3], 1);
  for (const [index, weight] of weights.entries()) assert.ok(Math.abs(counts[index] - (1_000 * weight) / 161_071) < 2);

  const many = smoothCycle(Array.from({ length: 1_024 }, (_, index) => 65_535 - 64 * index));
  assert.equal(many.length, 65_536);
  assert.equal(new Set(many).size, 1_024);
});

function turns(cycle: Uint16Array, candidates: number): number[] {
  const counts = new Array<number>(candidates).fill(0);
  for (const candidate of cycle) counts[candidate]++;
  return counts;
}
