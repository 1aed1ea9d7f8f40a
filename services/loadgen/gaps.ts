// How long flows had waited for a server when theirs had gone: from the moment at which the oldest packet was sent that nobody had taken until
// another server had it. A flow that sends nothing meanwhile waits for nothing.

export interface GapSummary {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** More than these, and the first ones speak for all. */
const mostGaps = 2 ** 18;

export class Gaps {
  #gapsMs: number[] = [];
  #maxMs = 0;

  add(gapMs: number): void {
    const ms = Math.max(0, gapMs);
    this.#maxMs = Math.max(this.#maxMs, ms);
    if (this.#gapsMs.length < mostGaps) this.#gapsMs.push(ms);
  }

  /** In milliseconds; undefined when there was none. */
  summary(): GapSummary | undefined {
    const sorted = Float64Array.from(this.#gapsMs).sort();
    if (sorted.length === 0) return undefined;
    const of = (share: number) => sorted[Math.ceil(share * sorted.length) - 1];
    return { p50: of(0.5), p99: of(0.99), max: this.#maxMs };
  }
}
