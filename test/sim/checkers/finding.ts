// What a checker answers. A checker knows what the clients sent, what the servers were handed, what the store was told
// and what went wrong, and nothing of how tier 1 and the actors work.

import { decodeView } from '../../../shared/cluster/view.ts';
import type { World } from '../world.ts';

export interface Finding {
  readonly checker: string;
  /** What does not hold, in a sentence. */
  readonly what: string;
  /** The flow whose story explains it, where there is one. */
  readonly flow?: number;
  readonly packet?: number;
}

/** Flows with one packet are remembered for 30 s; clocks may differ by some of that. */
export const idleMs = 21_000;

/** The first thing that does not hold at the end of a run, or undefined. */
export type Checker = (world: World) => Finding | undefined;

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(3)} s`;
}

/** Whether the store had the server as a member at that time. */
export function isMember(world: World, group: string, name: string, atMs: number): boolean {
  let member = false;
  for (const write of world.store.writes) {
    if (write.atMs > atMs) break;
    if (write.key === `view.${group}`)
      member = decodeView(write.value)?.members.some(({ server }) => server === name) === true;
  }
  return member;
}
