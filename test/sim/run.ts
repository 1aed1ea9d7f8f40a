// One seed, run and checked.

import { Prng } from '../../shared/base/prng.ts';
import { checkers } from './checkers/all.ts';
import type { Finding } from './checkers/finding.ts';
import type { FaultKind } from './faults.ts';
import { drawPlan, type Plan, standardPlan } from './plan.ts';
import { World, type WorldHooks } from './world.ts';

export interface RunOptions {
  readonly seconds: number;
  readonly standard?: boolean;
  /** Faults of the seed that shall happen; default all. */
  readonly keep?: readonly number[];
  /** Kinds of faults that shall happen, twice as many of them; default all kinds. */
  readonly kinds?: readonly FaultKind[];
  /** What shall be otherwise than drawn. */
  readonly plan?: Partial<Plan>;
}

export interface Outcome {
  readonly seed: number;
  readonly finding: Finding | undefined;
  readonly packets: number;
  readonly flows: number;
  readonly unserved: number;
  readonly simulatedSeconds: number;
  /** Sums up everything that happened: two runs of one seed have the same. */
  readonly digest: string;
}

export function planOf(seed: number, { seconds, standard, kinds, plan: other }: RunOptions): Plan {
  const plan = standard ? standardPlan(seconds * 1_000) : drawPlan(new Prng(seed).fork('plan'), seconds * 1_000);
  return { ...plan, ...(kinds === undefined ? {} : { faults: 2 * plan.faults + 10, kinds }), ...other };
}

/** `onMade` gets the world before anything has happened in it. */
export async function runWorld(
  seed: number,
  options: RunOptions,
  hooks: WorldHooks = {},
  onMade: (world: World) => void = () => undefined,
): Promise<World> {
  const world = new World(seed, planOf(seed, options), hooks, options.keep);
  onMade(world);
  await world.run();
  return world;
}

export async function runSeed(seed: number, options: RunOptions, hooks: WorldHooks = {}): Promise<Outcome> {
  const world = await runWorld(seed, options, hooks);
  const { packets, flows } = world.ledger;
  return {
    seed,
    finding: check(world),
    packets: packets.length,
    flows: flows.length,
    unserved: packets.filter(({ acceptedBy }) => acceptedBy.length === 0).length,
    simulatedSeconds: world.nowMs / 1_000,
    digest: digestOf(world),
  };
}

function check(world: World): Finding | undefined {
  for (const checker of checkers) {
    const finding = checker(world);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

/** FNV-1a over what servers got when, and over every write to the store. */
function digestOf(world: World): string {
  let hash = 0x811c9dc5;
  const add = (value: number): void => {
    hash = Math.imul(hash ^ (value & 0xff), 0x0100_0193);
    hash = Math.imul(hash ^ ((value >>> 8) & 0xffff), 0x0100_0193);
  };
  for (const { sentMs, acceptedMs, acceptedBy } of world.ledger.packets) {
    add(Math.floor(sentMs * 1_000));
    add(Math.floor(acceptedMs * 1_000));
    for (const life of acceptedBy) add(life);
  }
  for (const { revision, atMs, value } of world.store.writes) {
    add(revision);
    add(Math.floor(atMs * 1_000));
    for (const byte of value) add(byte);
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}
