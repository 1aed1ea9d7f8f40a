// Which members of a group have died: quick to say so, and not wrongly.
//
// Every member is watched by a few others, those that follow it in the order of names, in a ring. A watcher that has not heard
// a member for `suspectMs` tells the group that it suspects it. Whoever hears that it is suspected itself says at once that it
// lives. When the member goes on being silent for `confirmMs` more, the watcher is sure, and tells that too. Dead it is only if a
// second watcher, where there is one that is not suspected itself, is sure as well: what one watcher alone does not hear, it
// may be to blame for. That the second one suspects it is not enough. It may have heard it since, where the first one cannot.
//
//   heard ──► silent for suspectMs ──► suspected, told to all ──► for confirmMs more ──► sure ──► another one is, too ──► dead
//                     ▲                        │ it speaks                             │
//                     └────────────────────────┴───────────────────────────────────────┘
//
// A watcher must not take its own trouble for another's. Three things keep it from that:
//
//   - It listens to its own signs of life, which come back from the bus on the same connection as the others'. Silence is
//     counted only up to the last of them: who was paused, or is cut off, or whose bus is down, hears itself no more than
//     the others, and judges nobody. Nor does who goes on after a pause, with what has come meanwhile still to be read: one
//     that comes back late counts as of when it was sent. They are numbered: who misses some of its own misses some of the
//     others', and is not sure of anybody.
//   - After its own connection was down nobody is judged for a while: the others may have lost theirs by the same cause, and
//     come back a little later.
//   - Whoever is suspected and lives is slow, and who is slow does well to be patient with others: its own limits grow, up to
//     `slownessMax` + 1 times, and shrink again with time (local health, as in Lifeguard; arXiv:1707.00788).
//
// Pure: what was heard goes in, with the time; whom to suspect and who is dead comes out. Removing a dead member is the
// business of a view (membership.ts), and a member that was removed wrongly is fenced by that.

import type { ClusterSettings } from '../config/settings.ts';
import { compareNames } from '../placement/seed.ts';
import { isLifeOf, type Life } from './transitions.ts';
import type { View } from './view.ts';

export type WatchingSettings = ClusterSettings['watching'];

/** Of a member that was never heard; it may not have begun to speak. */
const neverHeardMs = 1_500;
/** After the own connection came back. NATS clients try again after at most 750 ms, and a server takes a moment to start. */
const reconnectedMs = 3_000;
/** A suspicion that is not repeated is over after so many times `suspectMs`; it is repeated each `suspectMs`. */
const suspicionLasts = 2.5;
/** Own signs of life that must have come back without a gap before anybody is suspected, and before this member is sure. */
const wholeEchoes = 3;
const wholeEchoesSure = 7;
const slownessMax = 4;
/** Slowness falls by one in this time. */
const recoversMs = 5_000;

interface Watched {
  readonly life: Life;
  /** When it was last heard, or what counts as that. */
  heardAtMs: number;
  wasHeard: boolean;
  /** When another life of the same server was heard: as a rule a later one, and then the view at hand is old. */
  otherLifeAtMs: number;
  /** Who suspects it: when they last said so, and whether they were sure. */
  readonly suspecters: Map<string, { readonly atMs: number; readonly isSure: boolean }>;
  /** Since when this member suspects it itself. */
  suspectedAtMs: number | undefined;
  toldAtMs: number;
  toldSure: boolean;
  /** Since when it is dead, as far as can be seen from here. */
  deadAtMs: number | undefined;
}

/** A member that is dead, and for how long. `rank`: how many of those that know have an earlier name, and so act before. */
export interface Death {
  readonly life: Life;
  readonly sinceMs: number;
  readonly silentMs: number;
  readonly rank: number;
}

export interface Suspect {
  readonly life: Life;
  readonly isSure: boolean;
}

export interface Findings {
  /** Lives to tell the group of: this member suspects them, or is sure of them. */
  readonly suspects: readonly Suspect[];
  readonly dead: readonly Death[];
}

const nothing: Findings = { suspects: [], dead: [] };

export class FailureDetector {
  readonly #self: Life;
  #settings: WatchingSettings;
  readonly #members = new Map<string, Watched>();
  /** Names in the order of the ring, this member's among them. */
  #ring: readonly string[] = [];
  #watched: readonly string[] = [];
  /** Up to when this member has heard what the others sent, as its own signs of life show. */
  #hearsUntilMs = Number.NEGATIVE_INFINITY;
  #echo = -1;
  /** How many came back since one was missing. */
  #wholeSince = 0;
  /** Nobody is judged before. */
  #deafUntilMs = Number.NEGATIVE_INFINITY;
  #slowness = 0;
  #slowAtMs = 0;

  constructor(self: Life, settings: WatchingSettings) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#settings = settings;
  }

  /** Members whose signs of life this one has to listen to. */
  get watched(): readonly string[] {
    return this.#watched;
  }

  /** How much more patient than usual this member is: 0 is usual. */
  get slowness(): number {
    return this.#slowness;
  }

  /** Whether this member, or anybody who told, suspects it at the moment. */
  isSuspected(server: string, nowMs: number): boolean {
    const member = this.#members.get(server);
    if (member === undefined || member.suspecters.size === 0) return false;
    return this.#suspectersOf(member, nowMs).length > 0;
  }

  retune(settings: WatchingSettings): void {
    this.#settings = settings;
    this.#choose();
  }

  /** The newest view: who is to be watched by whom. */
  follow(view: View, nowMs: number): void {
    // Whoever begins to listen knows as little of the others as whoever was cut off.
    if (this.#ring.length === 0) this.reconnected(nowMs);
    const present = new Set<string>();
    for (const { server, incarnation } of view.members) {
      present.add(server);
      const known = this.#members.get(server);
      if (server === this.#self.server || known?.life.incarnation === incarnation) continue;
      if (known !== undefined) this.#forgetWords(server);
      this.#members.set(server, {
        life: { server, incarnation },
        heardAtMs: nowMs,
        wasHeard: false,
        otherLifeAtMs: Number.NEGATIVE_INFINITY,
        suspecters: new Map(),
        suspectedAtMs: undefined,
        toldAtMs: Number.NEGATIVE_INFINITY,
        toldSure: false,
        deadAtMs: undefined,
      });
    }
    for (const name of this.#members.keys()) {
      if (present.has(name)) continue;
      this.#members.delete(name);
      this.#forgetWords(name);
    }
    this.#ring = [...present].sort(compareNames);
    const before = this.#watched;
    this.#choose();
    for (const name of this.#watched) {
      const member = this.#members.get(name);
      // Nobody listened to its beats here until now.
      if (member !== undefined && !before.includes(name)) member.heardAtMs = nowMs;
    }
  }

  /** An own sign of life has come back: everything was heard that others sent until `untilMs`. */
  heardSelf(beat: number, untilMs: number): void {
    if (beat <= this.#echo) return;
    this.#wholeSince = beat === this.#echo + 1 ? this.#wholeSince + 1 : 0;
    this.#echo = beat;
    this.#hearsUntilMs = untilMs;
  }

  /** A sign of life of another member. */
  heard(life: Life, nowMs: number): void {
    const member = this.#members.get(life.server);
    if (member === undefined) return;
    if (member.life.incarnation !== life.incarnation) {
      member.otherLifeAtMs = nowMs;
      return;
    }
    member.heardAtMs = nowMs;
    member.wasHeard = true;
    member.suspectedAtMs = undefined;
    member.deadAtMs = undefined;
  }

  /** `from` suspects a life. True when it is this member's own, which should say that it lives. */
  suspected(from: string, { life, isSure }: Suspect, nowMs: number): boolean {
    if (isLifeOf(life, this.#self)) {
      if (from === this.#self.server) return false;
      this.#slow(nowMs);
      return true;
    }
    const member = this.#members.get(life.server);
    if (member?.life.incarnation === life.incarnation) member.suspecters.set(from, { atMs: nowMs, isSure });
    return false;
  }

  /** The own connection is there, or there again. */
  reconnected(nowMs: number): void {
    this.#deafUntilMs = nowMs + reconnectedMs;
  }

  tick(nowMs: number): Findings {
    this.#recover(nowMs);
    const judges = nowMs >= this.#deafUntilMs;
    if (!judges) this.#excuse(nowMs);
    if (this.#wholeSince < wholeEchoes) return nothing;
    let suspects: Suspect[] | undefined;
    let dead: Death[] | undefined;
    for (const name of this.#watched) {
      const member = this.#members.get(name);
      if (member === undefined) continue;
      if (this.#suspects(member, nowMs)) {
        const isSure = this.#isSureOf(member);
        member.suspecters.set(this.#self.server, { atMs: nowMs, isSure });
        if (this.#isNews(member, isSure, nowMs)) suspects = [...(suspects ?? []), { life: member.life, isSure }];
      }
      const death = judges ? this.#deathOf(member, nowMs) : undefined;
      if (death !== undefined) dead = [...(dead ?? []), death];
    }
    return suspects === undefined && dead === undefined ? nothing : { suspects: suspects ?? [], dead: dead ?? [] };
  }

  /** How long it has been silent while this member could hear. */
  #silenceOf({ heardAtMs }: Watched): number {
    return this.#hearsUntilMs - heardAtMs;
  }

  #suspects(member: Watched, nowMs: number): boolean {
    const { suspectMs } = this.#settings;
    const limit = (member.wasHeard ? suspectMs : Math.max(suspectMs, neverHeardMs)) * (1 + this.#slowness);
    if (this.#silenceOf(member) < limit) return false;
    member.suspectedAtMs ??= nowMs;
    return true;
  }

  /** For agreeing with another watcher a slow one need not be patient a second time: that one will be, if it is slow as well. */
  #isSureOf(member: Watched): boolean {
    if (this.#wholeSince < wholeEchoesSure) return false;
    return this.#silenceOf(member) >= this.#settings.suspectMs + this.#settings.confirmMs;
  }

  /** Whether the group is to be told, now or again. */
  #isNews(member: Watched, isSure: boolean, nowMs: number): boolean {
    if (nowMs - member.toldAtMs < this.#settings.suspectMs && member.toldSure === isSure) return false;
    member.toldAtMs = nowMs;
    member.toldSure = isSure;
    return true;
  }

  #deathOf(member: Watched, nowMs: number): Death | undefined {
    const { suspectedAtMs } = member;
    if (suspectedAtMs === undefined) return undefined;
    // Of the time since, what counts is again what this member could have heard in.
    if (this.#hearsUntilMs - suspectedAtMs < this.#settings.confirmMs * (1 + this.#slowness)) return undefined;
    const sure = this.#suspectersOf(member, nowMs).filter((name) => member.suspecters.get(name)?.isSure);
    const watchers = this.#watchersOf(member.life.server).filter(
      (name) => name === this.#self.server || !this.isSuspected(name, nowMs),
    );
    if (sure.length < Math.min(2, watchers.length)) return undefined;
    if (!sure.includes(this.#self.server) || (sure.length === 1 && !this.#isAlone(member, nowMs))) return undefined;
    member.deadAtMs ??= nowMs;
    const rank = sure.filter(
      (name) => compareNames(name, this.#self.server) < 0 && !this.isSuspected(name, nowMs),
    ).length;
    return { life: member.life, sinceMs: member.deadAtMs, silentMs: nowMs - member.heardAtMs, rank };
  }

  /** Whom a server suspected in a former life, it has yet to suspect in the next. */
  #forgetWords(server: string): void {
    for (const { suspecters } of this.#members.values()) suspecters.delete(server);
  }

  /** The other watchers are silent too, in any life: as long as they spoke, that they did not suspect it spoke for it. */
  #isAlone({ life }: Watched, nowMs: number): boolean {
    const limit = (this.#settings.suspectMs + this.#settings.confirmMs) * (1 + this.#slowness);
    return this.#watchersOf(life.server).every((name) => {
      const other = this.#members.get(name);
      return other === undefined || nowMs - Math.max(other.heardAtMs, other.otherLifeAtMs) >= limit;
    });
  }

  #suspectersOf({ suspecters, life }: Watched, nowMs: number): string[] {
    const lasts = this.#settings.suspectMs * suspicionLasts * (1 + this.#slowness);
    const watchers = this.#watchersOf(life.server);
    return [...suspecters]
      .filter(([name, { atMs }]) => nowMs - atMs < lasts && watchers.includes(name))
      .map(([name]) => name);
  }

  #watchersOf(server: string): string[] {
    const at = this.#ring.indexOf(server);
    if (at === -1) return [];
    const many = Math.min(this.#settings.watchers, this.#ring.length - 1);
    return Array.from({ length: many }, (_, step) => this.#ring[(at + 1 + step) % this.#ring.length]);
  }

  #choose(): void {
    const at = this.#ring.indexOf(this.#self.server);
    const { length } = this.#ring;
    const many = at === -1 ? 0 : Math.min(this.#settings.watchers, length - 1);
    this.#watched = Array.from({ length: many }, (_, step) => this.#ring[(at - 1 - step + length) % length]);
  }

  /**
   * Of one that was never heard, this is time enough to be heard in: it is suspected meanwhile. Somebody else may know that
   * it is dead, and only lack a second one who agrees.
   */
  #excuse(nowMs: number): void {
    for (const member of this.#members.values()) {
      if (!member.wasHeard) continue;
      member.heardAtMs = nowMs;
      member.suspectedAtMs = undefined;
      member.deadAtMs = undefined;
    }
  }

  #slow(nowMs: number): void {
    if (this.#slowness === 0 || nowMs - this.#slowAtMs > this.#settings.suspectMs) {
      this.#slowness = Math.min(slownessMax, this.#slowness + 1);
    }
    this.#slowAtMs = nowMs;
  }

  #recover(nowMs: number): void {
    if (this.#slowness === 0 || nowMs - this.#slowAtMs < recoversMs) return;
    this.#slowness--;
    this.#slowAtMs = nowMs;
  }
}
