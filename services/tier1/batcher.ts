// When a frame that is not full leaves. One packet a message would spend more on messages than on packets, and waiting for a
// full frame would keep packets for long where there are few of them. So a frame grows with the load:
//
//   full                                      it leaves at once, and is none of the batcher's business
//   after lingerMs (1)                        it leaves if the frame before it to that group has been stored
//   when the frame before it is stored        it leaves, if lingerMs have passed
//   after latestMs (5)                        it leaves
//
// While the log answers at once, a packet waits for a millisecond; when the log or the machine is busy, more packets share
// a frame, which makes both less busy. It is the idea of Nagle's algorithm (RFC 896), with a bound.
//
// Pure: the caller says what happens and what time it is. A frame gets its first packet in the middle of a run of packets,
// where nobody looks at a clock; its time counts from the end of that run (`fed`).

import { limits } from '../../shared/base/limits.ts';

export class Batcher {
  readonly #lingerMs: number;
  readonly #latestMs: number;
  /** By group: whether a frame is open, and since when; NaN until the run of its first packet has ended. */
  readonly #isOpen: Uint8Array;
  readonly #sinceMs: Float64Array;
  /** By group: whether a frame is on its way to the log. */
  readonly #isUnderWay: Uint8Array;
  /** Groups whose open frame has no time yet. */
  readonly #fresh: number[] = [];
  readonly #isFresh: Uint8Array;

  constructor(groups: number, lingerMs: number = limits.frameLingerMs, latestMs: number = limits.frameLatestMs) {
    this.#lingerMs = lingerMs;
    this.#latestMs = latestMs;
    this.#isOpen = new Uint8Array(groups);
    this.#sinceMs = new Float64Array(groups).fill(Number.NaN);
    this.#isUnderWay = new Uint8Array(groups);
    this.#isFresh = new Uint8Array(groups);
  }

  /** True when a frame was opened since the last `fed`. */
  get hasFresh(): boolean {
    return this.#fresh.length > 0;
  }

  /** A frame to this group has got its first packet. */
  opened(group: number): void {
    this.#isOpen[group] = 1;
    if (this.#isFresh[group] === 1) return;
    this.#isFresh[group] = 1;
    this.#fresh.push(group);
  }

  /** A run of packets is over. */
  fed(nowMs: number): void {
    for (const group of this.#fresh) {
      this.#isFresh[group] = 0;
      if (this.#isOpen[group] === 1) this.#sinceMs[group] = nowMs;
    }
    this.#fresh.length = 0;
  }

  /** The open frame of this group has left, for whatever reason. */
  left(group: number): void {
    this.#isOpen[group] = 0;
    this.#sinceMs[group] = Number.NaN;
  }

  /** Whether frames of this group are on their way to the log. */
  underWay(group: number, isUnderWay: boolean): void {
    this.#isUnderWay[group] = isUnderWay ? 1 : 0;
  }

  /** Whether the open frame of this group has to leave now. */
  isDue(group: number, nowMs: number): boolean {
    return nowMs >= this.#dueMs(group);
  }

  /** When the first frame will be due if nothing else happens; infinite when none is open. */
  get nextMs(): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (let group = 0; group < this.#isOpen.length; group++) nextMs = Math.min(nextMs, this.#dueMs(group));
    return nextMs;
  }

  #dueMs(group: number): number {
    const sinceMs = this.#sinceMs[group];
    if (Number.isNaN(sinceMs)) return Number.POSITIVE_INFINITY;
    return sinceMs + (this.#isUnderWay[group] === 1 ? this.#latestMs : this.#lingerMs);
  }
}
