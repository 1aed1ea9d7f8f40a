// What people should hear of the captures that were read: corrupt times, packets or files out of order of time, and link types
// that are not read. One line each.

import { type PacketTimes, packetTimeLimits } from '../../../shared/capture/packetTimes.ts';
import type { UnreadLinkTypes } from '../../../shared/packet/decode/link/linkTypes.ts';
import { counted } from '../../ops/numbers.ts';

/** A capture that was read to its end. */
export interface CaptureRead {
  readonly file: string;
  readonly times: PacketTimes;
  readonly unread: UnreadLinkTypes;
}

/** The lines about one capture. `before` is the one that was read before it. */
export function captureNotes({ file, times, unread }: CaptureRead, before?: CaptureRead): string[] {
  const notes = mendedNotes(file, times);
  const name = nameOf(file);
  const { disordered, mostDisorderMs } = times;
  if (disordered > 0) {
    const most = seconds(mostDisorderMs);
    notes.push(
      `${name}: ${counted(disordered, 'packet')} out of order of time, by up to ${most}: --sort puts them in order`,
    );
  }
  const overlapMs = before === undefined || times.firstMs === 0 ? 0 : before.times.newestMs - times.firstMs;
  if (overlapMs >= packetTimeLimits.disorderMs) {
    notes.push(
      `${name} begins ${seconds(overlapMs)} before ${nameOf(before?.file ?? '')} ends: --sort puts all packets in order of time`,
    );
  }
  if (unread.words !== undefined) notes.push(`${name}: ${unread.words}`);
  return notes;
}

/** What is to be said of corrupt times, whether or not packets were sorted. */
export function mendedNotes(file: string, { mended }: PacketTimes): string[] {
  return mended === 0
    ? []
    : [`${nameOf(file)}: ${counted(mended, 'packet')} with a corrupt time: taken to be as old as the one before`];
}

/** What to call a capture. */
export function nameOf(file: string): string {
  return file === '-' ? 'standard input' : file;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toLocaleString('en-US', { maximumFractionDigits: 3 })} s`;
}
