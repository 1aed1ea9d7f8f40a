// A worker of `npm run sim`: runs the seeds it is given, and for a failing one finds out which faults matter and tells its
// story.

import { parentPort, workerData } from 'node:worker_threads';
import { type RunOptions, runSeed, runWorld } from './run.ts';
import { sabotages } from './sabotage.ts';
import { shrink } from './shrink.ts';
import { storyOf } from './story.ts';

export interface WorkerSetup {
  readonly options: RunOptions;
  readonly sabotage: string | undefined;
}

export interface SeedResult {
  readonly seed: number;
  readonly packets: number;
  readonly unserved: number;
  readonly simulatedSeconds: number;
  readonly failure: SeedFailure | undefined;
}

export interface SeedFailure {
  readonly checker: string;
  /** What does not hold, the faults that matter, and the story of the flow. */
  readonly story: string;
  /** Faults that matter, by number, for --keep. */
  readonly keep: readonly number[];
}

/** Runs one seed; a failing one is made smaller and told. */
export async function examine(seed: number, options: RunOptions): Promise<SeedResult> {
  const { finding, packets, unserved, simulatedSeconds } = await runSeed(seed, options);
  const counts = { seed, packets, unserved, simulatedSeconds };
  if (finding === undefined) return { ...counts, failure: undefined };
  const world = await runWorld(seed, options);
  const shrunk = await shrink(
    seed,
    options,
    finding,
    world.faults.map(({ index }) => index),
  );
  const story = await storyOf(seed, { ...options, keep: shrunk.keep }, shrunk.finding);
  const { checker, what } = shrunk.finding;
  return { ...counts, failure: { checker, story: `${what}\n${story}`, keep: shrunk.keep } };
}

if (parentPort !== null) {
  const port = parentPort;
  const { options, sabotage } = workerData as WorkerSetup;
  if (sabotage !== undefined) sabotages[sabotage].apply();
  port.on('message', (seed: number) => {
    examine(seed, options).then(
      (result) => port.postMessage(result),
      (error) => {
        // A fault of the simulation itself, or an assertion of the product: as bad as any finding.
        const failure = { checker: 'no-exception', story: String(error?.stack ?? error), keep: [] };
        port.postMessage({ seed, packets: 0, unserved: 0, simulatedSeconds: 0, failure });
      },
    );
  });
}
