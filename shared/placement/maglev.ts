// Maglev hashing: a table of slots in which every candidate owns its share, and which changes little when a candidate
// comes or goes.
//
// Each candidate has its own order of preference over all slots: offset, offset + skip, offset + 2 skip, ... modulo the
// number of slots, which visits every slot once because that number is prime. The candidates take turns, and in its
// turn a candidate takes the slot it likes best among the free ones. Looking up is then one index into the table,
// whatever the number of candidates; the price is that a change also moves a few slots that it need not have moved.
//
// Weights: a candidate saves up its weight in every round and takes its turn when it has saved the largest weight. What
// is saved at the end is lost, so a candidate may lack up to two slots of its share, and the heavy ones get them. One
// whose share is less than a slot has none.
//
// Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4,
// pseudocode 1; the weights as in katran's MaglevHashV2.

import type { Candidate } from './rendezvous.ts';
import { seedOf } from './seed.ts';

/** Slots of a table: a prime, more than 60 times the largest number of candidates, so that shares are within 2 %. */
export const MAGLEV_SLOTS = 65_537;

/** In a slot that nobody has taken yet. */
export const NOBODY = 0xffff;

/**
 * The finished table for `candidates` in canonical order, weights from 1 to 65535: for each slot the index of a
 * candidate. Empty candidates give a table of NOBODY.
 */
export function maglevTable(candidates: readonly Candidate[], seed: number, slots: number = MAGLEV_SLOTS): Uint16Array {
  const table = new MaglevBuilder(candidates.length, slots);
  for (const [index, { name }] of candidates.entries()) {
    const { hi, lo } = seedOf(seed, 'maglev', name);
    table.setPermutation(index, hi % slots, (lo % (slots - 1)) + 1);
  }
  table.fill(candidates.map(({ weight }) => weight));
  return table.slots;
}

/** Builds one table: permutations first, then turns. */
export class MaglevBuilder {
  /** For each slot the index of its candidate, or NOBODY. */
  readonly slots: Uint16Array;
  #free: number;
  /** The slot each candidate likes best among those it has not looked at. */
  readonly #position: Uint32Array;
  readonly #skip: Uint32Array;

  /** @throws RangeError when `slots` is not a prime or there are too many candidates for it. */
  constructor(candidates: number, slots: number) {
    if (!isPrime(slots)) throw new RangeError(`a Maglev table needs a prime number of slots, not ${slots}`);
    if (candidates > Math.min(slots, NOBODY)) throw new RangeError(`${candidates} candidates for ${slots} slots`);
    this.slots = new Uint16Array(slots).fill(NOBODY);
    this.#free = slots;
    this.#position = new Uint32Array(candidates);
    this.#skip = new Uint32Array(candidates).fill(1);
  }

  /** Preference of a candidate: 0 <= offset < slots, 1 <= skip < slots. */
  setPermutation(candidate: number, offset: number, skip: number): void {
    this.#position[candidate] = offset;
    this.#skip[candidate] = skip;
  }

  /** One turn: the candidate takes its favourite among the free slots. False when none is left. */
  take(candidate: number): boolean {
    if (this.#free === 0) return false;
    const slots = this.slots;
    const skip = this.#skip[candidate];
    let position = this.#position[candidate];
    while (slots[position] !== NOBODY) {
      position += skip;
      if (position >= slots.length) position -= slots.length;
    }
    slots[position] = candidate;
    position += skip;
    this.#position[candidate] = position >= slots.length ? position - slots.length : position;
    this.#free--;
    return true;
  }

  /** Takes turns by weight (integers from 0) until the table is full; leaves it as it is when all weights are 0. */
  fill(weights: readonly number[]): void {
    for (const candidate of turnOrder(weights, this.#free)) if (!this.take(candidate)) return;
  }
}

/**
 * The order of at least `turns` turns: round after round, and by index within a round. Saving `weight` a round, a
 * candidate has the price `largest` of its k-th turn together in round ceil(k * largest / weight). The rounds are
 * counted out and filled like the buckets of a counting sort, since walking through them all is slow when one weight
 * is far above the others.
 */
function turnOrder(weights: readonly number[], turns: number): Uint16Array {
  const largest = weights.reduce((a, b) => Math.max(a, b), 0);
  if (largest === 0) return new Uint16Array();
  const rounds = roundsFor(weights, largest, turns);

  // Turns before each round, then, while filling, the place of the round's next turn.
  const place = new Uint32Array(rounds + 2);
  for (const weight of weights) {
    for (let turn = 1, round: number; (round = Math.ceil((turn * largest) / weight)) <= rounds; turn++)
      place[round + 1]++;
  }
  for (let round = 1; round < place.length; round++) place[round] += place[round - 1];
  const order = new Uint16Array(place[rounds + 1]);
  for (const [candidate, weight] of weights.entries()) {
    for (let turn = 1, round: number; (round = Math.ceil((turn * largest) / weight)) <= rounds; turn++) {
      order[place[round]++] = candidate;
    }
  }
  return order;
}

/** The fewest rounds that give `turns` turns; the candidate with the largest weight has one in every round. */
function roundsFor(weights: readonly number[], largest: number, turns: number): number {
  let low = 0;
  let high = turns;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const reached = weights.reduce((sum, weight) => sum + Math.floor((middle * weight) / largest), 0);
    if (reached >= turns) high = middle;
    else low = middle + 1;
  }
  return low;
}

function isPrime(n: number): boolean {
  if (!Number.isInteger(n) || n < 2) return false;
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return true;
}
