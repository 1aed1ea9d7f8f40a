// The stateless first tier: a packet comes in, its headers say which group it belongs to, and it leaves in a frame for the
// log of that group. Nothing is remembered about any flow; what this object holds is one open frame a group and counters.
//
//   packet ─► keys and flags (shared/flow/keyer.ts) ─► group (groupTable.ts) ─► open frame of the group ─► outlet
//                │ malformed, unsupported          │ no group, no server       │ full, or due (batcher.ts)  │ stored
//                ▼                                 ▼                                                        ▼ or dropped
//              counted by cause                 counted by cause                                     counted by cause
//
// Every packet received is in an open frame (`pending`), in a frame on its way to the log (`underWay`), in one that the log has
// stored (`distributed`), or counted under one cause.
//
// Pure: the caller brings packets and times; encoded frames go out through outlets, which say later what became of them.

import { limits } from '../../shared/base/limits.ts';
import { FrameFlags } from '../../shared/flow/frameFlags.ts';
import type { FlowKeyer } from '../../shared/flow/keyer.ts';
import type { TunnelReport } from '../../shared/flow/tunnelCounts.ts';
import { FrameBuilder } from '../../shared/log/records/frame.ts';
import type { FramePool } from '../../shared/log/records/framePool.ts';
import { reasons } from '../../shared/packet/decode/reasons.ts';
import { Batcher } from './batcher.ts';
import type { GroupTable } from './routing/groupTable.ts';

/** The way of one group's frames to the log. */
export interface FrameOutlet {
  /** The name and the number that the next frame goes under; asked right before each one. */
  next(): { readonly life: string; readonly number: number };
  /** Takes that frame; its packets are under way until `stored` or `lost` says what became of them, which may be at once. */
  take(frame: Uint8Array, packets: number): void;
}

export interface DistributorOptions {
  readonly mapVersion: number;
  readonly table: GroupTable;
  readonly keyer: FlowKeyer;
  /** One for each group. */
  readonly outlets: readonly FrameOutlet[];
}

/**
 * Why tier 1 itself drops a packet that it could parse. `log-down`: the log did not take its frame in time. `log-full`: more
 * frames waited for the log than are kept. `overload`: it came while there was no room for any more, from a source that cannot
 * be asked to wait.
 */
export const tier1Drops = ['oversize', 'no-group', 'no-server', 'log-down', 'log-full', 'overload'] as const;
export type Tier1Drop = (typeof tier1Drops)[number];

/** Drops of whole frames, which hold packets of several senders. */
export const frameDrops: readonly string[] = ['log-down', 'log-full'] satisfies Tier1Drop[];

/** What one group gets from this tier 1. */
class GroupOutput {
  readonly builder: FrameBuilder;
  readonly outlet: FrameOutlet;
  hasServer = false;
  packetsInFrame = 0;
  timestampMs = 0;
  packets = 0;
  bytes = 0;
  frames = 0;

  constructor(outlet: FrameOutlet, pool: FramePool) {
    this.builder = new FrameBuilder(pool);
    this.outlet = outlet;
  }
}

export class Distributor {
  received = 0;
  receivedBytes = 0;
  /** Packets in frames that the log has stored. */
  distributed = 0;
  /** Packets in frames that have left, and of which the log has said nothing yet. */
  underWay = 0;
  /** Packets that could not be keyed, by reason code of shared/packet/decode/reasons.ts. */
  readonly unkeyed = new Float64Array(reasons.length);
  readonly drops: Record<Tier1Drop, number> = {
    oversize: 0,
    'no-group': 0,
    'no-server': 0,
    'log-down': 0,
    'log-full': 0,
    overload: 0,
  };
  readonly #mapVersion: number;
  readonly #table: GroupTable;
  readonly #keyer: FlowKeyer;
  readonly #outputs: readonly GroupOutput[];
  readonly #batcher: Batcher;

  constructor({ mapVersion, table, keyer, outlets }: DistributorOptions) {
    this.#mapVersion = mapVersion;
    this.#table = table;
    this.#keyer = keyer;
    const pool = FrameBuilder.pool();
    this.#outputs = outlets.map((outlet) => new GroupOutput(outlet, pool));
    this.#batcher = new Batcher(outlets.length);
  }

  /** Packets dropped here, by cause; causes that did not occur are not in it. */
  get dropped(): Record<string, number> {
    const dropped: Record<string, number> = {};
    for (const [code, count] of this.unkeyed.entries()) if (count > 0) dropped[reasons[code].name] = count;
    for (const drop of tier1Drops) if (this.drops[drop] > 0) dropped[drop] = this.drops[drop];
    return dropped;
  }

  /** Tunnels that were met, entered or not. */
  get tunnels(): TunnelReport {
    return this.#keyer.tunnels.report;
  }

  /** Packets dropped here, for whatever cause. */
  get droppedPackets(): number {
    let dropped = 0;
    for (let reason = 0; reason < this.unkeyed.length; reason++) dropped += this.unkeyed[reason];
    for (const drop of tier1Drops) dropped += this.drops[drop];
    return dropped;
  }

  /** True when every group has servers at the moment. */
  get isServed(): boolean {
    return this.#outputs.every(({ hasServer }) => hasServer);
  }

  /** Packets that lie in open frames. */
  get pending(): number {
    let pending = 0;
    for (const output of this.#outputs) pending += output.packetsInFrame;
    return pending;
  }

  /** What the log of a group has stored so far: frames, their bytes, and the packets in them. */
  sentTo(group: number): { readonly packets: number; readonly bytes: number; readonly frames: number } {
    const { packets, bytes, frames } = this.#outputs[group];
    return { packets, bytes, frames };
  }

  hasServer(group: number): boolean {
    return this.#outputs[group].hasServer;
  }

  /** A group without servers gets no packets. */
  setServed(group: number, hasServer: boolean): void {
    this.#outputs[group].hasServer = hasServer;
  }

  /**
   * One packet: bytes [start, end) of `buffer`, read as pcap link type `linkType`, from ingress link `link`, at packet
   * time `timestampMs`. The bytes are copied.
   */
  packet(buffer: Uint8Array, start: number, end: number, linkType: number, link: number, timestampMs: number): void {
    const length = end - start;
    this.received++;
    this.receivedBytes += length;
    const keyer = this.#keyer;
    const reason = keyer.read(buffer, start, end, linkType, link);
    if (reason !== 0) {
      this.unkeyed[reason]++;
      return;
    }
    if (length > limits.packetBytes) {
      this.drops.oversize++;
      return;
    }
    const { flags } = keyer;
    const group = this.#table.select(keyer.groupHash, (flags & FrameFlags.TYPE1) !== 0);
    if (group < 0) {
      this.drops['no-group']++;
      return;
    }
    const output = this.#outputs[group];
    if (!output.hasServer) {
      this.drops['no-server']++;
      return;
    }
    const { builder } = output;
    if (builder.count > 0 && (builder.isFull(length) || isApart(timestampMs, output.timestampMs))) this.#send(group);
    if (builder.count === 0) {
      output.timestampMs = timestampMs;
      this.#batcher.opened(group);
    }
    if (keyer.hasDatagram) builder.addDatagram(keyer.datagramHi, keyer.datagramLo, FrameFlags.DATAGRAM);
    if (flags & FrameFlags.LATER_FRAGMENT)
      builder.add(buffer, start, length, keyer.datagramHi, keyer.datagramLo, flags);
    else builder.add(buffer, start, length, keyer.flowHi, keyer.flowLo, flags);
    output.packetsInFrame++;
  }

  /** Counts packets that came in and go no further. */
  refuse(drop: Tier1Drop, packets: number, bytes: number): void {
    this.received += packets;
    this.receivedBytes += bytes;
    this.drops[drop] += packets;
  }

  /** True when a packet has opened a frame and `fed` has not been called since. */
  get isFresh(): boolean {
    return this.#batcher.hasFresh;
  }

  /** A run of packets is over: from now on those in open frames wait. */
  fed(nowMs: number): void {
    this.#batcher.fed(nowMs);
  }

  /** Sends the open frames that have waited for long enough. */
  sendDue(nowMs: number): void {
    for (let group = 0; group < this.#outputs.length; group++) {
      if (this.#batcher.isDue(group, nowMs)) this.#send(group);
    }
  }

  /** When `sendDue` is to be called next if nothing else happens; infinite when nothing waits. */
  get dueMs(): number {
    return this.#batcher.nextMs;
  }

  /** Sends every open frame. */
  flush(): void {
    for (let group = 0; group < this.#outputs.length; group++) {
      if (this.#outputs[group].builder.count > 0) this.#send(group);
    }
  }

  /** The log of a group has stored a frame of that many bytes. */
  stored(group: number, packets: number, bytes: number): void {
    const output = this.#outputs[group];
    output.frames++;
    output.packets += packets;
    output.bytes += bytes;
    this.distributed += packets;
    this.underWay -= packets;
  }

  /** A frame that an outlet took will not get into the log. */
  lost(drop: Tier1Drop, packets: number): void {
    this.drops[drop] += packets;
    this.underWay -= packets;
  }

  /** Nothing of this group is on its way to the log any more: a frame that waits for that may leave. */
  settled(group: number, nowMs: number): void {
    this.#batcher.underWay(group, false);
    if (this.#batcher.isDue(group, nowMs)) this.#send(group);
  }

  #send(group: number): void {
    const output = this.#outputs[group];
    const { builder, outlet, packetsInFrame, timestampMs } = output;
    const { life, number } = outlet.next();
    const mapVersion = this.#mapVersion;
    const frame = builder.finish({ tier1Id: life, number, follows: number - 1, mapVersion, timestampMs });
    output.packetsInFrame = 0;
    this.underWay += packetsInFrame;
    this.#batcher.left(group);
    this.#batcher.underWay(group, true);
    outlet.take(frame, packetsInFrame);
  }
}

function isApart(one: number, other: number): boolean {
  const span = one - other;
  return span > limits.frameSpanMs || span < -limits.frameSpanMs;
}
