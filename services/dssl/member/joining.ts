// A join that is under way: the command is appended until it shows in the log what it came to. An acknowledgement says nothing: the terms are judged
// where the command is applied.

import type { Command } from '../../../shared/log/records/command.ts';
import { type Candidate, isLifeOf, type JoinTerms } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';

const againMs = 400;

interface Pending {
  readonly terms: JoinTerms;
  readonly settle: (joined: boolean) => void;
  sentAtMs: number;
}

export class Joining {
  readonly #candidate: Candidate;
  readonly #append: (command: Command) => void;
  #pending: Pending | undefined;

  constructor(candidate: Candidate, append: (command: Command) => void) {
    this.#candidate = candidate;
    this.#append = append;
  }

  /** A join may be in the log, and others may take the candidate for a member. */
  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  /** `settle` gets whether the candidate is a member; false when the terms did not hold. */
  begin(terms: JoinTerms, settle: (joined: boolean) => void): void {
    this.cancel();
    this.#pending = { terms, settle, sentAtMs: Number.NEGATIVE_INFINITY };
  }

  cancel(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.settle(false);
  }

  /** Time passes. `epoch`: the one in force. */
  tick(epoch: string, nowMs: number): void {
    const pending = this.#pending;
    if (pending === undefined || nowMs - pending.sentAtMs < againMs) return;
    pending.sentAtMs = nowMs;
    const { server, incarnation, weight, standsFor } = this.#candidate;
    const { replaces, needAt } = pending.terms;
    this.#append({ kind: 'join', author: { server, incarnation }, epoch, weight, replaces, needAt, standsFor });
  }

  /** The view in force. `command`: the one that was applied just now. */
  onView(view: View, command: Command | undefined): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    const isMember = view.members.some((member) => isLifeOf(member, this.#candidate));
    const isSeen = command?.kind === 'join' && isLifeOf(command.author, this.#candidate);
    if (!isMember && !isSeen) return;
    this.#pending = undefined;
    pending.settle(isMember);
  }
}
