// Corrupt packet times cost those packets their time and nothing else; leaps that later packets bear out are real.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { PacketTimes } from '../../../shared/capture/packetTimes.ts';

const day = 24 * 3_600_000;
const now = 1_700_000_000_000;

function mend(timesMs: readonly number[], batch = 1_000): { times: number[]; mender: PacketTimes } {
  const mender = new PacketTimes();
  const times: number[] = [];
  for (let from = 0; from < timesMs.length; from += batch) {
    const part = Float64Array.from(timesMs.slice(from, from + batch));
    mender.mend({ timesMs: part, count: part.length });
    times.push(...part);
  }
  return { times, mender };
}

test('packet times - one corrupt time, years back or ahead, is that of the packet before, wherever it stands', () => {
  const good = [0, 1, 2, 3, 4, 5].map((ms) => now + ms);
  for (const batch of [1, 2, 3, 1_000]) {
    for (const corrupt of [1, now - 9_000 * day, now + 9_000 * day, 2 ** 32 * 1_000]) {
      for (let at = 0; at < good.length; at++) {
        const { times, mender } = mend(good.with(at, corrupt), batch);
        if (at === 0 && batch < 3) continue;
        assert.deepEqual(
          times,
          good.with(at, at === 0 ? good[1] : good[at - 1]),
          `${corrupt} at ${at}, batch ${batch}`,
        );
        assert.equal(mender.mended, 1);
      }
    }
  }
});

test('packet times - a leap of weeks that three packets bear out is real, within a batch at once', () => {
  const far = [0, 1, 2, 3].map((ms) => now + 400 * day + ms);
  const joined = [now, now + 1, now + 2, ...far];
  assert.deepEqual(mend(joined).times, joined);
  assert.deepEqual(mend([...joined, now + 5, now + 6, now + 7]).times.slice(7), [now + 5, now + 6, now + 7]);
  assert.deepEqual(mend(joined, 1).times, [now, now + 1, now + 2, now + 2, now + 2, ...far.slice(2)]);
});

test('packet times - the first packets are as old as the first ones that bear each other out', () => {
  const good = [0, 1, 2, 3].map((ms) => now + ms);
  for (const corrupt of [1, now - 400 * day, now + 400 * day]) {
    const { times, mender } = mend([corrupt, corrupt, ...good]);
    assert.deepEqual(times, [now, now, ...good]);
    assert.equal(mender.mended, 2);
  }
  assert.deepEqual(mend([0, 0, ...good]).times, [now, now, ...good]);
});

test('packet times - packets without a time are as old as the one before', () => {
  assert.deepEqual(mend([now, 0, 0, now + 5]).times, [now, now, now, now + 5]);
  assert.equal(mend([now, 0, 0]).mender.mended, 0);
});

test('packet times - disorder of a second and more is counted, with the largest step', () => {
  const { mender } = mend([now, now + 5_000, now + 4_500, now + 1_000, now + 2_000, now + 6_000]);
  assert.deepEqual([mender.disordered, mender.mostDisorderMs], [2, 4_000]);
});

test('packet times - whatever the times are, what comes out is a time that was there, or none', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1e14, noNaN: true })),
      fc.integer({ min: 1, max: 9 }),
      (timesMs, batch) => {
        const { times } = mend(timesMs, batch);
        assert.equal(times.length, timesMs.length);
        for (const time of times) assert.ok(time === 0 || timesMs.includes(time));
      },
    ),
  );
});
