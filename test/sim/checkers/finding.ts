// What a checker answers. A checker knows what the clients sent, what the servers were handed, what the store was told
// and what went wrong, and nothing of how tier 1 and the actors work.

import { decodeView, type View } from '../../../shared/membership/view.ts';
import type { FlowRecord, ServerLife } from '../ledger.ts';
import type { Write } from '../store.ts';
import type { Diversion, World } from '../world.ts';

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

/** Whether the store had that life of a server as a member at that time. */
export function isMember(world: World, { group, name, incarnation }: ServerLife, atMs: number): boolean {
  const view = viewAt(world, group, atMs);
  return view?.members.some((member) => member.server === name && member.incarnation === incarnation) === true;
}

/** What the store had as a group's view at that time. */
export function viewAt(world: World, group: string, atMs: number): View | undefined {
  let last: Write | undefined;
  for (const write of world.store.writes) {
    if (write.atMs > atMs) break;
    if (write.key === `view.${group}`) last = write;
  }
  return last && viewIn(last);
}

export interface Removal {
  readonly group: string;
  readonly life: ServerLife;
  readonly by: string;
  readonly atMs: number;
}

/** Lives that others have taken out of their groups. */
export function removals(world: World): Removal[] {
  const removed: Removal[] = [];
  const before = new Map<string, View>();
  for (const write of world.store.writes) {
    const view = viewIn(write);
    if (view === undefined) continue;
    const { group, members } = view;
    for (const { server, incarnation } of before.get(group)?.members ?? []) {
      const isThere = members.some((member) => member.server === server && member.incarnation === incarnation);
      if (isThere || write.by === server) continue;
      const life = world.ledger.lives.find((each) => each.name === server && each.incarnation === incarnation);
      if (life !== undefined) removed.push({ group, life, by: write.by, atMs: write.atMs });
    }
    before.set(group, view);
  }
  return removed;
}

const decoded = new WeakMap<Write, View | undefined>();

export function viewIn(write: Write): View | undefined {
  if (!decoded.has(write)) decoded.set(write, decodeView(write.value));
  return decoded.get(write);
}

/**
 * Whether a tier 1 that carried packets of the flow sent them to another group than before, or back, between two moments;
 * or they went through several tier 1s, of which some sent them to another group and some did not: each judges for itself.
 */
export function isDiverted(world: World, flow: FlowRecord, fromMs: number, untilMs: number): boolean {
  const isBetween = (ms: number) => ms >= fromMs && ms <= untilMs;
  const packets = flow.packets.map((id) => world.ledger.packets[id]);
  const tier1s = new Set(packets.map(({ tier1 }) => tier1));
  if (world.diversions.some((each) => tier1s.has(each.tier1) && (isBetween(each.fromMs) || isBetween(each.untilMs)))) {
    return true;
  }
  const ways = packets
    .filter(({ sentMs }) => isBetween(sentMs))
    .map(({ tier1, sentMs }) => outFor(world, tier1, sentMs));
  return new Set(ways).size > 1;
}

/** The groups that a tier 1 had mapped out at that time. */
function outFor(world: World, tier1: string, atMs: number): string {
  const isOut = (each: Diversion) => each.tier1 === tier1 && each.fromMs <= atMs && each.untilMs > atMs;
  return world.diversions
    .filter(isOut)
    .map(({ group }) => group)
    .sort()
    .join();
}
