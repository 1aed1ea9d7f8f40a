// The flow table of a replica: which server owns each flow that the group has seen.
//
// The replica of server s accepts packets of the flows whose owner is s ("own") and ignores those whose owner is another
// ("elsewhere", Figs. 8 and 9). Both kinds are entries of one table that differ in the owner number only. So they are
// disjoint by construction, and one look-up, usually one cache miss, answers both questions.
//
// This file is what the table means: owners, expiry, and what happens when it is full. Where entries are kept, and how
// the table grows without stopping, is in directory.ts and segment.ts. A flow takes 18-20 bytes.
//
// Replicas of a group hold the same living entries, but in other places: they grew, swept and were restored at other times. So
// nothing here depends on where an entry lies.
//   - Expiry: an entry that was idle for longer than its limit does not exist, whether or not a sweep has passed.
//   - A slice is a 256th of the table, by the leading eight bits of the hash, and is bounded by itself. It has an *allowance* of new
//     flows. When that is used up, the slice is looked at: what is over is swept, and where less than a sixteenth of the cap is left
//     free, flows give way (evict.ts) until it is. What is free then is the next allowance. So a look costs a few entries for each
//     flow that came since, and looks come at the same flows everywhere. Where a look frees less than a sixteenth (the slice is full of
//     established flows), the slice *rests*: once the allowance is used up, new flows are refused without another look for a second.
// Allowance and rest are part of a slice's content, as its entries are.
//
// The table compares the 64-bit hash and keeps no key: two of n flows share a hash with probability n^2 / 2^65 (n = 10^7: 3 in a million).

import { limits } from '../../../../shared/base/limits.ts';
import { mixSeeded } from '../../../../shared/hash/mix.ts';
import { isOver } from '../ticks.ts';
import { type FlowTableCounters, SegmentDirectory, sliceCount, slotBits, slotMask } from './directory.ts';
import {
  EndReason,
  type FlowState,
  idleIndexOf,
  idleLimitCount,
  noBackup,
  ownerOf,
  packInfo,
  stateOf,
  withState,
} from './entry.ts';
import { evict } from './evict.ts';
import { OwnerCounts } from './ownerCounts.ts';
import type { FlowSegment } from './segment.ts';
import { livingEntries, type SliceContent, sumOf } from './sliceContent.ts';

/**
 * Told about each flow that the table itself ends, own or elsewhere: int32 hashes, the info word (entry.ts) and
 * why. Not called for `remove`, `clear` and `load`. Must not call the table.
 */
export type FlowEndListener = (hi: number, lo: number, info: number, reason: EndReason) => void;

/** Sees one entry, which may be over. Must not change the table. */
export type FlowVisitor = (hi: number, lo: number, lastSeen: number, info: number) => void;

export interface FlowTableOptions {
  /** Entries at most, up to `limits.tableFlows`; a 256th of it in each slice. Costs about 20 bytes each when used. */
  readonly maxFlows: number;
  /** Idle limits in ticks, by `idleIndexOf`. */
  readonly idleTicks: Int32Array;
  readonly onEnd?: FlowEndListener;
}

/** Ticks for which a slice is not looked at again that is full of flows that may not give way. */
export const restTicks = 10;

export class FlowTable {
  readonly counters: FlowTableCounters = {
    inserted: 0,
    expired: 0,
    evicted: 0,
    refusedFull: 0,
    grown: 0,
    split: 0,
    shrunk: 0,
    growthMaxEntries: 0,
  };
  /** Info word (entry.ts) of the entry that `find` or `meet` returned last, as it was then. */
  foundInfo = 0;
  readonly #idleTicks: Int32Array;
  readonly #onEnd: FlowEndListener | undefined;
  readonly #segments: SegmentDirectory;
  readonly #allowances = new Int32Array(sliceCount);
  /** Ticks until which slices rest. */
  readonly #rests = new Int32Array(sliceCount);
  #cap: number;
  /** Counts expired entries that nobody has met yet, too. */
  readonly owners = new OwnerCounts();
  readonly #onOver = (segment: FlowSegment, slot: number): void => this.#end(segment, slot, EndReason.expired);
  #size = 0;

  /** Throws RangeError when an option is out of range. */
  constructor({ maxFlows, idleTicks, onEnd }: FlowTableOptions) {
    if (idleTicks.length !== idleLimitCount) throw new RangeError(`idleTicks needs ${idleLimitCount} limits`);
    this.#idleTicks = idleTicks;
    this.#onEnd = onEnd;
    this.#segments = new SegmentDirectory(this.counters);
    this.#cap = capOf(maxFlows);
    this.#allowances.fill(this.#cap);
  }

  /**
   * Handle of the living entry of a flow, or -1. An expired entry is removed and counts as absent. Hashes are int32,
   * `tick` is the line's time. A handle holds until the next find, insert, remove or sweep.
   */
  find(hi: number, lo: number, tick: number): number {
    const segment = this.#segments.of(hi);
    const slot = segment.find(hi, lo);
    if (slot < 0) return -1;
    const { data } = segment;
    const at = slot << 2;
    const info = data[at + 3];
    if (((tick - data[at + 2]) | 0) > this.#idleTicks[idleIndexOf(info)]) {
      this.#end(segment, slot, EndReason.expired);
      segment.removeAt(slot);
      return -1;
    }
    this.foundInfo = info;
    return (segment.id << slotBits) | slot;
  }

  /** The info word of a flow; 0 when there is none. Changes nothing, so it may be asked between entries. */
  peek(hi: number, lo: number, tick: number): number {
    const segment = this.#segments.of(hi);
    const at = segment.search(hi, lo, segment.place(lo));
    if (at < 0) return 0;
    const info = segment.data[at + 3];
    return isOver(tick, segment.data[at + 2], this.#idleTicks[idleIndexOf(info)]) ? 0 : info;
  }

  /**
   * `find` and `touch` in one, for a packet of this flow at `tick`. `row`: the packet's row in the frame that was prefetched
   * last, or -1.
   */
  meet(hi: number, lo: number, tick: number, row = -1): number {
    const segments = this.#segments;
    const isKnown = row >= 0 && segments.isPrefetched;
    const segment = isKnown ? segments.segmentOfRow(row) : segments.of(hi);
    const at = segment.search(hi, lo, isKnown ? segments.placeOfRow(row) : segment.place(lo));
    if (at < 0) return -1;
    const { data } = segment;
    const info = data[at + 3];
    if (((tick - data[at + 2]) | 0) > this.#idleTicks[idleIndexOf(info)]) {
      this.#end(segment, at >> 2, EndReason.expired);
      segment.removeAt(at >> 2);
      return -1;
    }
    data[at + 2] = tick;
    this.foundInfo = info;
    return (segment.id << slotBits) | (at >> 2);
  }

  /**
   * Reads the lines of memory where the searches for a whole frame's rows begin (`words` as in Frame, `count` of them),
   * so that they load side by side instead of one search after the other. Use the result, or the reads are optimised
   * away.
   */
  prefetch(words: Int32Array, count: number): number {
    return this.#segments.prefetch(words, count);
  }

  /** Notes a packet at `tick`. */
  touch(handle: number, tick: number): void {
    this.#segments.all[handle >>> slotBits].data[((handle & slotMask) << 2) + 2] = tick;
  }

  /**
   * Adds a flow that is not there (as `find` has just found). Returns its handle, or -1 when its slice is full and nothing may
   * give way. `owner` is a server number, `protocolClass` below 16.
   */
  insert(
    hi: number,
    lo: number,
    tick: number,
    owner: number,
    state: FlowState,
    protocolClass: number,
    backup: number = noBackup,
  ): number {
    const slice = hi >>> 24;
    if (this.#allowances[slice] <= 0 && !this.#lookAt(slice, tick)) {
      this.counters.refusedFull++;
      return -1;
    }
    this.#allowances[slice]--;
    this.#size++;
    this.counters.inserted++;
    const info = packInfo(owner, backup, state, protocolClass);
    this.owners.add(info, 1);
    return this.#segments.insert(hi, lo, tick, info);
  }

  /** Removes an entry; the listener is not told. */
  remove(handle: number): void {
    const segment = this.#segments.all[handle >>> slotBits];
    this.#forget(segment.data[((handle & slotMask) << 2) + 3]);
    segment.removeAt(handle & slotMask);
  }

  /**
   * Removes the expired entries of a slice. Only reclaims memory: `find` never returns an expired entry. Segments left mostly
   * empty are made smaller.
   */
  sweepSlice(slice: number, tick: number): void {
    for (const segment of this.#segments.ofSlice(slice)) {
      const before = segment.count;
      if (before > 0) segment.sweep(tick, this.#idleTicks, this.#onOver);
      if (segment.count < before) this.#segments.shrink(segment);
    }
    // A rest that is over long ago must not look like one to come when ticks wrap.
    if (this.#restOf(slice, tick) === 0) this.#rests[slice] = tick;
  }

  /** Shows the entries of a slice, expired ones included, in no particular order. */
  scanSlice(slice: number, visit: FlowVisitor): void {
    for (const segment of this.#segments.ofSlice(slice)) {
      const { data } = segment;
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] < 0) visit(data[at + 1], segment.loAt(at >> 2), data[at + 2], data[at + 3]);
      }
    }
  }

  /** Shows all entries. */
  scan(visit: FlowVisitor): void {
    for (let slice = 0; slice < sliceCount; slice++) this.scanSlice(slice, visit);
  }

  /** Another bound holds. What is free under it is found out when the next flow comes to a slice. */
  setMaxFlows(maxFlows: number, isAffected: (slice: number) => boolean): void {
    this.#cap = capOf(maxFlows);
    for (let slice = 0; slice < sliceCount; slice++) {
      if (!isAffected(slice)) continue;
      this.#allowances[slice] = 0;
      this.#rests[slice] = 0;
    }
  }

  /** A sum over what the slice holds that is the same in whatever places it lies; below 2^53. */
  digest(slice: number, tick: number): number {
    const mark = mixSeeded(this.#allowances[slice], this.#restOf(slice, tick), slice, 0);
    return sumOf(this.#segments.ofSlice(slice), tick, this.#idleTicks, mark);
  }

  content(slice: number, tick: number): SliceContent {
    const entries = livingEntries(this.#segments.ofSlice(slice), tick, this.#idleTicks);
    return { entries, allowance: this.#allowances[slice], rest: this.#restOf(slice, tick) };
  }

  /** Forgets what is in a slice; the listener is not told. */
  clear(slice: number): void {
    this.scanSlice(slice, (_hi, _lo, _lastSeen, info) => this.#forget(info));
    this.#segments.clear(slice);
    this.#allowances[slice] = this.#cap;
    this.#rests[slice] = 0;
  }

  /** Puts this into a slice, in place of what is there. False, and the slice is empty, when a flow comes twice. */
  load(slice: number, { entries, allowance, rest }: SliceContent, tick: number): boolean {
    this.clear(slice);
    if (entries.length > 0) this.#segments.reserve(slice, entries.length >> 2);
    for (let at = 0; at < entries.length; at += 4) {
      const [hi, lo, lastSeen, info] = [entries[at], entries[at + 1], entries[at + 2], entries[at + 3]];
      if (this.#segments.of(hi).find(hi, lo) >= 0) {
        this.clear(slice);
        return false;
      }
      this.#segments.insert(hi, lo, lastSeen, info);
      this.#size++;
      this.owners.add(info, 1);
    }
    this.#allowances[slice] = allowance;
    this.#rests[slice] = (tick + rest) | 0;
    return true;
  }

  /** Forgets the entries of an owner in the slices that are affected; the listener is not told. */
  forgetOwner(owner: number, isAffected: (slice: number) => boolean): void {
    if (this.countByOwner(owner) === 0) return;
    for (const segment of this.#segments.all) {
      if (!isAffected(segment.prefix >>> 24)) continue;
      segment.drop((slot) => {
        const info = segment.data[(slot << 2) + 3];
        if (ownerOf(info) !== owner) return false;
        this.#forget(info);
        return true;
      });
    }
  }

  /** The info word of an entry; see entry.ts. */
  info(handle: number): number {
    return this.#segments.all[handle >>> slotBits].data[((handle & slotMask) << 2) + 3];
  }

  lastSeen(handle: number): number {
    return this.#segments.all[handle >>> slotBits].data[((handle & slotMask) << 2) + 2];
  }

  owner(handle: number): number {
    return ownerOf(this.info(handle));
  }

  state(handle: number): FlowState {
    return stateOf(this.info(handle));
  }

  setBackup(handle: number, backup: number): void {
    this.#replace(handle, (this.info(handle) & ~0xff_f000) | (backup << 12));
  }

  /** The flow goes on at another server, with another one behind it. */
  setOwner(handle: number, owner: number, backup: number): void {
    this.#replace(handle, (this.info(handle) & ~0xff_ffff) | (backup << 12) | owner);
  }

  setState(handle: number, state: FlowState): void {
    this.#replace(handle, withState(this.info(handle), state));
  }

  /** Entries of one owner. */
  countByOwner(owner: number): number {
    return this.owners.of(owner);
  }

  /** Those of them that have ended. */
  endedByOwner(owner: number): number {
    return this.owners.endedOf(owner);
  }

  /** Who stands behind the flows of this owner is counted from here on. */
  watch(owner: number): void {
    if (this.owners.watch(owner)) this.scan((_hi, _lo, _lastSeen, info) => this.owners.note(info));
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of all arrays of the table. */
  get capacityBytes(): number {
    return this.#segments.bytes + this.owners.bytes + 2 * this.#rests.byteLength;
  }

  /** Looks for room in a slice whose allowance is used up; whether there is some. See the header. */
  #lookAt(slice: number, tick: number): boolean {
    if (this.#restOf(slice, tick) > 0) return false;
    this.sweepSlice(slice, tick);
    const segments = this.#segments.ofSlice(slice);
    const living = segments.reduce((sum, { count }) => sum + count, 0);
    const batch = Math.max(1, this.#cap >> 4);
    const wanted = living + batch - this.#cap;
    const end = (segment: FlowSegment, slot: number) => this.#end(segment, slot, EndReason.evicted);
    const free = this.#cap - living + (wanted > 0 ? evict(segments, tick, wanted, end) : 0);
    this.#allowances[slice] = Math.max(0, free);
    this.#rests[slice] = free < batch ? (tick + restTicks) | 0 : tick;
    return free > 0;
  }

  #restOf(slice: number, tick: number): number {
    return Math.min(Math.max((this.#rests[slice] - tick) | 0, 0), restTicks);
  }

  #replace(handle: number, info: number): void {
    this.owners.add(this.info(handle), -1);
    this.owners.add(info, 1);
    this.#segments.all[handle >>> slotBits].data[((handle & slotMask) << 2) + 3] = info;
  }

  #forget(info: number): void {
    this.#size--;
    this.owners.add(info, -1);
  }

  /** Accounts for an entry that the table ends; the caller removes it from its segment. */
  #end(segment: FlowSegment, slot: number, reason: EndReason): void {
    const at = slot << 2;
    const info = segment.data[at + 3];
    this.#forget(info);
    if (reason === EndReason.expired) this.counters.expired++;
    else this.counters.evicted++;
    if (this.#onEnd !== undefined) this.#onEnd(segment.data[at + 1], segment.loAt(slot), info, reason);
  }
}

function capOf(maxFlows: number): number {
  if (!(maxFlows >= 1 && maxFlows <= limits.tableFlows)) throw new RangeError(`maxFlows out of range: ${maxFlows}`);
  return Math.max(1, Math.floor(maxFlows / sliceCount));
}
