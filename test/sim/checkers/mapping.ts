// A tier 1 maps a group out only when nobody in it could be heard: all its servers were dead, paused or cut off, or tier 1
// was itself; or when its view has no server. One that has become a server a moment ago need not have been heard yet. While nobody follows a log that
// has lost its end, the mirror that tier 1 goes by may tell of members otherwise than the log.

import { isLifeOf } from '../../../shared/membership/transitions.ts';
import type { Member } from '../../../shared/membership/view.ts';
import type { Trouble } from '../faults.ts';
import type { World } from '../world.ts';
import { type Finding, seconds, viewAt } from './finding.ts';

/** What keeps gossip from somebody. What comes over logs and the store does not. */
const silencing: ReadonlySet<Trouble['kind']> = new Set([
  'pause',
  'crash',
  'die',
  'die-appending',
  'disconnect',
  'slow-network',
  'partition',
  'gossip-loss',
  'one-way',
  'deaf-to-one',
  'bus-restart',
  'end-tier1',
  'overrun',
]);
/** Silence for less maps nobody out. */
const silentMs = 3_000;
/** The view by which a server serves may be on its way for so long. */
const viewMs = 1_000;

export function mapping(world: World): Finding | undefined {
  for (const { tier1, group, isSilent, fromMs } of world.diversions) {
    const before = servingAt(world, group, fromMs - viewMs);
    const known = servingAt(world, group, fromMs).filter((life) => before.some((other) => isLifeOf(other, life)));
    const well = known.map(({ server }) => server).filter((server) => !isSilentMember(world, group, server, fromMs));
    if (isLineless(world, group, fromMs)) continue;
    if (isSilent ? well.length === 0 || couldBeSilent(world, tier1.replace(/-\d+$/, ''), fromMs) : true) continue;
    const what = `${tier1} mapped ${group} out at ${seconds(fromMs)}, although ${well.join(', ')} could be heard`;
    return { checker: 'mapping', what };
  }
  return undefined;
}

function isLineless(world: World, group: string, atMs: number): boolean {
  return world.referenceOf(group).lineless.some(({ fromMs, untilMs }) => fromMs <= atMs && untilMs + silentMs > atMs);
}

function servingAt(world: World, group: string, atMs: number): readonly Member[] {
  const members = viewAt(world, group, atMs)?.members ?? [];
  return members.filter(({ state }) => state !== 'joining');
}

/** Another life of the server may speak, and is no member. */
function isSilentMember(world: World, group: string, name: string, atMs: number): boolean {
  const member = viewAt(world, group, atMs)?.members.find(({ server }) => server === name);
  const life = member && world.ledger.lives[world.ledger.lifeOf(member.server, member.incarnation)];
  if (life !== undefined && (life.endedMs <= atMs || life.startedMs > atMs - silentMs)) return true;
  return couldBeSilent(world, name, atMs);
}

function couldBeSilent({ weather }: World, name: string, atMs: number): boolean {
  return weather.troubles.some(
    ({ kind, process, fromMs, untilMs }) =>
      (process === name || process === '*') &&
      silencing.has(kind) &&
      fromMs <= atMs &&
      untilMs >= atMs - silentMs - 1_000,
  );
}
