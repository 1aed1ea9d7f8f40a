// Servers that a run has heard of since it was asked last, by name: so that whoever reads the log of a run sees who takes part,
// in a few lines even when there are many.

import type { Servers } from './servers.ts';

/** Those that come within this time share a line. */
const togetherMs = 250;
const mostNames = 16;

export class Newcomers {
  #told = 1;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  /** Their names, or undefined when there is nothing to tell yet. */
  in({ all }: Servers, nowMs: number): string | undefined {
    if (all.length === this.#told || nowMs - this.#toldAtMs < togetherMs) return undefined;
    const fresh = all.slice(this.#told).flatMap((record) => (record === undefined ? [] : [record.id]));
    this.#told = all.length;
    this.#toldAtMs = nowMs;
    const more = fresh.length - mostNames;
    return more > 0 ? `${fresh.slice(0, mostNames).join(', ')} and ${more} more` : fresh.join(', ');
  }
}
