// What a table holds of one owner, summed up so that two modules can tell in two kilobytes whether they agree.
//
// The leading eight bits of the hash choose one of 256 buckets; a bucket has the number of its flows and the exclusive-or
// of a mix of their hashes. Order plays no part, so both may walk their tables whenever they like.
//
// Two modules never look at the same moment, and flows come and go in between. So the sums are *as of a tick*, and go only
// over flows about which both would say the same, whether they look then or some seconds later:
//
//   begun after the tick, or in the ten seconds before it   left out    the start is remembered (recentStarts.ts)
//   closing since before the tick                           left out    it may be swept before the other one looks
//   closing since after the tick                            counted     it was not closing then
//   silent for nearly as long as it may be                  left out    it may expire before the other one looks
//   by Fig. 6, connections                                  left out    they are known to their owners alone
//
// For this the tick must be one that no packet still to come lies before: the earliest to which tier 1s have come.

import { mixSeeded } from '../../../shared/hash/mix.ts';
import { FlowState, idleIndexOf, protocolClassOf, stateOf } from '../replica/flows/entry.ts';
import { idleTicks } from '../replica/idleLimits.ts';
import type { RecentStarts } from '../replica/recentStarts.ts';
import { ageTicks, clockJumpTicks } from '../replica/ticks.ts';
import { hasVisibleStart } from './teacher.ts';

export const bucketCount = 256;
/** Sums are compared for so long after their tick. */
export const comparableTicks = 80;
/** Entries so near their idle limit are left out: longer than sums are compared, and than clocks may differ. */
const nearLimitTicks = 200;
const bytesPerBucket = 8;
const sumsBytes: number = bucketCount * bytesPerBucket;

export class TableSums {
  readonly #words = new Int32Array(2 * bucketCount);

  add(hi: number, lo: number): void {
    const at = (hi >>> 24) << 1;
    this.#words[at]++;
    this.#words[at + 1] ^= mixSeeded(hi, lo, 0, 0);
  }

  differsIn(bucket: number, other: TableSums): boolean {
    const at = bucket << 1;
    return this.#words[at] !== other.#words[at] || this.#words[at + 1] !== other.#words[at + 1];
  }

  /** For a message: little-endian, empty when there is nothing to sum. */
  toBytes(): Uint8Array {
    if (this.#words.every((word) => word === 0)) return new Uint8Array(0);
    const view = new DataView(new ArrayBuffer(sumsBytes));
    this.#words.forEach((word, index) => {
      view.setInt32(4 * index, word, true);
    });
    return new Uint8Array(view.buffer);
  }

  /** Undefined when the bytes are no sums. */
  static fromBytes(bytes: Uint8Array): TableSums | undefined {
    if (bytes.length !== 0 && bytes.length !== sumsBytes) return undefined;
    const sums = new TableSums();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length; at += 4) sums.#words[at >> 2] = view.getInt32(at, true);
    return sums;
  }
}

/** Whether modules that look some seconds apart agree that this entry was there at `tick`, if their tables agree. */
export function isSettled(
  hi: number,
  lo: number,
  lastSeen: number,
  info: number,
  tick: number,
  recentStarts: RecentStarts,
): boolean {
  const age = ageTicks(tick, lastSeen);
  if (stateOf(info) === FlowState.closing ? age >= 0 : age > idleTicks[idleIndexOf(info)] - nearLimitTicks)
    return false;
  return age >= -clockJumpTicks && recentStarts.find(hi, lo, tick) === -1;
}

/** Whether all modules of a group have a flow of this kind in their tables, and not its owner alone. */
export function isKnownToAll(info: number, ownFlowsOnly: boolean): boolean {
  return !ownFlowsOnly || !hasVisibleStart(protocolClassOf(info));
}
