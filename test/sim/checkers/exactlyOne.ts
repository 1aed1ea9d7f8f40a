// At most one server accepts a packet, whatever goes wrong. There is no excuse.

import type { World } from '../world.ts';
import { type Finding, seconds } from './finding.ts';

export function exactlyOne({ ledger }: World): Finding | undefined {
  for (const { id, flow, acceptedBy, sentMs } of ledger.packets) {
    if (acceptedBy.length < 2) continue;
    const who = acceptedBy.map((index) => `${ledger.lives[index].name} (life ${index})`).join(' and ');
    const what = `packet ${id} of flow ${flow} (${ledger.flows[flow].tuple}), sent at ${seconds(sentMs)}, was accepted by ${who}`;
    return { checker: 'exactly-one', what, flow, packet: id };
  }
  return undefined;
}
