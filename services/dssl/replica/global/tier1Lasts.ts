// How far each life of a tier 1 has come: the last number of its frames that was applied.
//
// A tier 1 sends again what it is not sure of, so a frame may come twice, and one may come although those before it are missing.
// A frame applies if it follows nothing that is missing and is not there already: follows <= last < number. The last numbers are
// replicated state, so all replicas apply the same frames.
//
// What is missing comes within moments, because a tier 1 sends nothing new before it has sent it again. A gap that frames have followed for ten
// seconds of the line's time stays: the log had stored the missing ones, and lost its end. Then the next frame applies, and the gap is over.
//
// A life that is unknown counts as 0. So a life must not be forgotten while a frame of it may still come; those that were silent for
// twenty minutes are, when there are many, and tier 1 begins a new life after ten. Beyond a hard bound the longest silent one goes.

import { limits } from '../../../../shared/base/limits.ts';
import { compareNames } from '../../../../shared/placement/seed.ts';
import { Fingerprint } from '../snapshot/fingerprint.ts';

export interface Tier1Last {
  readonly tier1Id: string;
  readonly last: number;
  /** The line's time when a frame of it applied last. */
  readonly atMs: number;
  /** The line's time at which the first frame came that follows what is missing; undefined when nothing is. */
  readonly gapMs: number | undefined;
}

/** As it is kept. */
interface Known {
  last: number;
  atMs: number;
  gapMs: number | undefined;
  /** Of all this and the name; undefined after a change. */
  sum: number | undefined;
}

export const silentMs: number = 20 * 60_000;
export const mostLives = 4_096;
/** Whatever was only late has come after this. */
export const gapPatienceMs = 10_000;

export class Tier1Lasts {
  readonly #lasts = new Map<string, Known>();

  /** What becomes of a frame: `frame` says that it applies, and is noted. */
  judge(tier1Id: string, follows: number, number: number, timeMs: number): 'frame' | 'repeated' | 'gap' {
    let known = this.#lasts.get(tier1Id);
    const last = known?.last ?? 0;
    if (number <= last) return 'repeated';
    if (known === undefined) {
      this.#makeRoom(timeMs);
      known = { last, atMs: timeMs, gapMs: undefined, sum: undefined };
      this.#lasts.set(tier1Id, known);
    }
    known.sum = undefined;
    if (follows > last) {
      known.gapMs ??= timeMs;
      if (timeMs - known.gapMs < gapPatienceMs) return 'gap';
    }
    known.last = number;
    known.atMs = timeMs;
    known.gapMs = undefined;
    return 'frame';
  }

  get size(): number {
    return this.#lasts.size;
  }

  /** In the order of the names. */
  entries(): readonly Tier1Last[] {
    const entries = [...this.#lasts].map(([tier1Id, { last, atMs, gapMs }]) => ({ tier1Id, last, atMs, gapMs }));
    return entries.sort((a, b) => compareNames(a.tier1Id, b.tier1Id));
  }

  /** Fills an empty object; false when the entries are none that `entries` could have given. */
  restore(entries: readonly Tier1Last[]): boolean {
    if (entries.length > mostLives) return false;
    for (const { tier1Id, last, atMs, gapMs } of entries) {
      if (this.#lasts.has(tier1Id)) return false;
      this.#lasts.set(tier1Id, { last, atMs, gapMs, sum: undefined });
    }
    return true;
  }

  /** Into a sum. The order in which lives were heard first does not count. */
  addTo(sum: Fingerprint): void {
    let all = 0;
    for (const [tier1Id, known] of this.#lasts) {
      known.sum ??= new Fingerprint().text(tier1Id).number(known.last).number(known.atMs).number(known.gapMs).value;
      // Half of the bits, so that sums stay exact.
      all = (all + (known.sum % 2 ** 32)) % 2 ** 32;
    }
    sum.number(this.#lasts.size).number(all);
  }

  #makeRoom(timeMs: number): void {
    if (this.#lasts.size < limits.tier1Streams) return;
    for (const [tier1Id, { atMs }] of this.#lasts) {
      if (timeMs - atMs > silentMs) this.#lasts.delete(tier1Id);
    }
    if (this.#lasts.size < mostLives) return;
    let oldest: Tier1Last | undefined;
    for (const [tier1Id, { last, atMs, gapMs }] of this.#lasts) {
      const isOlder = oldest === undefined || atMs < oldest.atMs;
      if (isOlder || (atMs === oldest?.atMs && compareNames(tier1Id, oldest.tier1Id) < 0)) {
        oldest = { tier1Id, last, atMs, gapMs };
      }
    }
    if (oldest !== undefined) this.#lasts.delete(oldest.tier1Id);
  }
}
