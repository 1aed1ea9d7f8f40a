// What is in a slice of the flow table, whatever places it lies in: its living entries, and a sum over them.

import { mixSeeded } from '../../../../shared/hash/mix.ts';
import { isOver } from '../ticks.ts';
import { idleIndexOf } from './entry.ts';
import type { FlowSegment } from './segment.ts';

export interface SliceContent {
  /** Living entries, four words each: hashHi, hashLo, last seen, info. In no particular order. */
  readonly entries: Int32Array;
  /** New flows that the slice takes before it is looked at again (table.ts). */
  readonly allowance: number;
  /** Ticks for which the slice rests on. */
  readonly rest: number;
}

/** The living entries of these segments, as in `SliceContent`. */
export function livingEntries(segments: readonly FlowSegment[], tick: number, idleTicks: Int32Array): Int32Array {
  const entries = new Int32Array(segments.reduce((sum, { count }) => sum + 4 * count, 0));
  let to = 0;
  for (const segment of segments) {
    const { data } = segment;
    for (let at = 0; at < data.length; at += 4) {
      const info = data[at + 3];
      if (info >= 0 || isOver(tick, data[at + 2], idleTicks[idleIndexOf(info)])) continue;
      entries[to] = data[at + 1];
      entries[to + 1] = segment.loAt(at >> 2);
      entries[to + 2] = data[at + 2];
      entries[to + 3] = info;
      to += 4;
    }
  }
  return entries.slice(0, to);
}

/** A sum over the living entries of these segments and one more word; below 2^53. Their order does not count. */
export function sumOf(segments: readonly FlowSegment[], tick: number, idleTicks: Int32Array, more: number): number {
  let low = more | 0;
  let high = 0;
  for (const { data } of segments) {
    for (let at = 0; at < data.length; at += 4) {
      const info = data[at + 3];
      if (info >= 0 || isOver(tick, data[at + 2], idleTicks[idleIndexOf(info)])) continue;
      const first = mixSeeded(data[at + 1], data[at], data[at + 2], info);
      low = (low + first) | 0;
      high = (high + mixSeeded(first, data[at + 2], info, data[at])) | 0;
    }
  }
  return (high >>> 11) * 2 ** 32 + (low >>> 0);
}
