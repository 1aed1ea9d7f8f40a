// How fast the simulation is, which is how many schedules a night can try: the standard cluster (3 tier 1s, 4 groups, 12
// actors, 10,000 flows), and clusters drawn from their seeds, as `npm run sim` runs them, on all cores.

import { availableParallelism } from 'node:os';
import { runSeeds } from '../../sim/pool.ts';
import type { RunOptions } from '../../sim/run.ts';
import type { SeedResult } from '../../sim/worker.ts';
import { type BenchmarkResult, median, rounded } from '../runner.ts';

const jobs = availableParallelism();
const seconds = 60;
const rounds = 3;
/** Runs on each core in one round. */
const standardRunsEach = 1;
const drawnRunsEach = 10;

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  const standard: Measured[] = [];
  const drawn: Measured[] = [];
  for (let round = 1; round <= rounds; round++) {
    say(`standard cluster, round ${round} of ${rounds}`);
    standard.push(await measure({ seconds, standard: true }, jobs * standardRunsEach));
    say(`drawn clusters, round ${round} of ${rounds}`);
    drawn.push(await measure({ seconds }, jobs * drawnRunsEach));
  }
  const failed = [...standard, ...drawn].flatMap((each) => each.failed);
  const speeds = standard.map(({ simulatedSeconds, tookSeconds }) => simulatedSeconds / tookSeconds);
  const packetRates = standard.map(({ packets, tookSeconds }) => packets / tookSeconds);
  const seedRates = drawn.map(({ seeds, tookSeconds }) => (60 * seeds) / tookSeconds);
  const explain = { threads: jobs, secondsOfARun: seconds, failed };
  return {
    figures: [
      {
        key: 'simSpeed',
        value: median(speeds),
        unit: 'simulated s/s',
        target: { atLeast: 100 },
        explain: { about: 'standard cluster', ...explain, speeds: speeds.map(rounded) },
      },
      {
        key: 'simPacketsPerSecond',
        value: median(packetRates),
        unit: 'packets/s',
        explain: { about: 'standard cluster', ...explain, rates: packetRates.map(rounded) },
      },
      {
        key: 'simSeedsPerMinute',
        value: median(seedRates),
        unit: 'seeds/min',
        target: { atLeast: 1_000 },
        explain: { about: 'clusters drawn from their seeds', ...explain, rates: seedRates.map(rounded) },
      },
    ],
  };
}

interface Measured {
  readonly seeds: number;
  readonly packets: number;
  readonly simulatedSeconds: number;
  readonly tookSeconds: number;
  readonly failed: readonly number[];
}

async function measure(options: RunOptions, seeds: number): Promise<Measured> {
  const results: SeedResult[] = [];
  const startedAtMs = performance.now();
  await runSeeds({ first: 1, count: seeds }, { options, sabotage: undefined }, jobs, (result) => {
    results.push(result);
  });
  return {
    seeds,
    packets: results.reduce((sum, { packets }) => sum + packets, 0),
    simulatedSeconds: results.reduce((sum, each) => sum + each.simulatedSeconds, 0),
    tookSeconds: (performance.now() - startedAtMs) / 1_000,
    failed: results.filter(({ failure }) => failure !== undefined).map(({ seed }) => seed),
  };
}
