// Which group a packet goes to: the static part of the choice, with no state for any flow.
//
// Tier 1 must send all packets of a flow to the same group, and it remembers nothing. So the group is a fixed function
// of the group key's hash, the same on every tier 1 that has the same cluster map. The tables here are as large as the
// map's groups make them and never grow with the traffic. Which server of the group takes the flow is found inside the
// group.
//
//   hash               hash scaled to the number of groups. Weights only say yes or no (0).
//   weighted           slot of the hash in a Maglev table: shares by weight, and a group that comes or goes moves
//                      little but its own share. 128 KiB a table, whatever the traffic.
//   source-last-byte   last byte of the source address mod number of groups: nothing to compute, easy to follow by eye,
//                      and as uneven as the addresses are.
//
// A group may serve only flows of type 1 (their protocol marks the start of a flow) or only type 2. Each type has its
// own table, made of the groups that serve it. Groups are put in the order of their ids first, so that tier 1s agree
// however they came by the list.
//
// Source: the static selection of the patent's Fig. 1; groups by type, Fig. 10.

import type { GroupSelection, GroupSettings } from '../../shared/cluster/map.ts';
import { mixSeeded } from '../../shared/hash/mix.ts';
import { MAGLEV_SLOTS, maglevTable } from '../../shared/placement/maglev.ts';
import { compareNames, seedOf } from '../../shared/placement/seed.ts';

/** What the selection needs to know of a group. */
export type GroupEntry = Pick<GroupSettings, 'id' | 'weight' | 'serves'>;

const perWrap = 1 / 4_294_967_296;

export class GroupTable {
  readonly #byLastByte: boolean;
  readonly #seedHi: number;
  readonly #seedLo: number;
  /** For each slot the index of its group; empty when no group serves the type. */
  readonly #type1Slots: Uint16Array;
  readonly #type2Slots: Uint16Array;

  /**
   * `slots`: a prime, for the method 'weighted' only. `level`: 0 for the tier 1 at the edge, 1 for a tier 1 that
   * distributes the share of one super-group further, and so on. Levels choose independently; with the same choice at
   * both, a lower level would see only such hashes as lead to few of its groups.
   *
   * @throws RangeError when `slots` is not a prime.
   */
  constructor(groups: readonly GroupEntry[], method: GroupSelection, slots: number = MAGLEV_SLOTS, level: number = 0) {
    const seed = seedOf(level, 'slot', 'group');
    this.#seedHi = seed.hi | 0;
    this.#seedLo = seed.lo | 0;
    this.#byLastByte = method === 'source-last-byte';

    const sorted = groups
      .map(({ id, weight, serves }, index) => ({ index, name: id, weight, serves }))
      .filter(({ weight }) => weight > 0)
      .sort((a, b) => compareNames(a.name, b.name));
    const slotsFor = (other: GroupEntry['serves']) => {
      const candidates = sorted.filter(({ serves }) => serves !== other);
      if (method !== 'weighted' || candidates.length === 0) return Uint16Array.from(candidates, ({ index }) => index);
      return maglevTable(candidates, level, slots).map((candidate) => candidates[candidate].index);
    };
    this.#type1Slots = slotsFor('type-2');
    this.#type2Slots = sorted.every(({ serves }) => serves === 'both') ? this.#type1Slots : slotsFor('type-1');
  }

  /**
   * Index into the groups given to the constructor, or -1 when no group serves this type. `groupHash`: hash of the
   * group key, int32 or u32; for 'source-last-byte' its low byte is the address's last byte.
   */
  select(groupHash: number, type1: boolean): number {
    const slots = type1 ? this.#type1Slots : this.#type2Slots;
    if (slots.length === 0) return -1;
    if (this.#byLastByte) return slots[(groupHash & 0xff) % slots.length];
    // Scaled, not mod: as even, and a modulo of 32 unsigned bits costs a float division.
    const mixed = mixSeeded(0, groupHash, this.#seedHi, this.#seedLo) >>> 0;
    return slots[(mixed * slots.length * perWrap) | 0];
  }

  /** Bytes of the tables: fixed by the method and the groups. */
  get byteLength(): number {
    const type2 = this.#type2Slots === this.#type1Slots ? 0 : this.#type2Slots.byteLength;
    return this.#type1Slots.byteLength + type2;
  }
}
