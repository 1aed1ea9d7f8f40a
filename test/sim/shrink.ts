// Makes the fault schedule of a failing seed smaller: faults are left out, one after the other and first in halves, as
// long as the same checker still objects. What remains is usually the two or three that matter.

import type { Finding } from './checkers/finding.ts';
import { type Outcome, type RunOptions, runSeed } from './run.ts';

export interface Shrunk {
  readonly keep: readonly number[];
  readonly finding: Finding;
}

/** `faults`: numbers of the faults that the failing run had. Runs the seed at most some sixty times. */
export async function shrink(
  seed: number,
  options: RunOptions,
  finding: Finding,
  faults: readonly number[],
): Promise<Shrunk> {
  let keep = [...faults];
  let found = finding;
  let runs = 0;
  const stillFails = async (candidate: readonly number[]): Promise<boolean> => {
    if (runs++ >= runsMax) return false;
    const outcome: Outcome = await runSeed(seed, { ...options, keep: candidate });
    if (outcome.finding?.checker !== finding.checker) return false;
    found = outcome.finding;
    return true;
  };
  for (let size = Math.ceil(keep.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < keep.length; ) {
      const candidate = [...keep.slice(0, from), ...keep.slice(from + size)];
      if (await stillFails(candidate)) keep = candidate;
      else from += size;
    }
  }
  return { keep, finding: found };
}

const runsMax = 60;
