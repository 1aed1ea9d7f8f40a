// The flow table of a DSSL actor: which server owns each flow the group has seen.
//
// The actor of server s accepts packets of the flows whose owner is s ("own") and ignores those whose owner is another
// ("elsewhere", Figs. 8 and 9). Both kinds are entries of one table that differ in the owner number only. So they are
// disjoint by construction, and one look-up, usually one cache miss, answers both questions.
//
// This file is what the table means: owners, expiry, and what happens when it is full. Where entries are kept, and how
// the table grows without stopping, is in segmentDirectory.ts and flowSegment.ts. A flow takes 18-20 bytes.
//
// Expiry is a matter of packet time only: an entry is over when the packet that looks for it comes later than its idle
// limit allows, whether or not a sweep has passed. All actors of a group thus forget a flow at the same packet.
//
// A full table (`maxFlows`, or `maxOwn` for a new own flow) makes room within 64 slots around the new flow's place: the
// first entry found expired goes; else the unconfirmed one that was silent longest; else the new flow is refused. Under
// `maxOwn` only own entries may go. An established flow never gives way, so a flood of starts can push out only its own
// kind. The choice depends on nothing but the table's content and the packet's time, so a replay repeats it.
//
// The table compares the 64-bit hash and keeps no key: two of n flows share a hash with probability n^2 / 2^65, about 3
// in a million at 10^7 flows.

import { clockJumpTicks, isOver } from '../ticks.ts';
import { cursorOf, type GrowthCounters, SegmentDirectory, slotBits, slotMask } from './directory.ts';
import {
  backupOf,
  EndReason,
  FlowState,
  idleIndexOf,
  isMarked,
  markBit,
  noBackup,
  ownerOf,
  packInfo,
  protocolClassCount,
  stateOf,
} from './entry.ts';
import type { FlowSegment } from './segment.ts';

/**
 * Told about each flow that the table itself ends, own or elsewhere: int32 hashes, the info word (flowEntry.ts) and
 * why. Not called for `remove`. Must not call the table.
 */
export type FlowEndListener = (hi: number, lo: number, info: number, reason: EndReason) => void;

/** Sees one entry. May change it through `handle` (touch and the setters), but not add or remove entries. */
export type FlowVisitor = (hi: number, lo: number, lastSeen: number, info: number, handle: number) => void;

export interface FlowTableOptions {
  /** Number of the server whose actor holds the table; only `maxOwn` needs it. */
  readonly self?: number;
  /** Entries at most, own and elsewhere together; up to `maxTableFlows`. Costs about 20 bytes each when used. */
  readonly maxFlows: number;
  /** Own entries at most before a new own flow must find room; default `maxFlows`. `setOwner` may exceed it. */
  readonly maxOwn?: number;
  /** Idle limits in ticks: [protocolClass * 4 + state], 64 of them. */
  readonly idleTicks: ArrayLike<number>;
  readonly onEnd?: FlowEndListener;
}

export interface FlowTableCounters extends GrowthCounters {
  inserted: number;
  /** Ended by time, at a look-up, in a sweep or to make room. */
  expired: number;
  evictedUnconfirmed: number;
  /** New flows for which there was no room. */
  refusedFull: number;
}

/** Largest `maxFlows`: all segments at the size at which they split. */
export const maxTableFlows = 100_000_000;

const evictWindow = 64;
/** Values of hashHi that share eight leading bits; slots looked at between two looks at whether a bucket is over. */
const bucketSpan = 2 ** 24;
const slotsPerLook = 2_048;

export class FlowTable {
  readonly counters: FlowTableCounters = {
    inserted: 0,
    expired: 0,
    evictedUnconfirmed: 0,
    refusedFull: 0,
    grown: 0,
    split: 0,
    shrunk: 0,
    growthMaxEntries: 0,
  };
  /** Info word (flowEntry.ts) of the entry that `find` or `meet` returned last, as it was then. */
  foundInfo = 0;
  readonly #self: number;
  readonly #maxFlows: number;
  readonly #maxOwn: number;
  readonly #idleTicks: Int32Array;
  readonly #onEnd: FlowEndListener | undefined;
  readonly #segments: SegmentDirectory;
  #owners = new Int32Array(64);
  #size = 0;
  #sweepCursor = 0;

  /** Throws RangeError when an option is out of range. */
  constructor(options: FlowTableOptions) {
    const { self = noBackup, maxFlows, maxOwn = maxFlows, idleTicks, onEnd } = options;
    if (!(self >= 0 && self <= noBackup)) throw new RangeError(`self must be a server number, not ${self}`);
    if (!(maxFlows >= 1 && maxFlows <= maxTableFlows)) throw new RangeError(`maxFlows out of range: ${maxFlows}`);
    if (!(maxOwn >= 1)) throw new RangeError(`maxOwn out of range: ${maxOwn}`);
    if (idleTicks.length !== protocolClassCount * 4) throw new RangeError('idleTicks needs 64 limits');
    this.#self = self;
    this.#maxFlows = maxFlows;
    this.#maxOwn = maxOwn;
    this.#idleTicks = Int32Array.from(idleTicks);
    this.#onEnd = onEnd;
    this.#segments = new SegmentDirectory(this.counters);
  }

  /**
   * Handle of the live entry of a flow, or -1. An expired entry is removed and counts as absent. Hashes are int32,
   * `tick` is the packet's time. A handle holds until the next find, insert, remove or sweep.
   */
  find(hi: number, lo: number, tick: number): number {
    return this.#look(hi, lo, tick, false);
  }

  /** Handle of the entry of a flow, expired or not, or -1: for what is told to others, by whose clock it may live on. */
  peek(hi: number, lo: number): number {
    const segment = this.#segments.of(hi);
    const slot = segment.find(hi, lo);
    return slot < 0 ? -1 : (segment.id << slotBits) | slot;
  }

  /** `find` and `touch` in one, for a packet of this flow at `tick`. */
  meet(hi: number, lo: number, tick: number): number {
    return this.#look(hi, lo, tick, true);
  }

  /**
   * Reads the lines of memory where the searches for a whole frame's rows begin (`words` as in Frame, `count` of them),
   * so that they load side by side instead of one search after the other. Use the result, or the reads are optimised
   * away.
   */
  prefetch(words: Int32Array, count: number): number {
    return this.#segments.prefetch(words, count);
  }

  /** Notes a packet at `tick`. Late packets do not make an entry older, unless the clock was set back. */
  touch(handle: number, tick: number): void {
    const data = this.#segments.all[handle >>> slotBits].data;
    const at = ((handle & slotMask) << 2) + 2;
    const age = (tick - data[at]) | 0;
    if (age > 0 || age < -clockJumpTicks) data[at] = tick;
  }

  /**
   * Adds a flow without backup, or replaces the entry it has. Returns its handle, or -1 when the table is full and
   * nothing may give way. `owner` is below 4095, `protocolClass` below 16.
   */
  insert(hi: number, lo: number, tick: number, owner: number, state: FlowState, protocolClass: number): number {
    const info = packInfo(owner, noBackup, state, protocolClass);
    const segment = this.#segments.of(hi);
    const known = segment.find(hi, lo);
    if (known >= 0) return this.#replace(segment, known, tick, info);
    const ownFull = owner === this.#self && this.countByOwner(owner) >= this.#maxOwn;
    const full = ownFull || this.#size >= this.#maxFlows;
    const handle = full && !this.#makeRoom(segment, lo, tick, ownFull) ? -1 : this.#segments.insert(hi, lo, tick, info);
    if (handle < 0) {
      this.counters.refusedFull++;
      return -1;
    }
    this.#size++;
    this.counters.inserted++;
    this.#countOwner(owner, 1);
    return handle;
  }

  /** Removes an entry; the listener is not told. */
  remove(handle: number): void {
    const segment = this.#segments.all[handle >>> slotBits];
    this.#forget(segment.data[((handle & slotMask) << 2) + 3]);
    segment.removeAt(handle & slotMask);
  }

  /**
   * Removes expired entries among the next `budgetSlots` slots, and goes on there next time, across growth. Returns
   * how many it removed. Only reclaims memory: `find` never returns an expired entry. Segments left mostly empty are
   * made smaller.
   */
  sweep(budgetSlots: number, tick: number): number {
    const before = this.#size;
    const next = this.#segments.walk(this.#sweepCursor, budgetSlots, (segment, from, budget) =>
      segment.sweep(from, budget, tick, this.#idleTicks, (slot) => this.#end(segment, slot, EndReason.expired)),
    );
    this.#sweepCursor = Math.max(next, 0);
    return before - this.#size;
  }

  /**
   * Shows entries to `visit`, about `limit` slots' worth, beginning at `cursor` (0 at first). Returns the next
   * cursor, or -1 at the end. The order is by hash, not by slot, so that an entry that lives during the whole scan is
   * visited at least once whatever is inserted, removed or grown between the calls; it is visited twice only if its
   * segment is split while the scan is inside it. Entries that come or go during the scan may be missed. Expired ones
   * are shown too.
   */
  scan(cursor: number, limit: number, visit: FlowVisitor): number {
    return this.#segments.walk(cursor, limit, (segment, from, budget) =>
      segment.walk(from, budget, (slot) => {
        const { data } = segment;
        const at = slot << 2;
        visit(data[at + 1], segment.loAt(slot), data[at + 2], data[at + 3], (segment.id << slotBits) | slot);
        return false;
      }),
    );
  }

  /** Shows, at once, every entry whose hash begins with these eight bits: a 256th of the table. */
  scanBucket(bucket: number, visit: FlowVisitor): void {
    const step = (hi: number, lo: number, lastSeen: number, info: number, handle: number): void => {
      if (hi >>> 24 === bucket) visit(hi, lo, lastSeen, info, handle);
    };
    const end = cursorOf((bucket + 1) * bucketSpan);
    for (let cursor = cursorOf(bucket * bucketSpan); cursor !== -1 && cursor < end; )
      cursor = this.scan(cursor, slotsPerLook, step);
  }

  /** Like `scan`, but removes the entries for which `drop` says true, without telling the listener. */
  prune(
    cursor: number,
    limit: number,
    drop: (hi: number, lo: number, lastSeen: number, info: number) => boolean,
  ): number {
    return this.#segments.walk(cursor, limit, (segment, from, budget) =>
      segment.walk(from, budget, (slot) => {
        const { data } = segment;
        const at = slot << 2;
        if (!drop(data[at + 1], segment.loAt(slot), data[at + 2], data[at + 3])) return false;
        this.#forget(data[at + 3]);
        return true;
      }),
    );
  }

  /** The info word of an entry; see flowEntry.ts. */
  info(handle: number): number {
    return this.#segments.all[handle >>> slotBits].data[((handle & slotMask) << 2) + 3];
  }

  lastSeen(handle: number): number {
    return this.#segments.all[handle >>> slotBits].data[((handle & slotMask) << 2) + 2];
  }

  owner(handle: number): number {
    return ownerOf(this.info(handle));
  }

  backup(handle: number): number {
    return backupOf(this.info(handle));
  }

  state(handle: number): FlowState {
    return stateOf(this.info(handle));
  }

  marked(handle: number): boolean {
    return isMarked(this.info(handle));
  }

  setOwner(handle: number, owner: number): void {
    const info = this.info(handle);
    this.#countOwner(ownerOf(info), -1);
    this.#countOwner(owner, 1);
    this.#setInfo(handle, (info & ~0xfff) | owner);
  }

  setBackup(handle: number, backup: number): void {
    this.#setInfo(handle, (this.info(handle) & ~0xff_f000) | (backup << 12));
  }

  setState(handle: number, state: FlowState): void {
    this.#setInfo(handle, (this.info(handle) & ~(3 << 24)) | (state << 24));
  }

  setMark(handle: number, marked: boolean): void {
    this.#setInfo(handle, marked ? this.info(handle) | markBit : this.info(handle) & ~markBit);
  }

  /** Entries of one owner, expired ones that nobody has met yet included. */
  countByOwner(owner: number): number {
    return owner < this.#owners.length ? this.#owners[owner] : 0;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of all arrays of the table. */
  get capacityBytes(): number {
    return this.#segments.bytes + this.#owners.byteLength + this.#idleTicks.byteLength;
  }

  #look(hi: number, lo: number, tick: number, touch: boolean): number {
    const segment = this.#segments.of(hi);
    const slot = segment.find(hi, lo);
    if (slot < 0) return -1;
    const data = segment.data;
    const at = slot << 2;
    const info = data[at + 3];
    const age = (tick - data[at + 2]) | 0;
    if (age > this.#idleTicks[idleIndexOf(info)] || age < -clockJumpTicks) {
      this.#end(segment, slot, EndReason.expired);
      segment.removeAt(slot);
      return -1;
    }
    if (touch && age > 0) data[at + 2] = tick;
    this.foundInfo = info;
    return (segment.id << slotBits) | slot;
  }

  #setInfo(handle: number, info: number): void {
    this.#segments.all[handle >>> slotBits].data[((handle & slotMask) << 2) + 3] = info;
  }

  #isExpired(lastSeen: number, info: number, tick: number): boolean {
    return isOver(tick, lastSeen, this.#idleTicks[idleIndexOf(info)]);
  }

  #countOwner(owner: number, change: number): void {
    if (owner >= this.#owners.length) {
      const owners = new Int32Array(Math.max(owner + 1, 2 * this.#owners.length));
      owners.set(this.#owners);
      this.#owners = owners;
    }
    this.#owners[owner] += change;
  }

  #forget(info: number): void {
    this.#size--;
    this.#countOwner(ownerOf(info), -1);
  }

  /** Accounts for an entry that the table ends; the caller removes it from its segment. */
  #end(segment: FlowSegment, slot: number, reason: EndReason): void {
    const at = slot << 2;
    const info = segment.data[at + 3];
    this.#forget(info);
    if (reason === EndReason.expired) this.counters.expired++;
    else this.counters.evictedUnconfirmed++;
    if (this.#onEnd !== undefined) this.#onEnd(segment.data[at + 1], segment.loAt(slot), info, reason);
  }

  #replace(segment: FlowSegment, slot: number, tick: number, info: number): number {
    const { data } = segment;
    const at = slot << 2;
    this.#countOwner(ownerOf(data[at + 3]), -1);
    this.#countOwner(ownerOf(info), 1);
    data[at + 2] = tick;
    data[at + 3] = info;
    return (segment.id << slotBits) | slot;
  }

  /** Ends one entry near the place of `lo` by the rule in the header; false when none may go. */
  #makeRoom(segment: FlowSegment, lo: number, tick: number, ownOnly: boolean): boolean {
    const { data } = segment;
    const centre = segment.lowerBound(lo);
    const from = Math.max(0, centre - evictWindow / 2);
    const to = Math.min(data.length >> 2, from + evictWindow);
    let victim = -1;
    let victimAge = 0;
    for (let slot = from; slot < to; slot++) {
      const at = slot << 2;
      const info = data[at + 3];
      if (info >= 0 || (ownOnly && ownerOf(info) !== this.#self)) continue;
      if (this.#isExpired(data[at + 2], info, tick)) {
        this.#end(segment, slot, EndReason.expired);
        segment.removeAt(slot);
        return true;
      }
      const age = (tick - data[at + 2]) | 0;
      if (stateOf(info) === FlowState.unconfirmed && (victim < 0 || age > victimAge)) {
        victim = slot;
        victimAge = age;
      }
    }
    if (victim < 0) return false;
    this.#end(segment, victim, EndReason.evicted);
    segment.removeAt(victim);
    return true;
  }
}
