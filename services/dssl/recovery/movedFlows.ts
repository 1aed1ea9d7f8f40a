// Which flows are this server's after state was replaced that were not before, and the reverse: its handler keeps something for each of them.

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
