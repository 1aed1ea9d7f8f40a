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
// A group may be mapped out for a while: its flows then have a second choice among the others (secondChoice.ts), and the
// flows of all others stay exactly where they are.
//
// Source: the static selection of the patent's Fig. 1; groups by type, Fig. 10; mapping out, the text to Fig. 11.

import type { GroupSelection, GroupSettings } from '../../../shared/config/map.ts';
import { mixSeeded } from '../../../shared/hash/mix.ts';
import { MAGLEV_SLOTS, maglevTable } from '../../../shared/placement/maglev.ts';
import { compareNames, seedOf } from '../../../shared/placement/seed.ts';
import { type GroupCandidate, SecondChoice } from './secondChoice.ts';

/** What the selection needs to know of a group. */
export type GroupEntry = Pick<GroupSettings, 'id' | 'weight' | 'serves'>;

const perWrap = 1 / 4_294_967_296;

export class GroupTable {
  /** Packets that went to another group because theirs was mapped out, by the index of theirs. */
  readonly diverted: Float64Array;
  readonly #level: number;
  readonly #byLastByte: boolean;
  readonly #seedHi: number;
  readonly #seedLo: number;
  /** For each slot the index of its group; empty when no group serves the type. */
  readonly #type1Slots: Uint16Array;
  readonly #type2Slots: Uint16Array;
  readonly #type1Groups: readonly GroupCandidate[];
  readonly #type2Groups: readonly GroupCandidate[];
  /** Undefined while no group is mapped out, which is all that a packet has to ask. */
  #secondChoice: SecondChoice | undefined;

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
    this.#level = level;
    this.diverted = new Float64Array(groups.length);

    const sorted = groups
      .map(({ id, weight, serves }, index) => ({ index, name: id, weight, serves }))
      .filter(({ weight }) => weight > 0)
      .sort((a, b) => compareNames(a.name, b.name))
      .map((group) => (method === 'weighted' ? group : { ...group, weight: 1 }));
    const slotsFor = (candidates: readonly GroupCandidate[]) => {
      if (method !== 'weighted' || candidates.length === 0) return Uint16Array.from(candidates, ({ index }) => index);
      return maglevTable(candidates, level, slots).map((candidate) => candidates[candidate].index);
    };
    this.#type1Groups = sorted.filter(({ serves }) => serves !== 'type-2');
    this.#type2Groups = sorted.filter(({ serves }) => serves !== 'type-1');
    this.#type1Slots = slotsFor(this.#type1Groups);
    const isAlike = sorted.every(({ serves }) => serves === 'both');
    this.#type2Slots = isAlike ? this.#type1Slots : slotsFor(this.#type2Groups);
  }

  /** Maps out exactly these groups, by index: flows of all others keep their group. None: all are mapped in again. */
  mapOut(groups: ReadonlySet<number>): void {
    const isOut = new Uint8Array(this.diverted.length);
    for (const group of groups) isOut[group] = 1;
    this.#secondChoice =
      groups.size === 0
        ? undefined
        : new SecondChoice(isOut, this.#type1Groups, this.#type2Groups, this.diverted, this.#level);
  }

  /**
   * Index into the groups given to the constructor, or -1 when no group serves this type. `groupHash`: hash of the
   * group key, int32 or u32; for 'source-last-byte' its low byte is the address's last byte.
   */
  select(groupHash: number, type1: boolean): number {
    const first = this.#firstChoice(groupHash, type1);
    const second = this.#secondChoice;
    return second === undefined ? first : second.select(first, this.#byLastByte ? groupHash & 0xff : groupHash, type1);
  }

  #firstChoice(groupHash: number, type1: boolean): number {
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
