// Later fragments of a datagram carry no ports, so tier 1 cannot know their flow; it sends them to the right group by
// their addresses, keyed by the datagram they belong to. Every module of the group sees the first fragment as well, which
// names both the datagram and the flow, and learns from it. A fragment that comes before the first one waits briefly.

import { limits } from '../../../shared/base/limits.ts';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { DatagramTable } from './datagramTable.ts';
import type { CompiledView } from './viewHistory.ts';

/** A later fragment that came first, kept with all that is needed to decide it when its datagram is known. */
export interface WaitingFragment {
  readonly hi: number;
  readonly lo: number;
  readonly bytes: Uint8Array;
  readonly view: CompiledView;
  readonly timestampMs: number;
  readonly tick: number;
  /** Which packet it is, for the audit. */
  readonly tier1Id: string;
  readonly sequence: number;
  readonly row: number;
}

export class Fragments {
  readonly datagrams = new DatagramTable();
  #waiting: WaitingFragment[] = [];

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Keeps a fragment until its datagram is known; false when too many wait already. */
  wait(fragment: WaitingFragment): boolean {
    if (this.#waiting.length >= limits.waitingFragments) return false;
    this.#waiting.push(fragment);
    return true;
  }

  /** Takes out the fragments of one datagram, in the order they came. */
  release(hi: number, lo: number): readonly WaitingFragment[] {
    if (this.#waiting.length === 0) return this.#waiting;
    const released = this.#waiting.filter((fragment) => fragment.hi === hi && fragment.lo === lo);
    if (released.length > 0) this.#waiting = this.#waiting.filter((fragment) => !released.includes(fragment));
    return released;
  }

  /** Takes out the fragments that have waited too long at packet time `tick`, or whose time lies far ahead of it. */
  expire(tick: number): readonly WaitingFragment[] {
    if (this.#waiting.length === 0) return this.#waiting;
    const late = (fragment: WaitingFragment) => {
      const age = (tick - fragment.tick) | 0;
      return age * 100 > limits.waitingFragmentMs || -age * 100 > limits.clockJumpMs;
    };
    const expired = this.#waiting.filter(late);
    if (expired.length > 0) this.#waiting = this.#waiting.filter((fragment) => !late(fragment));
    return expired;
  }

  /** Takes out everything: the end of a run. */
  drain(): readonly WaitingFragment[] {
    const all = this.#waiting;
    this.#waiting = [];
    return all;
  }
}

/** A later fragment is a packet of its flow, and never the start or the end of it. */
export function laterFlags(firstFlags: number): number {
  return (firstFlags & ~(FrameFlags.START | FrameFlags.END)) | FrameFlags.LATER_FRAGMENT;
}
