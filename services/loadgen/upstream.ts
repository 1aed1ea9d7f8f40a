// What a router in front of the cluster would do: packets for each tier 1 are collected into frames, numbered, and handed
// to the bus. Nothing is dropped here: a frame that the bus does not take waits, and so must whoever sends.

import { limits } from '../../shared/base/limits.ts';
import { FrameBuilder } from '../../shared/log/records/frame.ts';
import type { Ledger } from './ledger.ts';
import type { Tier1Record } from './tier1s.ts';

export interface UpstreamOptions {
  /** The name by which tier 1s tell this sender from others. */
  readonly sender: string;
  readonly ledger: Ledger;
  /** Sends to `in.<tier1>`; false when that cannot be done at the moment. */
  publish(tier1: string, frame: Uint8Array): boolean;
}

/** A frame on its way to one tier 1, and the ids of its packets. */
interface OpenFrame {
  readonly tier1: Tier1Record;
  readonly builder: FrameBuilder;
  readonly ids: Float64Array;
  openedAtMs: number;
  number: number;
}

interface WaitingFrame {
  readonly tier1: Tier1Record;
  readonly message: Uint8Array;
  readonly ids: Float64Array;
}

export class Upstream {
  /** Frames handed to the bus. */
  frames = 0;
  readonly #options: UpstreamOptions;
  readonly #pool = FrameBuilder.pool();
  /** By the tier 1's number. */
  readonly #open: (OpenFrame | undefined)[] = [];
  readonly #waiting: WaitingFrame[] = [];

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  /** True while frames wait for the bus: send no more. */
  get isStuck(): boolean {
    return this.#waiting.length > 0;
  }

  /** Puts packet number `id`, an Ethernet frame at the start of `buffer`, on its way to a tier 1. */
  add(tier1: Tier1Record, id: number, buffer: Uint8Array, length: number, nowMs: number): void {
    let frame = this.#open[tier1.number];
    if (frame === undefined) {
      const ids = new Float64Array(limits.frameRows);
      frame = { tier1, builder: new FrameBuilder(this.#pool), ids, openedAtMs: nowMs, number: 0 };
      this.#open[tier1.number] = frame;
    }
    if (frame.builder.isFull(length)) this.#close(frame, nowMs);
    if (frame.builder.count === 0) frame.openedAtMs = nowMs;
    frame.ids[frame.builder.count] = id;
    // Link kind 0 is Ethernet, hashes are tier 1's to make.
    frame.builder.add(buffer, 0, length, 0, 0, 0);
  }

  /** Hands over what waits, then the frames whose first packet has waited for `lingerMs`. */
  flush(nowMs: number, lingerMs: number = limits.frameLingerMs): void {
    while (this.#waiting.length > 0) {
      const { tier1, message, ids } = this.#waiting[0];
      if (!this.#hand(tier1, message, ids, ids.length, nowMs)) return;
      this.#waiting.shift();
    }
    for (const frame of this.#open) {
      if (frame === undefined || frame.builder.count === 0) continue;
      if (nowMs - frame.openedAtMs >= lingerMs) this.#close(frame, nowMs);
    }
  }

  #close(frame: OpenFrame, nowMs: number): void {
    const { tier1, builder, ids } = frame;
    const { count } = builder;
    const follows = frame.number++;
    const message = builder.finish({
      tier1Id: this.#options.sender,
      number: frame.number,
      follows,
      mapVersion: 0,
      timestampMs: 0,
    });
    if (this.#waiting.length > 0 || !this.#hand(tier1, message, ids, count, nowMs)) {
      this.#waiting.push({ tier1, message, ids: ids.slice(0, count) });
    }
  }

  #hand(tier1: Tier1Record, message: Uint8Array, ids: Float64Array, count: number, nowMs: number): boolean {
    const { ledger, publish } = this.#options;
    if (!publish(tier1.name, message)) return false;
    for (let index = 0; index < count; index++) ledger.handedOver(ids[index], nowMs);
    tier1.sent += count;
    tier1.sentAtMs = nowMs;
    this.frames++;
    return true;
  }
}
