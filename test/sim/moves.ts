// Servers that move between groups: an operator sends one to another group by a command in the log of its own one, and the process does the rest, as
// `services/cli/run/dssl/seats.ts` does it: it looks at its seats again and again, and does what `services/dssl/member/moving.ts` says.
//
//   process s1   seat in g1   active ── movesTo g2 ──────► draining ──► left: the process goes on with the other seat
//                seat in g2            joining ──► active
//
// It looks only while a view says that it is on its way. A seat that cannot start is refused, and the server stays where it is. When a seat is removed
// though the process lives, or has lost its state, the process ends with all its seats, and begins anew.

import { type MoveStep, nextSteps, type Seat } from '../../services/dssl/member/moving.ts';
import { operatorAuthor } from '../../shared/log/records/command.ts';
import { isStandby, takesFlows } from '../../shared/membership/standbys.ts';
import type { Member, View } from '../../shared/membership/view.ts';
import type { Fault } from './faults.ts';
import type { SimProcess } from './process.ts';
import type { SimServer } from './server.ts';
import type { Slot } from './slot.ts';
import type { World } from './world.ts';

/** How often a process looks for what to do next. */
const lookEveryMs = 200;

/** One membership of a server that takes new flows there. */
interface Movable {
  readonly slot: Slot;
  readonly view: View;
  readonly member: Member;
}

/** What an operator does: one that is on its way is called back or sent on, or another one is sent to another group. */
export function sendServer(world: World, { pick, amount }: Fault): void {
  const all = world.slots.flatMap((slot) => movable(world, slot));
  const onTheirWay = all.filter(({ slot, member }) => slot.seats.length > 1 || member.movesTo !== undefined);
  // Who came last has few flows, and leaves soon.
  const others = amount < 0.8 ? all : all.slice(-1);
  const some = onTheirWay.length > 0 && amount < 0.7 ? onTheirWay : others;
  if (some.length === 0) return;
  const { view, member } = some[pick % some.length];
  const groups = world.map.groups.map(({ id }) => id);
  const targets = groups.filter((id) => (member.movesTo === undefined ? id !== view.group : id !== member.movesTo));
  const to = targets[Math.floor(pick / some.length) % targets.length];
  const epoch = world.referenceOf(view.group).epoch;
  if (epoch === undefined || (to !== view.group && !staysTaken(world, view, member))) return;
  const life = { server: member.server, incarnation: member.incarnation };
  world.say(`operator: ${member.server} of ${view.group} goes to ${to}`);
  world.appendAsOperator(view.group, { kind: 'move', author: operatorAuthor, epoch: epoch.id, life, to });
}

function movable(world: World, slot: Slot): Movable[] {
  if (!slot.isWanted || slot.running === undefined || world.plan.rules.availability === 'active-passive') return [];
  return slot.seats.flatMap(({ options: { group, incarnation } }) => {
    const view = world.viewOf(group);
    const member = view.members.find((each) => each.server === slot.name && each.incarnation === incarnation);
    return member?.state === 'active' && !isStandby(member) ? [{ slot, view, member }] : [];
  });
}

/** Another server of the group takes flows, and is not about to go. */
function staysTaken({ slots }: World, view: View, member: Member): boolean {
  const isWanted = (server: string) => slots.some((slot) => slot.name === server && slot.isWanted);
  const stays = (each: Member) => takesFlows(each) && each.movesTo === undefined && isWanted(each.server);
  return view.members.some((each) => each !== member && stays(each));
}

/** What processes do about moves of their servers. */
export class Moves {
  readonly #world: World;
  readonly #looking = new Set<SimProcess>();
  /** Moves that could not be, as `from to`, as long as they are wanted. */
  readonly #refused = new Map<SimProcess, Set<string>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** The view of one of its seats says that the server is on its way. */
  begin(slot: Slot, process: SimProcess): void {
    if (this.#looking.has(process)) return;
    this.#looking.add(process);
    this.#lookLater(slot, process);
  }

  /** The seat has left its group of its own will, because its server is in another one now. True when the process goes on there. */
  hasLeft(slot: Slot, seat: SimServer): boolean {
    const goesOn = seat.actor.lostBecause === undefined && seat.actor.standing.asksToLeave && slot.seats.length > 1;
    if (goesOn) this.#world.endSeat(slot, seat, 'has left: its server is in another group');
    return goesOn;
  }

  /** The seat could not start. True when it was on its way, and the process goes on where it is. */
  refuse(slot: Slot, seat: SimServer): boolean {
    const { cameFrom, group, process } = seat.options;
    if (!process.isAlive || cameFrom === undefined || slot.seats.length < 2) return false;
    const refused = this.#refused.get(process) ?? new Set();
    this.#refused.set(process, refused.add(`${cameFrom} ${group}`));
    this.#world.endSeat(slot, seat, 'cannot move');
    return true;
  }

  #lookLater(slot: Slot, process: SimProcess): void {
    process.clock.setTimer(lookEveryMs, () => this.#look(slot, process));
  }

  #look(slot: Slot, process: SimProcess): void {
    slot.noteActive();
    const seats = slot.seats.filter(({ actor }) => actor.phase !== 'left');
    const steps = nextSteps(seats.map(seatOf));
    for (const seat of seats) {
      this.#forgetRefusals(seat);
      this.#do(
        slot,
        seat,
        steps.find(({ group }) => group === seat.options.group),
      );
    }
    if (slot.seats.length > 1 || seats.some(({ movesTo }) => movesTo !== undefined)) this.#lookLater(slot, process);
    else this.#looking.delete(process);
  }

  #do(slot: Slot, { actor: { standing }, options: { process } }: SimServer, step: MoveStep | undefined): void {
    standing.moveWish = step?.kind === 'join' ? undefined : step;
    if (step?.kind !== 'join') return;
    const { group, to } = step;
    if (this.#refused.get(process)?.has(`${group} ${to}`)) standing.moveWish = { kind: 'move', to: group };
    else this.#world.startSeat(slot, process, to, group);
  }

  #forgetRefusals({ movesTo, options: { group, process } }: SimServer): void {
    const refused = this.#refused.get(process);
    if (refused === undefined || movesTo !== undefined) return;
    for (const each of refused) if (each.startsWith(`${group} `)) refused.delete(each);
  }
}

function seatOf({ actor: { phase, standing }, options: { group, cameFrom }, movesTo }: SimServer): Seat {
  return { group, phase, movesTo, cameFrom, line: 0, isEnding: standing.wantsToLeave };
}
