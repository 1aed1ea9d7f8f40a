// What an operator sees of a cluster: the map and the mirrors of the views, which are what it has agreed on, and beside them what
// its members say of themselves and each other, such as how far they have come with their group's log. Pure: messages and time
// in, a report out.

import { limits } from '../../shared/base/limits.ts';
import type { ClusterMap, MapChange } from '../../shared/config/map.ts';
import {
  decodeGossip,
  type LineReport,
  type LiveState,
  type StateMessage,
  stateEveryMs,
} from '../../shared/membership/gossip.ts';
import type { Load } from '../../shared/membership/load.ts';
import type { EpochName, Mirror } from '../../shared/membership/mirror.ts';
import { type ProtectionReport, sumProtection } from '../../shared/membership/protection.ts';
import type { Life } from '../../shared/membership/transitions.ts';
import type { GroupRules, Member, MemberState } from '../../shared/membership/view.ts';
import { decodeHello, type Hello, type HelloState } from '../../shared/messages/hello.ts';

export interface StatusReport {
  readonly cluster: string;
  readonly map: { readonly version: number; readonly changed?: MapChange };
  readonly groups: readonly GroupStatus[];
  /** Tier 1s that take packets from the bus; others do not speak. */
  readonly tier1s: readonly Tier1Status[];
  /** Messages on these subjects that were none. */
  readonly faults: number;
}

export interface GroupStatus {
  readonly id: string;
  /** Its number; 0 as long as the group never had a member. */
  readonly view: number;
  /** The line of the log that the view is of, and the position that made it; null as long as the group never had a member. */
  readonly epoch: EpochName | null;
  readonly position: number | null;
  readonly placement: string;
  readonly availability: GroupRules['availability'];
  /** What its members say of it, added up; null where flows have no backups, or nobody has said anything yet. */
  readonly protection: ProtectionReport | null;
  readonly servers: readonly ServerStatus[];
}

export interface ServerStatus {
  readonly id: string;
  readonly incarnation: number;
  readonly state: MemberState;
  /** Of a standby: the servers that it stands for, empty for all; null of one that takes flows. */
  readonly standsFor: readonly string[] | null;
  /** The server whose place it has taken. */
  readonly inPlaceOf: string | null;
  /** The group that it is on its way to. */
  readonly movesTo: string | null;
  /** The weight in force, and the configured one. */
  readonly weight: number;
  readonly base: number;
  /** Flows that it holds, as it said last; null as long as it has not. */
  readonly flows: number | null;
  readonly load: Load | null;
  /** How far it has come with the log. */
  readonly line: LineReport | null;
  /** How safe its flows are, and what it has taken over; null where flows have no backups. */
  readonly protection: ProtectionReport | null;
  /** Since its newest report. */
  readonly heardMsAgo: number | null;
  /** What it says of itself. */
  readonly liveState: LiveState | null;
  /** Nothing was heard of it for three times the pause between its reports. */
  readonly silent: boolean;
  /** Who has not heard it for a while, and said so after its newest report. */
  readonly suspectedBy: readonly string[];
}

export interface Tier1Status {
  readonly id: string;
  readonly state: HelloState;
  readonly received: number;
  readonly dropped: number;
  readonly heardMsAgo: number;
}

interface Heard {
  atMs: number;
  state: LiveState | undefined;
  load: Load | undefined;
  line: LineReport | undefined;
  protection: ProtectionReport | undefined;
  readonly suspectedBy: Set<string>;
}

/** More would not be members of one cluster. */
const mostHeard = 65_536;
const mostTier1s = 1_024;
const forgetMs = 60_000;
/** A member is silent after so many pauses between reports. */
const silentReports = 3;

export class StatusBoard {
  /** Messages that were none, or too many. */
  faults = 0;
  readonly #startMs: number;
  readonly #heard = new Map<string, Heard>();
  readonly #tier1s = new Map<string, { readonly hello: Hello; readonly atMs: number }>();

  constructor(nowMs: number) {
    this.#startMs = nowMs;
  }

  /** A message of `gossip.<group>`. */
  onGossip(bytes: Uint8Array, nowMs: number): void {
    const message = decodeGossip(bytes);
    if (message?.kind === 'state') this.#onState(message, nowMs);
    else if (message?.kind === 'suspect') this.#of(message)?.suspectedBy.add(message.from);
    else if (message === undefined) this.faults++;
  }

  /** A message of `hello.<tier1>`. */
  onHello(bytes: Uint8Array, nowMs: number): void {
    const hello = decodeHello(bytes);
    const isNew = hello !== undefined && !this.#tier1s.has(hello.tier1);
    if (hello === undefined || (isNew && this.#tier1s.size >= mostTier1s)) this.faults++;
    else this.#tier1s.set(hello.tier1, { hello, atMs: nowMs });
  }

  /** What this life said last; undefined as long as it has said nothing. */
  stateOf(life: Life): { readonly state: LiveState | undefined; readonly load: Load | undefined } | undefined {
    const heard = this.#heard.get(nameOf(life));
    return heard === undefined || heard.atMs === Number.NEGATIVE_INFINITY ? undefined : heard;
  }

  /** Every member has been heard. */
  hasHeardAll(mirrors: ReadonlyMap<string, Mirror>): boolean {
    const members = [...mirrors.values()].flatMap(({ view }) => view.members);
    return members.every((member) => this.stateOf(member) !== undefined);
  }

  read(cluster: string, map: ClusterMap, mirrors: ReadonlyMap<string, Mirror>, nowMs: number): StatusReport {
    this.#forget(nowMs);
    const { version, changed, groups, placement, rules, settings } = map;
    return {
      cluster,
      map: { version, ...(changed === undefined ? {} : { changed }) },
      groups: groups.map(({ id }) => {
        const { view, epoch = null, position = null } = mirrors.get(id) ?? {};
        const { number = 0, members = [], placement: own = placement, rules: { availability } = rules } = view ?? {};
        const silentMs = silentAfterMs(members.length, settings.watching.stateMs);
        const servers = [...members].sort((one, other) => (one.server < other.server ? -1 : 1));
        const statuses = servers.map((each) => this.#read(each, silentMs, nowMs));
        const said = statuses.flatMap(({ protection }) => protection ?? []);
        const protection = said.length === 0 ? null : sumProtection(said);
        return { id, view: number, epoch, position, placement: own, availability, protection, servers: statuses };
      }),
      tier1s: [...this.#tier1s.values()]
        .map(({ hello, atMs }) => ({
          id: hello.tier1,
          state: hello.state,
          received: hello.received,
          dropped: Object.values(hello.dropped).reduce((sum, each) => sum + each, 0),
          heardMsAgo: Math.round(nowMs - atMs),
        }))
        .sort((one, other) => (one.id < other.id ? -1 : 1)),
      faults: this.faults,
    };
  }

  #read(member: Member, silentMs: number, nowMs: number): ServerStatus {
    const { server: id, incarnation, state, standsFor, inPlaceOf, movesTo, weight, base } = member;
    const heard = this.#heard.get(nameOf(member));
    const atMs = heard === undefined ? Number.NEGATIVE_INFINITY : heard.atMs;
    const wasHeard = atMs !== Number.NEGATIVE_INFINITY;
    return {
      id,
      incarnation,
      state,
      standsFor: standsFor ?? null,
      inPlaceOf: inPlaceOf ?? null,
      movesTo: movesTo ?? null,
      weight,
      base,
      flows: heard?.load?.flows ?? null,
      load: heard?.load ?? null,
      line: heard?.line ?? null,
      protection: heard?.protection ?? null,
      heardMsAgo: wasHeard ? Math.round(nowMs - atMs) : null,
      liveState: heard?.state ?? null,
      silent: nowMs - Math.max(atMs, this.#startMs) >= silentMs,
      suspectedBy: [...(heard?.suspectedBy ?? [])].sort(),
    };
  }

  #onState(message: StateMessage, nowMs: number): void {
    const heard = this.#of(message);
    if (heard === undefined) return;
    heard.atMs = nowMs;
    // A part may be missing: then what was said before holds on.
    heard.state = message.state ?? heard.state;
    heard.load = message.load ?? heard.load;
    heard.line = message.line ?? heard.line;
    heard.protection = message.protection ?? heard.protection;
    heard.suspectedBy.clear();
  }

  #of(life: Life): Heard | undefined {
    const name = nameOf(life);
    const known = this.#heard.get(name);
    if (known !== undefined) return known;
    if (this.#heard.size >= mostHeard) {
      this.faults++;
      return undefined;
    }
    const said = { state: undefined, load: undefined, line: undefined, protection: undefined };
    const fresh: Heard = { atMs: Number.NEGATIVE_INFINITY, ...said, suspectedBy: new Set() };
    this.#heard.set(name, fresh);
    return fresh;
  }

  /** Lives that ended, and tier 1s that went. */
  #forget(nowMs: number): void {
    if (this.#heard.size > mostHeard / 2) {
      for (const [name, { atMs }] of this.#heard) if (nowMs - atMs > forgetMs) this.#heard.delete(name);
    }
    for (const [name, { hello, atMs }] of this.#tier1s) {
      if (hello.state === 'ended' || nowMs - atMs > limits.helloSilentMs) this.#tier1s.delete(name);
    }
  }
}

/** Silence of a member of a group of so many that is no chance any more. */
export function silentAfterMs(members: number, stateMs: number): number {
  return silentReports * stateEveryMs(members, stateMs);
}

function nameOf({ server, incarnation }: Life): string {
  return `${server}/${incarnation}`;
}
