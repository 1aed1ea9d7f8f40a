// What a replica counts of how it came by its state.

import type { BrokenReason } from '../../../shared/log/log.ts';

export interface RecoveryCounters {
  /** Whole states fetched, and slices restored after digests differed. */
  fetches: number;
  failedFetches: number;
  repairs: number;
  /** Times that the log was not the one that was known, by reason. */
  broken: Record<BrokenReason, number>;
  /** Epochs that began with this replica's state, and those that replaced it. */
  epochsGiven: number;
  epochsTaken: number;
  /** Entries that were passed over without being applied: trimmed, or before a state that was fetched. */
  skippedEntries: number;
  /** Servers that went meanwhile: what they had not handled is not replayed here. */
  unseenRemovals: number;
}

export function newCounters(): RecoveryCounters {
  return {
    fetches: 0,
    failedFetches: 0,
    repairs: 0,
    broken: { trimmed: 0, shorter: 0, other: 0 },
    epochsGiven: 0,
    epochsTaken: 0,
    skippedEntries: 0,
    unseenRemovals: 0,
  };
}
