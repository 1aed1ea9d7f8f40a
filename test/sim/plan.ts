// What a seed's cluster is like: how many of everything, by which rules. Drawn from the seed, or the standard cluster that
// the benchmark measures.

import type { Prng } from '../../shared/base/prng.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import { availabilityNames, defaultRules, placementNames } from '../../shared/membership/view.ts';
import type { FaultKind } from './faults.ts';

export interface Plan {
  readonly tier1s: number;
  readonly groups: number;
  readonly serversPerGroup: number;
  /** Beside them, where backups are standbys: with `active-passive` one for each of so many servers, with `n-plus-m` one for all. */
  readonly standbysPerGroup: number;
  /** Nodes of the bus that processes are spread over: one server, or a cluster of three. */
  readonly nodes: number;
  readonly flows: number;
  readonly packetsPerSecond: number;
  readonly clients: number;
  readonly faults: number;
  /** Kinds of faults that occur; default all. */
  readonly kinds?: readonly FaultKind[];
  /** Times an operator changes weights or placement, beside what is among the faults. */
  readonly changes: number;
  /** Usual delay of one step of a message's way. */
  readonly delayMs: number;
  /** Longest time by which a change in the store reaches a process later than it could. */
  readonly watchDelayMs: number;
  /** Of 100 starts, how many the client repeats at once, without waiting for an answer. */
  readonly impatience: number;
  /** Traffic runs from 0 to here; faults end well before. */
  readonly durationMs: number;
  readonly maxFlows: number;
  /** What the logs keep. */
  readonly logAgeMs: number;
  readonly logBytes: number;
  /** Largest error of a process's clock at its start. */
  readonly skewMs: number;
  /** How long a server works on a packet: when it dies before, it has not had it. */
  readonly workMs: number;
  readonly rules: ClusterMap['rules'];
  readonly placement: ClusterMap['placement'];
}

/** Time at the end without faults, in which everything must become right again. */
export const calmMs = 20_000;

export function drawPlan(prng: Prng, durationMs: number): Plan {
  const typeOneMethod = prng.pick(['fig-6', 'fig-7'] as const);
  const isAdopting = typeOneMethod === 'fig-7' && prng.chance(1, 4);
  const active = Math.max(0, durationMs - calmMs);
  return {
    tier1s: prng.between(1, 3),
    groups: prng.between(1, 3),
    serversPerGroup: prng.between(1, 4),
    standbysPerGroup: prng.fork('standbys').between(1, 3),
    nodes: prng.chance(1, 3) ? 3 : 1,
    flows: prng.between(10, 80),
    packetsPerSecond: prng.between(40, 240),
    clients: prng.between(5, 200),
    faults: Math.round((active / 1_000) * prng.fraction() * 0.5),
    changes: Math.round((active / 1_000) * prng.pick([0, 0.2, 1])),
    delayMs: prng.pick([0.3, 1, 5]),
    watchDelayMs: prng.pick([0, 20, 300]),
    impatience: prng.pick([0, 10, 40]),
    durationMs,
    maxFlows: prng.chance(1, 16) ? 512 : 100_000,
    logAgeMs: prng.pick([10_000, 10_000, 2_500]),
    logBytes: prng.pick([1_000_000_000, 1_000_000_000, 60_000]),
    skewMs: prng.pick([0, 50, 1_000]),
    rules: {
      ...defaultRules,
      typeOneMethod,
      tableFirst: prng.chance(1, 2),
      midFlow: isAdopting ? 'adopt' : 'ignore',
      availability: prng.pick(availabilityNames),
    },
    placement: prng.pick(placementNames),
    workMs: prng.pick([0, 0, 20, 300]),
  };
}

/** Three tier 1s, four groups, twelve actors, ten thousand flows open at once. */
export function standardPlan(durationMs: number): Plan {
  return {
    tier1s: 3,
    groups: 4,
    serversPerGroup: 3,
    standbysPerGroup: 0,
    nodes: 1,
    flows: 10_000,
    packetsPerSecond: 1_000,
    clients: 2_000,
    faults: Math.round((durationMs / 1_000) * 0.3),
    changes: Math.round((durationMs / 1_000) * 0.1),
    delayMs: 0.3,
    watchDelayMs: 20,
    impatience: 2,
    durationMs,
    maxFlows: 100_000,
    logAgeMs: 10_000,
    logBytes: 1_000_000_000,
    skewMs: 50,
    workMs: 0,
    rules: { ...defaultRules, typeOneMethod: 'fig-7' },
    placement: 'rendezvous',
  };
}
