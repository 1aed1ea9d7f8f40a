// The parts that processes of the benchmarks play, and what each can be asked for. A process plays one part (child.ts); the
// benchmark asks it through a `Remote` (remote.ts). Calls and answers are plain data.

import type { LogSettings } from '../../../shared/log/log.ts';
import type { MemberState } from '../../../shared/membership/view.ts';

export interface RoleOptions {
  /** NATS servers, separated by commas. */
  readonly url: string;
  readonly cluster: string;
  readonly name: string;
  readonly log: LogSettings;
  /** Flows in turn, one packet of 128 bytes of each. */
  readonly flows: number;
  /** Tier 1: each packet in a frame of its own. */
  readonly unbatched?: boolean;
  /** Tier 1 writes a number and the time into each packet, and actors keep account of them (marks.ts). */
  readonly marked?: boolean;
  /** Plain clients: the stream of JetStream they use; without one, core NATS. */
  readonly stream?: string;
}

/** What one `send` came to. */
export interface Sent {
  readonly packets: number;
  readonly frames: number;
  /** Position of the last frame in the log; for plain clients, messages so far. */
  readonly end: number;
  readonly cpuMs: number;
}

export interface Tier1Counts {
  readonly received: number;
  /** Packets that the log has stored. */
  readonly stored: number;
  readonly frames: number;
  readonly underWay: number;
  readonly dropped: Readonly<Record<string, number>>;
  /** Packets among the dropped ones that may be in the log all the same. */
  readonly uncertain: number;
  readonly end: number;
  /** The longest time in which no frame was stored while packets came, since `watch`. */
  readonly pause: Pause;
}

/** On the machine's monotonic clock, in milliseconds (clock.ts). */
export interface Pause {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface ActorCounts {
  readonly phase: string;
  readonly position: number;
  /** Packets that the server got. */
  readonly packets: number;
  /** Frames that were applied. */
  readonly frames: number;
  readonly skippedEntries: number;
  readonly lostBecause: string | undefined;
  readonly members: Readonly<Record<string, MemberState>>;
  readonly view: number;
  readonly cpuMs: number;
}

/** What an actor's server noted of marked packets. */
export interface MarksReport {
  /** A bit for each number that it got, base64. */
  readonly numbers: string;
  /** Packets that it got a second time. */
  readonly repeated: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly pause: Pause;
}

export interface Tier1Role {
  /** Feeds packets as fast as the log takes them; resolves when they are stored or dropped. */
  send(packets: number): Promise<Sent>;
  /** From now on feeds so many packets a second, as a live input: it does not wait. 0: ends, and resolves when all is stored or dropped. */
  pace(packetsPerSecond: number): Promise<void>;
  watch(): Promise<void>;
  counts(): Promise<Tier1Counts>;
}

export interface ActorRole {
  /** Joins the group; resolves to the milliseconds until new flows may be placed here. */
  join(): Promise<number>;
  /** Resolves when the entry at `position` has been applied, to the moment of that. */
  reach(position: number): Promise<number>;
  counts(): Promise<ActorCounts>;
  /** From now on pauses are noted, of the event loop and between packets. */
  watch(): Promise<void>;
  /** The longest pause of the event loop since `watch`, in milliseconds. */
  pauseMs(): Promise<number>;
  marks(): Promise<MarksReport>;
  /** Sums over all of the replica's shared state, and the position that they hold at. */
  fingerprint(): Promise<{ readonly position: number; readonly sums: string; readonly flows: number }>;
}

export interface PublisherRole {
  send(packets: number): Promise<Sent>;
}

export interface ReaderRole {
  /** Resolves when so many messages have come, to the moment of that. */
  reach(messages: number): Promise<number>;
  cpuMs(): Promise<number>;
}

export interface Roles {
  readonly tier1: Tier1Role;
  readonly actor: ActorRole;
  readonly publisher: PublisherRole;
  readonly reader: ReaderRole;
}

export type RoleName = keyof Roles;
