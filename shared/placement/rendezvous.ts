// Weighted rendezvous hashing: every candidate draws a number for the flow, the best draw wins.
//
// Think of a race. Candidate i reaches the finish after an exponentially distributed time with rate weight_i, drawn
// from (flow, candidate) alone: -log(u) / weight. It wins with probability weight_i / (sum of weights), and since
// nobody's time depends on the others, taking a candidate out changes only the races it won, and raising a weight only
// makes that candidate win more. The second to finish is the winner of the race without the first: the natural backup.
//
// The times are fixed-point integers and compared by cross-multiplication below 2^53, so that all modules agree to the
// last bit. Equal weights need no logarithm: the earliest is the one with the largest draw. Ties, which 32 bits make
// rare, go to the candidate that comes first; both ways of computing agree on that too.
//
// Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous" (1996); weights by the logarithmic
// method of Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (SPAA 2005).

import { mixSeeded } from '../hash/mix.ts';
import { negativeLog2 } from './fixedLog.ts';
import { seedOf } from './seed.ts';

/** A candidate for something: a unique name, and a weight from 1 to 65535. */
export interface Candidate {
  readonly name: string;
  readonly weight: number;
}

export class Rendezvous {
  readonly #count: number;
  /** seedHi, seedLo of each candidate. */
  readonly #seeds: Int32Array;
  readonly #weights: Float64Array;
  readonly #equal: boolean;

  /**
   * Candidates in canonical order; `seed` is a u32.
   *
   * @throws RangeError for a weight that is not an integer from 1 to 65535: comparing would lose bits.
   */
  constructor(candidates: readonly Candidate[], seed: number) {
    this.#count = candidates.length;
    this.#seeds = new Int32Array(2 * candidates.length);
    this.#weights = new Float64Array(candidates.length);
    for (const [index, { name, weight }] of candidates.entries()) {
      if (!Number.isInteger(weight) || weight < 1 || weight > 65_535) {
        throw new RangeError(`weight of ${name} must be an integer from 1 to 65535, not ${weight}`);
      }
      const { hi, lo } = seedOf(seed, 'rendezvous', name);
      this.#seeds[2 * index] = hi;
      this.#seeds[2 * index + 1] = lo;
      this.#weights[index] = weight;
    }
    this.#equal = this.#weights.every((weight) => weight === this.#weights[0]);
  }

  /**
   * Index of the best candidate for the 64-bit hash, leaving out the candidate `except` (-1: none); -1 when nobody is
   * left. Costs one mixing for each candidate, and one table look-up where weights differ.
   */
  best(hi: number, lo: number, except: number): number {
    return this.#equal ? this.#largestDraw(hi, lo, except) : this.#firstToFinish(hi, lo, except);
  }

  #largestDraw(hi: number, lo: number, except: number): number {
    const seeds = this.#seeds;
    let best = -1;
    let bestDraw = -1;
    for (let index = 0; index < this.#count; index++) {
      const draw = mixSeeded(hi, lo, seeds[2 * index], seeds[2 * index + 1]) >>> 0;
      if (draw > bestDraw && index !== except) {
        best = index;
        bestDraw = draw;
      }
    }
    return best;
  }

  #firstToFinish(hi: number, lo: number, except: number): number {
    const seeds = this.#seeds;
    const weights = this.#weights;
    let best = -1;
    let bestScore = 1;
    // With weight 0 the first candidate finishes before this one, whatever its score.
    let bestWeight = 0;
    for (let index = 0; index < this.#count; index++) {
      if (index === except) continue;
      const score = negativeLog2(mixSeeded(hi, lo, seeds[2 * index], seeds[2 * index + 1]));
      if (score * bestWeight < bestScore * weights[index]) {
        best = index;
        bestScore = score;
        bestWeight = weights[index];
      }
    }
    return best;
  }
}
