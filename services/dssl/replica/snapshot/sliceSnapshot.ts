// A slice of the flow table as one replica gives it to another: what it holds behind the entry at a position of the log.
//
//   [ slice, position, mark, epoch, tick, allowance, rest, entries ]      entries: 16 bytes each, see flows/segment.ts
//
// Only living entries are in it: what is over does not exist.

import { limits } from '../../../../shared/base/limits.ts';
import { isWhole } from '../../../../shared/base/validate.ts';
import { sliceCount } from '../flows/directory.ts';
import { idleIndexOf, isInfo } from '../flows/entry.ts';
import type { SliceContent } from '../flows/sliceContent.ts';
import { restTicks } from '../flows/table.ts';
import { isOver } from '../ticks.ts';
import { bytesOfWords, seal, unseal, wordsOfBytes } from './seal.ts';

const name = 'flowherd-slice';
const version = 1;
const wordsPerEntry = 4;
const mostEntries = Math.ceil(limits.tableFlows / sliceCount);

export interface SliceSnapshot {
  readonly slice: number;
  /** The content is what it was behind the entry at this position, which has this mark. */
  readonly position: number;
  readonly mark: number;
  /** Id of the epoch. */
  readonly epoch: string;
  /** The line's time there. */
  readonly tick: number;
  readonly content: SliceContent;
}

export function encodeSlice({ slice, position, mark, epoch, tick, content }: SliceSnapshot): Uint8Array {
  const { allowance, rest, entries } = content;
  return seal(name, version, [slice, position, mark, epoch, tick, allowance, rest, bytesOfWords(entries)]);
}

/** Undefined when the bytes are no such slice. `idleTicks`: limits by `idleIndexOf`. */
export function decodeSlice(bytes: Uint8Array, idleTicks: Int32Array): SliceSnapshot | undefined {
  const fields = unseal(name, version, 8, bytes);
  if (fields === undefined) return undefined;
  const [slice, position, mark, epoch, tick, allowance, rest, entryBytes] = fields;
  if (!isWhole(slice, 0, sliceCount - 1) || !isWhole(position, 1, Number.MAX_SAFE_INTEGER)) return undefined;
  if (!isWhole(mark, 0, 0xffff_ffff) || typeof epoch !== 'string' || !isWhole(tick, -0x8000_0000, 0x7fff_ffff)) {
    return undefined;
  }
  if (!isWhole(allowance, 0, mostEntries) || !isWhole(rest, 0, restTicks)) return undefined;
  const entries = wordsOfBytes(entryBytes, wordsPerEntry);
  if (entries === undefined || entries.length > mostEntries * wordsPerEntry) return undefined;
  for (let at = 0; at < entries.length; at += wordsPerEntry) {
    const info = entries[at + 3];
    const isLiving = isInfo(info) && !isOver(tick, entries[at + 2], idleTicks[idleIndexOf(info)]);
    if (!isLiving || entries[at] >>> 24 !== slice) return undefined;
  }
  return { slice, position, mark, epoch, tick, content: { entries, allowance, rest } };
}
