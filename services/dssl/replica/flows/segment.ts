// One segment of the flow table: a sorted run of 16-byte entries in which an entry sits at, or shortly after, the slot
// that its hash names.
//
// This is linear probing in which the entries stay ordered by hashLo. The home slot is hashLo scaled to the number of
// homes, so it grows with hashLo, and keeping the order is the same as Robin Hood hashing: no entry is far from home
// while another nearby is at home, and a search for something absent stops at the first larger hash instead of at the
// next hole. That is what lets a segment run 80-90 % full. The order gives two more things for nothing: a segment is
// rebuilt at another size by one pass from left to right, and so are the gaps closed that a sweep leaves.
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

/**
 * Slots of one segment, slack included, at most; a handle has 20 bits for the slot. Enough for all entries that a slice may hold,
 * also if somebody chose their hashes, so that no segment ever refuses what the slice's cap allows.
 */
export const maxSlots: number = 1 << 20;

/** Decides about the entry at `slot`; true removes it. */
export type DropEntry = (slot: number) => boolean;

const freeKey = 0x7fff_ffff;
const topBit = 0x8000_0000 | 0;
/** What all segments without entries share: the one free slot that stops a search. Never written to. */
const nothing = new Int32Array(4).fill(freeKey);
const perWrap = 1 / 4_294_967_296;

export class FlowSegment {
  /** Entries, four words a slot. Replaced as a whole when the segment is rebuilt. */
  data: Int32Array<ArrayBuffer> = nothing;
  /** Slots that a hash can name; the rest of `data` is slack. */
  homes = 1;
  count = 0;
  /** Place in the directory's list. */
  readonly id: number;
  /** Leading bits of hashHi that all entries share (u32, the rest 0), and how many they are. */
  readonly prefix: number;
  depth: number;

  /** A segment without entries. It must be rebuilt before it takes one. */
  constructor(id: number, prefix: number, depth: number) {
    this.id = id;
    this.prefix = prefix;
    this.depth = depth;
  }

  /** Slot of the entry, or -1. */
  find(hi: number, lo: number): number {
    return this.search(hi, lo, this.place(lo)) >> 2;
  }

  /** Index in `data` of the entry, or -1, searched from the place of `lo` on. */
  search(hi: number, lo: number, place: number): number {
    const data = this.data;
    const key = lo ^ topBit;
    let at = place;
    while (data[at] < key) at += 4;
    while (data[at] === key && data[at + 3] < 0) {
      if (data[at + 1] === hi) return at;
      at += 4;
    }
    return -1;
  }

  /** Index in `data` at which a search for `lo` begins. */
  place(lo: number): number {
    return (((lo >>> 0) * this.homes * perWrap) | 0) << 2;
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

  /** Removes the entries to whose slots `isDropped`, which must not change the segment, says yes; closes the gaps in one pass. */
  drop(isDropped: DropEntry): void {
    const data = this.data;
    const slots = data.length >> 2;
    // The first slot that a following entry may move to.
    let gap = 0;
    for (let slot = 0; slot < slots; slot++) {
      if (data[(slot << 2) + 3] >= 0) {
        gap = slot + 1;
      } else if (isDropped(slot)) {
        this.#free(slot);
        this.count--;
      } else {
        gap = this.#move(slot, gap) + 1;
      }
    }
  }

  /**
   * Removes the entries that are over at `tick`, each after `end` was told. `idleTicks` has the limits by `idleIndexOf`. The same
   * loop as in `drop`, with its question written out, since slices are swept many times a second.
   */
  sweep(tick: number, idleTicks: Int32Array, end: (segment: FlowSegment, slot: number) => void): void {
    const data = this.data;
    const slots = data.length >> 2;
    let gap = 0;
    for (let slot = 0; slot < slots; slot++) {
      const at = slot << 2;
      const info = data[at + 3];
      if (info >= 0) {
        gap = slot + 1;
      } else if (isOver(tick, data[at + 2], idleTicks[idleIndexOf(info)])) {
        end(this, slot);
        this.#free(slot);
        this.count--;
      } else {
        gap = this.#move(slot, gap) + 1;
      }
    }
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
    for (let extra = Math.max(slack, slackFor(homes)); homes + extra <= maxSlots; extra *= 2) {
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

  /** Forgets all entries. */
  clear(): void {
    release(this.data);
    this.data = nothing;
    this.homes = 1;
    this.count = 0;
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
}

/**
 * Gives the memory of an array back at once. Left to the garbage collector, the arrays that a growing table lets go of
 * (hundreds of bytes for each flow it takes in) would bring on one full collection after another, and those are the
 * longest pauses that a growing table knows.
 */
function release(array: Int32Array<ArrayBuffer>): void {
  if (array.byteLength > smallBytes) array.buffer.transfer(0);
}

/** Below this the collector is cheaper. */
const smallBytes = 16_384;

function slackFor(homes: number): number {
  return 8 + (homes >> 7);
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
