// The checkers are checked: every sabotage must be caught, within the number of seeds that it states, and the seed that
// catches it must hold without it, or it would prove nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Outcome, runSeed } from './run.ts';
import { sabotages } from './sabotage.ts';
import type { Sabotage } from './sabotaging.ts';

for (const [name, sabotage] of Object.entries(sabotages)) {
  test(`sabotage - ${name}: ${sabotage.what}`, async (t) => {
    const caught = await firstCaught(sabotage);
    assert.ok(caught !== undefined, `no checker objects within ${sabotage.caughtWithin} seeds`);
    t.diagnostic(`seed ${caught.seed} of ${sabotage.caughtWithin}: ${caught.finding?.checker}`);
  });
}

test('sabotage - there are a dozen of them at least', () => {
  assert.ok(Object.keys(sabotages).length >= 12);
});

/** The first seed that fails with the sabotage and holds without it. */
async function firstCaught({ kinds, plan, caughtWithin, apply }: Sabotage): Promise<Outcome | undefined> {
  const options = { seconds: 60, ...(kinds && { kinds }), ...(plan && { plan }) };
  for (let seed = 1; seed <= caughtWithin; seed++) {
    const undo = apply();
    const outcome = await runSeed(seed, options).finally(undo);
    if (outcome.finding === undefined) continue;
    if ((await runSeed(seed, options)).finding === undefined) return outcome;
  }
  return undefined;
}
