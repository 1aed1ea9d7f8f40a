// Which life of which server a server number means.
//
// Flow entries name their owner in twelve bits. The group's log gives the numbers out: the n-th life that joins is number n, from
// 0, on every replica. A number is given again only when all others are taken and its life has been gone for longer than any
// flow may be idle, so that no living entry still means the former one; the one that has been gone for longest comes first.
//
// A life joins once. Its join may come into the log a second time, and late, because an append was repeated whose
// acknowledgement was lost; it must not bring back a life that has left meanwhile.

import type { Life } from '../../../../shared/membership/transitions.ts';
import { noServer, serverNumbers } from '../flows/entry.ts';
import { Fingerprint } from '../snapshot/fingerprint.ts';
import { msPerTick } from '../ticks.ts';

export interface RosterEntry extends Life {
  readonly number: number;
  /** Position of the join. */
  readonly joinedAt: number;
  /** The line's time when it ceased to be a member; undefined while it is one. */
  readonly goneMs: number | undefined;
}

export class Roster {
  /** A number is safe to be given again after this much time of the line: expiry counts in whole ticks. */
  readonly reuseAfterMs: number;
  readonly #entries: RosterEntry[] = [];
  readonly #numbers = new Map<string, number>();
  #fingerprint: number | undefined;

  /** `longestIdleMs`: after so much silence every flow is forgotten. */
  constructor(longestIdleMs: number) {
    this.reuseAfterMs = longestIdleMs + 2 * msPerTick;
  }

  /** Server number of a life, `noServer` when it never joined or its number was given to another. */
  numberOf(life: Life): number {
    return this.#numbers.get(keyOf(life)) ?? noServer;
  }

  /** The life that a number means; undefined when it was never given. */
  entry(number: number): RosterEntry | undefined {
    return this.#entries[number];
  }

  /** The number for the next life, `noServer` when none is free. */
  next(timeMs: number): number {
    if (this.#entries.length < serverNumbers) return this.#entries.length;
    let oldest = noServer;
    let oldestMs = timeMs - this.reuseAfterMs;
    for (const { number, goneMs } of this.#entries) {
      if (goneMs === undefined || goneMs >= oldestMs) continue;
      oldest = number;
      oldestMs = goneMs;
    }
    return oldest;
  }

  /** A life has joined under a number that `next` has given. */
  add({ server, incarnation }: Life, number: number, joinedAt: number): void {
    const former = this.#entries[number];
    if (former !== undefined) this.#numbers.delete(keyOf(former));
    this.#set({ server, incarnation, number, joinedAt, goneMs: undefined });
  }

  /** A number's life has ceased to be a member. */
  gone(number: number, timeMs: number): void {
    this.#set({ ...this.#entries[number], goneMs: timeMs });
  }

  /** All entries in the order of their numbers. */
  entries(): readonly RosterEntry[] {
    return this.#entries;
  }

  /** Fills an empty roster; false, and unusable, when the entries are none that `entries` could have given. */
  restore(entries: readonly RosterEntry[]): boolean {
    if (entries.length > serverNumbers) return false;
    for (const entry of entries) {
      if (entry.number !== this.#entries.length || this.#numbers.has(keyOf(entry))) return false;
      this.#set(entry);
    }
    return true;
  }

  get fingerprint(): number {
    if (this.#fingerprint === undefined) {
      const sum = new Fingerprint();
      for (const { server, incarnation, joinedAt, goneMs } of this.#entries) {
        sum.text(server).number(incarnation).number(joinedAt).number(goneMs);
      }
      this.#fingerprint = sum.value;
    }
    return this.#fingerprint;
  }

  #set(entry: RosterEntry): void {
    this.#entries[entry.number] = entry;
    this.#numbers.set(keyOf(entry), entry.number);
    this.#fingerprint = undefined;
  }
}

function keyOf({ server, incarnation }: Life): string {
  return `${server} ${incarnation}`;
}
