// Tells what is from what chance makes. A wish for another weight counts when it is further from the weight in force than
// chance makes it, or when it persists: the mean of many wishes is nearer to the truth than one.
//
// How much nearer, depends on how many looks were independent. Loads of a moment ago are those of now; only when flows
// have ended and others come is chance drawn again. So a wish that persists for some lifetimes of flows may be smaller, by
// the square root of their number. Older than that it is forgotten, or a group that was even for a day would be slow to see
// that it no longer is.
//
// After a change of the weight, and for whoever takes over, doubt begins anew.

import type { Life } from '../transitions.ts';

/** Lifetimes of flows over which wishes are averaged, and in which chance is drawn anew once. */
const lifetimesKept = 8;
const lifetimesADraw = 2;

interface Wished {
  readonly incarnation: number;
  readonly weight: number;
  readonly sinceMs: number;
  readonly atMs: number;
  /** Of the logarithm of the wanted weight over the one in force. */
  readonly mean: number;
}

export interface WishedWeight extends Life {
  /** The weight in force, above 0. */
  readonly weight: number;
  readonly wanted: number;
  /** The share by which chance makes one weight more than another. */
  readonly chance: number;
}

export class Doubt {
  #wished = new Map<string, Wished>();

  /** What of these wishes is beyond doubt, weights by server; those in force where none is. */
  heed(wishes: readonly WishedWeight[], lifetimeMs: number, nowMs: number): Map<string, number> {
    const heeded = new Map<string, number>();
    const next = new Map<string, Wished>();
    for (const { server, incarnation, weight, wanted, chance } of wishes) {
      const off = Math.log(wanted / weight);
      const before = this.#wished.get(server);
      const goesOn = before?.incarnation === incarnation && before.weight === weight;
      const sinceMs = goesOn ? before.sinceMs : nowMs;
      const keptMs = Math.min(nowMs - sinceMs, lifetimesKept * lifetimeMs);
      const part = goesOn && keptMs > 0 ? Math.min(1, (nowMs - before.atMs) / keptMs) : 1;
      const mean = goesOn ? before.mean + part * (off - before.mean) : off;
      next.set(server, { incarnation, weight, sinceMs, atMs: nowMs, mean });
      const draws = 1 + keptMs / (lifetimesADraw * lifetimeMs);
      if (Math.abs(off) >= Math.log1p(chance)) heeded.set(server, wanted);
      else if (Math.abs(mean) >= Math.log1p(chance / Math.sqrt(draws))) heeded.set(server, weight * Math.exp(mean));
      else heeded.set(server, weight);
    }
    this.#wished = next;
    return heeded;
  }
}
