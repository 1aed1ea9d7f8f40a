// Do replicas hold the same? Each sums up its slices at positions that all of them share, and says so in gossip. What differs is a defect, or memory
// that failed: it is counted and logged, and the replica that is alone with its sum restores that slice from one of the others.
//
// Who is alone: sums at one position are votes. The sum with most votes stands; of two with as many, that of the member with the lowest server
// number, who joined first. A replica that does not hold the standing sum restores the slice, once all members have said theirs or a
// while has passed. One that has to restore the same slice twice in a row gives up and begins a new life: its trouble is not the slice.

import type { SliceDigest } from '../../../shared/membership/gossip.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';

/** Sums are compared at most so long after they were made. */
const keptMs = 30_000;
/** After this the votes that have come are all there are. */
const votesMs = 3_500;
const twiceMs = 120_000;
const judgeEveryMs = 250;

interface Sum {
  readonly slice: number;
  readonly position: number;
  readonly epoch: string;
  readonly digest: number;
  readonly atMs: number;
  readonly votes: Map<string, number>;
}

interface Early {
  readonly server: string;
  readonly epoch: string;
  readonly digest: number;
  readonly atMs: number;
}

/** A slice that this replica has to restore, and from whom. */
export interface Repair {
  readonly slice: number;
  readonly position: number;
  readonly from: string;
  /** It was restored a short while ago already. */
  readonly again: boolean;
}

export class DigestBook {
  /** Comparisons with sums of others, and those that differed. */
  compared = 0;
  differed = 0;
  readonly #self: Life;
  /** By position and slice, the oldest first. */
  readonly #sums = new Map<number, Sum>();
  /** Those that nobody has judged yet. */
  #open: Sum[] = [];
  /** What others said of positions that this replica has not come to yet, in the same order. */
  readonly #early = new Map<number, Early[]>();
  #unsaid: SliceDigest[] = [];
  #judgedAtMs = Number.NEGATIVE_INFINITY;
  readonly #restoredMs = new Map<number, number>();

  constructor(self: Life) {
    this.#self = self;
  }

  /** The sum of an own slice. */
  onOwn(said: SliceDigest, epoch: string, nowMs: number): void {
    const sum: Sum = { ...said, epoch, atMs: nowMs, votes: new Map() };
    const key = keyOf(said);
    this.#sums.set(key, sum);
    this.#open.push(sum);
    this.#unsaid.push(said);
    const early = this.#early.get(key);
    if (early === undefined) return;
    this.#early.delete(key);
    for (const { server, epoch: theirs, digest } of early) if (theirs === epoch) this.#vote(sum, server, digest);
  }

  /** What to say in the next gossip. */
  takeUnsaid(): readonly SliceDigest[] {
    const unsaid = this.#unsaid;
    this.#unsaid = [];
    return unsaid;
  }

  /** A member has said its sums. */
  onOthers(server: string, epoch: string, digests: readonly SliceDigest[], nowMs: number): void {
    if (server === this.#self.server) return;
    for (const said of digests) {
      const key = keyOf(said);
      const sum = this.#sums.get(key);
      if (sum !== undefined) {
        if (sum.epoch === epoch) this.#vote(sum, server, said.digest);
        continue;
      }
      const early = this.#early.get(key);
      const vote = { server, epoch, digest: said.digest, atMs: nowMs };
      if (early === undefined) this.#early.set(key, [vote]);
      else early.push(vote);
    }
  }

  /** Time passes: slices that have to be restored now. */
  tick(view: View, nowMs: number): readonly Repair[] {
    if (nowMs - this.#judgedAtMs < judgeEveryMs) return nothing;
    this.#judgedAtMs = nowMs;
    for (const [key, { atMs }] of this.#sums) {
      if (nowMs - atMs < keptMs) break;
      this.#sums.delete(key);
    }
    for (const [key, [{ atMs }]] of this.#early) {
      if (nowMs - atMs < keptMs) break;
      this.#early.delete(key);
    }
    const repairs: Repair[] = [];
    this.#open = this.#open.filter((sum) => {
      const isDue = nowMs - sum.atMs >= votesMs || this.#isComplete(sum, view);
      const repair = isDue ? this.#judge(sum, view, nowMs) : undefined;
      if (repair !== undefined && !repairs.some(({ slice }) => slice === repair.slice)) repairs.push(repair);
      return !isDue;
    });
    return repairs;
  }

  #isComplete({ votes }: Sum, { members }: View): boolean {
    for (const { server, state } of members)
      if (state !== 'joining' && server !== this.#self.server && !votes.has(server)) return false;
    return true;
  }

  /** State was replaced: what was summed up before says nothing any more. */
  clear(): void {
    this.#sums.clear();
    this.#open = [];
    this.#unsaid = [];
  }

  /** A slice was restored: sums of it that were made before do not count. */
  onRestored(slice: number, nowMs: number): void {
    this.#restoredMs.set(slice, nowMs);
    for (const [key, sum] of this.#sums) if (sum.slice === slice) this.#sums.delete(key);
    this.#open = this.#open.filter((sum) => sum.slice !== slice);
  }

  #vote(sum: Sum, server: string, digest: number): void {
    if (sum.votes.has(server)) return;
    sum.votes.set(server, digest);
    this.compared++;
    if (digest !== sum.digest) this.differed++;
  }

  #judge(sum: Sum, view: View, nowMs: number): Repair | undefined {
    if (!isDisputed(sum)) return undefined;
    const numberOf = (server: string) => view.members.find((member) => member.server === server)?.number;
    const camps = new Map<number, { votes: number; oldest: number; from: string }>();
    const all = [...sum.votes, [this.#self.server, sum.digest] as const];
    for (const [server, digest] of all) {
      const number = numberOf(server);
      if (number === undefined) continue;
      const camp = camps.get(digest) ?? { votes: 0, oldest: Number.POSITIVE_INFINITY, from: server };
      if (number < camp.oldest) camp.from = server;
      camps.set(digest, { votes: camp.votes + 1, oldest: Math.min(camp.oldest, number), from: camp.from });
    }
    if (camps.size < 2) return undefined;
    const [best] = [...camps].sort(([, one], [, other]) => other.votes - one.votes || one.oldest - other.oldest);
    if (best[0] === sum.digest) return undefined;
    const restored = this.#restoredMs.get(sum.slice);
    const again = restored !== undefined && nowMs - restored < twiceMs;
    return { slice: sum.slice, position: sum.position, from: best[1].from, again };
  }
}

function isDisputed({ digest, votes }: Sum): boolean {
  for (const theirs of votes.values()) if (theirs !== digest) return true;
  return false;
}

const nothing: readonly Repair[] = [];

/** Positions are far below 2^45. */
function keyOf({ slice, position }: Pick<SliceDigest, 'slice' | 'position'>): number {
  return position * 256 + slice;
}
