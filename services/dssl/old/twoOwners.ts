// Flows that two members hold. It must not be, and can be all the same: two tier 1s with different views carry one flow,
// and modules see its two first packets in different orders; or something was missed that nobody noticed. Both servers would
// take every packet. So whoever hears another living member say of a flow of his own that it holds it, says so himself;
// and who hears from the owner with the older claim gives his up: the older view wins.
//
// Both must come to the same conclusion, or neither would have the flow. They do, because of this:
//
// - A claim is three values: the number of the view since when the member has the flow (by which its start was placed, if
//   that is remembered; else the one in which the member joined, which no placement at it can be older than); the one in
//   which it joined; its name. They are compared in this order. Names differ, so of two claims one is the older, and of
//   several one is the oldest.
// - A claim does not change. What a module knows of a start it forgets after ten seconds; so it notes its claim when it
//   first needs it, and says and compares that one from then on, until the flow begins anew. The member's own word counts
//   for all three values, never what the other one thinks of them.
// - Only a claim that was said is a reason to give up, and only one's own flow that is there at that moment is claimed. So
//   who gives up has heard an older claim of one that had the flow when it said so, and the oldest is never given up.
//
// By Fig. 6 a start may have moved a flow, and its former holder not have come as far yet. Its claim would be the older one,
// and it is about to let go. So a claim says how far its member has come, and one is given up only to a member that had
// come as far as this one when it noted its own. If it had not, both say it again.
//
// What is lost is said again, when somebody hears of it the next time; what comes twice finds nothing more to do.

import type { Decider } from '../replica/decide.ts';
import { ownerOf, protocolClassOf, stateOf } from '../replica/flows/entry.ts';
import { flowKey } from '../replica/flows/key.ts';
import { ageTicks } from '../replica/ticks.ts';
import type { ViewHistory } from '../replica/viewHistory.ts';
import { reachOf, type Streams } from './streams.ts';
import { RowKind, type SyncRow } from './sync.ts';
import { isKnownToAll } from './tableSums.ts';

/** Claims noted at most, and for how long; far longer than a message is under way. */
const claimsMax = 4_096;
const claimMs = 600_000;
/** A claim is not said again within this. */
const sayAgainMs = 1_000;

interface OwnClaim {
  readonly hi: number;
  readonly lo: number;
  readonly since: number;
  readonly notedAtMs: number;
  /** Packet time of its start, where that was remembered. */
  readonly startTick: number | undefined;
  /** How far this module had come. */
  readonly positions: ReadonlyMap<string, number>;
  saidAtMs: number;
  isToSay: boolean;
  isCounted: boolean;
}

/** Somebody else's word on a flow that he holds. */
export interface RivalClaim {
  readonly server: string;
  /** Server number of this module's for that life. */
  readonly number: number;
  readonly since: number;
  readonly joinedIn: number;
  /** Packet time when it was said, and how far the member had come. */
  readonly tick: number;
  readonly positions: ReadonlyMap<string, number>;
}

export class TwoOwners {
  /** Flows of this module's that somebody else had too, and those of them that it gave up. */
  found = 0;
  givenUp = 0;
  readonly #server: string;
  readonly #decider: Decider;
  readonly #views: ViewHistory;
  readonly #streams: Streams;
  readonly #claims = new Map<number, OwnClaim>();
  readonly #suspected = new Map<number, readonly [hi: number, lo: number]>();
  #joinedIn: number | undefined;

  constructor(server: string, decider: Decider, views: ViewHistory, streams: Streams) {
    this.#server = server;
    this.#decider = decider;
    this.#views = views;
    this.#streams = streams;
  }

  /** Number of the view in which this module joined: its own word, which stays what it was when first needed. */
  get joinedIn(): number {
    this.#joinedIn ??= this.#views.lifeOf(this.#views.self)?.joinedIn ?? Number.POSITIVE_INFINITY;
    return this.#joinedIn;
  }

  holds(hi: number, lo: number): boolean {
    const { table, tick } = this.#decider;
    return table.find(hi, lo, tick) !== -1 && ownerOf(table.foundInfo) === this.#views.self;
  }

  /** Somebody else says that he holds this flow, with whatever right. If it is held here too, that will be said. */
  suspect(hi: number, lo: number): void {
    if (this.#suspected.size < claimsMax && this.holds(hi, lo)) this.#suspected.set(flowKey(hi, lo), [hi, lo]);
  }

  /** Somebody who lives claims a flow; whether it is one that is held here. */
  hear(hi: number, lo: number, rival: RivalClaim, nowMs: number): boolean {
    if (!this.holds(hi, lo)) return false;
    const { recentStarts, tick } = this.#decider;
    const start = recentStarts.describe(hi, lo, tick);
    // He said so before this flow began; if he has it still, there will be another word of it.
    if (start !== undefined && ageTicks(start.tick, rival.tick) > 0) return true;
    const mine = this.#claim(hi, lo, nowMs);
    if (mine === undefined) return true;
    if (!mine.isCounted) this.found++;
    mine.isCounted = true;
    if (this.#isOlder(rival, mine) && covers(rival.positions, mine.positions)) this.#giveUp(hi, lo, rival);
    else mine.isToSay = true;
    return true;
  }

  /** What is to be said now: flows held here that others hold too. Only what is held at this moment is said. */
  *toSay(nowMs: number): IterableIterator<SyncRow> {
    for (const [hi, lo] of this.#suspected.values()) {
      const claim = this.holds(hi, lo) ? this.#claim(hi, lo, nowMs) : undefined;
      if (claim !== undefined) claim.isToSay = true;
    }
    this.#suspected.clear();
    const { table, tick } = this.#decider;
    for (const claim of this.#claims.values()) {
      if (!claim.isToSay || nowMs - claim.saidAtMs < sayAgainMs) continue;
      claim.isToSay = false;
      const { hi, lo, since } = claim;
      if (!this.holds(hi, lo)) continue;
      claim.saidAtMs = nowMs;
      const state = table.state(table.peek(hi, lo));
      yield { kind: RowKind.flow, hi, lo, tick, state, protocolClass: 0, owner: 0, view: since };
    }
  }

  /** The claim on a flow that is held here, noted once and for all; undefined when too many are noted. */
  #claim(hi: number, lo: number, nowMs: number): OwnClaim | undefined {
    const { recentStarts, tick } = this.#decider;
    const key = flowKey(hi, lo);
    const isStartHere = recentStarts.find(hi, lo, tick) === this.#views.self;
    const start = isStartHere ? recentStarts.describe(hi, lo, tick) : undefined;
    const known = this.#claims.get(key);
    if (known !== undefined) {
      if (known.hi !== hi || known.lo !== lo) return undefined;
      if (start === undefined || start.tick === known.startTick) return known;
      this.#claims.delete(key);
    }
    const since = start?.view ?? this.joinedIn;
    this.#forget(nowMs);
    if (this.#claims.size >= claimsMax || since === Number.POSITIVE_INFINITY) return undefined;
    const claim = {
      ...{ hi, lo, since, notedAtMs: nowMs, startTick: start?.tick, positions: reachOf(this.#streams, nowMs) },
      ...{ saidAtMs: Number.NEGATIVE_INFINITY, isToSay: false, isCounted: false },
    };
    this.#claims.set(key, claim);
    return claim;
  }

  #isOlder({ since, joinedIn, server }: RivalClaim, mine: OwnClaim): boolean {
    if (since !== mine.since) return since < mine.since;
    if (joinedIn !== this.joinedIn) return joinedIn < this.joinedIn;
    return server < this.#server;
  }

  /** The rival has the flow from here on, here as well. The server is told that it has moved. */
  #giveUp(hi: number, lo: number, { number, since }: RivalClaim): void {
    const { table, tick, recentStarts } = this.#decider;
    const slot = table.find(hi, lo, tick);
    const info = table.foundInfo;
    const lastSeen = table.lastSeen(slot);
    this.givenUp++;
    this.#decider.drop(hi, lo, slot, 'moved');
    if (recentStarts.find(hi, lo, tick) !== -1) recentStarts.correct(hi, lo, tick, number, since);
    if (!isKnownToAll(info, this.#views.newest?.ownFlowsOnly === true)) return;
    table.insert(hi, lo, lastSeen, number, stateOf(info), protocolClassOf(info));
  }

  #forget(nowMs: number): void {
    for (const [key, { notedAtMs }] of this.#claims) {
      if (nowMs - notedAtMs <= claimMs) return;
      this.#claims.delete(key);
    }
  }
}

/** Whether one who has come so far has decided all that another one had. A tier 1 he does not hear has nothing to say. */
function covers(reached: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>): boolean {
  for (const [id, sequence] of other) if ((reached.get(id) ?? sequence) < sequence) return false;
  return true;
}
