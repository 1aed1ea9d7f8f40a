// The port between an actor's decisions and its server: what was accepted goes out here. `local.ts` hands it to a
// handler in the same process; other adapters send it to a server on other hardware (Fig. 3).

import type { FlowEndReason } from './handler.ts';

export interface Egress {
  /**
   * Opens a run of accepted packets whose bytes lie in `data`, all of the same packet time. They came by the tier 1
   * `tier1Id`, named as in its frames: the way back for answers.
   */
  begin(data: Uint8Array, timestampMs: number, tier1Id: string): void;
  /** One accepted packet: data[offset .. offset + length). */
  add(offset: number, length: number, hi: number, lo: number, flags: number): void;
  /** Closes the run: the packets added since `begin` go to the server. A run without packets is no event. */
  end(): void;
  /** A flow is this server's from the next packet on. Comes between `begin` and `end`, before its first packet. */
  flowStarted(hi: number, lo: number, timestampMs: number): void;
  /** About once a second of wall time, whether packets come or not. */
  tick?(nowMs: number): void;
  /** A flow is this server's no longer. */
  flowEnded(hi: number, lo: number, reason: FlowEndReason, timestampMs: number): void;
}
