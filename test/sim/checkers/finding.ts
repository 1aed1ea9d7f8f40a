// What a checker answers. A checker knows what the clients sent, what is in the logs, what the servers were handed and what went
// wrong, and nothing of how tier 1 and the actors work.

import { isLifeOf } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';
import type { FlowRecord, ServerLife } from '../ledger.ts';
import type { Diversion } from '../tier1.ts';
import type { World } from '../world.ts';

export interface Finding {
  readonly checker: string;
  /** What does not hold, in a sentence. */
  readonly what: string;
  /** The flow whose story explains it, where there is one. */
  readonly flow?: number;
  readonly packet?: number;
}

/** A connection that both sides have ended is remembered for a minute; clocks may differ by some of that. No other flow is forgotten within a run. */
export const closingMs = 50_000;

/** The first thing that does not hold at the end of a run, or undefined. */
export type Checker = (world: World) => Finding | undefined;

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(3)} s`;
}

/** Whether that life of a server was a member at that time, by the log. */
export function isMember(world: World, { group, name, incarnation }: ServerLife, atMs: number): boolean {
  const view = viewAt(world, group, atMs);
  return view?.members.some((member) => member.server === name && member.incarnation === incarnation) === true;
}

/**
 * When a life left its group because its server had moved to another one, by the log; undefined when it did not. It does so when all its flows
 * have ended: there is no deadline by which it goes.
 */
export function movedAwayMs(world: World, life: ServerLife): number | undefined {
  const its = { server: life.name, incarnation: life.incarnation };
  const { views } = world.referenceOf(life.group);
  const at = views.findIndex(({ command }) => command?.kind === 'leave' && isLifeOf(command.life, its));
  if (at < 0) return undefined;
  const { atMs } = views[at];
  const { toldMs = atMs } = world.servers.find((server) => server.life === life) ?? {};
  const member = views[at - 1]?.view.members.find((each) => isLifeOf(each, its));
  // One that was on its way may have been told to leave altogether.
  return member?.state === 'draining' && member.movesTo !== undefined && toldMs >= atMs ? atMs : undefined;
}

/** A flow that had ended so long before that its server need not have waited for it. */
export const lingeredMs = 9_000;

/** The view of a group at that time: what is stored by then. */
export function viewAt(world: World, group: string, atMs: number): View | undefined {
  return world.referenceOf(group).views.findLast((change) => change.atMs <= atMs)?.view;
}

/** The removals of members by command, that tell how far each had handled the log; and lives whose places others took, of which nobody knew that. */
export function deaths(world: World, group: string): Death[] {
  return world.referenceOf(group).views.flatMap(({ command, position, atMs, epoch }) => {
    if (command?.kind === 'remove') {
      const life = world.ledger.lifeOf(command.life.server, command.life.incarnation);
      return [{ life, handled: command.handled, position, atMs, epoch }];
    }
    if (command?.kind !== 'join' || command.replaces === undefined) return [];
    const life = world.ledger.lifeOf(command.author.server, command.replaces);
    return [{ life, handled: 0, position, atMs, epoch }];
  });
}

export interface Death {
  /** Index of the life. */
  readonly life: number;
  readonly handled: number;
  readonly position: number;
  readonly atMs: number;
  readonly epoch: string;
}

/** Flows have backups: what a dead server had not handled is replayed. */
export function replays(world: World): boolean {
  return world.plan.rules.availability !== 'none';
}

export interface Removal {
  readonly group: string;
  readonly life: ServerLife;
  /** Who appended the command. */
  readonly by: string;
  readonly atMs: number;
  /** A line began with nothing, and so without anybody. */
  readonly isEmptyLine: boolean;
}

/** Lives that are out of their groups, other than by their own will. */
export function removals(world: World): Removal[] {
  const known = removalsOf.get(world);
  if (known !== undefined) return known;
  const removed: Removal[] = [];
  removalsOf.set(world, removed);
  for (const { id: group } of world.map.groups) {
    let before: View | undefined;
    let epochBefore = '';
    for (const { view, by, atMs, command, epoch } of world.referenceOf(group).views) {
      for (const { server, incarnation, state } of before?.members ?? []) {
        const isThere = view.members.some((member) => member.server === server && member.incarnation === incarnation);
        const life = world.ledger.lives[world.ledger.lifeOf(server, incarnation)];
        // A donor's state may not know who has joined last.
        const isDonors = epoch !== epochBefore && command === undefined;
        // Who was still joining held nothing that a group could go on with.
        const isNobody = command?.kind === 'epoch' && state === 'joining';
        if (!isThere && !isDonors && !isNobody && by !== '' && by !== server && life !== undefined)
          removed.push({ group, life, by, atMs, isEmptyLine: command?.kind === 'epoch' });
      }
      before = view;
      epochBefore = epoch;
    }
  }
  return removed;
}

const removalsOf = new WeakMap<World, Removal[]>();

/**
 * Whether a tier 1 that carried packets of the flow sent them to another group than before, or back, between two moments;
 * or they went through several tier 1s, of which some sent them to another group and some did not: each judges for itself.
 */
export function isDiverted(world: World, flow: FlowRecord, fromMs: number, untilMs: number): boolean {
  const isBetween = (ms: number) => ms >= fromMs && ms <= untilMs;
  const packets = flow.packets.map((id) => world.ledger.packets[id]);
  const tier1s = new Set(packets.map(({ tier1 }) => tier1));
  if (world.diversions.some((each) => tier1s.has(each.tier1) && (isBetween(each.fromMs) || isBetween(each.untilMs)))) {
    return true;
  }
  const ways = packets
    .filter(({ sentMs }) => isBetween(sentMs))
    .map(({ tier1, sentMs }) => outFor(world, tier1, sentMs));
  return new Set(ways).size > 1;
}

/** The groups that a tier 1 had mapped out at that time. */
function outFor(world: World, tier1: string, atMs: number): string {
  const isOut = (each: Diversion) => each.tier1 === tier1 && each.fromMs <= atMs && each.untilMs > atMs;
  return world.diversions
    .filter(isOut)
    .map(({ group }) => group)
    .sort()
    .join();
}
