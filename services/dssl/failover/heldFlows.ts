// Flows that a server was told of in a replay (replay.ts), before the group itself has moved them to it.
//
// A flow of a dead server goes on at its backup with its next packet. The replay comes before that, so the backup's server hears of the flow then, and not
// a second time when the group gets to it. If it never does, because the flow is over or has begun anew elsewhere, the server is told
// that it has ended.

import type { Egress } from '../egress/egress.ts';

interface HeldFlow {
  readonly hi: number;
  readonly lo: number;
  /** A packet that ends it was among those that were replayed. */
  hasEnded: boolean;
}

export class HeldFlows {
  readonly #flows = new Map<string, HeldFlow>();

  get size(): number {
    return this.#flows.size;
  }

  /** A packet of the flow is to be replayed; true when the server has not heard of the flow yet. */
  meet(hi: number, lo: number, isEnd: boolean): boolean {
    const key = keyOf(hi, lo);
    const known = this.#flows.get(key);
    if (known === undefined) this.#flows.set(key, { hi, lo, hasEnded: isEnd });
    else if (isEnd) known.hasEnded = true;
    return known === undefined;
  }

  /** The group has moved the flow to this server; true when the server knows it already. */
  goesOn(hi: number, lo: number): boolean {
    return this.#flows.size > 0 && this.#flows.delete(keyOf(hi, lo));
  }

  /** Another flow begins under this hash: the one before is over. */
  begins(hi: number, lo: number, egress: Egress, timestampMs: number): void {
    const flow = this.#flows.size > 0 ? this.#flows.get(keyOf(hi, lo)) : undefined;
    if (flow !== undefined) this.#end(flow, 'moved', egress, timestampMs);
  }

  /** Ends the flows that will not go on here any more. `waits`: the group still has the flow for this server. */
  sweep(waits: (hi: number, lo: number) => boolean, egress: Egress, timestampMs: number): void {
    for (const flow of this.#flows.values()) {
      if (!waits(flow.hi, flow.lo)) this.#end(flow, 'idle', egress, timestampMs);
    }
  }

  #end({ hi, lo, hasEnded }: HeldFlow, reason: 'idle' | 'moved', egress: Egress, timestampMs: number): void {
    this.#flows.delete(keyOf(hi, lo));
    egress.flowEnded(hi, lo, hasEnded ? 'closed' : reason, timestampMs);
  }
}

function keyOf(hi: number, lo: number): string {
  return `${hi} ${lo}`;
}
