// Servers that stand by for others, where the availability of a group is `active-passive` or `n-plus-m`.
//
// A standby is a member that holds the group's whole state and gets no new flows. It is the backup of every flow of the servers that it stands
// for, and when one of them goes, it takes that one's place: its weight, its share of new flows, and its name for those that stand by for
// it. The server that comes back finds its place taken and stands by in turn: nothing moves a second time (non-preemptive).
//
//   active-passive   a standby names the servers that it stands for; it takes over at a drain too
//   n-plus-m         M standbys for all servers of a group; one takes over when a server dies, and when nobody else would take flows
//
// Pure, from the view alone, so that every replica finds the same ones.

import type { AvailabilityName, Member, View } from './view.ts';

/** Whether backups are standbys. */
export function hasStandbys(availability: AvailabilityName): boolean {
  return availability === 'active-passive' || availability === 'n-plus-m';
}

/** Whether the member stands by, and gets no new flows. */
export function isStandby({ standsFor }: Member): boolean {
  return standsFor !== undefined;
}

/** Whether the member takes new flows. */
export function takesFlows(member: Member): boolean {
  return member.state === 'active' && !isStandby(member);
}

/** The name that standbys know the member by: that of the server whose place it has taken, else its own. */
export function placeOf({ inPlaceOf, server }: Member): string {
  return inPlaceOf ?? server;
}

/**
 * Who stands behind each member, by server number: whoever has taken the place of one that drains, else the standby of its place that
 * has the fewest servers to stand for, in the order of joins. Members that nobody stands behind are missing.
 */
export function standbysOf({ members, rules }: Pick<View, 'members' | 'rules'>): ReadonlyMap<number, Member> {
  const chosen = new Map<number, Member>();
  if (!hasStandbys(rules.availability)) return chosen;
  const load = new Map<Member, number>();
  for (const member of members) if (isStandby(member) && member.state === 'active') load.set(member, 0);
  const inOrder = [...members].sort((one, other) => one.number - other.number);
  for (const member of inOrder) {
    const standby = holderOf(members, member) ?? leastLoaded(load, member);
    if (standby === undefined) continue;
    chosen.set(member.number, standby);
    const servers = load.get(standby);
    if (servers !== undefined && !isStandby(member)) load.set(standby, servers + 1);
  }
  return chosen;
}

/**
 * The standby that takes the place of a server which has died, or, `isPlanned`, drains or leaves; undefined when none does. One that stands for
 * all is kept for servers that die, as long as somebody else takes flows.
 */
export function successorOf(view: View, gone: Member, isPlanned: boolean): Member | undefined {
  if (isStandby(gone) || gone.state === 'joining' || holderOf(view.members, gone) !== undefined) return undefined;
  const standby = standbysOf(view).get(gone.number);
  if (standby === undefined || !isPlanned || standby.standsFor?.length !== 0) return standby;
  return view.members.some((member) => member !== gone && takesFlows(member)) ? undefined : standby;
}

/** The standby as a server in the place of another one. */
export function promoted({ standsFor: _, inPlaceOf: __, ...standby }: Member, gone: Member): Member {
  const place = placeOf(gone);
  const server = { ...standby, weight: gone.weight, base: gone.base };
  return place === standby.server ? server : { ...server, inPlaceOf: place };
}

/** Whom a server that comes back stands by for because its place is taken; undefined when it is free. */
export function standInFor({ members, rules }: View, server: string): readonly string[] | undefined {
  if (!hasStandbys(rules.availability)) return undefined;
  const isTaken = members.some((member) => member.inPlaceOf === server && takesFlows(member));
  if (!isTaken) return undefined;
  return rules.availability === 'n-plus-m' ? [] : [server];
}

/**
 * The members with one that takes flows, if one can: where no server does, and none is about to, any standby takes the place of one that drains, or
 * of one that it stands for. It may be the wrong one, and is better than nobody.
 */
export function withTaker(members: readonly Member[]): readonly Member[] {
  if (members.some((member) => takesFlows(member) || (member.state === 'joining' && !isStandby(member))))
    return members;
  const standbys = members.filter((member) => member.state === 'active');
  const drained = members.filter((member) => member.state === 'draining' && !isStandby(member));
  const isFor = (standby: Member) => drained.some((server) => standby.standsFor?.includes(placeOf(server)));
  const [standby] = standbys.sort((one, other) => +isFor(other) - +isFor(one) || one.number - other.number);
  if (standby === undefined) return members;
  const gone = drained.find((server) => standby.standsFor?.includes(placeOf(server))) ?? drained[0];
  const place = gone ?? { ...standby, server: standby.standsFor?.[0] ?? standby.server, ...usualShare };
  return members.map((member) => (member === standby ? promoted(member, place) : member));
}

/** Of a standby that takes flows in the place of a server that nobody knows. */
const usualShare = { weight: 100, base: 100 };

/** The active member that has taken the place of one that is still there. */
function holderOf(members: readonly Member[], gone: Member): Member | undefined {
  if (isStandby(gone)) return undefined;
  return members.find((member) => member !== gone && takesFlows(member) && placeOf(member) === placeOf(gone));
}

function leastLoaded(load: ReadonlyMap<Member, number>, server: Member): Member | undefined {
  let best: Member | undefined;
  for (const [standby, servers] of load) {
    const { standsFor = [] } = standby;
    if (standby === server || (standsFor.length > 0 && !standsFor.includes(placeOf(server)))) continue;
    const bestLoad = best === undefined ? Number.POSITIVE_INFINITY : (load.get(best) ?? 0);
    if (servers < bestLoad || (servers === bestLoad && standby.number < (best?.number ?? 0))) best = standby;
  }
  return best;
}
