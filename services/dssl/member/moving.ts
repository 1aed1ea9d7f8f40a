// How a server goes from one group to another and stays one server: it joins the other group while it goes on in its own one, drains there when it
// is active in the other, and leaves when its flows there have ended. So no flow moves, and there is no moment in which the server is nowhere.
//
//   group A   active ──────────────────► drains, without a deadline ──► left when its flows have ended
//               │ `move` in A's log           ▲
//   group B     └──► joins, fetches state ──► active
//
// What is wanted is in A's view (`movesTo`), so it outlives whoever wanted it, and can be taken back there: by another `move`. A process that is a
// member of several groups looks at all its memberships (seats) again and again, and does the next thing. Should it die in between, both groups
// remove it, each for itself, and its next life begins in the one where it took new flows.
//
// It may be sent on, or called back, at any moment of it, and so come to be active in several groups, wanted nowhere else in each. Then it stays in one:
// where it drains for, else where it came from.
//
// Pure: seats in, steps out.

import type { MemberPhase, MoveWish } from './standing.ts';

/** One membership of a process. */
export interface Seat {
  readonly group: string;
  readonly phase: MemberPhase;
  /** Of its member in the view: where it is on its way to. */
  readonly movesTo: string | undefined;
  /** The group that it came from by a move; undefined for a seat that it had from the beginning. */
  readonly cameFrom: string | undefined;
  /** Which of the seats that it had from the beginning it goes back to, by whatever moves: of each there is one in the end. */
  readonly line: number;
  /** It is to end whatever moves: a signal came, or its view says so. */
  readonly isEnding: boolean;
}

/**
 * What is wanted of the seat in `group`. `join`: that the process becomes a member of `to`. `drain`: that it drains, because it is in `to` now. `move`:
 * that it is on record as being on its way to `to`; to its own group: it stays, or takes new flows again.
 */
export type MoveStep = { readonly group: string } & (MoveWish | { readonly kind: 'join'; readonly to: string });

/** What to do next, of the seats that are not left yet; at most one step a group. Steps are wanted until their effect is seen in the seats. */
export function nextSteps(seats: readonly Seat[]): MoveStep[] {
  const steps = seats.flatMap((seat) => (seat.isEnding ? [] : (stepOf(seat, seats) ?? [])));
  const isFirst = (step: MoveStep) => steps.find(({ kind, to }) => kind === 'join' && to === step.to) === step;
  return steps.filter((step) => step.kind !== 'join' || isFirst(step));
}

function stepOf(seat: Seat, seats: readonly Seat[]): MoveStep | undefined {
  const { group, phase, movesTo } = seat;
  if (phase !== 'active' && phase !== 'draining') return undefined;
  if (phase === 'draining') return isCalledBack(seat, seats) ? { kind: 'move', group, to: group } : undefined;
  const to = movesTo === undefined ? restOf(seat, seats) : destinationOf(seat, seats);
  if (to !== movesTo)
    return to === undefined || (to === group && movesTo === undefined) ? undefined : { kind: 'move', group, to };
  if (to === undefined) return undefined;
  const target = seats.find((other) => other.group === to);
  if (target === undefined) return { kind: 'join', group, to };
  const isAtRest = target.phase === 'active' && target.movesTo === undefined && !target.isEnding;
  return isAtRest ? { kind: 'drain', group, to } : undefined;
}

/** It drains because it moves, and the server is on its way back to it. */
function isCalledBack({ group, movesTo }: Seat, seats: readonly Seat[]): boolean {
  const goes = (other: Seat) => other.phase === 'active' && other.movesTo !== undefined && !other.isEnding;
  return movesTo !== undefined && seats.some((other) => goes(other) && destinationOf(other, seats) === group);
}

/**
 * Where a seat that is on its way comes to rest: it may have been sent on from where it is going. Where the way comes back to where it has been, the
 * server was called back: to the seat that drains, which is older than what sends it there; else whichever.
 */
function destinationOf(seat: Seat, seats: readonly Seat[]): string {
  const way: Seat[] = [];
  for (let at = seat; ; ) {
    const { movesTo } = at;
    if (movesTo === undefined) return at.group;
    const before = way.indexOf(at);
    if (before >= 0) return stayOf(way.slice(before)).group;
    way.push(at);
    const next = seats.find(({ group }) => group === movesTo);
    // What it drained for is gone: it was sent on from there.
    if (next === undefined) return at.phase === 'draining' ? at.group : movesTo;
    at = next;
  }
}

/** Of seats that are each on its way to the next one, and the last one to the first. */
function stayOf(ring: readonly Seat[]): Seat {
  const isSought = ({ phase }: Seat, index: number) => phase === 'draining' && ring.at(index - 1)?.phase === 'active';
  const byName = [...ring].sort((one, other) => (one.group < other.group ? -1 : 1));
  return ring.find(isSought) ?? byName.find(({ phase }) => phase === 'active') ?? byName[0];
}

/** Of the seats of one line: the group in which the server stays, if several of them seem to be at rest. */
function restOf({ line }: Seat, seats: readonly Seat[]): string | undefined {
  const its = seats.filter((seat) => seat.line === line);
  const resting = its.filter(
    ({ phase, movesTo, isEnding }) => phase === 'active' && movesTo === undefined && !isEnding,
  );
  if (resting.length < 2) return undefined;
  const isAimedAt = ({ group }: Seat) => its.some(({ phase, movesTo }) => phase === 'draining' && movesTo === group);
  const isOrigin = ({ group }: Seat) => resting.some(({ cameFrom }) => cameFrom === group);
  return (resting.find(isAimedAt) ?? resting.find(isOrigin) ?? resting[0]).group;
}
