// The times of a capture's packets, mended. A packet without a time is as old as the one before it, and so is one whose time is
// corrupt: weeks before or after its neighbours. The first ones are as old as the first good one. Were such a time believed,
// every flow would end at that packet, by the clock alone.
//
// A leap of weeks may be real all the same, where captures were joined. What tells is the packets behind it: a leap is
// believed once three packets in a row are on its far side. As far as those are in the same batch, no packet has to wait for that.

import type { CaptureBatch } from './batch.ts';

export const packetTimeLimits = {
  /** A longer step, back or ahead, is a leap: two weeks. No flow may be silent for longer than one. */
  leapMs: 14 * 24 * 3_600_000,
  /** Packets on the far side of a leap by which it is believed. */
  witnesses: 3,
  /** A packet that is older than the one before it by less than this is no disorder that anybody has to hear of. */
  disorderMs: 1_000,
} as const;

export class PacketTimes {
  /** Packets whose time was corrupt. */
  mended = 0;
  /** Packets that are older than one before them, by `packetTimeLimits.disorderMs` and more, and the largest such step. */
  disordered = 0;
  mostDisorderMs = 0;
  /** The last good time; 0 before there was one. */
  lastMs = 0;
  /** The first good time, and the latest one since the last leap. */
  firstMs = 0;
  newestMs = 0;
  /** Where a leap led that is not believed yet, and packets that were there since. */
  #farMs = 0;
  #seen = 0;

  /** Puts the times of a batch right, in their place. Calls belong to one run of packets, in its order. */
  mend({ timesMs, count }: Pick<CaptureBatch, 'timesMs' | 'count'>): void {
    if (this.lastMs === 0) this.lastMs = beginning(timesMs, count);
    for (let row = 0; row < count; row++) {
      const timeMs = timesMs[row];
      // Without a time: pcapng's simple packets.
      if (timeMs > 0 && this.#isGood(timesMs, row, count)) this.#accept(timeMs);
      else if (timeMs > 0) this.mended++;
      timesMs[row] = this.lastMs;
    }
  }

  #accept(timeMs: number): void {
    this.lastMs = timeMs;
    if (this.firstMs === 0) this.firstMs = timeMs;
    this.#seen = 0;
    const stepMs = this.newestMs - timeMs;
    if (stepMs >= packetTimeLimits.leapMs || stepMs <= 0) this.newestMs = timeMs;
    else if (stepMs >= packetTimeLimits.disorderMs) {
      this.disordered++;
      this.mostDisorderMs = Math.max(this.mostDisorderMs, stepMs);
    }
  }

  #isGood(timesMs: Float64Array, row: number, count: number): boolean {
    const timeMs = timesMs[row];
    if (isNear(timeMs, this.lastMs)) return true;
    this.#seen = isNear(timeMs, this.#farMs) ? this.#seen + 1 : 1;
    this.#farMs = timeMs;
    let witnesses = this.#seen;
    for (let next = row + 1; next < count && witnesses < packetTimeLimits.witnesses; next++) {
      if (timesMs[next] <= 0) continue;
      if (!isNear(timesMs[next], timeMs)) break;
      witnesses++;
    }
    return witnesses >= packetTimeLimits.witnesses;
  }
}

/**
 * The first packets have none before them. Their time is that of the first packets in a row that bear each other out, or of the
 * longest such row there is; 0 where no packet has a time.
 */
function beginning(timesMs: Float64Array, count: number): number {
  let bestMs = 0;
  let most = 0;
  let fromMs = 0;
  let row = 0;
  let lastMs = 0;
  for (let next = 0; next < count && most < packetTimeLimits.witnesses; next++) {
    const timeMs = timesMs[next];
    if (timeMs <= 0) continue;
    if (row > 0 && isNear(timeMs, lastMs)) row++;
    else {
      row = 1;
      fromMs = timeMs;
    }
    lastMs = timeMs;
    if (row > most) {
      most = row;
      bestMs = fromMs;
    }
  }
  return bestMs;
}

function isNear(oneMs: number, otherMs: number): boolean {
  return Math.abs(oneMs - otherMs) < packetTimeLimits.leapMs;
}
