// Where the entries of a flow table are kept, and how that grows while packets wait.
//
// This is extendible hashing (Fagin, Nievergelt, Pippenger, Strong, 1979): the leading bits of hashHi choose a
// segment through a directory, and the segment (segment.ts) finds the slot by hashLo. A segment grows by an
// eighth when 90 % full, and splits in two when it must grow at more than 8 to 12 thousand entries. Either moves the
// entries of one segment only, so the packet that caused it waits well below a millisecond, however large the table
// is.
//
//   directory  00 ──► segment a (depth 2)      A directory of 2^g entries; a segment of depth d shares d leading bits
//              01 ──► segment b (depth 2)      and has 2^(g-d) directory entries. Splitting a segment of depth g
//              10 ─┬► segment c (depth 1)      doubles the directory first.
//              11 ─┘
//
// It begins with 256 segments at depth 8, one for each slice, so a slice is one or more whole segments and never scattered.
// Empty segments share one array, and a table without flows costs next to nothing.
//
// Keyed hashes spread evenly. Should somebody choose them nevertheless, searches get longer, up to one segment; answers stay
// right and memory bounded.

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

/** Of a whole table (table.ts). */
export interface FlowTableCounters extends GrowthCounters {
  inserted: number;
  /** Ended by time, at a look-up, in a sweep or to make room. */
  expired: number;
  evicted: number;
  /** New flows for which there was no room. */
  refusedFull: number;
}

/** Slices of a table: ranges of hashes that share their eight leading bits. */
export const sliceCount = 256;
const sliceDepth = 8;

/** A handle is (segment id << slotBits) | slot, and never negative. */
export const slotBits = 20;
export const slotMask: number = maxSlots - 1;

const maxSegments = 1 << 11;
const maxDepth = 16;
const minHomes = 16;
const splitEntries = 8_192;

/** What `prefetch` found out last, of whichever table: by row, the segment and where its search begins. */
const ids = new Uint16Array(limits.frameRows);
const places = new Int32Array(limits.frameRows);
let prefetchedBy: SegmentDirectory | undefined;

export class SegmentDirectory {
  /** Segments by id. */
  readonly all: FlowSegment[] = [];
  readonly #counters: GrowthCounters;
  /** By slice, in the order of their prefixes. */
  readonly #bySlice: FlowSegment[][] = [];
  /** Leading bits of hashHi to segment id. */
  #directory = new Uint16Array(sliceCount);
  #shift = 32 - sliceDepth;
  #segmentBytes = 0;

  constructor(counters: GrowthCounters) {
    this.#counters = counters;
    for (let slice = 0; slice < sliceCount; slice++) {
      const segment = new FlowSegment(slice, (slice << this.#shift) >>> 0, sliceDepth);
      this.all.push(segment);
      this.#bySlice.push([segment]);
      this.#directory[slice] = slice;
    }
  }

  /** The segment that an entry with this hashHi is in, or would be. */
  of(hi: number): FlowSegment {
    return this.all[this.#directory[hi >>> this.#shift]];
  }

  /** The segments of a slice, in the order of their prefixes. Holds until an entry is added. */
  ofSlice(slice: number): readonly FlowSegment[] {
    return this.#bySlice[slice];
  }

  /** Whether what `prefetch` found out is of this directory, and still true. */
  get isPrefetched(): boolean {
    return prefetchedBy === this;
  }

  /** The segment that the entry of a row of the prefetched frame is in, or would be. */
  segmentOfRow(row: number): FlowSegment {
    return this.all[ids[row]];
  }

  /** Where in the segment's data the search for it begins. */
  placeOfRow(row: number): number {
    return places[row];
  }

  /** See FlowTable.prefetch. Two loops: the short one keeps as many loads under way as the processor can. */
  prefetch(words: Int32Array, count: number): number {
    prefetchedBy = this;
    const { all } = this;
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

  /** Adds an entry that is not there, and returns its handle. */
  insert(hi: number, lo: number, tick: number, info: number): number {
    let segment = this.of(hi);
    if (segment.count >= fullAt(segment)) {
      this.#grow(segment);
      segment = this.of(hi);
    }
    let slot = segment.insert(hi, lo, tick, info);
    while (slot < 0) {
      // Too many entries whose home is at the end of the segment; slack takes what homes cannot.
      if (!this.#rebuild(segment, segment.homes, segment.slack * 2) && !this.#split(segment)) {
        throw new RangeError('a segment of the flow table is full, which the cap of its slice rules out');
      }
      segment = this.of(hi);
      slot = segment.insert(hi, lo, tick, info);
    }
    return (segment.id << slotBits) | slot;
  }

  /** Makes room for as many entries in a slice that has none. */
  reserve(slice: number, entries: number): void {
    const segments = this.ofSlice(slice);
    for (const segment of segments) {
      const share = Math.min(splitEntries, Math.ceil(entries / segments.length));
      this.#rebuild(segment, homesFor(share, 0.85), 0);
    }
  }

  /** Forgets the entries of a slice. */
  clear(slice: number): void {
    this.#changed();
    for (const segment of this.ofSlice(slice)) {
      this.#segmentBytes -= segment.homes === 1 ? 0 : segment.data.byteLength;
      segment.clear();
    }
  }

  /** Makes a segment smaller that removals left mostly empty. */
  shrink(segment: FlowSegment): void {
    if (segment.homes <= minHomes || segment.count > segment.homes * 0.4) return;
    this.#changed();
    const before = segment.data.byteLength;
    if (segment.count === 0) {
      segment.clear();
      this.#segmentBytes -= before;
    } else if (segment.rebuild(segment, homesFor(segment.count, 0.8), 0, 0, 0)) {
      this.#segmentBytes += segment.data.byteLength - before;
    }
    this.#counters.shrunk++;
  }

  #grow(segment: FlowSegment): void {
    if (segment.count >= splitAt(segment) && this.#split(segment)) return;
    const { homes } = segment;
    // Small ones double: their growth costs nothing, and there are many of them.
    const more = homes < 4 * minHomes ? homes : homes >> 3;
    this.#rebuild(segment, homes + Math.max(minHomes, more), 0);
  }

  #rebuild(segment: FlowSegment, homes: number, slack: number): boolean {
    this.#changed();
    const before = segment.homes === 1 ? 0 : segment.data.byteLength;
    if (!segment.rebuild(segment, homes, slack, 0, 0)) return false;
    this.#segmentBytes += segment.data.byteLength - before;
    this.#counters.grown++;
    this.#counters.growthMaxEntries = Math.max(this.#counters.growthMaxEntries, segment.count);
    return true;
  }

  /** Splits by the next bit of hashHi; false when there are no more bits or segments to be had. */
  #split(left: FlowSegment): boolean {
    if (left.depth >= maxDepth || this.all.length >= maxSegments) return false;
    this.#changed();
    const bit = (1 << (31 - left.depth)) >>> 0;
    const moved = left.count;
    const before = left.data.byteLength;
    const right = new FlowSegment(this.all.length, (left.prefix | bit) >>> 0, left.depth + 1);
    const rightCount = left.countWith(bit);
    const rightHomes = homesFor(rightCount, startLoad(right));
    const leftHomes = homesFor(left.count - rightCount, startLoad(left));
    // The right half is copied out first; the left one is then rebuilt from itself.
    if (!right.rebuild(left, rightHomes, 0, bit | 0, bit | 0)) return false;
    if (!left.rebuild(left, leftHomes, 0, bit | 0, 0)) return false;
    if (32 - this.#shift === left.depth) this.#doubleDirectory();
    left.depth++;
    this.all.push(right);
    const ofSlice = this.#bySlice[right.prefix >>> 24];
    ofSlice.splice(ofSlice.indexOf(left) + 1, 0, right);
    const start = right.prefix >>> this.#shift;
    this.#directory.fill(right.id, start, start + 2 ** (32 - this.#shift - right.depth));
    this.#segmentBytes += left.data.byteLength + right.data.byteLength - before;
    this.#counters.split++;
    this.#counters.growthMaxEntries = Math.max(this.#counters.growthMaxEntries, moved);
    return true;
  }

  /** Entries lie elsewhere now. */
  #changed(): void {
    if (prefetchedBy === this) prefetchedBy = undefined;
  }

  #doubleDirectory(): void {
    const doubled = new Uint16Array(this.#directory.length * 2);
    for (let index = 0; index < doubled.length; index++) doubled[index] = this.#directory[index >> 1];
    this.#directory = doubled;
    this.#shift--;
  }
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
