// The study of herding: four set-ups, the ways to place new flows, and their figures over a few seeds. Tests assert the
// order of the figures, `npm run bench` prints them.
//
//   alike    64 servers of one speed. What herds shows here: Cheetah (NSDI 2020) found least-loaded the worst of all.
//   stale    the same, and reports come every ten seconds, as they do in a group of a thousand.
//   skewed   12 servers, four each of speeds 1, 2 and 4, configured alike because nobody knows. What helps shows here.
//   paced    the same, but flows are so much work each and last longer at slow servers, as requests do. So slow servers
//            hold more flows, and counts of flows tell.

import type { Prng } from '../../shared/base/prng.ts';
import { viewOf, weightSettings } from '../support/weights.ts';
import { Eager, Governed, LowestReport, TwoChoices } from './choosers.ts';
import { type Chooser, type Outcome, run, type Setup } from './model.ts';

export const seeds: readonly number[] = [1, 2, 3];

const skewed = {
  speeds: Array.from({ length: 12 }, (_, index) => [1, 2, 4][index % 3]),
  flowsEach: 400,
  reportMs: 1_000,
  settleSeconds: 240,
  measureSeconds: 120,
};

const alike = {
  speeds: Array.from({ length: 64 }, () => 1),
  flowsEach: 200,
  reportMs: 1_000,
  settleSeconds: 180,
  measureSeconds: 120,
};

export const setups = {
  alike,
  stale: { ...alike, reportMs: 10_000 },
  skewed,
  paced: { ...skewed, slowLastLonger: true },
} as const satisfies Readonly<Record<string, Setup>>;

/** What is reached by weights that know the speeds: what is left is chance. */
const known = (setup: Setup) =>
  new Governed(
    viewOf(setup.speeds.map((speed) => ({ weight: 50 * speed, base: 50 * speed }))),
    weightSettings({ policy: 'static' }),
    setup.reportMs,
  );

/** The ways that are compared. */
export const ways = {
  known,
  equal: (setup) => new Governed(even(setup), weightSettings({ policy: 'equal' }), setup.reportMs),
  naive: (setup) => new LowestReport(setup.speeds.length, 'cpu'),
  twoChoices: ({ speeds }, prng) => new TwoChoices(speeds.length, 'cpu', prng),
  leastLoaded: (setup) =>
    new Governed(even(setup), weightSettings({ policy: 'least-loaded', load: { cpu: 1 } }), setup.reportMs),
  fewestFlows: (setup) => new Governed(even(setup), weightSettings({ policy: 'fewest-flows' }), setup.reportMs),
  eager: (setup) => new Eager(even(setup), 'cpu'),
} as const satisfies Readonly<Record<string, (setup: Setup, prng: Prng) => Chooser>>;

export type Way = keyof typeof ways;
export type SetupName = keyof typeof setups;

/** The figures of a way in a set-up: means over the seeds, and the worst. */
export function study(setup: Setup, way: Way, over: readonly number[] = seeds): Outcome {
  const outcomes = over.map((seed) => run(setup, seed, (prng) => ways[way](setup, prng)));
  const mean = (figure: keyof Outcome) => outcomes.reduce((sum, each) => sum + each[figure], 0) / outcomes.length;
  return {
    maxOverAvg: mean('maxOverAvg'),
    flowsMaxOverAvg: mean('flowsMaxOverAvg'),
    worst: Math.max(...outcomes.map(({ worst }) => worst)),
    viewChangesPerMinute: mean('viewChangesPerMinute'),
    flows: mean('flows'),
  };
}

function even({ speeds }: Setup) {
  return viewOf(speeds.map(() => 100));
}
