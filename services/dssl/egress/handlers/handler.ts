// What a server is to Flowherd: a handler that gets the packets of its own flows, and only those.
//
// A DSSL actor keeps the gate of one server. Every packet of the group passes it; the ones whose flow belongs to this
// server come out here, in batches, in the order they arrived. A handler lives in a module of the user's own, named on
// the command line (`--handler ./my-server.ts`), and this file is all it has to know. It holds types only, so a module
// may `import type` from it and depends on nothing when it runs. The shortest server there is:
//
//   import type { HandlerFactory } from 'flowherd/handler'
//   const create: HandlerFactory = (context) => {
//     let packets = 0
//     return { onPackets: (batch) => { packets += batch.count }, report: () => ({ packets }) }
//   }
//   export default create
//
// State per flow belongs in a FlowMap (flowMap.ts), which takes the two halves of the flow hash as they come;
// addresses, ports and where the payload begins come from `parse` (shared/packet/decode/parse.ts).
// deploy/examples/udp-collector.ts shows both.
//
// What a handler may rely on:
//   - a flow's packets come to one server, in order, for as long as the flow lives; state per flow needs no lock;
//   - onFlowStart of a flow comes before the batch with its first packet, onFlowEnd after the batch with its last one;
//   - calls never overlap, except that a promise onPackets returned may still be pending when the next batch comes;
//   - under the key `packet` each packet is a flow of its own. None of them begins or ends: there are no such calls, isStart and isEnd
//     are both true, and all have the flow hash 0. Fragments of a datagram are a flow like others, which ends by being idle;
//   - a packet is delivered at most once, save right after a server was lost: its successor gets the last packets that the
//     lost server had not confirmed (after `origin: 'promoted'`), in batches with `isRepeat`, and the lost one may have had some of them;
//   - a flow may end by being moved or promoted elsewhere; a server that comes back to life starts with no flows.
//
// What a handler keeps for a flow outlives its server where flows have backups (`--availability`) and the handler says so: `state`. There are two ways, and
// both take `saveFlow`, `loadFlow` and `dropFlow`:
//   - `shadow`: at the backup a second handler is made by the same factory, with `isShadow` in its context. It gets the packets of flows that the server
//     stands behind, as the owner does, and must have no effects: nothing is sent, written or opened. When the flow goes on here, its state is saved from the
//     shadow and loaded into the handler, so it is right to the packet. Nothing is sent between servers but the state of flows that get a backup in mid-life;
//   - `checkpoint`: the backup has the states of flows that have changed sent to it, about once a second. When the owner dies, the shadow loads
//     them and is given the packets since then, from the log.
// State must be up to date when onPackets returns (in an async function: at its first `await`). What cannot be had is not made up: the flow then begins
// with `onFlowStart(flow, 'promoted')` and no `loadFlow` after it.

import type { TunnelPorts } from '../../../../shared/packet/decode/tunnels/ports.ts';

/**
 * The packets accepted for this server out of one frame, in arrival order. The object, its arrays and the bytes behind
 * them are reused: they are valid until onPackets returns (in an async function: until its first `await`). Copy what
 * you keep. Arrays are longer than `count`; entries from `count` on are garbage.
 */
export interface PacketBatch {
  /** Packets in this batch, at least 1. */
  readonly count: number;
  /** The packets' own time in milliseconds since 1970: wall time live, capture time in a replay. */
  readonly timestampMs: number;
  /** A server that was lost may have had these packets already: they were not confirmed. */
  readonly isRepeat: boolean;
  /** Where the packets lie in the log: the epoch's number and the position of their frame; 0 where that is not known. */
  readonly epoch: number;
  readonly position: number;
  /**
   * The bytes of packet i are data[offsets[i]] up to, not including, data[offsets[i] + lengths[i]]; link header first.
   */
  readonly data: Uint8Array;
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
  /** The 64-bit flow hash, upper and lower half, signed. Equal hashes are the same flow. */
  readonly flowHi: Int32Array;
  readonly flowLo: Int32Array;
  /** What tier 1's parser found: bits named in shared/flow/frameFlags.ts (start, end, link kind, protocol class). */
  readonly flags: Uint16Array;
  /** Rows of the packets in their frame. */
  readonly rows: Uint16Array;
  /** Packet i as a view on `data`. Convenient; allocates one object a call. */
  packet(i: number): Uint8Array;
  /** The flow of packet i as in FlowEvent.flowId: 16 hex digits. Convenient as a Map key; allocates a string a call. */
  flowId(i: number): string;
  /** How to read packet i's first bytes: a LINKTYPE number (tcpdump.org/linktypes.html), 1 for Ethernet. */
  linkType(i: number): number;
  /** Packet i opens its flow by its protocol's own words (TCP SYN, SCTP INIT, GTP create session, ...). */
  isStart(i: number): boolean;
  /** Packet i closes its flow (TCP FIN or RST, SCTP ABORT, RADIUS Accounting-Stop, ...). */
  isEnd(i: number): boolean;
  /** Packet i is in the state that was loaded for its flow: it must not count again. Only among repeats. */
  isInState(i: number): boolean;
  /**
   * Epoch, position and row of packet i as one text that sorts in the order of the log: what names this packet at every server. '' where it is not known. See
   * repeats.ts for what it is good for.
   */
  place(i: number): string;
}

/**
 * How a flow came to this server: `new` (its first packet was placed here), `promoted` (its server was lost and this
 * one stood behind it: the handler does not have the earlier packets), `moved` (handed over by a server that let it
 * go).
 */
export type FlowOrigin = 'new' | 'promoted' | 'moved';

/**
 * Why a flow left: `closed` (its protocol said so), `idle` (no packet for the idle limit), `evicted` (the flow table
 * was full), `moved` (another server has it now).
 */
export type FlowEndReason = 'closed' | 'idle' | 'evicted' | 'moved';

export interface FlowEvent {
  /** The flow hash as 16 hex digits. */
  readonly flowId: string;
  /** The two halves of the flow hash, as in PacketBatch. */
  readonly hi: number;
  readonly lo: number;
  /** Packet time in milliseconds since 1970. */
  readonly timestampMs: number;
}

/** Structured logging, one line a call, in the log of the actor. */
export interface HandlerLog {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** How busy a server is, by its own measure. What it does not say is not known: no part is made up. */
export interface ServerLoad {
  /** 0 is idle, 1 is all it can do, more is overload. */
  readonly load?: number | undefined;
  /** How long what it serves waits for it at the moment, in milliseconds. */
  readonly latencyMs?: number | undefined;
  /** Share of what it serves that is lost, 0 to 1. */
  readonly loss?: number | undefined;
  /** Of the hardware it runs on, in degrees Celsius. */
  readonly temperature?: number | undefined;
}

/** What a handler is told when it is made. */
export interface ServerContext {
  /** Name of the server and of the group it serves; the group is '' where the server runs apart from its actor. */
  readonly server: string;
  readonly group: string;
  readonly log: HandlerLog;
  /** To be given to `parse`, which then keys as the cluster does: by what tunnels carry, or by the outermost header. */
  readonly tunnels: TunnelPorts | false;
  /** `--handler-option name=value`, as given. */
  readonly options: Readonly<Record<string, string>>;
  /** This handler keeps state for flows of other servers and must have no effects; see `state`. */
  readonly isShadow?: boolean;
}

/** How the state of flows outlives a server. */
export type StateWay = 'shadow' | 'checkpoint';

/**
 * One server. Only onPackets is required. Whatever throws or rejects costs that call (a batch, an event) and is counted
 * and logged; it never stops the actor. Only start() may refuse: if it throws, the actor does not start.
 */
export interface ServerHandler {
  /** Called once before anything else; flows are placed at the server only when it has resolved. */
  start?(): void | Promise<void>;
  /** A flow is this server's from now on. */
  onFlowStart?(flow: FlowEvent, origin: FlowOrigin): void;
  /**
   * Takes the packets. A returned promise says when the work is done: batches go on coming meanwhile, and when
   * `maxPendingBatches` (1,024) are unfinished, further ones are dropped and counted until some have finished.
   */
  onPackets(batch: PacketBatch): void | Promise<void>;
  /** The flow is this server's no longer: write its record, free its state. A returned promise says when that is done: until then others take it for not done. */
  onFlowEnd?(flow: FlowEvent, reason: FlowEndReason): void | Promise<void>;
  /** What is kept for a flow is to outlive this server, in this way. Needs the three functions below. */
  readonly state?: StateWay;
  /** What is kept for this flow, as bytes; undefined: nothing. At most 64 KiB. It is asked for between packets. */
  saveFlow?(hi: number, lo: number): Uint8Array | undefined;
  /** Keep this for the flow, in place of whatever is kept; from `saveFlow` of another server. Comes after onFlowStart, before the flow's next packet. */
  loadFlow?(hi: number, lo: number, bytes: Uint8Array): void;
  /** The flow goes on at another server, or at the handler beside this shadow, with its state: forget it, and have no effect. */
  dropFlow?(hi: number, lo: number): void;
  /** About once a second of wall time, also when no packets come: for flushing and timeouts. */
  onTick?(nowMs: number): void;
  /** After the last batch, when all returned promises have settled: flush here. */
  stop?(): void | Promise<void>;
  /**
   * How busy the server is; its share of new flows may follow (`least-loaded`, `qos`, `thermal`). Called about once a
   * second, and wanted at once: no promise. Numbers that cannot be are a fault like an exception, and count for nothing.
   */
  load?(): ServerLoad;
  /** Plain data for reports, under servers[].handler; called about once a second, so keep it cheap. */
  report?(): Record<string, unknown>;
}

/** The default export of a handler module. */
export type HandlerFactory = (context: ServerContext) => ServerHandler | Promise<ServerHandler>;
