// Which flows give way when a slice of the flow table is full: a function of what is in the slice, and of nothing else.
//
// Replicas keep the same entries in different places, because they grew, swept and were restored at different times. So the
// victims are found by content: unconfirmed flows first, then those that have ended, then those that have been silent for five minutes;
// among them those that were silent for longest; among those the smallest hashes. A flow that lives never gives way, so a flood of
// starts can push out only its own kind.
//
// Sorting a slice would take milliseconds. Idle times are small whole numbers, so counting by them finds the idle time at which the line
// is to be drawn, in one pass, and only the flows exactly on it are told apart by their hashes.

import { hasEnded } from '../flowLife.ts';
import { FlowState, stateOf } from './entry.ts';
import type { FlowSegment } from './segment.ts';

/** What the victims have in common: they come before, or are at, this place in the order in which flows give way. */
interface EvictionLine {
  readonly rank: number;
  /** Idle time, see `ageOf`. */
  readonly age: number;
  /** Hash of the last victim among the flows of this rank and age, as u32 halves. */
  readonly hi: number;
  readonly lo: number;
}

const Rank = { unconfirmed: 0, ended: 1, silent: 2, never: 3 } as const;
/** A flow that is neither unconfirmed nor ended may give way when it was silent for so long: five minutes. */
export const silentTicks = 3_000;
/** Silent flows are told apart by five seconds, the others by ticks. */
const silentStep = 50;
/** Longest idle time that is told apart. */
const maxAge = 9_000;
const counts = new Int32Array(Rank.never * (maxAge + 1));
const hashBins = 1_024;

/** Draws the line so that `wanted` (at least 1) living flows give way, or as many as may; undefined when none may. */
function evictionLine(segments: readonly FlowSegment[], tick: number, wanted: number): EvictionLine | undefined {
  countByAge(segments, tick);
  let left = wanted;
  let last = -1;
  for (let index = 0; index < counts.length && left > 0; index++) {
    if (counts[index] === 0) continue;
    last = index;
    left -= counts[index];
  }
  if (last < 0) return undefined;
  const rank = Math.floor(last / (maxAge + 1));
  const age = maxAge - (last % (maxAge + 1));
  const all = { rank, age, hi: 0xffff_ffff, lo: 0xffff_ffff };
  return left >= 0 ? all : { ...all, ...hashAt(segments, tick, all, left + counts[last]) };
}

/** Whether this living entry is on the victims' side of the line. */
function givesWay(line: EvictionLine, tick: number, hi: number, lo: number, lastSeen: number, info: number) {
  const idle = (tick - lastSeen) | 0;
  const rank = rankOf(info, idle);
  if (rank !== line.rank) return rank < line.rank;
  const age = ageOf(rank, idle);
  if (age !== line.age) return age > line.age;
  return hi >>> 0 < line.hi || (hi >>> 0 === line.hi && lo >>> 0 <= line.lo);
}

function rankOf(info: number, idle: number): number {
  const state = stateOf(info);
  if (state === FlowState.unconfirmed) return Rank.unconfirmed;
  if (hasEnded(state)) return Rank.ended;
  return idle >= silentTicks ? Rank.silent : Rank.never;
}

/** Fills `counts`: rank by rank, and in each from the longest idle time down to none. */
function countByAge(segments: readonly FlowSegment[], tick: number): void {
  counts.fill(0);
  for (const { data } of segments) {
    for (let at = 0; at < data.length; at += 4) {
      const info = data[at + 3];
      if (info >= 0) continue;
      const idle = (tick - data[at + 2]) | 0;
      const rank = rankOf(info, idle);
      if (rank !== Rank.never) counts[rank * (maxAge + 1) + maxAge - ageOf(rank, idle)]++;
    }
  }
}

/** The `nth` smallest hash, from 1, among the flows of this rank and age. */
function hashAt(segments: readonly FlowSegment[], tick: number, line: EvictionLine, nth: number) {
  const bins = new Int32Array(hashBins);
  eachOnLine(segments, tick, line, (hi) => {
    bins[binOf(hi)]++;
  });
  let bin = 0;
  let before = 0;
  while (before + bins[bin] < nth) before += bins[bin++];
  const hashes: { hi: number; lo: number }[] = [];
  eachOnLine(segments, tick, line, (hi, lo) => {
    if (binOf(hi) === bin) hashes.push({ hi: hi >>> 0, lo: lo >>> 0 });
  });
  hashes.sort((a, b) => a.hi - b.hi || a.lo - b.lo);
  return hashes[nth - before - 1];
}

function eachOnLine(
  segments: readonly FlowSegment[],
  tick: number,
  { rank, age }: EvictionLine,
  visit: (hi: number, lo: number) => void,
): void {
  for (const segment of segments) {
    const { data } = segment;
    for (let at = 0; at < data.length; at += 4) {
      const info = data[at + 3];
      if (info >= 0) continue;
      const idle = (tick - data[at + 2]) | 0;
      if (rankOf(info, idle) === rank && ageOf(rank, idle) === age) visit(data[at + 1], segment.loAt(at >> 2));
    }
  }
}

/** Ten bits of hashHi behind those that the flows of a slice share. Grows with hashHi. */
function binOf(hi: number): number {
  return (hi >>> 14) & (hashBins - 1);
}

/** Idle time as flows of a rank are told apart by it. */
function ageOf(rank: number, idle: number): number {
  return Math.min(Math.max(rank === Rank.silent ? Math.floor(idle / silentStep) : idle, 0), maxAge);
}

/** Ends that many flows that may give way, or as many as there are, each after `end` was told; returns how many. */
export function evict(
  segments: readonly FlowSegment[],
  tick: number,
  wanted: number,
  end: (segment: FlowSegment, slot: number) => void,
): number {
  const line = evictionLine(segments, tick, wanted);
  if (line === undefined) return 0;
  let ended = 0;
  for (const segment of segments) {
    segment.drop((slot) => {
      const { data } = segment;
      const at = slot << 2;
      if (!givesWay(line, tick, data[at + 1], segment.loAt(slot), data[at + 2], data[at + 3])) return false;
      end(segment, slot);
      ended++;
      return true;
    });
  }
  return ended;
}
