// What a server gets of a flow comes in the order of the log, also what it gets in the place of a dead one: first that, and then what lies behind the
// removal. Each server's own packets come in order because its replica reads them in order.
//
// There is one excuse: the heir died, too, before it had said that it was through. When the flow had gone on elsewhere meanwhile, because its owner
// and its backup had gone together, whoever has it may be the next heir as well.

import type { Fate } from '../ledger.ts';
import type { World } from '../world.ts';
import { deaths, type Finding, seconds } from './finding.ts';

export function order(world: World): Finding | undefined {
  const { ledger } = world;
  for (const { packet, life, before } of ledger.disorders) {
    const { id, flow, sentMs, fate } = ledger.packets[packet];
    if (fate !== undefined && wasInheritedTwice(world, fate)) continue;
    const who = ledger.lives[life].name;
    const what = `packet ${id} of flow ${flow}, sent at ${seconds(sentMs)}, was replayed to ${who} after packet ${before}, which lies behind it in the log`;
    return { checker: 'order', what, flow, packet: id };
  }
  return undefined;
}

function wasInheritedTwice(world: World, { group, epoch, owner, dueAt }: Fate): boolean {
  const all = deaths(world, group).filter((each) => each.epoch === epoch);
  const first = all.find(({ life, position }) => life === owner && position >= dueAt);
  return (
    first !== undefined && all.some(({ position, handled }) => position > first.position && handled < first.position)
  );
}
