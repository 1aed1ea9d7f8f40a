// The port between an actor's decisions and its server: what was accepted goes out here. `local.ts` hands it to a
// handler in the same process; `udp.ts` forwards datagrams to a server that speaks UDP, and `bus.ts` sends everything to
// a server process on other hardware (Fig. 3).

import type { FlowEndReason, FlowOrigin, ServerLoad, StateWay } from './handlers/handler.ts';

/** Where packets lie in the log; the position is 0 where that is not known. */
export interface LogPlace {
  readonly epoch: number;
  readonly position: number;
}

export interface Egress {
  /**
   * Opens a run of accepted packets whose bytes lie in `data`, all of the same packet time. They came by the tier 1
   * `tier1Id`, named as in its frames: the way back for answers. A frame without packets for this server opens one
   * too, so that the egress knows which tier 1s live. `isRepeat`: a server that has died may have had the packets of this run (failover/replay.ts).
   */
  begin(data: Uint8Array, timestampMs: number, tier1Id: string, isRepeat?: boolean, place?: LogPlace): void;
  /** One accepted packet: data[offset .. offset + length), and its row in its frame. `isInState`: the state that was loaded for its flow has it. */
  add(offset: number, length: number, hi: number, lo: number, flags: number, row?: number, isInState?: boolean): void;
  /** Closes the run: the packets added since `begin` go to the server. A run without packets is no event. */
  end(): void;
  /**
   * A flow is this server's from the next packet on; `origin` is `new` where it is not told. Comes before its first packet: between `begin` and `end`, and
   * for a flow whose server has gone at any time.
   */
  flowStarted(hi: number, lo: number, timestampMs: number, origin?: FlowOrigin): void;
  /** About once a second of wall time, whether packets come or not. */
  tick?(nowMs: number): void;
  /** A flow is this server's no longer. */
  flowEnded(hi: number, lo: number, reason: FlowEndReason, timestampMs: number): void;
  /**
   * How far the server has handled the log: all packets of the entries up to there are done with. Asked with the position of the entry that was handed
   * out last, which is the answer where an egress has no such method. Positions may begin again when the log is another one.
   */
  handled?(position: number): number;
  /** Where the server keeps state of flows that outlives it, and the group's rules protect flows. */
  readonly kept?: KeptFlows | undefined;
}

/** An egress whose server gives away what it keeps for a flow. */
export interface FlowKeeper extends Egress {
  saveFlow(hi: number, lo: number): Uint8Array | undefined;
  loadFlow(hi: number, lo: number, bytes: Uint8Array): void;
  dropFlow(hi: number, lo: number): void;
}

/** The server, and the one without effects that gets packets of flows it stands behind. */
export interface KeptFlows {
  readonly way: StateWay;
  readonly live: FlowKeeper;
  readonly shadow: FlowKeeper;
}

/** What every egress counts. */
export interface EgressStats {
  packets: number;
  bytes: number;
  flowsStarted: number;
  flowsEnded: number;
  /** Accepted packets that the server did not get. */
  readonly packetsLost: number;
  /** Faults of a handler, where there is one. */
  readonly handlerErrors?: number;
}

/** An egress with a life: what a command runs. */
export interface ServerEgress extends Egress {
  readonly stats: Readonly<EgressStats>;
  /** Resolves when packets may come. Rejects with a FlowherdError when the server cannot be had. */
  start(): Promise<void>;
  /** No more packets will come. Resolves when what is under way is out; never rejects. */
  stop(): Promise<void>;
  /** Plain data for reports. */
  report(): Record<string, unknown>;
  /** How busy the server is, as far as it or the way to it tells. To be called about once a second. */
  load?(): ServerLoad | undefined;
}
