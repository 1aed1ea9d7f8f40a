// Who waits for a member to stand somewhere: until it drains, has left, is active again.

import type { MemberPhase } from './standing.ts';

export class PhaseWaits {
  #waiting: { readonly phase: MemberPhase; readonly resolve: () => void }[] = [];

  /** Resolves when the member stands there, or next does. */
  until(phase: MemberPhase): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ phase, resolve }));
  }

  /** It stands there. */
  reached(phase: MemberPhase): void {
    const reached = this.#waiting.filter((each) => each.phase === phase);
    if (reached.length === 0) return;
    this.#waiting = this.#waiting.filter((each) => each.phase !== phase);
    for (const { resolve } of reached) resolve();
  }
}
