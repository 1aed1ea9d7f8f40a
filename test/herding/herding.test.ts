// Herding, by the model and the study beside this file: who should be better than whom is, and by a clear margin. The model
// draws from its seeds, so the figures are the same at every run.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Outcome } from './model.ts';
import { setups, study, type Way, ways } from './study.ts';

const seeds = [1];
const names = Object.keys(ways) as Way[];

function outcomes(setup: keyof typeof setups): Record<Way, Outcome> {
  return Object.fromEntries(names.map((way) => [way, study(setups[setup], way, seeds)])) as Record<Way, Outcome>;
}

/** More of the views than that, and everybody is busy with them. */
const fewViewsPerMinute = 2;

describe('herding', () => {
  it('herding - among 64 alike, all to the least loaded is by far the worst, and ours is as even as no policy', () => {
    const { naive, equal, leastLoaded, fewestFlows, ...others } = outcomes('alike');
    for (const other of [equal, leastLoaded, fewestFlows, ...Object.values(others)]) {
      assert.ok(naive.maxOverAvg > 4 * other.maxOverAvg);
    }
    for (const ours of [leastLoaded, fewestFlows]) {
      assert.ok(ours.maxOverAvg < 1.05 * equal.maxOverAvg, `${ours.maxOverAvg}, ${equal.maxOverAvg}`);
      assert.ok(ours.viewChangesPerMinute <= fewViewsPerMinute, `${ours.viewChangesPerMinute} views a minute`);
    }
    assert.ok(others.eager.viewChangesPerMinute > 20 * fewViewsPerMinute, 'at the price of a view a second it can be');
    assert.ok(others.eager.maxOverAvg < equal.maxOverAvg, 'a little more even');
  });

  it('herding - the older the reports, the worse is choosing by them; weights are not', () => {
    const { naive, equal, twoChoices, leastLoaded, fewestFlows } = outcomes('stale');
    assert.ok(naive.maxOverAvg > 15 * equal.maxOverAvg);
    assert.ok(twoChoices.maxOverAvg > 1.2 * equal.maxOverAvg, 'even the lower of two');
    for (const ours of [leastLoaded, fewestFlows]) {
      assert.ok(ours.maxOverAvg < 1.1 * equal.maxOverAvg, `${ours.maxOverAvg}, ${equal.maxOverAvg}`);
      assert.ok(ours.viewChangesPerMinute <= fewViewsPerMinute);
    }
  });

  it('herding - among servers of speeds 1, 2 and 4, weights by processor time are nearly as good as known speeds', () => {
    const { known, equal, naive, leastLoaded, eager } = outcomes('skewed');
    assert.ok(equal.maxOverAvg > 1.7);
    assert.ok(naive.maxOverAvg > equal.maxOverAvg);
    assert.ok(leastLoaded.maxOverAvg < 0.75 * equal.maxOverAvg, `${leastLoaded.maxOverAvg}`);
    assert.ok(leastLoaded.maxOverAvg < eager.maxOverAvg - 0.1, 'more even than weights that are one over the load');
    assert.ok(leastLoaded.maxOverAvg < known.maxOverAvg + 0.15, `${leastLoaded.maxOverAvg}, ${known.maxOverAvg}`);
    assert.ok(leastLoaded.viewChangesPerMinute <= fewViewsPerMinute);
  });

  it('herding - where flows last longer at slow servers, weights by flows are enough', () => {
    const { equal, naive, fewestFlows } = outcomes('paced');
    assert.ok(equal.flowsMaxOverAvg > 1.6 && naive.flowsMaxOverAvg > equal.flowsMaxOverAvg);
    assert.ok(fewestFlows.flowsMaxOverAvg < 0.75 * equal.flowsMaxOverAvg, `${fewestFlows.flowsMaxOverAvg}`);
    assert.ok(fewestFlows.maxOverAvg < 0.75 * equal.maxOverAvg, `${fewestFlows.maxOverAvg}`);
    assert.ok(fewestFlows.viewChangesPerMinute <= fewViewsPerMinute);
  });

  it('herding - a seed gives the same figures every time', () => {
    const setup = { ...setups.skewed, settleSeconds: 30, measureSeconds: 10 };
    assert.deepEqual(study(setup, 'leastLoaded', [7]), study(setup, 'leastLoaded', [7]));
    assert.notDeepEqual(study(setup, 'leastLoaded', [7]), study(setup, 'leastLoaded', [8]));
  });
});
