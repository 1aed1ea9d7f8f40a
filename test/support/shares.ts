// Helpers for tests of placements: a fixed supply of flow hashes, and a measure of how far counts are from shares.

import { Prng } from '../../shared/base/prng.ts';

/** Calls `visit` with `count` 64-bit hashes as int32 halves, always the same ones for a seed. */
export function forFlows(count: number, seed: number, visit: (hi: number, lo: number, flow: number) => void): void {
  const prng = new Prng(seed);
  for (let flow = 0; flow < count; flow++) visit(prng.i32(), prng.i32(), flow);
}

/**
 * How many standard deviations the chi-square statistic of `counts` against `weights` lies above its mean. Above 5 is
 * no chance. Weight 0 demands count 0.
 */
export function excessOverShares(counts: readonly number[], weights: readonly number[]): number {
  const all = counts.reduce((a, b) => a + b, 0);
  const allWeights = weights.reduce((a, b) => a + b, 0);
  let statistic = 0;
  let degrees = -1;
  for (const [index, weight] of weights.entries()) {
    if (weight === 0 && counts[index] > 0) return Number.POSITIVE_INFINITY;
    if (weight === 0) continue;
    const expected = (all * weight) / allWeights;
    statistic += (counts[index] - expected) ** 2 / expected;
    degrees++;
  }
  return degrees <= 0 ? 0 : (statistic - degrees) / Math.sqrt(2 * degrees);
}
