// The group is what lives: the dead are no members in the end, whoever lives and is wanted is one, and nobody is removed by
// others who was well. A server that was paused for long or cut off may be removed; it comes back.

import { takesFlows } from '../../../shared/membership/standbys.ts';
import { isLifeOf } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import type { Trouble } from '../faults.ts';
import type { ServerLife } from '../ledger.ts';
import type { World } from '../world.ts';
import { type Finding, isMember, type Removal, removals, seconds, viewAt } from './finding.ts';

/** Silence for less costs nobody its place. */
const harmlessMs = 500;
/** A trouble that ended so long ago may still be what made others act. */
const afterMs = 2_500;

const silencing: ReadonlySet<Trouble['kind']> = new Set([
  'crash',
  'die',
  'die-appending',
  'disconnect',
  'partition',
  'overrun',
  'one-way',
]);

export function membership(world: World): Finding | undefined {
  return deadMembers(world) ?? slowRemovals(world) ?? missingMembers(world) ?? wrongRemovals(world);
}

/** Whoever dies while nothing else is wrong is out within this. */
const outWithinMs = 2_000;
/** An append reaches the log so late at most. */
const lateMs = 4_500;
/** Until somebody has written again what was lost. */
const allLostMs = 15_000;
/** Who was taken for dead and lives is patient with others for so long. */
const patientMs = 25_000;

function slowRemovals(world: World): Finding | undefined {
  const { troubles } = world.weather;
  for (const trouble of troubles.filter(({ kind }) => kind === 'die')) {
    const { fromMs, process } = trouble;
    if (lastLives(world, process).every((life) => wasRemovedInTime(world, life, trouble))) continue;
    return { checker: 'membership', what: `${process} died at ${seconds(fromMs)} and was not removed in time` };
  }
  return undefined;
}

/** The lives that ended when the process ended for good: one in each group that it was in. */
function lastLives({ ledger }: World, process: string): ServerLife[] {
  const lives = ledger.lives.filter(({ name }) => name === process);
  const lastMs = Math.max(...lives.map(({ endedMs }) => endedMs));
  return lives.filter(({ endedMs }) => endedMs === lastMs);
}

function wasRemovedInTime(world: World, life: ServerLife, trouble: Trouble): boolean {
  const { fromMs, process } = trouble;
  const isOfGroup = (name: string) =>
    world.ledger.lives.some((each) => each.name === name && each.group === life.group);
  const quietMs = ({ process: name }: Trouble) => (name === '*' || isOfGroup(name) ? patientMs : 5_000);
  const isQuiet = world.weather.troubles.every(
    (other) => other === trouble || other.untilMs < fromMs - quietMs(other) || other.fromMs > fromMs + outWithinMs,
  );
  if (!isQuiet || !isMember(world, life, fromMs + outWithinMs)) return true;
  // The last one that takes flows stays until another one does; and newcomers judge nobody in their first seconds.
  const members = viewAt(world, life.group, fromMs + outWithinMs)?.members ?? [];
  const hasOther = members.some(({ server, state }) => server !== process && state === 'active');
  const isYoung = ({ server, incarnation }: Member) =>
    world.ledger.lives.some(
      (each) => each.name === server && each.incarnation === incarnation && each.startedMs > fromMs - 5_000,
    );
  return !hasOther || members.some(isYoung);
}

function deadMembers(world: World): Finding | undefined {
  for (const life of world.ledger.lives) {
    if (life.endedMs > world.nowMs - 5_000) continue;
    const isMember = world
      .viewOf(life.group)
      .members.some(({ server, incarnation }) => server === life.name && incarnation === life.incarnation);
    if (!isMember) continue;
    return { checker: 'membership', what: `${life.name} ended at ${seconds(life.endedMs)} and is still a member` };
  }
  return undefined;
}

/** It is on its way elsewhere, and the last one that takes flows. */
function isKept(member: Member, { members }: View): boolean {
  return member.movesTo !== undefined && takesFlows(member) && members.filter(takesFlows).length === 1;
}

/**
 * Whoever is wanted is active in one group in the end. Where its server has moved, it may drain in others; and it stays in one that it should leave as
 * long as nobody else takes flows there.
 */
function missingMembers(world: World): Finding | undefined {
  const wrong = (what: string): Finding => ({ checker: 'membership', what });
  for (const { name, isWanted } of world.slots) {
    if (!isWanted) continue;
    const seats = world.map.groups.flatMap(({ id }) =>
      world.viewOf(id).members.filter((member) => member.server === name && !isKept(member, world.viewOf(id))),
    );
    const active = seats.filter(({ state }) => state === 'active');
    if (active.length === 0) return wrong(`${name} lives, and is ${seats[0]?.state ?? 'no member'} in the end`);
    if (active.length > 1) return wrong(`${name} is active in ${active.length} groups in the end`);
    if (active[0].movesTo !== undefined) return wrong(`${name} is still on its way to ${active[0].movesTo} in the end`);
    const stray = seats.find(
      ({ state, movesTo }) => state !== 'active' && (state !== 'draining' || movesTo === undefined),
    );
    if (stray !== undefined) return wrong(`${name} is active in the end, and ${stray.state} in another group`);
  }
  return undefined;
}

function wrongRemovals(world: World): Finding | undefined {
  const wrong = removals(world).find(
    (each) => !wasSilent(world, each.life, each.atMs, decidedMs(world, each)) && !wasAllLost(world, each),
  );
  if (wrong === undefined) return undefined;
  const { group, life, by, atMs } = wrong;
  return {
    checker: 'membership',
    what: `${by} removed ${life.name} from ${group} at ${seconds(atMs)}, which was well`,
  };
}

/**
 * A group begins empty where neither the store nor its log knows of it: both were emptied, and a server that has just started finds nothing that
 * tells of others.
 */
function wasAllLost({ weather }: World, { group, isEmptyLine, atMs }: Removal): boolean {
  const isLost = (kinds: readonly Trouble['kind'][], where: string) =>
    weather.troubles.some(
      ({ kind, process, fromMs }) =>
        kinds.includes(kind) && process === where && fromMs < atMs && fromMs > atMs - allLostMs,
    );
  return isEmptyLine && isLost(['store-emptied'], '*') && isLost(['log-emptied', 'log-tail'], group);
}

/** When the command was appended at the earliest: it may have been on its way to the log for seconds. */
function decidedMs({ weather }: World, { by, atMs }: Removal): number {
  const isLate = ({ kind, process, fromMs, untilMs }: Trouble) =>
    (kind === 'late-store' || kind === 'slow-log') && process === by && fromMs < atMs && untilMs > atMs - lateMs;
  return weather.troubles.some(isLate) ? atMs - lateMs : atMs;
}

function wasSilent(world: World, life: ServerLife, atMs: number, sinceMs: number): boolean {
  if (life.endedMs <= atMs) return true;
  return world.weather.troubles.some(({ kind, process, fromMs, untilMs }) => {
    if (fromMs > atMs || untilMs < sinceMs - afterMs) return false;
    const isIts = process === life.name || process === '*';
    if (kind === 'pause') return isIts && untilMs - fromMs >= harmlessMs;
    // Of two members each has one watcher, who has to judge alone. And two watchers may be deaf at a time.
    if (kind === 'deaf-to-one') return isIts && (isPair(world, life, atMs) || isDeafTwice(world, life, atMs));
    return isIts && silencing.has(kind);
  });
}

/** Of the others one at most is well: whoever judges has nobody who could agree. */
function isPair(world: World, { group, name }: ServerLife, atMs: number): boolean {
  // Who leaves in the same moment judges no more.
  const stays = (member: Member) => viewAt(world, group, atMs)?.members.some((each) => isLifeOf(each, member)) === true;
  const before = viewAt(world, group, atMs - 1)?.members ?? [];
  const others = before.filter((member) => member.server !== name && stays(member));
  const lifeOf = ({ server, incarnation }: Member) =>
    world.ledger.lives.find((life) => life.name === server && life.incarnation === incarnation);
  const isWell = (member: Member) => {
    const life = lifeOf(member);
    return life !== undefined && life.endedMs > atMs && !isTroubled(world, life.name, atMs);
  };
  return others.filter(isWell).length <= 1;
}

function isTroubled({ weather }: World, name: string, atMs: number): boolean {
  return weather.troubles.some(
    ({ kind, process, fromMs, untilMs }) =>
      (process === name || process === '*') &&
      fromMs <= atMs &&
      untilMs >= atMs - afterMs &&
      (kind === 'pause' || kind === 'gossip-loss' || silencing.has(kind)),
  );
}

/** Two of the group are not heard by somebody: both by one, who is left alone, or one by two, who agree. */
function isDeafTwice(world: World, { group }: ServerLife, atMs: number): boolean {
  const names = viewAt(world, group, atMs - 1)?.members.map(({ server }) => server) ?? [];
  const isAtThatTime = ({ kind, process, fromMs, untilMs }: Trouble) =>
    kind === 'deaf-to-one' && names.includes(process) && fromMs <= atMs && untilMs >= atMs - afterMs;
  return world.weather.troubles.filter(isAtThatTime).length > 1;
}
