// Rounds of comparing tables: every member says about every ten seconds what it holds itself, summed up (tableSums.ts),
// and compares what the others say of themselves with what it has down for them.
//
// One walk over the table, spread over ticks, makes all the sums that are due: the own ones, and one for each digest that
// has come since the last walk, as of that digest's tick. A digest waits until this module has come as far with every
// tier 1 as its sender had. A bucket that differs in two rounds in a row is to be asked for (bucketRepair.ts): once may be
// a packet that came between the two looks.

import { Prng } from '../../../shared/base/prng.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import type { Decider } from '../replica/decide.ts';
import { ownerOf } from '../replica/flows/entry.ts';
import { ageTicks } from '../replica/ticks.ts';
import { noServer, type ViewHistory } from '../replica/viewHistory.ts';
import type { Digest } from './entropyMessages.ts';
import { hasReached, reachOf, type Streams } from './streams.ts';
import { bucketCount, comparableTicks, isKnownToAll, isSettled, TableSums } from './tableSums.ts';

/** Time between two digests of a member, and by how much it varies, so that members do not speak in step. */
const roundMs = 10_000;
const jitterMs = 2_000;
/** A digest that this module has not come as far as after so long is not compared. */
const digestWaitMs = 6_000;
/** From one walk to the next: what has come meanwhile shares one. */
const walkEveryMs = 3_000;
/**
 * A walk takes about so many ticks, within these bounds of slots a tick. Own walk, wait and walk of who compares must be
 * over within `comparableTicks`; so in tables of much more than ten million entries nothing is compared.
 */
const ticksPerWalk = 120;
const slotsLeast = 8_192;
const slotsMost = 98_304;
const slotsPerEntry = 1.25;

/** A bucket that differed in the last round; in two in a row; that is on the list of those to be asked for. */
const once = 1;
const queued = 2;

interface Target {
  readonly tick: number;
  readonly positions: ReadonlyMap<string, number>;
  readonly sums: TableSums;
  /** What its owner says; undefined for the own flows. */
  readonly digest: Digest | undefined;
}

interface Walk {
  /** By server number. */
  readonly targets: (Target | undefined)[];
  cursor: number;
}

export interface BucketOf {
  readonly owner: number;
  readonly bucket: number;
}

export class DigestRounds {
  /** Digests said, and those of others that were compared. */
  sent = 0;
  compared = 0;
  /** Buckets in which this module has down for an owner other flows than that says of itself. */
  differed = 0;
  readonly #life: Life;
  readonly #decider: Decider;
  readonly #views: ViewHistory;
  readonly #streams: Streams;
  /** Digests to be compared in the next walk, by server number. */
  readonly #heard = new Map<number, { readonly digest: Digest; readonly atMs: number }>();
  /** By server number, for each bucket: how it compared. */
  readonly #states = new Map<number, Uint8Array>();
  readonly #toAsk: BucketOf[] = [];
  readonly #prng: Prng;
  /** Members begin at different buckets: what one asks for is told to all. */
  readonly #firstBucket: number;
  #walk: Walk | undefined;
  #walkedAtMs = Number.NEGATIVE_INFINITY;
  #dueAtMs: number | undefined;

  constructor(life: Life, decider: Decider, views: ViewHistory, streams: Streams) {
    this.#life = life;
    this.#decider = decider;
    this.#views = views;
    this.#streams = streams;
    this.#prng = new Prng(`${life.server} ${life.incarnation}`);
    this.#firstBucket = this.#prng.below(bucketCount);
  }

  hear(digest: Digest, nowMs: number): void {
    const owner = this.#views.memberNumber(digest);
    if (owner !== noServer) this.#heard.set(owner, { digest, atMs: nowMs });
  }

  /** What was begun is void: something was missed, and what is compared might be wrong. */
  reset(): void {
    this.#walk = undefined;
    this.#heard.clear();
  }

  /** Time passes; returns this module's digest when it is ready. `tick`: the earliest time tier 1s have come to. */
  step(tick: number, nowMs: number): Digest | undefined {
    this.#walk ??= this.#begin(tick, nowMs);
    if (this.#walk === undefined) return undefined;
    this.#go(this.#walk);
    if (this.#walk.cursor !== -1) return undefined;
    const { targets } = this.#walk;
    this.#walk = undefined;
    let own: Digest | undefined;
    for (const [owner, target] of targets.entries()) {
      if (target?.digest !== undefined) this.#compare(owner, target, target.digest, tick);
      else if (target !== undefined && ageTicks(tick, target.tick) <= comparableTicks)
        own = { kind: 'digest', ...this.#life, ...target };
    }
    if (own !== undefined) this.sent++;
    return own;
  }

  /** The next bucket to ask for. */
  nextToAsk(): BucketOf | undefined {
    for (let next = this.#toAsk.shift(); next !== undefined; next = this.#toAsk.shift()) {
      const states = this.#states.get(next.owner);
      if (states?.[next.bucket] !== queued) continue;
      // If it still differs in the next round, it is asked for again.
      states[next.bucket] = once;
      return next;
    }
    return undefined;
  }

  differsIn(owner: number, bucket: number): boolean {
    return (this.#states.get(owner)?.[bucket] ?? 0) !== 0;
  }

  /** What the owner holds in this bucket is known now. */
  settle(owner: number, bucket: number): void {
    const states = this.#states.get(owner);
    if (states !== undefined) states[bucket] = 0;
  }

  #begin(tick: number, nowMs: number): Walk | undefined {
    if (nowMs - this.#walkedAtMs < walkEveryMs) return undefined;
    const targets: (Target | undefined)[] = [];
    let count = 0;
    if (this.#isDue(nowMs)) {
      const positions = reachOf(this.#streams, nowMs);
      targets[this.#views.self] = { tick, positions, sums: new TableSums(), digest: undefined };
      count++;
    }
    for (const [owner, { digest, atMs }] of this.#heard) {
      const isReached = hasReached(this.#streams, digest.positions);
      if (!isReached && nowMs - atMs <= digestWaitMs) continue;
      this.#heard.delete(owner);
      if (!isReached) continue;
      targets[owner] = { tick: digest.tick, positions: digest.positions, sums: new TableSums(), digest };
      count++;
    }
    if (count === 0) return undefined;
    this.#walkedAtMs = nowMs;
    return { targets, cursor: 0 };
  }

  /** The first time somewhen within a round, then a round later each time. */
  #isDue(nowMs: number): boolean {
    const isFirst = this.#dueAtMs === undefined;
    this.#dueAtMs ??= nowMs + this.#prng.fraction() * roundMs;
    if (isFirst || nowMs < this.#dueAtMs) return false;
    this.#dueAtMs = nowMs + roundMs + (this.#prng.fraction() - 0.5) * jitterMs;
    return true;
  }

  #go(walk: Walk): void {
    const { table, recentStarts } = this.#decider;
    const ownFlowsOnly = this.#views.newest?.ownFlowsOnly === true;
    const slots = Math.ceil((table.size * slotsPerEntry) / ticksPerWalk);
    const budget = Math.min(slotsMost, Math.max(slotsLeast, slots));
    walk.cursor = table.scan(walk.cursor, budget, (hi, lo, lastSeen, info) => {
      const target = walk.targets[ownerOf(info)];
      if (target === undefined || !isKnownToAll(info, ownFlowsOnly)) return;
      if (isSettled(hi, lo, lastSeen, info, target.tick, recentStarts)) target.sums.add(hi, lo);
    });
  }

  #compare(owner: number, { sums }: Target, digest: Digest, tick: number): void {
    if (this.#views.memberNumber(digest) !== owner || ageTicks(tick, digest.tick) > comparableTicks) return;
    for (const known of this.#states.keys()) if (this.#views.newest?.isGone(known)) this.#states.delete(known);
    let states = this.#states.get(owner);
    if (states === undefined) {
      states = new Uint8Array(bucketCount);
      this.#states.set(owner, states);
    }
    this.compared++;
    for (let index = 0; index < bucketCount; index++) {
      const bucket = (index + this.#firstBucket) % bucketCount;
      if (!sums.differsIn(bucket, digest.sums)) {
        states[bucket] = 0;
        continue;
      }
      this.differed++;
      if (states[bucket] === once) this.#toAsk.push({ owner, bucket });
      states[bucket] = states[bucket] === 0 ? once : queued;
    }
  }
}
