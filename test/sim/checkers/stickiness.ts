// A flow never changes its server while that server lives and is a member. One that was silent for nearly as long as
// flows are remembered may have been forgotten: what comes later is a new flow.

import type { World } from '../world.ts';
import { type Finding, idleMs, isMember, seconds } from './finding.ts';

export function stickiness(world: World): Finding | undefined {
  const { ledger } = world;
  for (const flow of ledger.flows) {
    let home = -1;
    let lastMs = Number.POSITIVE_INFINITY;
    for (const id of flow.packets) {
      const { acceptedBy, acceptedMs, sentMs } = ledger.packets[id];
      if (sentMs - lastMs > idleMs) home = -1;
      lastMs = sentMs;
      if (acceptedBy.length === 0) continue;
      const taker = acceptedBy[0];
      if (home !== -1 && home !== taker) {
        const life = ledger.lives[home];
        if (life.endedMs > acceptedMs && isMember(world, life.group, life.name, acceptedMs)) {
          const what = `flow ${flow.id} (${flow.tuple}) was at ${life.name}, and its packet ${id}, sent at ${seconds(sentMs)}, went to ${ledger.lives[taker].name}`;
          return { checker: 'stickiness', what, flow: flow.id, packet: id };
        }
      }
      home = taker;
    }
  }
  return undefined;
}
