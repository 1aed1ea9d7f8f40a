// What state that was replaced has to do with servers: which flows are this one's that were not before, and the reverse, because its handler keeps something
// for each of them; and whose removal was passed over, because this one may have been their heir.

import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import { sliceCount } from '../replica/flows/directory.ts';
import type { Replica } from '../replica/replica.ts';

/** Flows of the replica's server in one slice, by their hashes. */
export type OwnFlows = Set<string>;

export function ownFlowsOf(replica: Replica, slice: number): OwnFlows {
  const own: OwnFlows = new Set();
  replica.eachOwnFlow(slice, (hi, lo) => own.add(`${hi} ${lo}`));
  return own;
}

/** Compares with those before. */
export function tellMoved(
  before: OwnFlows,
  after: OwnFlows,
  onFlow: (kind: 'started' | 'moved', hi: number, lo: number) => void,
): void {
  const tell = (kind: 'started' | 'moved', key: string): void => {
    const [hi, lo] = key.split(' ').map(Number);
    onFlow(kind, hi, lo);
  };
  for (const key of after) if (!before.has(key)) tell('started', key);
  for (const key of before) if (!after.has(key)) tell('moved', key);
}

/** Compares a whole state with the one before. */
export function tellAllMoved(before: Replica, after: Replica, onFlow: Parameters<typeof tellMoved>[2]): void {
  for (let slice = 0; slice < sliceCount; slice++)
    tellMoved(ownFlowsOf(before, slice), ownFlowsOf(after, slice), onFlow);
}

/** Whether a state is of a later epoch than another one, or of the same one and has come further. */
export function isFurther(one: Replica, other: Replica): boolean {
  const epochs = (one.epoch?.number ?? 0) - (other.epoch?.number ?? 0);
  return epochs > 0 || (epochs === 0 && one.position > other.position);
}

/** Says which members of the former state are none in the new one, where others hand out what those had not handled; how many there are. */
export function tellUnseen(
  former: Replica,
  { view: { members, rules } }: Replica,
  self: Life,
  tell: (kind: 'warn', fields: object, message: string) => void,
): number {
  if (rules.availability === 'none') return 0;
  const isGone = (life: Life) => !isLifeOf(life, self) && !members.some((member) => isLifeOf(member, life));
  const servers = former.view.members.filter(isGone).map(({ server }) => server);
  if (servers.length > 0)
    tell(
      'warn',
      { servers },
      'servers went while this replica passed over the log; nothing of theirs is replayed here',
    );
  return servers.length;
}
