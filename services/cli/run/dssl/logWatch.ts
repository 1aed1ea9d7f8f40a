// Whether a member keeps up with its group's log, for its readiness: it follows the log, entries come, and it is not so far behind
// that the log might trim what it has not read.
//
// In a group with members an entry comes every second or two, since somebody ticks. So a log that brings nothing for longer cannot be
// reached, whatever the connection says: it has no leader, or its server holds it up.

import type { LogRetention } from '../../../../shared/log/log.ts';
import type { LineState } from '../../../../shared/membership/gossip.ts';
import { agreeing } from '../../../ops/numbers.ts';

export interface LogFacts {
  readonly state: LineState;
  /** Of the entry applied last. */
  readonly position: number;
  /** Entries that wait behind it, and how old it is. */
  readonly lag: { readonly entries: number; readonly ms: number };
}

/** Some ticks have not come. */
const quietMs = 5_000;

const stateWords: Readonly<Record<Exclude<LineState, 'following'>, string>> = {
  fetching: "the group's state is being fetched from a peer",
  broken: 'the log is not the one that was followed; looking for a peer',
  empty: "the group's state was not found yet",
};

export class LogWatch {
  readonly #retention: LogRetention;
  #position = -1;
  #movedAtMs = Number.NEGATIVE_INFINITY;

  constructor(retention: LogRetention) {
    this.#retention = retention;
  }

  /** True, or what is wrong in a few words. To be called about once a second, whoever wants to know. */
  look({ state, position, lag }: LogFacts, nowMs: number): true | string {
    if (position !== this.#position) {
      this.#position = position;
      this.#movedAtMs = nowMs;
    }
    if (state !== 'following') return stateWords[state];
    const stillMs = nowMs - this.#movedAtMs;
    if (stillMs >= quietMs) return `nothing has come from the log for ${seconds(stillMs)}`;
    if (2 * lag.ms <= this.#retention.ageMs) return true;
    return `${lag.entries} ${agreeing(lag.entries, 'entry', 'entries')} and ${seconds(lag.ms)} behind the log, which keeps ${seconds(this.#retention.ageMs)}`;
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
