// What follows when tables differ (digestRounds.ts): the owner tells everybody which flows it holds in that bucket, and
// whoever differs there sets its own table right.
//
// A flow that the owner holds and that is missing here, or is down for another one, is taken in as hearsay is. One that is
// down for the owner here, and that the owner does not have, is stale: everybody takes it to be the owner's, and nobody takes
// its packets. What becomes of it is decided in staleFlows.ts, when all members have told what they hold in that bucket.

import type { Life } from '../../../shared/membership/transitions.ts';
import type { Decider } from '../replica/decide.ts';
import { type FlowState, idleIndexOf, ownerOf, packInfo, protocolClassOf, stateOf } from '../replica/flows/entry.ts';
import { flowKey } from '../replica/flows/key.ts';
import { idleTicks } from '../replica/idleLimits.ts';
import { ageTicks } from '../replica/ticks.ts';
import { noServer, type ViewHistory } from '../replica/viewHistory.ts';
import type { BucketChunk, BucketRequest } from './entropyMessages.ts';
import type { Hearsay } from './hearsay.ts';
import { hasReached, oldestStamped, reachOf, type Streams } from './streams.ts';
import { RowKind, RowQueue, readRows, rowsPerChunk } from './sync.ts';
import { bucketCount, isKnownToAll } from './tableSums.ts';
import type { TwoOwners } from './twoOwners.ts';

/** Buckets told in a second, and chunks of them in one tick. */
const tellEveryMs = 250;
const chunksPerTick = 2;
/** A bucket is not told again within this: everybody has heard it. */
export const tellAgainMs = 1_000;
/** Buckets that wait to be told; who asked for others asks again. */
const waitingMost = 32;
/** A list longer than this is not told; it would belong to a member with sixteen million flows of its own. */
const chunksMost = 16;
/** A list that is not whole, or that this module has not come as far as, after so long is given up. */
const listWaitMs = 3_000;

/** What a member said that it holds in a bucket. */
export interface Holding {
  readonly owner: number;
  readonly bucket: number;
  /** Packet time when it looked, and the oldest view that a tier 1 stamped then. */
  readonly tick: number;
  readonly view: number;
  /** By `flowKey`. */
  readonly flows: ReadonlySet<number>;
}

interface List {
  readonly first: BucketChunk;
  readonly chunks: Uint8Array[];
  readonly heardAtMs: number;
  isWhole: boolean;
}

export class BucketRepair {
  told = 0;
  /** Flows taken in that were missing here or down for somebody else. */
  repaired = 0;
  readonly #life: Life;
  readonly #decider: Decider;
  readonly #views: ViewHistory;
  readonly #streams: Streams;
  readonly #hearsay: Hearsay;
  readonly #twoOwners: TwoOwners;
  readonly #waiting = new Set<number>();
  readonly #toldAtMs = new Float64Array(bucketCount).fill(Number.NEGATIVE_INFINITY);
  /** Lists that come in, by server number. */
  readonly #lists = new Map<number, List>();
  #toSend: BucketChunk[] = [];
  #lastToldMs = Number.NEGATIVE_INFINITY;
  #nonce = 0;

  constructor(
    life: Life,
    decider: Decider,
    views: ViewHistory,
    streams: Streams,
    hearsay: Hearsay,
    twoOwners: TwoOwners,
  ) {
    this.#life = life;
    this.#decider = decider;
    this.#views = views;
    this.#streams = streams;
    this.#hearsay = hearsay;
    this.#twoOwners = twoOwners;
  }

  /** Somebody asks for a bucket. */
  onRequest({ to, bucket }: BucketRequest, nowMs: number): void {
    if ((to !== undefined && to !== this.#life.server) || this.#waiting.size >= waitingMost) return;
    if (nowMs - this.#toldAtMs[bucket] >= tellAgainMs) this.#waiting.add(bucket);
  }

  onChunk(chunk: BucketChunk, nowMs: number): void {
    const owner = this.#views.memberNumber(chunk);
    if (owner === noServer) return;
    if (chunk.chunk === 0) this.#lists.set(owner, { first: chunk, chunks: [], heardAtMs: nowMs, isWhole: false });
    const list = this.#lists.get(owner);
    if (list === undefined || list.isWhole) return;
    if (list.first.nonce !== chunk.nonce || list.chunks.length !== chunk.chunk || chunk.chunk >= chunksMost) {
      this.#lists.delete(owner);
      return;
    }
    list.chunks.push(chunk.rows);
    list.isWhole = chunk.isLast;
  }

  /** Something was missed: neither what was told before nor what was heard before counts any more. */
  reset(): void {
    this.#waiting.clear();
    this.#lists.clear();
    this.#toSend = [];
  }

  /** The chunks to be sent now. `tick`: the earliest packet time that tier 1s have come to. */
  toSend(tick: number, nowMs: number): readonly BucketChunk[] {
    if (this.#toSend.length === 0 && nowMs - this.#lastToldMs >= tellEveryMs) {
      const [bucket] = this.#waiting;
      if (bucket !== undefined) this.#tell(bucket, tick, nowMs);
    }
    return this.#toSend.splice(0, chunksPerTick);
  }

  /** Takes in the lists that are whole, where `concerns` says so; `done` gets what each member holds in which bucket. */
  takeIn(concerns: (owner: number, bucket: number) => boolean, done: (holding: Holding) => void, nowMs: number): void {
    for (const [owner, list] of this.#lists) {
      const { first, isWhole, heardAtMs } = list;
      const isReady = isWhole && hasReached(this.#streams, first.positions);
      if (!isReady && nowMs - heardAtMs <= listWaitMs) continue;
      this.#lists.delete(owner);
      if (!isReady || !concerns(owner, first.bucket) || this.#views.memberNumber(first) !== owner) continue;
      done({ owner, bucket: first.bucket, tick: first.tick, view: first.view, flows: this.#takeIn(owner, list) });
    }
  }

  #tell(bucket: number, tick: number, nowMs: number): void {
    this.#waiting.delete(bucket);
    this.#toldAtMs[bucket] = nowMs;
    this.#lastToldMs = nowMs;
    const { self, newest } = this.#views;
    const rows = new RowQueue();
    this.#decider.table.scanBucket(bucket, (hi, lo, lastSeen, info) => {
      if (ownerOf(info) !== self || !isKnownToAll(info, newest?.ownFlowsOnly === true)) return;
      const view = newest?.view.number ?? 0;
      const [state, protocolClass] = [stateOf(info), protocolClassOf(info)];
      rows.add({ kind: RowKind.flow, hi, lo, tick: lastSeen, state, protocolClass, owner: 0, view });
    });
    if (rows.count > chunksMost * rowsPerChunk) return;
    const { joinedIn } = this.#twoOwners;
    const positions = reachOf(this.#streams, nowMs);
    const view = oldestStamped(this.#streams, nowMs);
    const nonce = ++this.#nonce;
    const about = { kind: 'bucket' as const, ...this.#life, joinedIn, bucket, nonce, tick, view, positions };
    do {
      const chunk = this.#toSend.length;
      this.#toSend.push({ ...about, chunk, rows: rows.takeChunk(), isLast: rows.count === 0 });
    } while (rows.count > 0);
    this.told++;
  }

  #takeIn(owner: number, { first, chunks }: List): ReadonlySet<number> {
    const { table, tick } = this.#decider;
    const held = new Set<number>();
    const known = new RowQueue();
    for (const rows of chunks) {
      readRows(rows, (row) => {
        const { hi, lo, kind, tick: lastSeen, state, protocolClass } = row;
        if (kind !== RowKind.flow || row.owner !== 0 || hi >>> 24 !== first.bucket) return;
        held.add(flowKey(hi, lo));
        const limit = idleTicks[idleIndexOf(packInfo(owner, 0, state, protocolClass))];
        if (ageTicks(tick, lastSeen) > limit) return;
        const isHere = table.find(hi, lo, tick) !== -1;
        if (isHere && ownerOf(table.foundInfo) === this.#views.self) {
          this.#twoOwners.suspect(hi, lo);
          return;
        }
        const isItsOwn = isHere && ownerOf(table.foundInfo) === owner;
        const differs = !isItsOwn || this.#followState(hi, lo, lastSeen, state);
        if (differs) this.repaired++;
        known.add(row);
      });
    }
    const { server, incarnation, joinedIn } = first;
    while (known.count > 0)
      this.#hearsay.takeIn({ owners: [{ server, incarnation, joinedIn }], rows: known.takeChunk() });
    return held;
  }

  /**
   * Members may see a flow's packets by two tier 1s in another order, and take it to be established where its owner does
   * not. Then they would forget it at different times. The owner's word counts, if nothing was seen here since.
   */
  #followState(hi: number, lo: number, lastSeen: number, state: FlowState): boolean {
    const { table } = this.#decider;
    const slot = table.peek(hi, lo);
    if (table.state(slot) === state || ageTicks(table.lastSeen(slot), lastSeen) > 0) return false;
    table.setState(slot, state);
    return true;
  }
}
