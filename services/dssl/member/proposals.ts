// Commands that this member wants to see in the log: appended, and again when they have had no effect for a while. What a command came to shows in
// the log alone, so nobody waits for an answer; a proposal ends when its effect is seen, or nobody asks for it any more.

import type { Command } from '../../../shared/log/records/command.ts';

/** A command that was appended may need so long to come back. */
const againMs = 500;

export class Proposals {
  appended = 0;
  readonly #append: (command: Command) => void;
  readonly #sentMs = new Map<string, number>();

  constructor(append: (command: Command) => void) {
    this.#append = append;
  }

  /** To be called again and again, as long as the command is wanted. `name`: what makes it the same one. */
  propose(name: string, command: Command, nowMs: number): void {
    const sentMs = this.#sentMs.get(name);
    if (sentMs !== undefined && nowMs - sentMs < againMs) return;
    this.#sentMs.set(name, nowMs);
    this.appended++;
    this.#append(command);
    if (this.#sentMs.size > 1_000) this.#forget(nowMs);
  }

  /** The view has changed: what is wanted still is judged anew. */
  clear(): void {
    this.#sentMs.clear();
  }

  #forget(nowMs: number): void {
    for (const [name, sentMs] of this.#sentMs) if (nowMs - sentMs >= againMs) this.#sentMs.delete(name);
  }
}
