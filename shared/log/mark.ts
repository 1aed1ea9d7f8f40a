// The checksum by which two logs tell whether they have the same entry at a position (log matching, as in Raft section 5.3,
// with a checksum in place of the term).
//
// It covers the stamp, the kind, the length and both ends of the data. The stamp alone nearly always decides; the ends of the
// data are there for two logs that were stamped by coarse clocks. What lies between them is not looked at, so that the price does
// not grow with the entry. Two different entries agree by chance once in four billion times.

import { mix32 } from '../hash/mix.ts';
import { entryKinds, type LogEntry } from './log.ts';

/** Bytes looked at from either end. */
const endBytes = 64;

/** The mark of an entry: an unsigned 32-bit number. */
export function markOf(entry: Omit<LogEntry, 'position'>): number {
  const { data, timeMs, timeNs, kind } = entry;
  let mark = mix32(timeMs | 0);
  mark = mix32(mark ^ Math.floor(timeMs / 0x1_0000_0000));
  mark = mix32(mark ^ timeNs);
  mark = mix32(mark ^ data.length ^ (entryKinds.indexOf(kind) << 30));
  const headEnd = Math.min(endBytes, data.length);
  mark = mixBytes(mark, data, 0, headEnd);
  return mixBytes(mark, data, Math.max(headEnd, data.length - endBytes), data.length) >>> 0;
}

/** Four bytes a round, whatever the address: data may begin anywhere in a buffer. */
function mixBytes(mark: number, data: Uint8Array, from: number, to: number): number {
  let at = from;
  for (; at + 4 <= to; at += 4) {
    mark = mix32(mark ^ (data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24)));
  }
  for (; at < to; at++) mark = mix32(mark ^ data[at]);
  return mark;
}
