// Why a replica cannot go on reading its log, and what it does about it, for people.

import type { BrokenReason } from '../../../shared/log/log.ts';

export const brokenWords: Readonly<Record<BrokenReason, string>> = {
  trimmed: 'fell out of the log: entries that were not read yet have been trimmed; fetching the state from a peer',
  shorter: 'the log ends before what was read of it; looking for a peer whose log it is',
  other: 'the log is another one than the one that was read; looking for a peer whose log it is',
};
