// Where the flows of a group go while that group is mapped out: each to one of the other groups that serve its type.
//
// Like the first choice (groupTable.ts) it is a fixed function of the group key's hash, so tier 1s that have mapped out
// the same groups agree, and nothing is remembered about a flow. It is drawn by rendezvous hashing with seeds of its own:
// the draw has nothing to do with the first choice, so the flows of one group spread over all others by weight, and
// when a further group is mapped out, only the flows that were there move. Only diverted packets pay for it, with one
// draw for each group.

import { Rendezvous } from '../../../shared/placement/rendezvous.ts';
import { seedOf } from '../../../shared/placement/seed.ts';

/** A group that may be chosen: its index in the cluster map, and its weight, from 1. */
export interface GroupCandidate {
  readonly index: number;
  readonly name: string;
  readonly weight: number;
}

export class SecondChoice {
  readonly #isOut: Uint8Array;
  readonly #diverted: Float64Array;
  readonly #type1: Draw;
  readonly #type2: Draw;

  /**
   * `isOut`: 1 for each group that is mapped out, by index. `type1`, `type2`: all groups that serve the type, in canonical
   * order. `diverted` counts packets by the group of their first choice. `level` as for the first choice.
   */
  constructor(
    isOut: Uint8Array,
    type1: readonly GroupCandidate[],
    type2: readonly GroupCandidate[],
    diverted: Float64Array,
    level: number,
  ) {
    this.#isOut = isOut;
    this.#diverted = diverted;
    const seed = seedOf(level, 'slot', 'second choice').lo;
    const isIn = ({ index }: GroupCandidate) => isOut[index] === 0;
    this.#type1 = new Draw(type1.filter(isIn), seed);
    this.#type2 = new Draw(type2.filter(isIn), seed);
  }

  /** The group of a flow whose first choice is `first`. Where no other group serves the type, it stays with that one. */
  select(first: number, groupHash: number, type1: boolean): number {
    if (first < 0 || this.#isOut[first] === 0) return first;
    const second = (type1 ? this.#type1 : this.#type2).best(groupHash);
    if (second < 0) return first;
    this.#diverted[first]++;
    return second;
  }
}

class Draw {
  readonly #rendezvous: Rendezvous;
  readonly #indices: Uint16Array;

  constructor(candidates: readonly GroupCandidate[], seed: number) {
    this.#rendezvous = new Rendezvous(candidates, seed);
    this.#indices = Uint16Array.from(candidates, ({ index }) => index);
  }

  best(groupHash: number): number {
    const candidate = this.#rendezvous.best(0, groupHash, -1);
    return candidate < 0 ? -1 : this.#indices[candidate];
  }
}
