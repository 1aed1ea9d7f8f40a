// A place for a server: what runs in it now, under a name that its successors share. What runs is one process, which is a member of one group as a
// rule, and of several while its server moves: it has a seat in each.

import { successorOf, takesFlows } from '../../shared/membership/standbys.ts';
import { findMember } from '../../shared/membership/view.ts';
import type { SimServer } from './server.ts';
import type { World } from './world.ts';

export class Slot {
  readonly name: string;
  /** Where the server takes new flows, or took them last: its next life begins there. */
  group: string;
  /** Seats of the process that runs, oldest first; empty while none does. */
  readonly seats: SimServer[] = [];
  /** False when an operator has told it to leave. When it dies before it has left, it is started again, and told again. */
  isWanted = true;
  hasLeft = false;
  readonly #home: string;
  readonly #standsFor: readonly string[] | undefined;

  constructor(name: string, group: string, standsFor: readonly string[] | undefined) {
    this.name = name;
    this.group = group;
    this.#home = group;
    this.#standsFor = standsFor;
  }

  get running(): SimServer | undefined {
    return this.seats[0];
  }

  /** Of a standby in its own group: a server that has moved stands for nobody. */
  get standsFor(): readonly string[] | undefined {
    return this.group === this.#home ? this.#standsFor : undefined;
  }

  /** One of its seats is active, or was so last. Of two, one is on its way to the other. */
  noteActive(): void {
    const active = this.seats.filter(({ actor }) => actor.phase === 'active');
    const here = active.find(({ movesTo }) => movesTo === undefined) ?? active[0];
    if (here !== undefined) this.group = here.options.group;
  }

  giveUp(seat: SimServer): void {
    const at = this.seats.indexOf(seat);
    if (at >= 0) this.seats.splice(at, 1);
  }
}

/** Nobody drains or kills the last server of a group that takes flows and stays, unless a standby takes its place. */
export function hasAnother(world: World, slot: Slot): boolean {
  const groups = slot.seats.length === 0 ? [slot.group] : slot.seats.map(({ options }) => options.group);
  return groups.every((group) => hasAnotherIn(world, group, slot.name));
}

function hasAnotherIn(world: World, group: string, mine: string): boolean {
  const isWanted = (server: string) => world.slots.find(({ name }) => name === server)?.isWanted === true;
  const view = world.viewOf(group);
  const member = findMember(view, mine);
  const standby = member && successorOf(view, member, false);
  const others = view.members.filter(
    ({ server, movesTo }) => server !== mine && isWanted(server) && movesTo === undefined,
  );
  return others.some((each) => takesFlows(each) || each === standby);
}
