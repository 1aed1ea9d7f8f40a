// Weighted rendezvous hashing: shares, second choices, and that a change moves only what it must.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Candidate, Rendezvous } from '../../../shared/placement/rendezvous.ts';
import { excessOverShares, forFlows } from '../../support/shares.ts';

const weightsArb = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 65_535 })), {
  minLength: 2,
  maxLength: 12,
});
const byWeights = (weights: readonly number[]): Candidate[] =>
  weights.map((weight, index) => ({ name: `server-${index}`, weight }));

test('rendezvous - shares follow the weights', () => {
  for (const weights of [
    [1, 1],
    [1, 2, 3, 4],
    [65_535, 1, 1],
    [10, 10, 10, 10, 10],
    [65_535, 65_534, 30_000, 7],
  ]) {
    const rendezvous = new Rendezvous(byWeights(weights), 42);
    const counts = weights.map(() => 0);
    forFlows(200_000, 1, (hi, lo) => counts[rendezvous.best(hi, lo, -1)]++);
    assert.ok(excessOverShares(counts, weights) < 5, `${weights}: ${counts}`);
  }
});

test('rendezvous - the second choices of one member are shared by weight too', () => {
  const weights = [4, 1, 2, 3];
  const rendezvous = new Rendezvous(byWeights(weights), 42);
  const counts = weights.map(() => 0);
  forFlows(200_000, 2, (hi, lo) => {
    if (rendezvous.best(hi, lo, -1) === 0) counts[rendezvous.best(hi, lo, 0)]++;
  });
  assert.ok(excessOverShares(counts, [0, 1, 2, 3]) < 5, `${counts}`);
});

test('rendezvous - removing a candidate moves exactly its flows, and to its second choice', () => {
  fc.assert(
    fc.property(weightsArb, fc.nat(), fc.nat(), (weights, seed, which) => {
      const all = byWeights(weights);
      const gone = which % all.length;
      const rest = all.filter((_, index) => index !== gone);
      const before = new Rendezvous(all, seed);
      const after = new Rendezvous(rest, seed);
      forFlows(300, seed, (hi, lo) => {
        const owner = before.best(hi, lo, -1);
        const expected = owner === gone ? before.best(hi, lo, owner) : owner;
        assert.equal(rest[after.best(hi, lo, -1)].name, all[expected].name);
      });
    }),
    { numRuns: 50 },
  );
});

test('rendezvous - a higher weight only draws flows to its candidate', () => {
  fc.assert(
    fc.property(weightsArb, fc.nat(), fc.nat(), (weights, seed, which) => {
      const risen = which % weights.length;
      const before = new Rendezvous(byWeights(weights), seed);
      const after = new Rendezvous(byWeights(weights.with(risen, Math.min(65_535, 2 * weights[risen]))), seed);
      forFlows(300, seed, (hi, lo) => {
        const owner = after.best(hi, lo, -1);
        assert.ok(owner === before.best(hi, lo, -1) || owner === risen);
      });
    }),
    { numRuns: 50 },
  );
});

test('rendezvous - equal weights and weighted comparison give the same order', () => {
  // One candidate of tiny weight makes the others compare by logarithm; where it does not win, nothing may change.
  const equal = new Rendezvous(byWeights([65_535, 65_535, 65_535]), 9);
  const unequal = new Rendezvous(byWeights([65_535, 65_535, 65_535, 1]), 9);
  forFlows(50_000, 3, (hi, lo) => {
    const owner = unequal.best(hi, lo, -1);
    if (owner !== 3) assert.equal(owner, equal.best(hi, lo, -1));
  });
});

test('rendezvous - needs as much over-provision as in the Maglev paper, fig. 11', () => {
  const rendezvous = new Rendezvous(byWeights(new Array(1_000).fill(1)), 5);
  const counts = new Array<number>(1_000).fill(0);
  forFlows(65_537, 4, (hi, lo) => counts[rendezvous.best(hi, lo, -1)]++);
  // 49.5 % in the paper.
  const overProvision = Math.max(...counts) / (65_537 / 1_000) - 1;
  assert.ok(overProvision > 0.35 && overProvision < 0.6, `${overProvision}`);
});

test('rendezvous - nobody to choose, and weights that cannot be compared', () => {
  assert.equal(new Rendezvous([], 1).best(1, 2, -1), -1);
  assert.equal(new Rendezvous(byWeights([5]), 1).best(1, 2, 0), -1);
  assert.equal(new Rendezvous(byWeights([5, 6]), 1).best(1, 2, 0), 1);
  for (const weight of [0, -1, 1.5, 65_536, Number.NaN]) {
    assert.throws(() => new Rendezvous(byWeights([1, weight]), 1), RangeError);
  }
});
