// The stateless first tier: a packet comes in, its headers say which group it belongs to, and it leaves in the next frame
// for that group. Nothing is remembered about any flow; what this object holds is one open frame a group and counters.
//
//   packet ─► keys and flags (shared/flow/keyer.ts) ─► group (groupTable.ts) ─► open frame of the group ─► bus
//                │ malformed, unsupported          │ no group, no server       │ full, old, or flushed
//                ▼                                 ▼
//              counted by cause                 counted by cause
//
// Pure: the caller brings packets, times and views; encoded frames go out through `publish`.

import { limits } from '../../shared/base/limits.ts';
import { FrameFlags } from '../../shared/flow/frameFlags.ts';
import type { FlowKeyer } from '../../shared/flow/keyer.ts';
import { FrameBuilder } from '../../shared/log/records/frame.ts';
import { reasons } from '../../shared/packet/decode/reasons.ts';
import type { GroupTable } from './routing/groupTable.ts';

export interface DistributorOptions {
  /** Names this life of this tier 1: sequences start anew with a new name. */
  readonly tier1Id: string;
  readonly mapVersion: number;
  readonly groups: number;
  readonly table: GroupTable;
  readonly keyer: FlowKeyer;
  /** Sends frame number `sequence` of `packets` packets to every module of a group; false when it could not be sent. */
  publish(group: number, frame: Uint8Array, sequence: number, packets: number): boolean;
}

/**
 * Why tier 1 itself drops a packet that it could parse; `overload` is one that came while the bus took no more, from a
 * source that cannot be asked to wait.
 */
export const tier1Drops = ['oversize', 'no-group', 'no-server', 'bus-down', 'overload'] as const;
export type Tier1Drop = (typeof tier1Drops)[number];

/** What one group gets from this tier 1. */
class GroupOutput {
  readonly builder = new FrameBuilder();
  sequence = 0;
  viewNumber = 0;
  hasServer = false;
  startOrdinal = 0;
  startsInFrame = 0;
  packetsInFrame = 0;
  timestampMs = 0;
  packets = 0;
  bytes = 0;
  frames = 0;
}

export class Distributor {
  received = 0;
  receivedBytes = 0;
  distributed = 0;
  /** Packets that could not be keyed, by reason code of shared/packet/decode/reasons.ts. */
  readonly unkeyed = new Float64Array(reasons.length);
  readonly drops: Record<Tier1Drop, number> = {
    oversize: 0,
    'no-group': 0,
    'no-server': 0,
    'bus-down': 0,
    overload: 0,
  };
  readonly #options: DistributorOptions;
  readonly #keyer: FlowKeyer;
  readonly #outputs: GroupOutput[];
  #lastTimestampMs = 0;

  constructor(options: DistributorOptions) {
    this.#options = options;
    this.#keyer = options.keyer;
    this.#outputs = Array.from({ length: options.groups }, () => new GroupOutput());
  }

  /** Packets dropped here, by cause; causes that did not occur are not in it. */
  get dropped(): Record<string, number> {
    const dropped: Record<string, number> = {};
    for (const [code, count] of this.unkeyed.entries()) if (count > 0) dropped[reasons[code].name] = count;
    for (const drop of tier1Drops) if (this.drops[drop] > 0) dropped[drop] = this.drops[drop];
    return dropped;
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

  /** Packets that lie in frames not yet published. */
  get pending(): number {
    let pending = 0;
    for (const output of this.#outputs) pending += output.packetsInFrame;
    return pending;
  }

  /** What went to a group so far. */
  sentTo(group: number): { readonly packets: number; readonly bytes: number; readonly frames: number } {
    const { packets, bytes, frames } = this.#outputs[group];
    return { packets, bytes, frames };
  }

  hasServer(group: number): boolean {
    return this.#outputs[group].hasServer;
  }

  /**
   * Takes a newer view of a group in: the next frame is stamped with it. A group without servers gets no packets. False
   * for an older view, which changes nothing.
   */
  setView(group: number, viewNumber: number, hasServer: boolean): boolean {
    const output = this.#outputs[group];
    if (viewNumber < output.viewNumber) return false;
    output.viewNumber = viewNumber;
    output.hasServer = hasServer;
    return true;
  }

  /**
   * One packet: bytes [start, end) of `buffer`, read as pcap link type `linkType`, from ingress link `link`, at packet
   * time `timestampMs`. The bytes are copied.
   */
  packet(buffer: Uint8Array, start: number, end: number, linkType: number, link: number, timestampMs: number): void {
    this.received++;
    this.receivedBytes += end - start;
    const keyer = this.#keyer;
    const reason = keyer.read(buffer, start, end, linkType, link);
    if (reason !== 0) {
      this.unkeyed[reason]++;
      return;
    }
    const length = end - start;
    if (length > limits.packetBytes) {
      this.drops.oversize++;
      return;
    }
    const { flags } = keyer;
    const group = this.#options.table.select(keyer.groupHash, (flags & FrameFlags.TYPE1) !== 0);
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
    if (builder.count === 0) output.timestampMs = timestampMs;
    if (keyer.hasDatagram) builder.addDatagram(keyer.datagramHi, keyer.datagramLo, FrameFlags.DATAGRAM);
    if (flags & FrameFlags.LATER_FRAGMENT)
      builder.add(buffer, start, length, keyer.datagramHi, keyer.datagramLo, flags);
    else builder.add(buffer, start, length, keyer.flowHi, keyer.flowLo, flags);
    if (flags & FrameFlags.START) output.startsInFrame++;
    output.packetsInFrame++;
    this.#lastTimestampMs = timestampMs;
  }

  /** Counts packets that came in and go no further. */
  refuse(drop: Tier1Drop, packets: number, bytes: number): void {
    this.received += packets;
    this.receivedBytes += bytes;
    this.drops[drop] += packets;
  }

  /** Publishes every open frame. */
  flush(): void {
    for (let group = 0; group < this.#outputs.length; group++) {
      if (this.#outputs[group].builder.count > 0) this.#send(group);
    }
  }

  /**
   * Says to every group that has servers where this tier 1 stands: publishes what is open, or an empty frame. `wallMs`
   * is the packets' time where that is wall time; in a replay, undefined: packet time stands still between packets.
   */
  idle(wallMs?: number): void {
    for (let group = 0; group < this.#outputs.length; group++) {
      const output = this.#outputs[group];
      if (!output.hasServer) continue;
      if (output.builder.count === 0) output.timestampMs = wallMs ?? this.#lastTimestampMs;
      this.#send(group);
    }
  }

  #send(group: number): void {
    const output = this.#outputs[group];
    const { builder } = output;
    const { payloadBytes } = builder;
    const frame = builder.finish({
      tier1Id: this.#options.tier1Id,
      sequence: output.sequence + 1,
      viewNumber: output.viewNumber,
      mapVersion: this.#options.mapVersion,
      timestampMs: output.timestampMs,
      startOrdinal: output.startOrdinal,
    });
    if (this.#options.publish(group, frame, output.sequence + 1, output.packetsInFrame)) {
      // A frame that never left must not look like a loss on the way: its number is used again.
      output.sequence++;
      output.frames++;
      output.packets += output.packetsInFrame;
      output.bytes += payloadBytes;
      this.distributed += output.packetsInFrame;
    } else {
      this.drops['bus-down'] += output.packetsInFrame;
    }
    output.startOrdinal += output.startsInFrame;
    output.startsInFrame = 0;
    output.packetsInFrame = 0;
  }
}

function isApart(one: number, other: number): boolean {
  const span = one - other;
  return span > limits.frameSpanMs || span < -limits.frameSpanMs;
}
