// The egress of an actor whose server is not started yet. An actor finds its group by itself, and a server is told its group
// when it is made, so the server comes second. Nothing is lost by that: until then the actor is no member, or one that
// is joining, and accepts no packet.

import type { Egress, KeptFlows } from './egress.ts';

export class LateEgress implements Egress {
  #server: Egress | undefined;

  /** From now on, everything goes to `server`. To be called before the actor may become active. */
  open(server: Egress): void {
    this.#server = server;
  }

  begin(...run: Parameters<Egress['begin']>): void {
    this.#server?.begin(...run);
  }

  add(offset: number, length: number, hi: number, lo: number, flags: number, row?: number, isInState?: boolean): void {
    this.#server?.add(offset, length, hi, lo, flags, row, isInState);
  }

  end(): void {
    this.#server?.end();
  }

  flowStarted(...flow: Parameters<Egress['flowStarted']>): void {
    this.#server?.flowStarted(...flow);
  }

  handled(position: number): number {
    return this.#server?.handled?.(position) ?? position;
  }

  get kept(): KeptFlows | undefined {
    return this.#server?.kept;
  }

  tick(nowMs: number): void {
    this.#server?.tick?.(nowMs);
  }

  flowEnded(...flow: Parameters<Egress['flowEnded']>): void {
    this.#server?.flowEnded(...flow);
  }
}
