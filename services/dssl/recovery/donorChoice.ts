// Whose state a line begins with, when the log was lost and several members still hold what they had applied: the most complete one. All of them
// choose by what gossip says of each other, and only the chosen one acts; should it die first, the next look chooses another.

import type { LineReport, LiveState } from '../../../shared/membership/gossip.ts';
import { compareNames } from '../../../shared/placement/seed.ts';

/** A member that holds state without a log to follow. */
export interface Holder {
  readonly server: string;
  readonly state: LiveState | undefined;
  readonly line: LineReport;
}

const ranks: readonly (LiveState | undefined)[] = ['active', 'draining', 'joining'];

/** Whose state is preferred: 0 first. */
export function rankOf(state: LiveState | undefined): number {
  return ranks.includes(state) ? ranks.indexOf(state) : ranks.length;
}

/** The holder to begin with: the newest epoch, then active before draining before joining, then the one that came farthest, then by name. */
export function chooseDonor(holders: readonly Holder[]): Holder | undefined {
  return [...holders].sort(
    (one, other) =>
      other.line.epochNumber - one.line.epochNumber ||
      rankOf(one.state) - rankOf(other.state) ||
      other.line.position - one.line.position ||
      compareNames(one.server, other.server),
  )[0];
}
