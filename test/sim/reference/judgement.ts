// What the reference replica (reference.ts) keeps of each entry, for the comparison with every other replica and for the checkers.

import type { Effects } from '../../../services/dssl/replica/effects.ts';
import type { Command } from '../../../shared/log/records/command.ts';
import type { View } from '../../../shared/membership/view.ts';
import type { Fate } from '../ledger.ts';

export const sliceCount = 256;

/** What the reference made of an entry. */
export interface Judgement {
  readonly mark: number;
  readonly outcome: Effects['outcome'];
  /** Counts the lines of the log; see `Reference.line`. */
  readonly line: number;
  readonly epoch: string;
  /** By row; empty where the entry is no frame that counts. */
  readonly owners: readonly number[];
  /** Packets that are nobody's, by row: members tell why. Empty where there is none. */
  readonly nobodys: readonly (Fate | undefined)[];
  /** The same of rows of earlier frames, in the order in which replicas tell of them. */
  readonly lateNobodys: readonly (Fate | undefined)[];
  /** Rows of earlier frames that had waited, as frame number, row and owner in turn. */
  readonly late: readonly number[];
  /** Lives whose replicas have applied it, and lacked nothing. */
  readonly appliedBy: number[];
  /** Lives whose replicas lacked the slices of some rows. */
  readonly passedOverBy: number[];
  /** The flow slices of the rows, and their digests after the entry. */
  readonly slices: readonly number[];
  readonly digests: readonly number[];
  readonly fingerprint: number;
  /** Digests that were due, as slice and digest in turn. */
  readonly due: readonly number[];
}

export type Readers = Pick<Judgement, 'appliedBy' | 'passedOverBy'>;

/** A change of the view, by the log. */
export interface ViewChange {
  readonly atMs: number;
  readonly position: number;
  readonly view: View;
  /** Process that appended the entry; '' when the log itself changed. */
  readonly by: string;
  readonly command: Command | undefined;
  readonly epoch: string;
}

/** Rows of earlier frames, in a form that can be compared. */
export function lateOf({ late }: Effects): number[] {
  return late.flatMap(({ number, row, owner }) => [number, row, owner]);
}
