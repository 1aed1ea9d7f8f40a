// Which flows give way when a slice of the flow table is full: a function of what is in the slice, and of nothing else.
//
// Replicas keep the same entries in different places, because they grew, swept and were restored at different times. So the
// victims are found by content: unconfirmed flows first, then closing ones; among them those that were idle for longest; among
// those the smallest hashes. Established flows never give way, so a flood of starts can push out only its own kind.
//
// Sorting a slice would take milliseconds. Idle times are small whole numbers, so counting by them finds the idle time at which the line
// is to be drawn, in one pass, and only the flows exactly on it are told apart by their hashes.

import { FlowState, stateOf } from './entry.ts';
import type { FlowSegment } from './segment.ts';

/** What the victims have in common: they come before, or are at, this place in the order in which flows give way. */
export interface EvictionLine {
  readonly state: FlowState;
  /** Idle time in ticks. */
  readonly age: number;
  /** Hash of the last victim among the flows of this state and age, as u32 halves. */
  readonly hi: number;
  readonly lo: number;
}

/** Longest idle time that is told apart, in ticks; the idle limits of both states lie far below. */
const maxAge = 9_000;
const counts = new Int32Array(2 * (maxAge + 1));
const hashBins = 1_024;

/** Draws the line so that `wanted` (at least 1) living flows give way, or as many as may; undefined when none may. */
export function evictionLine(segments: readonly FlowSegment[], tick: number, wanted: number): EvictionLine | undefined {
  countByAge(segments, tick);
  let left = wanted;
  let last = -1;
  for (let index = 0; index < counts.length && left > 0; index++) {
    if (counts[index] === 0) continue;
    last = index;
    left -= counts[index];
  }
  if (last < 0) return undefined;
  const state = last <= maxAge ? FlowState.unconfirmed : FlowState.closing;
  const age = maxAge - (last % (maxAge + 1));
  const all = { state, age, hi: 0xffff_ffff, lo: 0xffff_ffff };
  return left >= 0 ? all : { ...all, ...hashAt(segments, tick, all, left + counts[last]) };
}

/** Whether this living entry is on the victims' side of the line. */
export function givesWay(line: EvictionLine, tick: number, hi: number, lo: number, lastSeen: number, info: number) {
  const state = stateOf(info);
  if (state === FlowState.established) return false;
  if (state !== line.state) return state === FlowState.unconfirmed;
  const age = ageOf(tick, lastSeen);
  if (age !== line.age) return age > line.age;
  return hi >>> 0 < line.hi || (hi >>> 0 === line.hi && lo >>> 0 <= line.lo);
}

/** Fills `counts`: unconfirmed flows from the longest idle time down to none, then closing ones. */
function countByAge(segments: readonly FlowSegment[], tick: number): void {
  counts.fill(0);
  for (const { data } of segments) {
    for (let at = 0; at < data.length; at += 4) {
      const info = data[at + 3];
      if (info >= 0) continue;
      const state = stateOf(info);
      if (state === FlowState.established) continue;
      counts[(state === FlowState.closing ? maxAge + 1 : 0) + maxAge - ageOf(tick, data[at + 2])]++;
    }
  }
}

/** The `rank`-th smallest hash, from 1, among the flows of this state and age. */
function hashAt(segments: readonly FlowSegment[], tick: number, line: EvictionLine, rank: number) {
  const bins = new Int32Array(hashBins);
  eachOnLine(segments, tick, line, (hi) => {
    bins[binOf(hi)]++;
  });
  let bin = 0;
  let before = 0;
  while (before + bins[bin] < rank) before += bins[bin++];
  const hashes: { hi: number; lo: number }[] = [];
  eachOnLine(segments, tick, line, (hi, lo) => {
    if (binOf(hi) === bin) hashes.push({ hi: hi >>> 0, lo: lo >>> 0 });
  });
  hashes.sort((a, b) => a.hi - b.hi || a.lo - b.lo);
  return hashes[rank - before - 1];
}

function eachOnLine(
  segments: readonly FlowSegment[],
  tick: number,
  { state, age }: EvictionLine,
  visit: (hi: number, lo: number) => void,
): void {
  for (const segment of segments) {
    const { data } = segment;
    for (let at = 0; at < data.length; at += 4) {
      const info = data[at + 3];
      if (info < 0 && stateOf(info) === state && ageOf(tick, data[at + 2]) === age) {
        visit(data[at + 1], segment.loAt(at >> 2));
      }
    }
  }
}

/** Ten bits of hashHi behind those that the flows of a slice share. Grows with hashHi. */
function binOf(hi: number): number {
  return (hi >>> 14) & (hashBins - 1);
}

function ageOf(tick: number, lastSeen: number): number {
  return Math.min(Math.max((tick - lastSeen) | 0, 0), maxAge);
}
