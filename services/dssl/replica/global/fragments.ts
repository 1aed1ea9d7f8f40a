// Later fragments of a datagram carry no ports, so tier 1 cannot know their flow; it sends them to the right group by their
// addresses, keyed by the datagram they belong to. The first fragment names both the datagram and the flow, and every replica
// learns from it. A fragment that comes before the first one waits briefly, with its bytes: it is global state, and goes into
// snapshots.

import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { mix32, mixSeeded } from '../../../../shared/hash/mix.ts';
import { DatagramTable } from './datagramTable.ts';

/** A later fragment that came first. */
export interface WaitingFragment {
  /** The datagram. */
  readonly hi: number;
  readonly lo: number;
  readonly bytes: Uint8Array;
  /** The packet's own time. */
  readonly timestampMs: number;
  /** The line's time at which it came. */
  readonly atMs: number;
  /** Which packet it is. */
  readonly tier1Id: string;
  readonly number: number;
  readonly row: number;
}

/** Bytes of all waiting fragments, at most. */
export const waitingFragmentBytes: number = 1024 * 1024;

export class Fragments {
  readonly datagrams = new DatagramTable();
  #waiting: WaitingFragment[] = [];
  #bytes = 0;

  /** In the order they came. */
  get waiting(): readonly WaitingFragment[] {
    return this.#waiting;
  }

  /** Keeps a fragment until its datagram is known; false when too many wait already. */
  wait(fragment: WaitingFragment): boolean {
    const bytes = this.#bytes + fragment.bytes.length;
    if (this.#waiting.length >= limits.waitingFragments || bytes > waitingFragmentBytes) return false;
    this.#waiting.push(fragment);
    this.#bytes = bytes;
    return true;
  }

  /** Takes out the fragments of one datagram, in the order they came. */
  release(hi: number, lo: number): readonly WaitingFragment[] {
    if (this.#waiting.length === 0) return none;
    return this.#take((fragment) => fragment.hi === hi && fragment.lo === lo);
  }

  /** Takes out the fragments that have waited too long at the line's time `timeMs`. */
  expire(timeMs: number): readonly WaitingFragment[] {
    // They came in order, so the first one tells.
    if (this.#waiting.length === 0 || !isLate(this.#waiting[0], timeMs)) return none;
    return this.#take((fragment) => isLate(fragment, timeMs));
  }

  /** u32, the same for the same fragments in the same order. */
  get fingerprint(): number {
    let sum = this.#waiting.length;
    for (const { hi, lo, bytes, timestampMs, atMs, number, row } of this.#waiting) {
      sum = mix32(mixSeeded(hi, lo, sum, bytes.length) ^ (atMs | 0));
      sum = mixSeeded(timestampMs | 0, number | 0, sum, row);
    }
    return sum >>> 0;
  }

  #take(isTaken: (fragment: WaitingFragment) => boolean): readonly WaitingFragment[] {
    const taken = this.#waiting.filter(isTaken);
    if (taken.length === 0) return none;
    this.#waiting = this.#waiting.filter((fragment) => !isTaken(fragment));
    for (const { bytes } of taken) this.#bytes -= bytes.length;
    return taken;
  }
}

const none: readonly WaitingFragment[] = [];

function isLate({ atMs }: WaitingFragment, timeMs: number): boolean {
  return timeMs - atMs > limits.waitingFragmentMs;
}

/** A later fragment is a packet of its flow, and never the start or the end of it. */
export function laterFlags(firstFlags: number): number {
  return (firstFlags & ~(FrameFlags.START | FrameFlags.END)) | FrameFlags.LATER_FRAGMENT;
}
