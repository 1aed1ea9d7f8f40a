// How one view becomes the next: pure steps from a view to its successor. A step answers with the next view, or with the same
// one when there is nothing to change or a precondition does not hold. Replicas take these steps for the commands in the log
// (services/dssl/replica/commands.ts), all of them at the same position.

import { limits } from '../base/limits.ts';
import { hasStandbys, isStandby, promoted, standInFor, successorOf, takesFlows, withTaker } from './standbys.ts';
import type { Member, MemberState, View } from './view.ts';

/** One life of a server: a process of that name from its start to its end. */
export interface Life {
  readonly server: string;
  readonly incarnation: number;
}

/** One life of a server that wants to be a member. */
export interface Candidate extends Life {
  /** Share of new flows relative to the other members: an integer from 0 (none) to 65535. */
  readonly weight: number;
  /** Only of a standby: the names of the servers that it stands for; empty for all of the group. */
  readonly standsFor?: readonly string[] | undefined;
}

/** What must hold when a place is taken: it was chosen by views that may be old by then (assignment.ts). */
export interface JoinTerms {
  /** Incarnation whose place it is; undefined when the name must not be in the group. */
  readonly replaces: number | undefined;
  /** Joining and active members that the group may have at most; undefined when it was not chosen by them. */
  readonly needAt: number | undefined;
}

/**
 * The candidate becomes a member, with this server number. It is `joining`: it fetches the group's state before it takes any flow. A former
 * life of the same server is replaced. A server whose place was taken stands by. The same view when the terms do not hold, or there is no room.
 */
export function join(view: View, candidate: Candidate, number: number, terms: JoinTerms): View {
  const former = view.members.find(({ server }) => server === candidate.server);
  if (former?.incarnation === candidate.incarnation || former?.incarnation !== terms.replaces) return view;
  if (terms.needAt !== undefined && countTaking(view) > terms.needAt) return view;
  const others = former === undefined ? view.members : membersWithout(view, former, false);
  if (others.length >= limits.groupMembers) return view;
  const { server, incarnation } = candidate;
  if (candidate.standsFor !== undefined && !hasStandbys(view.rules.availability)) return view;
  const standsFor = candidate.standsFor ?? standInFor({ ...view, members: others }, server);
  const weight = standsFor === undefined ? candidate.weight : 0;
  const member: Member = { server, incarnation, number, state: 'joining', weight, base: weight, flows: 0 };
  return successor(view, [...others, standsFor === undefined ? member : { ...member, standsFor: [...standsFor] }]);
}

/** Members that count when a group is chosen: a draining one is on its way out, and a standby takes no flows. */
export function countTaking(view: View | undefined): number {
  return view?.members.filter((member) => member.state !== 'draining' && !isStandby(member)).length ?? 0;
}

/** The member holds the group's state: new flows may be placed at it. */
export function activate(view: View, life: Life): View {
  return changeState(view, life, 'joining', 'active');
}

/**
 * The member gets no new flows from here on; those it has, it keeps. A standby may take its place. `to`: only if it is still on its way to that
 * group.
 */
export function drain(view: View, life: Life, to?: string): View {
  const active = view.members.find((member) => isLifeOf(member, life) && member.state === 'active');
  if (active === undefined || (to !== undefined && active.movesTo !== to)) return view;
  const drained: Member = { ...active, state: 'draining' };
  const members = view.members.map((member) => (member === active ? drained : member));
  const standby = successorOf({ ...view, members }, drained, true);
  return successor(
    view,
    members.map((member) => (member === standby ? promoted(member, drained) : member)),
  );
}

/**
 * A server that takes flows is on its way to the group `to`; to its own one: it stays after all. One that drains already comes back, and takes new
 * flows again, if it says so itself (`by`): it alone knows that nothing else makes it leave. Where standbys stand for servers by name no server
 * moves: its standby would take its place.
 */
export function move(view: View, life: Life, to: string, by: Life): View {
  const member = view.members.find((each) => isLifeOf(each, life));
  if (member === undefined || isStandby(member) || view.rules.availability === 'active-passive') return view;
  const { movesTo, ...staying } = member;
  const isBack = to === view.group;
  const comesBack = isBack && member.state === 'draining' && movesTo !== undefined && isLifeOf(by, life);
  if (member.state !== 'active' && !comesBack) return view;
  if (movesTo === (isBack ? undefined : to)) return view;
  const moved: Member = isBack ? { ...staying, state: 'active' } : { ...member, movesTo: to };
  return successor(
    view,
    view.members.map((each) => (each === member ? moved : each)),
  );
}

/** Whether somebody else takes new flows, or nobody will: the only one that does waits with draining for those that join. */
export function isSpare(view: View, life: Life): boolean {
  const others = drain(view, life).members.filter((member) => !isLifeOf(member, life));
  return others.some(takesFlows) || !others.some((member) => member.state === 'joining' && !isStandby(member));
}

/** The member is gone, of its own will. A standby may take its place. */
export function leave(view: View, life: Life): View {
  const gone = view.members.find((member) => isLifeOf(member, life));
  return gone === undefined ? view : successor(view, membersWithout(view, gone, true));
}

/**
 * A member finds that a life is dead. Only a member may say so: one that was removed itself knows nothing of the others. The
 * last one that takes flows stays until another one does: without it nobody would, and it may only have been slow.
 */
export function remove(view: View, life: Life, by: Life): View {
  const isMember = view.members.some((member) => isLifeOf(member, by));
  const gone = view.members.find((member) => isLifeOf(member, life));
  if (!isMember || gone === undefined) return view;
  const next = successor(view, membersWithout(view, gone, false));
  return next.members.some(takesFlows) ? next : view;
}

/** The others, one of which may have taken the place of the one that goes. */
function membersWithout(view: View, gone: Member, isPlanned: boolean): readonly Member[] {
  const standby = successorOf(view, gone, isPlanned);
  const others = view.members.filter((member) => member !== gone);
  return others.map((member) => (member === standby ? promoted(member, gone) : member));
}

/**
 * The weights that a policy came to, by server, are in force. They are shares, so they can be put over a newer view than
 * the one they were made from: who is gone is left out, and who is not active, as another life of the server would be,
 * keeps its weight.
 */
export function reweigh(view: View, weights: ReadonlyMap<string, number>): View {
  const members = view.members.map((member) => {
    const weight = takesFlows(member) ? (weights.get(member.server) ?? member.weight) : member.weight;
    return weight === member.weight ? member : { ...member, weight };
  });
  return members.every((member, index) => member === view.members[index]) ? view : successor(view, members);
}

export function isLifeOf(one: Life, other: Life): boolean {
  return one.server === other.server && one.incarnation === other.incarnation;
}

/**
 * The server has another weight. The weight in force keeps its proportion to it, so that what a policy has made of the former
 * one holds on; a policy that gave the server nothing goes on giving it nothing.
 */
export function configureWeight(view: View, life: Life, base: number): View {
  const member = view.members.find((each) => isLifeOf(each, life));
  if (member === undefined || member.base === base || isStandby(member)) return view;
  const scaled = member.base === 0 ? base : Math.min(65_535, Math.round((member.weight * base) / member.base));
  // What is small is not nothing.
  const weight = scaled === 0 && member.weight > 0 && base > 0 ? 1 : scaled;
  return successor(
    view,
    view.members.map((each) => (each === member ? { ...each, base, weight } : each)),
  );
}

/** How new flows are placed, and what becomes of unknown ones in mid-flow. What flow entries depend on does not change. */
export function changeRules(view: View, parts: Partial<Pick<View, 'placement'>>, rules: Partial<View['rules']>): View {
  const next = { ...view.rules, ...rules, typeOneMethod: view.rules.typeOneMethod, time: view.rules.time };
  const placement = parts.placement ?? view.placement;
  const isSame =
    placement === view.placement && next.tableFirst === view.rules.tableFirst && next.midFlow === view.rules.midFlow;
  return isSame && next.maxFlows === view.rules.maxFlows
    ? view
    : { ...view, number: view.number + 1, placement, rules: next };
}

function changeState(view: View, life: Life, from: MemberState, to: MemberState): View {
  const member = view.members.find((each) => isLifeOf(each, life));
  if (member === undefined || member.state !== from) return view;
  return successor(
    view,
    view.members.map((each) => (each === member ? { ...each, state: to } : each)),
  );
}

function successor(view: View, members: readonly Member[]): View {
  return { ...view, number: view.number + 1, members: withTaker(members) };
}
