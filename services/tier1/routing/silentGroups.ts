// When a whole group is silent, its packets should go to other groups, and back when it returns. This decides when.
//
// Members tell on the group's subject of gossip that they live, about once a second. As long as one member that can take
// packets (active or draining by the group's view, and by its own word) is heard, its group stays as it is. The trouble is
// that silence looks alike whether the group is dead or tier 1 is deaf, and that mapping a living group out breaks its
// flows for nothing. So:
//
//   silent      Nothing heard of the group for the set time, while others were heard. When nobody at all has been heard
//               for half of that time, this tier 1 takes itself for deaf: it judges nobody, leaves everything as it is, and
//               the time of all begins anew with the first voice after that. A pause of this process looks the same.
//   three       The set time counts as three reports of the group at least, so a living one speaks within the half that a
//   reports     deafness too short to be noticed leaves it. Only many of these, with less than a report between them, can
//               make it seem dead.
//   no server   A group whose view has no server is out at once: that is no guess. One that never had a server is left in,
//               or the groups that come up first would get the flows of all others; tier 1 does not start before.
//   newcomers   A server that is new in a group's view was there a moment ago, and its first report may have come before the
//               view. So the group counts as heard then; also when this tier 1 starts and reads the view of a silent one.
//   ahead       Views are mirrored in a store, which may fail for long. A server that says it has come further with the log
//               than the newest mirror is one that the mirror may not know yet, and counts too.
//   back        When it has been heard without a break for the return time. Flows that began elsewhere break then, so each
//               relapse doubles the return time; a quiet time in which it stayed in makes that forgotten. Where no other
//               group that serves its type is in, there is nothing to wait for.
//
// Pure: messages, views and times (monotonic milliseconds) in, what changes out.
//
// Source: the patent's text to Fig. 11: a first level that receives no messages of a group for a period of time may infer
// that all its servers are unavailable, and change its mapping of flows to groups.

import { limits } from '../../../shared/base/limits.ts';
import type { GroupSettings } from '../../../shared/config/map.ts';
import type { ClusterSettings } from '../../../shared/config/settings.ts';
import { type LineReport, type StateMessage, stateEveryMs } from '../../../shared/membership/gossip.ts';
import type { Life } from '../../../shared/membership/transitions.ts';
import type { Member } from '../../../shared/membership/view.ts';

export type WatchedGroup = Pick<GroupSettings, 'weight' | 'serves'>;

/** A group that is mapped out, or in again, by its index in the map. */
export type MappingChange =
  | { readonly group: number; readonly kind: 'out'; readonly reason: 'silent'; readonly silentMs: number }
  | { readonly group: number; readonly kind: 'out'; readonly reason: 'no-server' }
  | { readonly group: number; readonly kind: 'in'; readonly outMs: number };

/** Where in which epoch a mirror was made. */
export type MirrorPlace = Pick<LineReport, 'epoch' | 'position'>;

type TunedParts = Pick<ClusterSettings, 'watching' | 'groupSilence'>;

/** Reports of a group that may fail to come before it counts as silent. */
const reportsMissed = 3;

class Watched {
  readonly weight: number;
  readonly serves: GroupSettings['serves'];
  /** Members that can take packets, by the newest view. */
  serving: ReadonlySet<string> = new Set();
  members = 0;
  /** How far the replica had come whose view that is. */
  place: MirrorPlace | undefined;
  hadServer = false;
  heardMs: number | undefined;
  /** A server has come into its view, and when that was noticed. */
  hasNewcomer = false;
  newcomerMs: number | undefined;
  /** Since when it has been there without a break. */
  thereSinceMs: number | undefined;
  outSinceMs: number | undefined;
  backSinceMs: number | undefined;
  relapses = 0;

  constructor({ weight, serves }: WatchedGroup) {
    this.weight = weight;
    this.serves = serves;
  }

  /** The newest sign that it is there. */
  get signMs(): number {
    return Math.max(this.heardMs ?? Number.NEGATIVE_INFINITY, this.newcomerMs ?? Number.NEGATIVE_INFINITY);
  }
}

export class SilentGroups {
  /** Groups that are mapped out at present. */
  readonly out = new Set<number>();
  /** How often a group was mapped out. */
  timesOut = 0;
  readonly #groups: readonly Watched[];
  #tuned: TunedParts;
  /** When anybody was heard last. */
  #heardMs: number | undefined;
  /** Silence counts from here at the earliest. */
  #anewMs = Number.NEGATIVE_INFINITY;

  constructor(groups: readonly WatchedGroup[], settings: TunedParts) {
    this.#groups = groups.map((group) => new Watched(group));
    this.#tuned = settings;
  }

  retune(settings: TunedParts): void {
    this.#tuned = settings;
  }

  /** How long a group has to be there before it is mapped in again, as things stand. */
  returnMs(group: number): number {
    const { returnMs } = this.#tuned.groupSilence;
    const most = Math.max(returnMs, limits.groupReturnMs);
    return Math.min(most, returnMs * 2 ** this.#groups[group].relapses);
  }

  /** Nothing could be heard until now, for a reason that the caller knows: nobody is judged by what was not heard. */
  startAnew(nowMs: number): void {
    this.#anewMs = nowMs;
  }

  /** The newest view of a group has these members. */
  setMembers(group: number, members: readonly Member[], place: MirrorPlace): void {
    const watched = this.#groups[group];
    watched.place = place;
    watched.members = members.length;
    const serving = new Set(members.filter(({ state }) => state !== 'joining').map(nameOfLife));
    watched.hasNewcomer ||= [...serving].some((name) => !watched.serving.has(name));
    watched.serving = serving;
    watched.hadServer ||= watched.serving.size > 0;
  }

  /** A member of the group has said where it stands. One that says nothing of that, but its load, does its work. */
  hear(group: number, message: StateMessage, nowMs: number): void {
    const { state } = message;
    const watched = this.#groups[group];
    if (state !== undefined && state !== 'active' && state !== 'draining') return;
    if (!watched.serving.has(nameOfLife(message)) && !isAhead(message, watched.place)) return;
    if (this.#isDeaf(nowMs)) this.startAnew(nowMs);
    if (!this.#isHeard(watched, nowMs)) watched.thereSinceMs = nowMs;
    watched.heardMs = nowMs;
    this.#heardMs = nowMs;
  }

  /** To be called a few times a second, and after a view: what has to be mapped out or in. */
  tick(nowMs: number): readonly MappingChange[] {
    const changes: MappingChange[] = [];
    for (const [group, watched] of this.#groups.entries()) {
      if (watched.hasNewcomer) watched.newcomerMs = nowMs;
      watched.hasNewcomer = false;
      if (watched.outSinceMs !== undefined) continue;
      const change = this.#judge(group, watched, nowMs);
      if (change === undefined) continue;
      this.#mapOut(group, watched, nowMs);
      changes.push(change);
    }
    for (const [group, watched] of this.#groups.entries()) {
      const { outSinceMs } = watched;
      if (outSinceMs === undefined || !this.#mayReturn(group, watched, nowMs)) continue;
      watched.outSinceMs = undefined;
      watched.backSinceMs = nowMs;
      this.out.delete(group);
      changes.push({ group, kind: 'in', outMs: nowMs - outSinceMs });
    }
    return changes;
  }

  /** Why a group has to go out; undefined when it has not. */
  #judge(group: number, watched: Watched, nowMs: number): MappingChange | undefined {
    if (watched.serving.size === 0) return watched.hadServer ? { group, kind: 'out', reason: 'no-server' } : undefined;
    if (this.#isDeaf(nowMs)) return undefined;
    if (nowMs - Math.max(watched.signMs, this.#anewMs) < this.#patienceMs(watched)) return undefined;
    return { group, kind: 'out', reason: 'silent', silentMs: nowMs - watched.signMs };
  }

  #mapOut(group: number, watched: Watched, nowMs: number): void {
    const { backSinceMs } = watched;
    const isRelapse = backSinceMs !== undefined && nowMs - backSinceMs < limits.groupQuietMs;
    // Twenty doublings lead beyond every limit, and stay far from what a number can hold.
    watched.relapses = isRelapse ? Math.min(20, watched.relapses + 1) : 0;
    watched.outSinceMs = nowMs;
    watched.thereSinceMs = undefined;
    this.out.add(group);
    this.timesOut++;
  }

  #mayReturn(group: number, watched: Watched, nowMs: number): boolean {
    const isThere = watched.serving.size > 0 && this.#isHeard(watched, nowMs);
    watched.thereSinceMs = isThere ? (watched.thereSinceMs ?? nowMs) : undefined;
    if (watched.thereSinceMs === undefined) return false;
    return watched.signMs - watched.thereSinceMs >= this.returnMs(group) || this.#isMissed(watched);
  }

  /** True when no group that is in serves some type that this one serves. */
  #isMissed({ serves, weight }: Watched): boolean {
    const isServed = (other: 'type-1' | 'type-2') =>
      this.#groups.some((each) => each.outSinceMs === undefined && each.weight > 0 && each.serves !== other);
    if (weight === 0) return false;
    return (serves !== 'type-2' && !isServed('type-2')) || (serves !== 'type-1' && !isServed('type-1'));
  }

  #isHeard(watched: Watched, nowMs: number): boolean {
    return nowMs - watched.signMs < this.#patienceMs(watched);
  }

  /** Nobody has been heard for so long that it is more likely this tier 1 that cannot hear. */
  #isDeaf(nowMs: number): boolean {
    const { groupSilence, watching } = this.#tuned;
    if (this.#heardMs === undefined) return true;
    return nowMs - this.#heardMs > Math.max(groupSilence.afterMs, reportsMissed * watching.stateMs) / 2;
  }

  /** The silence after which a group is out. The larger it is, the rarer each member reports. */
  #patienceMs({ members }: Watched): number {
    const { groupSilence, watching } = this.#tuned;
    return Math.max(groupSilence.afterMs, reportsMissed * stateEveryMs(members, watching.stateMs));
  }
}

function nameOfLife({ server, incarnation }: Life): string {
  return `${server} ${incarnation}`;
}

/** Whether the newest mirror was made too early to know this server. */
function isAhead({ state, line }: StateMessage, place: MirrorPlace | undefined): boolean {
  if (state === undefined || line?.state !== 'following' || place === undefined) return false;
  return line.epoch === place.epoch && line.position > place.position;
}
