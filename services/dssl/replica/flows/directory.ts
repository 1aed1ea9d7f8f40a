// Where the entries of a flow table are kept, and how that grows while packets wait.
//
// This is extendible hashing (Fagin, Nievergelt, Pippenger, Strong, 1979): the leading bits of hashHi choose a
// segment through a directory, and the segment (flowSegment.ts) finds the slot by hashLo. A segment grows by an
// eighth when 90 % full, and splits in two when it must grow at more than 8 to 12 thousand entries. Either moves the
// entries of one segment only, so the packet that caused it waits well below a millisecond, however large the table
// is.
//
// Hashes spread evenly, so all segments fill at the same speed and would all grow at the same moment. They are
// staggered: a segment splits at a size of its own, and its halves begin at a load of their own between 80 and 90 %.
//
//   directory  00 ──► segment a (depth 2)      A directory of 2^g entries; a segment of depth d shares d leading bits
//              01 ──► segment b (depth 2)      and has 2^(g-d) directory entries. Splitting a segment of depth g
//              10 ─┬► segment c (depth 1)      doubles the directory first.
//              11 ─┘
//
// Keyed hashes do spread evenly. Should somebody choose them nevertheless, searches get longer, up to one segment,
// and a segment that cannot split any more refuses entries when it reaches `maxSlots`; answers stay right and memory
// bounded.

import { limits } from '../../../../shared/base/limits.ts';
import { wordsPerRow } from '../../../../shared/log/records/frame.ts';
import { FlowSegment, maxSlots } from './segment.ts';

export interface GrowthCounters {
  grown: number;
  split: number;
  shrunk: number;
  /** Most entries that one growth or split had to move: what a packet waited for. */
  growthMaxEntries: number;
}

/** Looks at about `budget` slots of a segment from `from` on; returns the slot to go on at, or -1 at the segment's end. */
export type SegmentPass = (segment: FlowSegment, from: number, budget: number) => number;

/** A handle is (segment id << slotBits) | slot, and never negative. */
export const slotBits = 17;
export const slotMask: number = maxSlots - 1;

const maxSegments = 1 << 14;
const maxDepth = 16;
const minHomes = 64;
const splitEntries = 8_192;
const twoTo16 = 65_536;
const twoTo32 = 4_294_967_296;

export class SegmentDirectory {
  /** Segments by id. */
  readonly all: FlowSegment[] = [new FlowSegment(0, minHomes, 0, 0)];
  readonly #counters: GrowthCounters;
  /** Leading bits of hashHi to segment id; never a single entry, since a shift by 32 does nothing. */
  #directory = new Uint16Array(2);
  #shift = 31;
  readonly #ids = new Uint16Array(limits.frameRows);
  readonly #places = new Int32Array(limits.frameRows);
  #segmentBytes = this.all[0].data.byteLength;

  constructor(counters: GrowthCounters) {
    this.#counters = counters;
  }

  /** The segment that an entry with this hashHi is in, or would be. */
  of(hi: number): FlowSegment {
    return this.all[this.#directory[hi >>> this.#shift]];
  }

  /** See FlowTable.prefetch. Two loops: the short one keeps as many loads under way as the processor can. */
  prefetch(words: Int32Array, count: number): number {
    const { all } = this;
    const ids = this.#ids;
    const places = this.#places;
    const directory = this.#directory;
    const shift = this.#shift;
    for (let row = 0, at = 0; row < count; row++, at += wordsPerRow) {
      const id = directory[words[at] >>> shift];
      ids[row] = id;
      places[row] = all[id].place(words[at + 1]);
    }
    let sum = 0;
    for (let row = 0; row < count; row++) sum ^= all[ids[row]].data[places[row]];
    return sum;
  }

  get bytes(): number {
    return this.#segmentBytes + this.#directory.byteLength;
  }

  /** Adds an entry that is not there. Returns its handle, or -1 when its segment can neither take it nor grow. */
  insert(hi: number, lo: number, tick: number, info: number): number {
    let segment = this.of(hi);
    if (segment.count >= fullAt(segment)) {
      if (!this.#grow(segment)) return -1;
      segment = this.of(hi);
    }
    let slot = segment.insert(hi, lo, tick, info);
    while (slot < 0) {
      // Too many entries whose home is at the end of the segment; slack takes what homes cannot.
      if (!this.#rebuild(segment, segment.homes, segment.slack * 2) && !this.#split(segment)) return -1;
      segment = this.of(hi);
      slot = segment.insert(hi, lo, tick, info);
    }
    return (segment.id << slotBits) | slot;
  }

  /**
   * Leads `pass`, which may remove entries, over the segments from `cursor` on, about `budget` slots' worth. A cursor
   * is a place in the order of (segment prefix, hashLo), so it means the same after growth and splits; 0 begins.
   * Returns the next cursor, or -1 after the last entry. A segment that a removal left mostly empty is made smaller.
   */
  walk(cursor: number, budget: number, pass: SegmentPass): number {
    let prefix = Math.floor(cursor / twoTo32) * twoTo16;
    let lo = cursor % twoTo32;
    let left = Math.max(1, budget);
    while (prefix < twoTo32) {
      const segment = this.of(prefix);
      const from = segment.lowerBound(lo);
      const before = segment.count;
      const next = pass(segment, from, left);
      // The cursor is taken before shrinking, which moves slots.
      const nextLo = next < 0 ? 0 : segment.loAt(next) >>> 0;
      if (segment.count < before) this.#shrink(segment);
      if (next >= 0) return (prefix / twoTo16) * twoTo32 + nextLo;
      left -= Math.max(1, (segment.data.length >> 2) - from);
      prefix = segment.prefix + 2 ** (32 - segment.depth);
      lo = 0;
      if (left <= 0 && prefix < twoTo32) return (prefix / twoTo16) * twoTo32;
    }
    return -1;
  }

  #grow(segment: FlowSegment): boolean {
    if (segment.count >= splitAt(segment) && this.#split(segment)) return true;
    const homes = segment.homes + Math.max(minHomes, segment.homes >> 3);
    return this.#rebuild(segment, homes, 0);
  }

  #rebuild(segment: FlowSegment, homes: number, slack: number): boolean {
    const before = segment.data.byteLength;
    if (!segment.rebuild(segment, homes, slack, 0, 0)) return false;
    this.#segmentBytes += segment.data.byteLength - before;
    this.#counters.grown++;
    this.#counters.growthMaxEntries = Math.max(this.#counters.growthMaxEntries, segment.count);
    return true;
  }

  #shrink(segment: FlowSegment): void {
    if (segment.homes <= minHomes || segment.count > segment.homes * 0.4) return;
    const before = segment.data.byteLength;
    if (!segment.rebuild(segment, homesFor(segment.count, 0.8), 0, 0, 0)) return;
    this.#segmentBytes += segment.data.byteLength - before;
    this.#counters.shrunk++;
  }

  /** Splits by the next bit of hashHi; false when there are no more bits or segments to be had. */
  #split(left: FlowSegment): boolean {
    if (left.depth >= maxDepth || this.all.length >= maxSegments) return false;
    const bit = (1 << (31 - left.depth)) >>> 0;
    const moved = left.count;
    const before = left.data.byteLength;
    const right = new FlowSegment(this.all.length, 1, (left.prefix | bit) >>> 0, left.depth + 1);
    const rightCount = left.countWith(bit);
    const rightHomes = homesFor(rightCount, startLoad(right));
    const leftHomes = homesFor(left.count - rightCount, startLoad(left));
    // The right half is copied out first; the left one is then rebuilt from itself.
    if (!right.rebuild(left, rightHomes, 0, bit | 0, bit | 0)) return false;
    if (!left.rebuild(left, leftHomes, 0, bit | 0, 0)) return false;
    if (32 - this.#shift === left.depth) this.#doubleDirectory();
    left.depth++;
    this.all.push(right);
    const start = right.prefix >>> this.#shift;
    this.#directory.fill(right.id, start, start + 2 ** (32 - this.#shift - right.depth));
    this.#segmentBytes += left.data.byteLength + right.data.byteLength - before;
    this.#counters.split++;
    this.#counters.growthMaxEntries = Math.max(this.#counters.growthMaxEntries, moved);
    return true;
  }

  #doubleDirectory(): void {
    const doubled = new Uint16Array(this.#directory.length * 2);
    for (let index = 0; index < doubled.length; index++) doubled[index] = this.#directory[index >> 1];
    this.#directory = doubled;
    this.#shift--;
  }
}

/** The cursor of a walk that begins at the first entry whose hashHi is not below this (u32). */
export function cursorOf(hi: number): number {
  return Math.floor(hi / twoTo16) * twoTo32;
}

/** Entries at which a segment must grow before it takes another one. */
function fullAt(segment: FlowSegment): number {
  return (segment.homes * 0.9) | 0;
}

function homesFor(count: number, load: number): number {
  return Math.max(minHomes, Math.ceil(count / load));
}

/** Entries above which a segment splits: 8 to 12 Ki, by its place. */
function splitAt(segment: FlowSegment): number {
  return splitEntries + (stagger(segment) >>> 20);
}

/** Load at which a half of a split begins: 80 to 90 %, by its place. */
function startLoad(segment: FlowSegment): number {
  return 0.8 + (stagger(segment) >>> 8) * (0.1 / 16_777_216);
}

/** An even spread over u32 of the segments there are: the finalizer of MurmurHash3 over prefix and depth. */
function stagger(segment: FlowSegment): number {
  let h = segment.prefix ^ segment.depth;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
