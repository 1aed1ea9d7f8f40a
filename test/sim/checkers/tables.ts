// Members agree in the end on who has which flow: what a server holds, all others of its group have down for it, and what
// is down for a server, that holds. Of the flows that all are to know: by Fig. 6 connections are known to their owners
// alone. It looks into the tables, and knows nothing of how they came to agree.
//
// What excuses a difference:
//
//   trouble     something was wrong in the group so lately that there was no time yet to notice and set it right
//   young       the flow began, or came to its server, in the last seconds
//   old         it is closing, or nearly forgotten: who looks a little later has forgotten it

import { FlowState, idleIndexOf, protocolClassOf, stateOf } from '../../../services/dssl/replica/flows/entry.ts';
import { flowKey } from '../../../services/dssl/replica/flows/key.ts';
import { idleTicks } from '../../../services/dssl/replica/idleLimits.ts';
import { ageTicks, tickOfMs } from '../../../services/dssl/replica/ticks.ts';
import { ProtocolClass } from '../../../shared/flow/frameFlags.ts';
import type { SimServer } from '../server.ts';
import type { World } from '../world.ts';
import { type Finding, isMember } from './finding.ts';

/** What went wrong must have been noticed and repaired within this. */
const repairMs = 45_000;
/** Flows of this age are known everywhere. */
const youngMs = 12_000;
/** A connection that has ended is forgotten after ten seconds. */
const closingTicks = 95;
/** Entries so near their idle limit may be forgotten by one and not by another; clocks differ. */
const nearLimitTicks = 80;

export function tables(world: World): Finding | undefined {
  for (const { id } of world.map.groups) {
    if (isTroubled(world, id)) continue;
    const members = world.servers.filter((server) => isWell(world, server, id));
    for (const one of members) {
      for (const other of members) {
        const what = one === other ? undefined : difference(world, one, other);
        if (what !== undefined) return { checker: 'tables', what };
      }
    }
  }
  return undefined;
}

function isTroubled(world: World, group: string): boolean {
  return world.weather.troubles.some(({ process, untilMs }) => {
    if (untilMs < world.nowMs - repairMs) return false;
    const slot = world.slots.find(({ name }) => name === process);
    return slot === undefined || slot.group === group;
  });
}

function isWell(world: World, { actor, life, options }: SimServer, group: string): boolean {
  const { process } = options;
  if (life.group !== group || !process.isAlive || process.isPaused || !isMember(world, life, world.nowMs)) return false;
  // One that came lately still learns.
  return life.startedMs < world.nowMs - repairMs && actor.core.phase !== 'joining';
}

/** A flow that is down for `one` in one of both tables and not in the other. */
function difference(world: World, one: SimServer, other: SimServer): string | undefined {
  const missing = flowsOf(world, one, one).find((flow) => !has(other, one, flow));
  if (missing !== undefined)
    return `${one.life.name} holds ${nameOf(missing)}, of which ${other.life.name} says that it is ${downFor(other, missing)}`;
  const stale = flowsOf(world, other, one).find((flow) => !has(one, one, flow) && !mayHaveEnded(other, flow));
  if (stale === undefined) return undefined;
  return `${other.life.name} has ${nameOf(stale)} down for ${one.life.name}, which says that it is ${downFor(one, stale)}`;
}

/**
 * Members may see the end of a connection and the start of the next one on its ports in another order, when they come through
 * two tier 1s. Then one of them forgets it ten seconds after its last packet, and the others when they are told so.
 */
function mayHaveEnded({ actor, options }: SimServer, [hi, lo]: Flow): boolean {
  const { table } = actor.core.decider;
  const age = ageTicks(tickOfMs(options.process.clock.nowMs()), table.lastSeen(table.peek(hi, lo)));
  return age > closingTicks && age < closingTicks + tickOfMs(repairMs);
}

type Flow = readonly [hi: number, lo: number];

/** Flows that `knower` has down for `owner`, without those that it may be alone with. */
function flowsOf(world: World, { actor, options }: SimServer, owner: SimServer): Flow[] {
  const { decider } = actor.core;
  const number = numberOf(actor, owner);
  const tick = tickOfMs(options.process.clock.nowMs());
  const flows: Flow[] = [];
  const young = youngFlows(actor, tick);
  decider.table.scan(0, Number.POSITIVE_INFINITY, (hi, lo, lastSeen, info, handle) => {
    if (decider.table.owner(handle) !== number || stateOf(info) === FlowState.closing) return;
    if (world.map.rules.typeOneMethod === 'fig-6' && protocolClassOf(info) === ProtocolClass.TCP) return;
    if (ageTicks(tick, lastSeen) > idleTicks[idleIndexOf(info)] - nearLimitTicks) return;
    if (!young.has(flowKey(hi, lo))) flows.push([hi, lo]);
  });
  return flows;
}

function youngFlows({ core }: SimServer['actor'], tick: number): ReadonlySet<number> {
  const young = new Set<number>();
  const add = (hi: number, lo: number): void => void young.add(flowKey(hi, lo));
  core.decider.recentStarts.scan(0, Number.POSITIVE_INFINITY, add, tick - tickOfMs(youngMs) + 1);
  return young;
}

function numberOf({ core }: SimServer['actor'], { options }: SimServer): number {
  return core.views.numberOf(options.name, options.incarnation);
}

function has({ actor }: SimServer, owner: SimServer, [hi, lo]: Flow): boolean {
  const { table } = actor.core.decider;
  const handle = table.peek(hi, lo);
  return handle !== -1 && table.owner(handle) === numberOf(actor, owner);
}

function downFor({ actor }: SimServer, [hi, lo]: Flow): string {
  const { table } = actor.core.decider;
  const handle = table.peek(hi, lo);
  return handle === -1 ? "nobody's" : `${actor.core.views.serverName(table.owner(handle))}'s`;
}

function nameOf([hi, lo]: Flow): string {
  return `flow ${(hi >>> 0).toString(16)}:${(lo >>> 0).toString(16)}`;
}
