// Who may say what the next view is: pure steps from one view to its successor. A step answers with the next view, or
// with the same view when there is nothing to change. Writing the answer by compare-and-set is the caller's part; when
// somebody was first, the caller reads the newer view and takes the step again from there.

import { findMember, type GroupRules, type Member, type MemberState, type PlacementName, type View } from './view.ts';

/** What the first view of a group is made of. */
export interface GroupBirth {
  readonly group: string;
  readonly cluster: string;
  readonly placement: PlacementName;
  readonly seed: number;
  readonly rules: GroupRules;
}

/** One life of a server: a process of that name from its start to its end. */
export interface Life {
  readonly server: string;
  readonly incarnation: number;
}

/** One life of a server that wants to be a member. */
export interface Candidate extends Life {
  readonly weight: number;
}

/**
 * The candidate becomes a member. It starts as `joining`, to learn which flows the others hold before it takes any; the
 * first one of a group has nobody to learn from and is active at once. A former life of the same server is replaced.
 */
export function join(view: View | undefined, birth: GroupBirth, candidate: Candidate): View {
  const others = view?.members.filter((member) => member.server !== candidate.server) ?? [];
  const present = view === undefined ? undefined : findMember(view, candidate.server);
  if (view !== undefined && present?.incarnation === candidate.incarnation) return view;
  const state: MemberState = others.length === 0 ? 'active' : 'joining';
  const members = [...others, { ...candidate, base: candidate.weight, state, flows: 0 }];
  return view === undefined ? { ...birth, number: 1, members } : successor(view, members);
}

/**
 * The member has learnt what the others hold: new flows may be placed at it. `unheard`: members that told it nothing, and
 * are taken to be dead. They leave in the same view: a member may lack the flows of those that are gone, but never of one
 * that may yet accept packets.
 */
export function activate(view: View, candidate: Candidate, unheard: readonly Life[] = []): View {
  const next = changeState(view, candidate, 'joining', 'active');
  if (next === view) return view;
  const isUnheard = (member: Member) => unheard.some((life) => isLifeOf(member, life));
  return { ...next, members: next.members.filter((member) => !isUnheard(member)) };
}

/** The member gets no new flows from here on; those it has, it keeps. */
export function drain(view: View, candidate: Candidate): View {
  return changeState(view, candidate, 'active', 'draining');
}

/** Whether somebody else takes new flows, or nobody will: the only one that does waits with draining for those that join. */
export function isSpare({ members }: View, life: Life): boolean {
  const others = members.filter((member) => !isLifeOf(member, life));
  return others.some(({ state }) => state === 'active') || !others.some(({ state }) => state === 'joining');
}

/** The member is gone. */
export function leave(view: View, life: Life): View {
  const members = view.members.filter((member) => !isLifeOf(member, life));
  return members.length === view.members.length ? view : successor(view, members);
}

/**
 * A member finds that a life is dead. Only a member may say so: one that was removed itself knows nothing of the others. The
 * last one that takes flows stays until another one does: without it nobody would, and it may only have been slow.
 */
export function remove(view: View, life: Life, by: Life): View {
  const isMember = view.members.some((member) => isLifeOf(member, by));
  const goesOn = view.members.some((member) => member.state === 'active' && !isLifeOf(member, life));
  return isMember && goesOn ? leave(view, life) : view;
}

/** The member gives up joining. It holds nothing, so it may go at once, which it may not once flows may be placed at it. */
export function withdraw(view: View, life: Life): View {
  const member = view.members.find((each) => isLifeOf(each, life));
  return member?.state === 'joining' ? leave(view, life) : view;
}

/**
 * The weights that a policy came to, by server, are in force. They are shares, so they can be put over a newer view than
 * the one they were made from: who is gone is left out, and who is not active, as another life of the server would be,
 * keeps its weight.
 */
export function reweigh(view: View, weights: ReadonlyMap<string, number>): View {
  const members = view.members.map((member) => {
    const weight = member.state === 'active' ? (weights.get(member.server) ?? member.weight) : member.weight;
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
  if (member === undefined || member.base === base) return view;
  const scaled = member.base === 0 ? base : Math.min(65_535, Math.round((member.weight * base) / member.base));
  // What is small is not nothing.
  const weight = scaled === 0 && member.weight > 0 && base > 0 ? 1 : scaled;
  return successor(
    view,
    view.members.map((each) => (each === member ? { ...each, base, weight } : each)),
  );
}

function changeState(view: View, candidate: Candidate, from: MemberState, to: MemberState): View {
  const member = view.members.find((each) => isLifeOf(each, candidate));
  if (member === undefined || member.state !== from) return view;
  return successor(
    view,
    view.members.map((each) => (each === member ? { ...each, state: to } : each)),
  );
}

function successor(view: View, members: readonly Member[]): View {
  return { ...view, number: view.number + 1, members };
}
