// The seeded generator against its reference implementation, and its ranges.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../../shared/base/prng.ts';

// State and outputs of the C reference implementation of xoshiro128** 1.1, as published with the port to the 6502
// (edorfaus/xoshiro-6502, test-rom/testdata.asm).
const referenceStates = [
  '964d4a0cd40ab895ad7fdecb3006f0f0',
  '72410269ef382c522e43bec762432f20',
  'ff3a011bb33a90fc2c5a18aed81b946b',
  '941b058c605a8949a641e1b50824bb59',
  'fc65379c52006d7087487639f1908343',
];
const referenceValues = [0xf1391922, 0x6fe53806, 0xa5be2840, 0xf510ee70];

test('prng - gives the numbers and states of the reference implementation', () => {
  const prng = Prng.fromState(referenceStates[0]!);
  for (const [i, value] of referenceValues.entries()) {
    assert.equal(prng.u32(), value);
    assert.equal(prng.state, referenceStates[i + 1]);
  }
});

test('prng - one seed gives one sequence, another seed another', () => {
  const draw = (seed: number | string) => {
    const prng = new Prng(seed);
    return Array.from({ length: 8 }, () => prng.u32());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
  assert.notDeepEqual(draw('ab'), draw('ba'));
  assert.notDeepEqual(draw(''), draw('0'));
});

test('prng - a printed state takes up where it was', () => {
  const prng = new Prng('somewhere');
  for (let i = 0; i < 100; i++) prng.u32();
  const copy = Prng.fromState(prng.state);
  assert.equal(copy.u32(), prng.u32());
  assert.throws(() => Prng.fromState('00000000000000000000000000000000'));
  assert.throws(() => Prng.fromState('xyz'));
});

test('prng - a fork depends on seed and label, not on the draws before it', () => {
  const early = new Prng(1).fork('clients').u32();
  const parent = new Prng(1);
  parent.u32();
  assert.equal(parent.fork('clients').u32(), early);
  assert.notEqual(parent.fork('servers').u32(), early);
  assert.notEqual(new Prng(2).fork('clients').u32(), early);
});

test('prng - below(n) stays below n for every n', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 0x1_0000_0000 }), (seed, n) => {
      const value = new Prng(seed).below(n);
      assert.ok(Number.isInteger(value) && value >= 0 && value < n);
    }),
  );
  assert.throws(() => new Prng(1).below(0), RangeError);
  assert.throws(() => new Prng(1).below(Number.NaN), RangeError);
});

/** Chi-squared statistic of counts that should be equal. */
function chiSquared(counts: number[]): number {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
}

test('prng - below(n) is even, also for an n that is no power of two', () => {
  const prng = new Prng(3);
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 60_000; i++) counts[prng.below(6)]! += 1;
  assert.ok(chiSquared(counts) < 20.5, `${counts}`); // 5 degrees of freedom, p = 0.001
});

test('prng - chance(n, d) is true in n of d cases, never for 0, always for d', () => {
  const prng = new Prng(4);
  let hits = 0;
  for (let i = 0; i < 40_000; i++) {
    if (prng.chance(3, 8)) hits++;
    assert.ok(!prng.chance(0, 5));
    assert.ok(prng.chance(5, 5));
  }
  assert.ok(Math.abs(hits - 15_000) < 400, `${hits}`);
});

test('prng - shuffle keeps the items and reaches every order', () => {
  const prng = new Prng(5);
  const seen = new Map<string, number>();
  for (let i = 0; i < 6_000; i++) {
    const order = prng.shuffle([1, 2, 3]).join('');
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  assert.equal(seen.size, 6);
  assert.ok(chiSquared([...seen.values()]) < 20.5);
});

test('prng - weighted picks follow the weights and never take a weight of 0', () => {
  const prng = new Prng(6);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 30_000; i++) counts[prng.pickWeighted([1, 0, 2, 3])]! += 1;
  assert.equal(counts[1], 0);
  assert.ok(Math.abs(counts[0]! - 5_000) < 300 && Math.abs(counts[3]! - 15_000) < 400, `${counts}`);
});

test('prng - exponential has its mean, Pareto stays in its bounds and has its median', () => {
  const prng = new Prng(8);
  let sum = 0;
  const sizes: number[] = [];
  for (let i = 0; i < 50_000; i++) {
    sum += prng.exponential(10);
    sizes.push(prng.pareto(2, 1_000, 1.2));
  }
  assert.ok(Math.abs(sum / 50_000 - 10) < 0.25);
  sizes.sort((a, b) => a - b);
  assert.ok(sizes[0]! >= 2 && sizes.at(-1)! <= 1_000);
  // The median of the bounded distribution: u = 1/2 in its inverse.
  const median = 2 * (1 - 0.5 * (1 - (2 / 1_000) ** 1.2)) ** (-1 / 1.2);
  assert.ok(Math.abs(sizes[25_000]! - median) < 0.1, `${sizes[25_000]} ${median}`);
});
