// A few hundred random schedules of a group; `npm run sim` runs as many as one likes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { storyOf } from '../../sim/checkers.ts';
import { Schedule } from '../../sim/schedule.ts';

test('group - under any schedule of joins, drains and deliveries every packet has one server, and flows stay', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (seed) => {
      const schedule = new Schedule(seed);
      schedule.run();
      assert.equal(storyOf(schedule), undefined);
    }),
    { numRuns: 200 },
  );
});

test('group - the same seed is the same run', () => {
  const log = (seed: number) => {
    const schedule = new Schedule(seed);
    schedule.run();
    return JSON.stringify([
      [...schedule.group.packets].map(([packet, verdicts]) => [packet, ...verdicts]),
      schedule.group.views,
    ]);
  };
  assert.equal(log(7), log(7));
  assert.notEqual(log(7), log(8));
});
