// Members of a group that should know the same, and see to it that they do: for good, not only when somebody joins or
// notices that frames were missed. This is anti-entropy (Demers et al., "Epidemic algorithms for replicated database
// maintenance", 1987), with the owner of a flow as the one who knows.
//
//   every ~10 s   digestRounds.ts   "this is what I hold, summed up"     others compare with what they have down for me
//   it differs    bucketRepair.ts   "what do you hold in this bucket?"   the owner tells everybody; who differs takes it in
//   nobody has it staleFlows.ts     "what do you all hold there?"        and what none of them has is forgotten
//   a flow twice  twoOwners.ts      "I have this flow since view n"      the older one keeps it
//   a new view    startClaims.ts    "these began here just now"          so that flows taken twice are found at once
//
// All of it is the word of members that know what they say: who joins, or has missed frames, neither speaks nor listens
// here, and begins anew when it is sure again. Nothing depends on these messages; when they are lost, the next round will do.

import type { Life } from '../../../shared/membership/transitions.ts';
import type { Decider } from '../replica/decide.ts';
import { ageTicks } from '../replica/ticks.ts';
import { noServer, type ViewHistory } from '../replica/viewHistory.ts';
import { BucketRepair } from './bucketRepair.ts';
import { DigestRounds } from './digestRounds.ts';
import { type Claim, encodeEntropy, readEntropy } from './entropyMessages.ts';
import type { Hearsay } from './hearsay.ts';
import type { Missed } from './missed.ts';
import { StaleFlows } from './staleFlows.ts';
import type { Standing } from './standing.ts';
import { StartClaims } from './startClaims.ts';
import { reachOf, type Streams } from './streams.ts';
import { RowKind, RowQueue, readRows, type SyncRow } from './sync.ts';
import { TwoOwners } from './twoOwners.ts';

/** A bucket is asked for at most so often. */
const askEveryMs = 500;
/** Where the table is fuller than this, what is missing in it has been left out, and is not to be repaired. */
const fullShare = 0.98;

/** What the module is and knows. */
export interface EntropyParts {
  readonly candidate: Life;
  readonly decider: Decider;
  readonly views: ViewHistory;
  readonly streams: Streams;
  readonly missed: Missed;
  readonly standing: Standing;
  readonly hearsay: Hearsay;
}

export interface EntropyCounters {
  /** Digests said, and those of others that were compared. */
  readonly digestsSent: number;
  readonly digestsCompared: number;
  /** Buckets that differed from what their owner said; those asked for; those told to others. */
  readonly bucketsDiffered: number;
  readonly bucketsAsked: number;
  readonly bucketsTold: number;
  /** Flows that were missing here, or were down for another owner, and those down for an owner that did not have them. */
  readonly rowsRepaired: number;
  readonly entriesForgotten: number;
  /** Flows held here that another member held too; those of them that were given up. */
  readonly twoOwners: number;
  readonly givenUp: number;
}

export class AntiEntropy {
  readonly #parts: EntropyParts;
  readonly #life: Life;
  readonly #maxFlows: number;
  readonly #publish: (message: Uint8Array) => void;
  readonly #rounds: DigestRounds;
  readonly #repair: BucketRepair;
  readonly #staleFlows: StaleFlows;
  readonly #twoOwners: TwoOwners;
  readonly #startClaims: StartClaims;
  readonly #toSay = new RowQueue();
  #asked = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #resyncs = 0;

  /** `publish` sends to the other modules of the group. */
  constructor(parts: EntropyParts, maxFlows: number, publish: (message: Uint8Array) => void) {
    this.#parts = parts;
    this.#maxFlows = maxFlows;
    this.#publish = publish;
    const { decider, views, streams, hearsay } = parts;
    const { server, incarnation } = parts.candidate;
    const life = { server, incarnation };
    this.#life = life;
    this.#twoOwners = new TwoOwners(life.server, decider, views, streams);
    this.#rounds = new DigestRounds(life, decider, views, streams);
    this.#repair = new BucketRepair(life, decider, views, streams, hearsay, this.#twoOwners);
    this.#staleFlows = new StaleFlows(decider, views);
    this.#startClaims = new StartClaims(decider, views.self);
    hearsay.onClaim = (hi, lo) => this.#twoOwners.suspect(hi, lo);
  }

  get counters(): EntropyCounters {
    return {
      digestsSent: this.#rounds.sent,
      digestsCompared: this.#rounds.compared,
      bucketsDiffered: this.#rounds.differed,
      bucketsAsked: this.#asked,
      bucketsTold: this.#repair.told,
      rowsRepaired: this.#repair.repaired,
      entriesForgotten: this.#staleFlows.forgotten,
      twoOwners: this.#twoOwners.found,
      givenUp: this.#twoOwners.givenUp,
    };
  }

  /** The newest view has changed. */
  onChange(tick: number, nowMs: number): void {
    this.#startClaims.onChange(tick, nowMs);
  }

  /** Fields of a message on the group's control subject; false when it is none of these. */
  onFields(fields: unknown[], nowMs: number): boolean {
    const message = readEntropy(fields);
    if (message === undefined) return false;
    const from = message.kind === 'ask' ? message.from : message.server;
    if (from === this.#life.server || !this.#isSteady()) return true;
    if (message.kind === 'ask') this.#repair.onRequest(message, nowMs);
    else if (message.kind === 'bucket') this.#repair.onChunk(message, nowMs);
    else if (message.kind === 'claim') this.#onClaim(message, nowMs);
    else if (!this.#isFull()) this.#rounds.hear(message, nowMs);
    return true;
  }

  /** Time passes. `tick`: the earliest packet time that tier 1s heard lately have come to. */
  tick(tick: number, nowMs: number): void {
    if (!this.#isSteady() || this.#resyncs !== this.#parts.missed.resyncs) {
      this.#resyncs = this.#parts.missed.resyncs;
      this.#rounds.reset();
      this.#repair.reset();
      this.#staleFlows.reset();
      this.#startClaims.reset();
      return;
    }
    this.#sayClaims(tick, nowMs);
    if (!this.#isFull()) {
      const digest = this.#rounds.step(tick, nowMs);
      if (digest !== undefined) this.#publish(encodeEntropy(digest));
      this.#ask(nowMs);
      this.#repair.takeIn(
        (owner, bucket) => this.#rounds.differsIn(owner, bucket) || this.#staleFlows.isOpen(bucket),
        (holding) => {
          this.#rounds.settle(holding.owner, holding.bucket);
          this.#staleFlows.onHolding(holding, nowMs);
        },
        nowMs,
      );
    }
    for (const chunk of this.#repair.toSend(tick, nowMs)) this.#publish(encodeEntropy(chunk));
  }

  #isSteady(): boolean {
    const { standing, decider, missed } = this.#parts;
    return standing.isEstablished && decider.guesses === undefined && !missed.isAny;
  }

  #isFull(): boolean {
    return this.#parts.decider.table.size > fullShare * this.#maxFlows;
  }

  #ask(nowMs: number): void {
    if (nowMs - this.#askedAtMs < askEveryMs) return;
    const stale = this.#staleFlows.nextToAsk(nowMs);
    const next = stale === undefined ? this.#rounds.nextToAsk() : undefined;
    const bucket = stale ?? next?.bucket;
    if (bucket === undefined) return;
    const to = next && this.#parts.views.lifeOf(next.owner)?.server;
    this.#askedAtMs = nowMs;
    this.#asked++;
    this.#publish(encodeEntropy({ kind: 'ask', to, from: this.#life.server, bucket }));
  }

  #sayClaims(tick: number, nowMs: number): void {
    const rows = this.#toSay;
    for (const row of this.#twoOwners.toSay(nowMs)) rows.add(row);
    while (rows.count > 0) this.#claim(rows.takeChunk(), nowMs);
    const starts = this.#startClaims.next(tick, nowMs);
    if (starts !== undefined) this.#claim(starts, nowMs);
  }

  #claim(rows: Uint8Array, nowMs: number): void {
    const { joinedIn } = this.#twoOwners;
    if (joinedIn === Number.POSITIVE_INFINITY) return;
    const positions = reachOf(this.#parts.streams, nowMs);
    this.#publish(encodeEntropy({ kind: 'claim', ...this.#life, joinedIn, positions, rows }));
  }

  /** Another member says what it holds. What is held here too is disputed; what is not is taken in. */
  #onClaim(claim: Claim, nowMs: number): void {
    const { views, decider, hearsay } = this.#parts;
    const number = views.memberNumber(claim);
    if (number === noServer) return;
    const { server, incarnation, joinedIn, positions } = claim;
    const { recentStarts } = decider;
    const others = new RowQueue();
    readRows(claim.rows, (row) => {
      const { hi, lo, kind, tick, view, owner } = row;
      if (owner !== 0) return;
      if (kind === RowKind.flow) {
        this.#twoOwners.hear(hi, lo, { server, number, since: view, joinedIn, tick, positions }, nowMs);
      } else if (this.#twoOwners.holds(hi, lo)) {
        this.#twoOwners.suspect(hi, lo);
      } else {
        const known = recentStarts.describe(hi, lo, decider.tick);
        if (known === undefined) others.add(row);
        else if (view < known.view && Math.abs(ageTicks(tick, known.tick)) <= recentStarts.windowTicks)
          this.#correct(row, number);
      }
    });
    while (others.count > 0) hearsay.takeIn({ owners: [{ server, incarnation, joinedIn }], rows: others.takeChunk() });
  }

  /** The start that this module remembers for another member went to this one by an older view. */
  #correct({ hi, lo, view, kind }: Readonly<SyncRow>, number: number): void {
    const { recentStarts, table, tick } = this.#parts.decider;
    recentStarts.correct(hi, lo, tick, number, view);
    const slot = kind === RowKind.startInTable ? table.find(hi, lo, tick) : -1;
    if (slot !== -1) table.setOwner(slot, number);
  }
}
