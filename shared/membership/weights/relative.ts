// How loaded a member is, relative to its group: 1 is the average, 2 is twice as much. Loads of different kinds can be
// blended only when they are relative, and "the average" is what a member counts as when it cannot tell.
//
//   amounts    flows, newFlows, packets, bytes, memoryBytes: a member with twice the configured weight is meant to have
//              twice as many, so they are taken per configured weight.
//   degrees    cpu, loopDelayMs, tableFill, handler, latencyMs, loss: how near a server is to its end, whatever its size,
//              so they are taken as they are.
//   temperature  has no zero of use: 60 degrees are not twice 30. Ten degrees more count as twice the load, which is also
//              what they do to the life of a chip (the rule of thumb after Arrhenius).
//
// A small load is noise: 2 % of a core against 1 % is not twice the load of anything. Each kind has a grain, and as much
// load as that is taken to be there besides, spread as the weights are. So a group that idles stays as it is configured,
// and the more it works the more it goes by its loads.
//
// Who cannot tell a load counts as having the average for what it got of the flows.

import type { Load, LoadName } from '../load.ts';

/** A member whose load is known. */
export interface Judged {
  readonly server: string;
  /** Configured weight, 1 or more. */
  readonly base: number;
  /** The weight in force. */
  readonly weight: number;
  /** The share of new flows by which its present load was made. */
  readonly past: number;
  /** Smoothed. */
  readonly mean: Load;
  /** As last reported. */
  readonly load: Load;
}

/** Degrees that count as twice the load. */
const degreesToDouble = 10;

const amounts: readonly LoadName[] = ['flows', 'newFlows', 'packets', 'bytes', 'memoryBytes'];

/** Below these, differences are noise; amounts for a member of average configured weight. */
const grains: Readonly<Record<LoadName, number>> = {
  flows: 10,
  newFlows: 1,
  packets: 100,
  bytes: 100_000,
  loopDelayMs: 2,
  cpu: 0.05,
  memoryBytes: 16 * 2 ** 20,
  tableFill: 0.01,
  temperature: 0,
  handler: 0.05,
  latencyMs: 1,
  loss: 0.001,
};

/**
 * The load of each member relative to the group: one kind, or a blend of kinds by parts. `got` is what each one
 * got of the flows, relative as well: who cannot tell counts as having the load of that.
 */
export function relativeLoads(
  members: readonly Judged[],
  blend: Readonly<Partial<Record<LoadName, number>>>,
  got: readonly number[],
): number[] {
  const sums = members.map(() => 0);
  let parts = 0;
  for (const [name, part] of Object.entries(blend) as [LoadName, number][]) {
    if (!(part > 0) || members.every(({ mean }) => mean[name] === undefined)) continue;
    parts += part;
    for (const [index, load] of relativeLoad(members, name, got).entries()) sums[index] += part * load;
  }
  return parts === 0 ? [...got] : sums.map((sum) => sum / parts);
}

function relativeLoad(members: readonly Judged[], name: LoadName, got: readonly number[]): number[] {
  const knows = members.map(({ mean }) => mean[name] !== undefined);
  const known = members.filter((_, index) => knows[index]);
  const values = amounts.includes(name)
    ? perConfiguredWeight(known, ({ mean }) => mean[name] ?? 0)
    : known.map(({ mean }) => mean[name] ?? 0);
  const mean = amounts.includes(name) ? average(known, values) : values.reduce((a, b) => a + b, 0) / values.length;
  const grain = grains[name];
  let next = 0;
  return members.map((_, index) => {
    if (!knows[index]) return got[index];
    const value = values[next++];
    if (name === 'temperature') return 2 ** ((value - mean) / degreesToDouble);
    return (value + grain * got[index]) / (mean + grain);
  });
}

/** Amounts as if all members had the average configured weight. */
function perConfiguredWeight(members: readonly Judged[], amount: (member: Judged) => number): number[] {
  const bases = members.reduce((sum, { base }) => sum + base, 0) / members.length;
  return members.map((member) => (amount(member) * bases) / member.base);
}

/** The mean over members, each as often as its configured weight says: what all would have if spread by those. */
export function average(members: readonly Judged[], values: readonly number[]): number {
  let sum = 0;
  let bases = 0;
  for (const [index, { base }] of members.entries()) {
    sum += base * values[index];
    bases += base;
  }
  return sum / bases;
}
