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
// Pure: seats in, steps out.

import type { MemberPhase } from './standing.ts';

/** One membership of a process. */
export interface Seat {
  readonly group: string;
  readonly phase: MemberPhase;
  /** Of its member in the view: where it is on its way to. */
  readonly movesTo: string | undefined;
  /** The group that it came from by a move; undefined for a seat that it had from the beginning. */
  readonly cameFrom: string | undefined;
  /** It is to end whatever moves: a signal came, or its view says so. */
  readonly isEnding: boolean;
}

export type MoveStep =
  /** Become a member of `to`, which is another seat. */
  | { readonly kind: 'join'; readonly group: string; readonly to: string }
  | { readonly kind: 'drain'; readonly group: string }
  /** Have it on record that the member of `group` is on its way to `to`; to its own group: it stays, or takes new flows again. */
  | { readonly kind: 'move'; readonly group: string; readonly to: string };

/** What to do next, of the seats that are not left yet; at most one step a group. Steps are wanted until their effect is seen in the seats. */
export function nextSteps(seats: readonly Seat[]): MoveStep[] {
  const steps: MoveStep[] = [];
  for (const seat of seats) {
    const step = seat.isEnding ? undefined : stepOf(seat, seats);
    if (step !== undefined && !steps.some(({ group }) => group === step.group)) steps.push(step);
  }
  return steps;
}

function stepOf(seat: Seat, seats: readonly Seat[]): MoveStep | undefined {
  const { group, phase, movesTo, cameFrom } = seat;
  if (phase !== 'active') return undefined;
  if (movesTo === undefined) {
    // It was called back before it had arrived.
    const origin = seats.find((other) => other.group === cameFrom);
    const isCalledBack = origin?.phase === 'active' && origin.movesTo === undefined;
    return isCalledBack ? { kind: 'move', group, to: origin.group } : undefined;
  }
  const target = seats.find((other) => other.group === movesTo);
  if (target === undefined) return { kind: 'join', group, to: movesTo };
  if (target.isEnding || target.phase === 'outside' || target.phase === 'joining' || target.phase === 'left')
    return undefined;
  // It drains there yet, and has been sent back.
  if (target.phase === 'draining') return { kind: 'move', group: target.group, to: target.group };
  if (target.movesTo !== group) return { kind: 'drain', group };
  // Sent both ways at once: one of the two stays.
  return group < target.group ? { kind: 'move', group, to: group } : undefined;
}
