// Flows that are down for a member here, and that this member does not have. Everybody takes them to be that member's, and
// nobody takes their packets; they must be forgotten, or given to whom they belong. This is the only place where something
// is forgotten on the word of others. A flow that is wrong here may be right elsewhere, and who forgets it and is then chosen
// for it would take what another one has. So it waits until *every* member has told what it holds in that bucket; whoever
// says nothing is waited for in vain, and nothing happens.
//
// Nothing can have come between what they told and what is done, because
//
// - all of them had missed nothing when they looked, and are members in the newest view; this module has decided all that
//   each of them had decided then, has missed nothing since, and is sure (antiEntropy.ts begins anew otherwise);
// - the flow did not begin lately;
// - either it had no packet since some seconds before the first of them looked: so none can have taken it since. Then it is
//   forgotten, and its next packet is placed, by all who do not have it alike.
// - Or it has packets, and all tier 1s have stamped the newest view since they looked. Then whoever took it meanwhile did so
//   by that view. If the view places it here, nobody else did: it is forgotten, and will be taken here. If it places it at
//   another one, it is put down for that one.

import type { Decider } from '../replica/decide.ts';
import { ownerOf } from '../replica/flows/entry.ts';
import { flowKey } from '../replica/flows/key.ts';
import { ageTicks } from '../replica/ticks.ts';
import { noServer, type ViewHistory } from '../replica/viewHistory.ts';
import type { Holding } from './bucketRepair.ts';
import { tellAgainMs } from './bucketRepair.ts';

/** A flow is quiet when it had no packet since so long before anybody looked. */
const quietTicks = 30;
/** Members are asked when one of them has just told, so a moment later; and have so long to tell. */
const askAfterMs = tellAgainMs + 200;
const caseMs = 6_000;
/** Buckets that are looked into at a time; further ones come in a later round. */
const casesMost = 4;

interface Case {
  readonly openedAtMs: number;
  /** Number of the newest view; when that changes, the case is dropped. */
  readonly view: number;
  readonly holdings: Map<number, Holding>;
  isAsked: boolean;
}

export class StaleFlows {
  forgotten = 0;
  readonly #decider: Decider;
  readonly #views: ViewHistory;
  readonly #cases = new Map<number, Case>();

  constructor(decider: Decider, views: ViewHistory) {
    this.#decider = decider;
    this.#views = views;
  }

  reset(): void {
    this.#cases.clear();
  }

  isOpen(bucket: number): boolean {
    return this.#cases.has(bucket);
  }

  /** A member has told what it holds in a bucket. */
  onHolding(holding: Holding, nowMs: number): void {
    const { bucket, owner } = holding;
    const { newest } = this.#views;
    if (newest === undefined) return;
    let open = this.#cases.get(bucket);
    if (open === undefined) {
      if (this.#cases.size >= casesMost || !this.#hasStale(holding)) return;
      open = { openedAtMs: nowMs, view: newest.view.number, holdings: new Map(), isAsked: false };
      this.#cases.set(bucket, open);
    }
    open.holdings.set(owner, holding);
    if (open.view !== newest.view.number) this.#cases.delete(bucket);
    else if (this.#hasEverybody(open)) {
      this.#cases.delete(bucket);
      this.#judge(bucket, open.holdings);
    }
  }

  /** A bucket of which all members are to tell what they hold in it; undefined for none. */
  nextToAsk(nowMs: number): number | undefined {
    for (const [bucket, open] of this.#cases) {
      const ageMs = nowMs - open.openedAtMs;
      if (ageMs > caseMs) this.#cases.delete(bucket);
      else if (!open.isAsked && ageMs >= askAfterMs) {
        open.isAsked = true;
        return bucket;
      }
    }
    return undefined;
  }

  #hasStale(holding: Holding): boolean {
    return this.#stale(holding.bucket, new Map([[holding.owner, holding]])).length > 0;
  }

  #hasEverybody({ holdings }: Case): boolean {
    return (
      this.#views.newest?.view.members.every((member) => {
        const number = this.#views.memberNumber(member);
        return number === noServer || number === this.#views.self || holdings.has(number);
      }) === true
    );
  }

  /** Flows of this bucket that are down for one of those who told, and that none of them has, as pairs of hash halves. */
  #stale(bucket: number, holdings: ReadonlyMap<number, Holding>): number[] {
    const { table, recentStarts } = this.#decider;
    const stale: number[] = [];
    const told = [...holdings.values()];
    table.scanBucket(bucket, (hi, lo, _lastSeen, info) => {
      const owner = holdings.get(ownerOf(info));
      const key = flowKey(hi, lo);
      if (owner === undefined || told.some(({ flows }) => flows.has(key))) return;
      if (recentStarts.find(hi, lo, owner.tick) === -1) stale.push(hi, lo);
    });
    return stale;
  }

  #judge(bucket: number, holdings: ReadonlyMap<number, Holding>): void {
    const { table, tick } = this.#decider;
    const { newest, self } = this.#views;
    if (newest === undefined) return;
    const told = [...holdings.values()];
    const earliest = told.reduce((least, { tick: at }) => (ageTicks(least, at) > 0 ? at : least), told[0].tick);
    const isOneView = !newest.placesByOrdinal && told.every(({ view }) => view === newest.view.number);
    const stale = this.#stale(bucket, holdings);
    for (let at = 0; at < stale.length; at += 2) {
      const [hi, lo] = [stale[at], stale[at + 1]];
      const slot = table.find(hi, lo, tick);
      if (slot === -1) continue;
      const isQuiet = ageTicks(earliest, table.lastSeen(slot)) >= quietTicks;
      if (!isQuiet && !isOneView) continue;
      const placed = isQuiet ? self : newest.place(hi, lo, 0);
      if (placed === noServer || placed === table.owner(slot)) continue;
      this.forgotten++;
      if (placed === self) table.remove(slot);
      else table.setOwner(slot, placed);
    }
  }
}
