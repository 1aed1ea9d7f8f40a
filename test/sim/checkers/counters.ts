// All counters add up: what clients sent is what tier 1s received, what they received is what they distributed and
// dropped, what servers were handed is what replicas accepted. And what a tier 1 counts as dropped is in no log.

import type { World } from '../world.ts';
import type { Finding } from './finding.ts';

export function counters(world: World): Finding | undefined {
  const wrong = (what: string): Finding => ({ checker: 'counters', what });
  for (const { name, process, actor, offered, lost } of world.tier1s) {
    const { received, distributed, dropped, pending, underWay } = actor.distributor;
    const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0);
    if (process.isAlive && received !== offered - lost)
      return wrong(`${name} was given ${offered - lost} packets and received ${received}`);
    if (received !== distributed + drops + pending + underWay)
      return wrong(
        `${name}: received ${received} is not distributed ${distributed} + dropped ${drops} + open ${pending} + under way ${underWay}`,
      );
  }
  const unlogged = countUnlogged(world);
  for (const { name, process, actor } of world.tier1s) {
    const { droppedPackets, pending, underWay } = actor.distributor;
    const missing = unlogged.get(name) ?? 0;
    if (process.isAlive && missing > droppedPackets + pending + underWay)
      return wrong(`${name} counts ${droppedPackets} packets as dropped, and ${missing} of it are in no log`);
  }
  for (const { name, lostFrames } of world.tier1s) {
    for (const { group, life, number } of lostFrames) {
      if (world.referenceOf(group).applied.has(`${life} ${number}`))
        return wrong(`${name} counts frame ${number} of ${life} as dropped, and ${group} has applied it`);
    }
  }
  for (const { accepted, handed, options, actor } of world.servers) {
    // What was kept back because of a removal that took no effect was handed out after all.
    const { fencedRows } = actor.failover.lease.counters;
    if (handed < accepted || handed > accepted + fencedRows)
      return wrong(`${options.name} accepted ${accepted} packets, its server was handed ${handed}`);
  }
  return undefined;
}

/** Packets by tier 1 that were never in the log of any group. */
function countUnlogged({ ledger }: World): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { tier1, takenMs, fate, passedOverMs } of ledger.packets) {
    if (fate !== undefined || passedOverMs !== undefined || takenMs === Number.POSITIVE_INFINITY) continue;
    counts.set(tier1, (counts.get(tier1) ?? 0) + 1);
  }
  return counts;
}
