// The time of a line: what stamps that jump, stand still or go back make of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  captureDisorderMs,
  LineTime,
  maxCaptureStepMs,
  maxLogStepMs,
} from '../../../../../services/dssl/replica/global/lineTime.ts';

test('line time - begins at 0 and advances by the difference of stamps, by a second at most', () => {
  const time = new LineTime();
  time.begin(5_000);
  const steps = [5_000, 5_010, 5_010, 6_010, 60_000, 60_005].map((stampMs) => {
    time.onEntry(stampMs);
    return time.logMs;
  });
  assert.deepEqual(steps, [0, 10, 10, 1_010, 2_010, 2_015]);
});

test('line time - a stamp that goes back costs nothing, and is what the next one is compared with', () => {
  const time = new LineTime();
  time.begin(10_000_000);
  const steps = [10_000_100, 6_400_000, 6_400_020].map((stampMs) => {
    time.onEntry(stampMs);
    return time.logMs;
  });
  assert.deepEqual(steps, [100, 100, 120]);
});

test('line time - in a capture the packets count, by the longest idle limit at most', () => {
  const time = new LineTime();
  time.begin(0);
  const steps = [1e15, 1e15 + 0.7, 1e15 + 90_000, 5, 1e15].map((timestampMs) => {
    time.onFrame(timestampMs);
    return time.captureMs;
  });
  assert.deepEqual(steps, [0, 0, 90_000, 90_000, 90_000 + maxCaptureStepMs]);
  assert.equal(time.logMs, 0);
});

test('line time - packets of a capture that are a little out of order make it no longer', () => {
  const time = new LineTime();
  time.begin(0);
  for (let n = 0; n < 1_000; n++) time.onFrame(1e12 + n + (n % 2) * captureDisorderMs);
  assert.equal(time.captureMs, 999 + captureDisorderMs);
  time.onFrame(1e12);
  time.onFrame(1e12 + 5);
  assert.equal(time.captureMs, 999 + captureDisorderMs + 5, 'an older part of the capture counts');
});

test('line time - whatever the stamps, it is whole, never goes back and never jumps; copied anywhere it goes on alike', () => {
  const stamp = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }));
  fc.assert(
    fc.property(fc.array(stamp), fc.nat(20), (stamps, copyAt) => {
      let time = new LineTime();
      const twin = new LineTime();
      for (const [index, stampMs] of stamps.entries()) {
        if (index === copyAt) {
          const copy = new LineTime();
          copy.restore(time.state());
          time = copy;
        }
        const before = time.state();
        time.onEntry(Math.floor(stampMs));
        time.onFrame(stampMs);
        twin.onEntry(Math.floor(stampMs));
        twin.onFrame(stampMs);
        assert.deepEqual(time.state(), twin.state());
        assert.ok(Number.isSafeInteger(time.logMs) && Number.isSafeInteger(time.captureMs));
        const [logStep, captureStep] = [time.logMs - before.logMs, time.captureMs - before.captureMs];
        assert.ok(logStep >= 0 && logStep <= maxLogStepMs && captureStep >= 0 && captureStep <= maxCaptureStepMs);
      }
    }),
  );
});
