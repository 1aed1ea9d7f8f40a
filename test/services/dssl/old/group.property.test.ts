// A few hundred random schedules of a group, the same every time; `npm run sim` runs as many fresh ones as one likes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Schedule } from '../../../support/schedule.ts';
import { storyOf } from '../../../support/scheduleChecks.ts';

test('group - under any schedule of joins, drains and deliveries every packet has one server, and flows stay', () => {
  // The same ones every time, with the first in which a joiner once overlooked a frame it had given up.
  for (const seed of [1869, ...Array.from({ length: 200 }, (_, index) => index)]) {
    const schedule = new Schedule(seed);
    schedule.run();
    assert.equal(storyOf(schedule), undefined, `seed ${seed}`);
  }
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
