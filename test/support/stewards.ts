// A group of stewards in one hand: a bus that may delay, lose and cut, a log that takes one command after the other, and time that
// passes when the test says so. Members may be paused or killed.

import { Steward } from '../../services/dssl/member/steward.ts';
import { Prng } from '../../shared/base/prng.ts';
import { type ClusterSettings, defaultSettings } from '../../shared/config/settings.ts';
import type { LineReport, LiveState } from '../../shared/membership/gossip.ts';
import type { Load } from '../../shared/membership/load.ts';
import { type Life, leave, remove, reweigh } from '../../shared/membership/transitions.ts';
import { defaultRules, findMember, type View } from '../../shared/membership/view.ts';

export interface StewardGroupOptions {
  readonly members: number;
  readonly seed?: number;
  readonly settings?: ClusterSettings;
  /** Share of deliveries that are lost. */
  readonly loss?: number;
}

export interface GroupMember {
  readonly name: string;
  readonly steward: Steward;
  isAlive: boolean;
  /** Does nothing until then; what comes meanwhile waits. */
  pausedUntilMs: number;
  /** Its connection is down. */
  isCut: boolean;
  readonly waiting: (() => void)[];
  watches: ReadonlySet<string>;
  load: Load | undefined;
  state: LiveState;
}

/** What arrives in one millisecond, in the order in which it was sent. */
interface Arrivals {
  readonly to: GroupMember[];
  readonly bytes: Uint8Array[];
}

const stepMs = 10;

/** What a member says of its log, of usual length. */
const usualLine: LineReport = {
  state: 'following',
  epochNumber: 1,
  epoch: 'mhn2k1a9-s0001-1',
  position: 0,
  lag: 0,
  lagMs: 0,
  handled: 0,
};

export class StewardGroup {
  readonly members: GroupMember[] = [];
  nowMs = 0;
  view: View;
  /** Removals that had an effect: how far the dead one was said to have handled the log. */
  readonly removals: { readonly life: Life; readonly handled: number }[] = [];
  /** Every view there was after the first, and when. */
  readonly changes: { readonly atMs: number; readonly by: string; readonly view: View }[] = [];
  /** Decides whether a message gets from one to another; for partitions. */
  reaches: (from: string, to: string) => boolean = () => true;
  /** Called when somebody is about to append; false: it died before. */
  beforeAppend: (by: GroupMember) => boolean = () => true;
  deliveries = 0;
  deliveredBytes = 0;
  readonly #prng: Prng;
  readonly #loss: number;
  /** What is under way, by the millisecond in which it arrives. */
  readonly #arriving = new Map<number, Arrivals>();
  #deliveredToMs = 0;
  /** Who listens to the beats of a member, in the order of the members; made anew when somebody's choice has changed. */
  readonly #listeners = new Map<string, GroupMember[]>();
  /** By sender and receiver, when the last message arrives: later ones do not overtake it. */
  readonly #arrivesMs = new Map<GroupMember, Map<GroupMember, number>>();

  constructor({ members, seed = 1, settings = defaultSettings, loss = 0 }: StewardGroupOptions) {
    this.#prng = new Prng(seed);
    this.#loss = loss;
    const names = Array.from({ length: members }, (_, index) => `s${String(index + 1).padStart(4, '0')}`);
    this.view = {
      group: 'g1',
      number: 1,
      placement: 'rendezvous',
      seed: 1,
      rules: defaultRules,
      members: names.map((server, number) => ({
        server,
        incarnation: 1,
        number,
        state: 'active',
        weight: 100,
        base: 100,
        flows: 0,
      })),
    };
    for (const name of names) this.#add(name, settings);
    for (const member of this.members) member.steward.onView(this.view, 0);
  }

  member(number: number): GroupMember {
    return this.members[number - 1];
  }

  /** Names of those in the view. */
  get present(): string[] {
    return this.view.members.map(({ server }) => server);
  }

  /** Lets time pass. */
  run(forMs: number, eachStep: (nowMs: number) => void = () => undefined): void {
    const untilMs = this.nowMs + forMs;
    while (this.nowMs < untilMs) {
      this.nowMs += stepMs;
      this.#deliver();
      for (const member of this.members) this.#tick(member);
      eachStep(this.nowMs);
    }
  }

  /** An operator removes a member, or whoever. */
  remove(name: string): void {
    const member = findMember(this.view, name);
    if (member !== undefined) this.#commit('operator', leave(this.view, member));
  }

  cut(member: GroupMember): void {
    member.isCut = true;
  }

  reconnect(member: GroupMember): void {
    member.isCut = false;
    this.#enter(member, () => {
      member.steward.onReconnected(this.nowMs);
      member.steward.onView(this.view, this.nowMs);
    });
  }

  #add(name: string, settings: ClusterSettings): void {
    const memberLife: Life = { server: name, incarnation: 1 };
    const member: GroupMember = {
      name,
      steward: new Steward(memberLife, settings, {
        beat: (bytes) => this.#publish(member, bytes, this.#listenersOf(name)),
        gossip: (bytes) => this.#publish(member, bytes, this.members),
        watch: (servers) => {
          member.watches = new Set(servers);
          this.#listeners.clear();
        },
        remove: (life, handled) => this.#append(member, remove(this.view, life, memberLife), life, handled),
        weigh: (weights) => this.#append(member, reweigh(this.view, weights)),
        load: () => member.load,
        line: () => ({ ...usualLine, position: Math.floor(this.nowMs) }),
        lineState: () => usualLine.state,
        digests: () => [],
        onState: () => undefined,
        onDead: () => undefined,
      }),
      isAlive: true,
      pausedUntilMs: 0,
      isCut: false,
      waiting: [],
      watches: new Set(),
      load: undefined,
      state: 'active',
    };
    this.members.push(member);
  }

  /** The command is in the log, and `next` is what it makes of the view. */
  #append(by: GroupMember, next: View, dead?: Life, handled = 0): void {
    if (by.isCut || !by.isAlive || next === this.view || !this.beforeAppend(by)) return;
    if (dead !== undefined) this.removals.push({ life: dead, handled });
    this.#commit(by.name, next);
  }

  #listenersOf(name: string): readonly GroupMember[] {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) {
      listeners = this.members.filter(({ watches }) => watches.has(name));
      this.#listeners.set(name, listeners);
    }
    return listeners;
  }

  #publish(from: GroupMember, bytes: Uint8Array, listeners: readonly GroupMember[]): void {
    if (from.isCut) return;
    let arrivesMs = this.#arrivesMs.get(from);
    if (arrivesMs === undefined) this.#arrivesMs.set(from, (arrivesMs = new Map()));
    for (const to of listeners) {
      if (!to.isAlive || to.isCut || !this.reaches(from.name, to.name)) continue;
      if (this.#loss > 0 && this.#prng.fraction() < this.#loss) continue;
      const atMs = Math.max(arrivesMs.get(to) ?? 0, this.nowMs + 1 + this.#prng.below(9));
      arrivesMs.set(to, atMs);
      let arrivals = this.#arriving.get(atMs);
      if (arrivals === undefined) this.#arriving.set(atMs, (arrivals = { to: [], bytes: [] }));
      arrivals.to.push(to);
      arrivals.bytes.push(bytes);
    }
  }

  #deliver(): void {
    while (this.#deliveredToMs < this.nowMs) {
      const due = this.#arriving.get(++this.#deliveredToMs);
      if (due === undefined) continue;
      this.#arriving.delete(this.#deliveredToMs);
      for (const [index, to] of due.to.entries()) {
        if (to.isCut) continue;
        const bytes = due.bytes[index];
        this.deliveries++;
        this.deliveredBytes += bytes.length;
        this.#enter(to, () => to.steward.onMessage(bytes, this.nowMs));
      }
    }
  }

  #tick(member: GroupMember): void {
    if (!member.isAlive || this.nowMs < member.pausedUntilMs) return;
    // As an event loop does: timers first, then what has come meanwhile.
    member.steward.tick(this.nowMs, member.state);
    for (const event of member.waiting.splice(0)) event();
  }

  #commit(by: string, view: View): void {
    this.view = view;
    this.changes.push({ atMs: this.nowMs, by, view });
    for (const member of this.members) {
      if (!member.isCut) this.#enter(member, () => member.steward.onView(view, this.nowMs));
    }
  }

  #enter(member: GroupMember, event: () => void): void {
    if (!member.isAlive) return;
    if (this.nowMs < member.pausedUntilMs) member.waiting.push(event);
    else event();
  }
}
