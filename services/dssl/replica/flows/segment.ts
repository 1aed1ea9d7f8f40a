// One segment of the flow table: a sorted run of 16-byte entries in which an entry sits at, or shortly after, the slot
// that its hash names.
//
// This is linear probing in which the entries stay ordered by hashLo. The home slot is hashLo scaled to the number of
// homes, so it grows with hashLo, and keeping the order is the same as Robin Hood hashing: no entry is far from home
// while another nearby is at home, and a search for something absent stops at the first larger hash instead of at the
// next hole. That is what lets a segment run 80-90 % full. The order gives two more things for nothing: a segment is
// rebuilt at another size by one pass from left to right, and a walk can be resumed by hash after any such rebuild.
//
//   slot     0             4             8             12            16
//            +-------------+-------------+-------------+-------------+
//            |  key        |  hashHi     |  lastSeen   |  info       |   key = hashLo with its top bit flipped:
//            +-------------+-------------+-------------+-------------+     signed comparison orders it as unsigned
//
//   info     31     30     29..26    25..24   23..12    11..0
//            +------+------+---------+--------+---------+---------+
//            | used | mark |  class  | state  | backup  |  owner  |      free slot: used = 0
//            +------+------+---------+--------+---------+---------+
//
// A free slot carries the largest key, so a search needs one comparison a slot and no test for free slots; a flow
// that really has this key is told apart by the `used` bit. Entries do not wrap round: behind the homes lies some
// slack, whose last slot stays free and stops every search. Hashes that pile up at the end take more slack, never a
// wrong answer.

import { isOver } from '../ticks.ts';
import { idleIndexOf } from './entry.ts';

/** Slots of one segment, slack included, at most; a handle has 17 bits for the slot. */
export const maxSlots: number = 1 << 17;

/** Decides about the entry at `slot` during a walk; true removes it. */
export type DropEntry = (slot: number) => boolean;

const freeKey = 0x7fff_ffff;
const topBit = 0x8000_0000 | 0;
const minSlack = 32;
const perWrap = 1 / 4_294_967_296;

export class FlowSegment {
  /** Entries, four words a slot. Replaced as a whole when the segment is rebuilt. */
  data: Int32Array<ArrayBuffer>;
  /** Slots that a hash can name; the rest of `data` is slack. */
  homes: number;
  count = 0;
  /** Place in the directory's list. */
  readonly id: number;
  /** Leading bits of hashHi that all entries share (u32, the rest 0), and how many they are. */
  readonly prefix: number;
  depth: number;

  constructor(id: number, homes: number, prefix: number, depth: number) {
    this.id = id;
    this.homes = homes;
    this.prefix = prefix;
    this.depth = depth;
    this.data = new Int32Array((homes + minSlack) << 2).fill(freeKey);
  }

  /** Slot of the entry, or -1. */
  find(hi: number, lo: number): number {
    const data = this.data;
    const key = lo ^ topBit;
    let at = this.place(lo);
    while (data[at] < key) at += 4;
    while (data[at] === key && data[at + 3] < 0) {
      if (data[at + 1] === hi) return at >> 2;
      at += 4;
    }
    return -1;
  }

  /** Index in `data` at which a search for `lo` begins. */
  place(lo: number): number {
    return (((lo >>> 0) * this.homes * perWrap) | 0) << 2;
  }

  /** Slot of the first entry whose hashLo is not below `lo` (u32), or a free slot before it. */
  lowerBound(lo: number): number {
    const data = this.data;
    const key = lo ^ topBit;
    let at = this.place(lo);
    while (data[at] < key) at += 4;
    return at >> 2;
  }

  /**
   * Adds an entry that is not there. Returns its slot, or -1 when the entries in its way reach the end of the slack;
   * the segment must then be rebuilt. `info` must have the used bit.
   */
  insert(hi: number, lo: number, tick: number, info: number): number {
    const data = this.data;
    const key = lo ^ topBit;
    let at = this.place(lo);
    while (data[at] < key) at += 4;
    while (data[at] === key && data[at + 3] < 0) at += 4;
    let free = at;
    while (data[free + 3] < 0) free += 4;
    if (free === data.length - 4) return -1;
    if (free !== at) data.copyWithin(at + 4, at, free);
    data[at] = key;
    data[at + 1] = hi;
    data[at + 2] = tick;
    data[at + 3] = info;
    this.count++;
    return at >> 2;
  }

  /** Removes the entry at `slot`: those behind it that are away from home move one slot towards it. */
  removeAt(slot: number): void {
    const data = this.data;
    let end = slot + 1;
    while (data[(end << 2) + 3] < 0 && this.#homeOf(data[end << 2]) < end) end++;
    if (end !== slot + 1) data.copyWithin(slot << 2, (slot + 1) << 2, end << 2);
    this.#free(end - 1);
    this.count--;
  }

  /**
   * Shows entries to `drop` from slot `from` on, in the order of hashLo, removes those it says yes to and closes the
   * gaps, in one pass. Stops after `budget` slots, but never between two entries of the same hashLo. Returns the slot
   * of the first entry not shown, or -1 when all were. `drop` must not change the segment.
   */
  walk(from: number, budget: number, drop: DropEntry): number {
    const data = this.data;
    const slots = data.length >> 2;
    const stop = from + budget;
    let slot = from;
    // The first slot that a following entry may move to.
    let gap = from;
    let lastKey = 0;
    let any = false;
    for (; slot < slots; slot++) {
      const at = slot << 2;
      if (data[at + 3] >= 0) {
        gap = slot + 1;
        continue;
      }
      const key = data[at];
      if (slot >= stop && !(any && key === lastKey)) return this.#closeGap(gap, slot);
      lastKey = key;
      any = true;
      if (drop(slot)) {
        this.#free(slot);
        this.count--;
      } else {
        gap = this.#move(slot, gap) + 1;
      }
    }
    return -1;
  }

  /**
   * Removes the entries from slot `from` on that are over at `tick`, each after `end` was told. `idleTicks` has the
   * limits by `idleIndexOf`. Stops, and returns, as walk() does, and is the same loop: with its question written out,
   * since a table is swept many times a second.
   */
  sweep(from: number, budget: number, tick: number, idleTicks: Int32Array, end: (slot: number) => void): number {
    const data = this.data;
    const slots = data.length >> 2;
    const stop = from + budget;
    let gap = from;
    let lastKey = 0;
    for (let slot = from; slot < slots; slot++) {
      const at = slot << 2;
      const info = data[at + 3];
      if (info >= 0) {
        gap = slot + 1;
        continue;
      }
      const key = data[at];
      if (slot >= stop && key !== lastKey) return this.#closeGap(gap, slot);
      lastKey = key;
      if (isOver(tick, data[at + 2], idleTicks[idleIndexOf(info)])) {
        end(slot);
        this.#free(slot);
        this.count--;
      } else {
        gap = this.#move(slot, gap) + 1;
      }
    }
    return -1;
  }

  /** hashLo (int32) of the entry at `slot`. */
  loAt(slot: number): number {
    return this.data[slot << 2] ^ topBit;
  }

  /** Entries whose hashHi has the given bit set. */
  countWith(bit: number): number {
    const data = this.data;
    let count = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at + 3] < 0 && (data[at + 1] & bit) !== 0) count++;
    return count;
  }

  /**
   * Rebuilds this segment with `homes` homes from the entries of `source` (which may be itself) whose hashHi masked
   * by `bits` equals `value`. `slack` is a wish; more is taken when the hashes pile up at the end. Returns false, and
   * changes nothing, when that needs more than `maxSlots`.
   */
  rebuild(source: FlowSegment, homes: number, slack: number, bits: number, value: number): boolean {
    for (let extra = Math.max(slack, minSlack); homes + extra <= maxSlots; extra *= 2) {
      const data = new Int32Array((homes + extra) << 2).fill(freeKey);
      const placed = place(source.data, data, homes, bits, value);
      if (placed < 0) continue;
      release(this.data);
      this.data = data;
      this.homes = homes;
      this.count = placed;
      return true;
    }
    return false;
  }

  get slack(): number {
    return (this.data.length >> 2) - this.homes;
  }

  #homeOf(key: number): number {
    return (((key ^ topBit) >>> 0) * this.homes * perWrap) | 0;
  }

  #free(slot: number): void {
    this.data[slot << 2] = freeKey;
    this.data[(slot << 2) + 3] = 0;
  }

  /** Moves the entry at `slot` as near to its home as `gap` allows; returns where it is then. */
  #move(slot: number, gap: number): number {
    if (gap === slot) return slot;
    const data = this.data;
    const target = Math.max(gap, this.#homeOf(data[slot << 2]));
    if (target === slot) return slot;
    const from = slot << 2;
    const to = target << 2;
    data[to] = data[from];
    data[to + 1] = data[from + 1];
    data[to + 2] = data[from + 2];
    data[to + 3] = data[from + 3];
    this.#free(slot);
    return target;
  }

  /** Moves entries from `slot` on towards `gap` until one stays; returns where the first of them is then. */
  #closeGap(gap: number, slot: number): number {
    const data = this.data;
    const first = this.#move(slot, gap);
    let target = first;
    for (let next = slot; target !== next; ) {
      next++;
      if (data[(next << 2) + 3] >= 0) break;
      target = this.#move(next, target + 1);
    }
    return first;
  }
}

/**
 * Gives the memory of an array back at once. Left to the garbage collector, the arrays that a growing table lets go of
 * (hundreds of bytes for each flow it takes in) would bring on one full collection after another, and those are the
 * longest pauses that a growing table knows.
 */
function release(array: Int32Array<ArrayBuffer>): void {
  array.buffer.transfer(0);
}

/** Copies the chosen entries into an empty `target` in their order; returns how many, or -1 when they do not fit. */
function place(source: Int32Array, target: Int32Array, homes: number, bits: number, value: number): number {
  const last = (target.length >> 2) - 1;
  let next = 0;
  let count = 0;
  for (let at = 0; at < source.length; at += 4) {
    if (source[at + 3] >= 0 || (source[at + 1] & bits) !== value) continue;
    const home = (((source[at] ^ topBit) >>> 0) * homes * perWrap) | 0;
    const slot = Math.max(home, next);
    if (slot >= last) return -1;
    const to = slot << 2;
    target[to] = source[at];
    target[to + 1] = source[at + 1];
    target[to + 2] = source[at + 2];
    target[to + 3] = source[at + 3];
    next = slot + 1;
    count++;
  }
  return count;
}
