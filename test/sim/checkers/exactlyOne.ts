// At most one server accepts a packet, whatever goes wrong. There are two excuses for what nobody can mend.
//
// An entry was read and its packet accepted, and then the log's server was started again without that entry. Tier 1 had no answer and sends it
// again.
//
// A server was removed, and had not said before that it had handled the entry. Its heir gets the packet with the mark that it may be a repeat. One
// server at most gets it without. Each mark has a removal for it: of the owner, and of an heir that was removed before it had said that it was
// through.

import type { Fate, PacketRecord } from '../ledger.ts';
import type { World } from '../world.ts';
import { deaths, type Finding, replays, seconds } from './finding.ts';

export function exactlyOne(world: World): Finding | undefined {
  const { ledger } = world;
  for (const packet of ledger.packets) {
    const { id, flow, acceptedBy, repeatedBy, sentMs } = packet;
    const problem = repeatedBy.length > 0 ? markProblem(world, packet) : '';
    if (problem === '' && (acceptedBy.length - repeatedBy.length < 2 || isStoredAnew(packet))) continue;
    const nameOf = (index: number) => `${ledger.lives[index].name} (life ${index})`;
    const who = acceptedBy.map(nameOf).join(' and ');
    const what = `packet ${id} of flow ${flow} (${ledger.flows[flow].tuple}), sent at ${seconds(sentMs)}, was accepted by ${who}${problem}`;
    return { checker: 'exactly-one', what, flow, packet: id };
  }
  return undefined;
}

/** Each that accepted it did so on another line of the log, of which all but the last one have lost it. */
function isStoredAnew({ acceptedBy, repeatedBy, fate, formerFates }: PacketRecord): boolean {
  const fates = fate === undefined ? formerFates : [...formerFates, fate];
  return fates.length >= acceptedBy.length - repeatedBy.length && fates.slice(0, -1).every(({ isLost }) => isLost);
}

/** What is wrong with the marks on a packet; '' when nothing is. */
function markProblem(world: World, { repeatedBy, fate, formerFates }: PacketRecord): string {
  const fates = fate === undefined ? formerFates : [...formerFates, fate];
  if (!replays(world)) return ', marked as a repeat where nothing is replayed';
  const most = Math.max(0, ...fates.map((each) => marksOf(world, each, repeatedBy)));
  return repeatedBy.length > most ? `, ${repeatedBy.length} times as a repeat, and at most ${most} times rightly` : '';
}

/** How many heirs a packet may have had, one after the other. */
function marksOf(world: World, { group, epoch, owner, dueAt }: Fate, repeatedBy: readonly number[]): number {
  // By Fig. 6 the middle of a connection has no owner that all know.
  let heirs = new Set(owner === -1 ? world.ledger.lives.keys() : [owner]);
  let due = dueAt;
  let marks = 0;
  for (const { life, handled, position, epoch: its } of deaths(world, group)) {
    if (its !== epoch || !heirs.has(life) || handled >= due || position < due) continue;
    marks++;
    due = position;
    // Its heir may have died before it handed out anything, so that it is none of those that accepted.
    heirs = new Set([...world.ledger.lives.keys()].filter((each) => each !== life));
  }
  return Math.min(marks, repeatedBy.length);
}
