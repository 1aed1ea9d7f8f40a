// What a replica counts of the entries that it applies, beside its verdicts on packets.

import type { FrameFault } from '../../../shared/log/records/frame.ts';

export interface ReplicaCounters {
  /** Frames applied. */
  frames: number;
  repeatedFrames: number;
  gapFrames: number;
  badFrames: Record<FrameFault, number>;
  /** Frames before the first epoch, and the rows in them. */
  ignoredFrames: number;
  ignoredRows: number;
  /** Commands carried out, ticks and asks included. */
  commands: number;
  badCommands: number;
  ignoredCommands: number;
  /** Slices that turned out to belong to another line of the log. */
  strangeSlices: number;
}

export function newReplicaCounters(): ReplicaCounters {
  return {
    frames: 0,
    repeatedFrames: 0,
    gapFrames: 0,
    badFrames: { none: 0, size: 0, encoding: 0, shape: 0, format: 0, count: 0, lengths: 0 },
    ignoredFrames: 0,
    ignoredRows: 0,
    commands: 0,
    badCommands: 0,
    ignoredCommands: 0,
    strangeSlices: 0,
  };
}
