// What a server gets of a flow comes in the order of the log, also what it gets in the place of a dead one: first that, and then what lies behind the
// removal. Each server's own packets come in order because its replica reads them in order.

import type { World } from '../world.ts';
import { type Finding, seconds } from './finding.ts';

export function order({ ledger }: World): Finding | undefined {
  const { disorder } = ledger;
  if (disorder === undefined) return undefined;
  const { id, flow, sentMs } = ledger.packets[disorder.packet];
  const who = ledger.lives[disorder.life].name;
  const what = `packet ${id} of flow ${flow}, sent at ${seconds(sentMs)}, was replayed to ${who} after packet ${disorder.before}, which lies behind it in the log`;
  return { checker: 'order', what, flow, packet: id };
}
