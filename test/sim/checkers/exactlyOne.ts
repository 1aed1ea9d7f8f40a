// At most one server accepts a packet, whatever goes wrong. There is no excuse, but for what nobody can mend: an entry was read and its
// packet accepted, and then the log's server was started again without that entry. Tier 1 had no answer and sends it again.

import type { PacketRecord } from '../ledger.ts';
import type { World } from '../world.ts';
import { type Finding, seconds } from './finding.ts';

export function exactlyOne({ ledger }: World): Finding | undefined {
  for (const packet of ledger.packets) {
    const { id, flow, acceptedBy, sentMs } = packet;
    if (acceptedBy.length < 2 || isStoredAnew(packet)) continue;
    const who = acceptedBy.map((index) => `${ledger.lives[index].name} (life ${index})`).join(' and ');
    const what = `packet ${id} of flow ${flow} (${ledger.flows[flow].tuple}), sent at ${seconds(sentMs)}, was accepted by ${who}`;
    return { checker: 'exactly-one', what, flow, packet: id };
  }
  return undefined;
}

/** Each that accepted it did so on another line of the log, of which all but the last one have lost it. */
function isStoredAnew({ acceptedBy, fate, formerFates }: PacketRecord): boolean {
  const fates = fate === undefined ? formerFates : [...formerFates, fate];
  return fates.length >= acceptedBy.length && fates.slice(0, -1).every(({ isLost }) => isLost);
}
