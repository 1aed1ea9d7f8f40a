// Seeds spread over threads: each worker (worker.ts) gets the next one when it has finished its last.

import { Worker } from 'node:worker_threads';
import type { SeedResult, WorkerSetup } from './worker.ts';

export interface SeedRange {
  readonly first: number;
  readonly count: number;
}

/** What a seed makes lives as long as the seed: room for all of it at once spares the collector copying it to and fro. */
const resourceLimits = { maxYoungGenerationSizeMb: 256 };

/** Runs every seed once, on `jobs` threads; `take` gets the results as they come. */
export async function runSeeds(
  { first, count }: SeedRange,
  setup: WorkerSetup,
  jobs: number,
  take: (result: SeedResult) => void,
): Promise<void> {
  let next = first;
  const work = async (): Promise<void> => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: setup, resourceLimits });
    while (next < first + count) {
      worker.postMessage(next++);
      take(await answerOf(worker));
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: Math.min(jobs, count) }, work));
}

function answerOf(worker: Worker): Promise<SeedResult> {
  return new Promise((resolve, reject) => {
    const settle = (result: SeedResult): void => {
      worker.off('error', reject);
      resolve(result);
    };
    worker.once('message', settle);
    worker.once('error', reject);
  });
}
