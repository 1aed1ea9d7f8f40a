// How far behind the slowest member is: never less than it is, and not much more.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LogLag } from '../../../services/tier1/lag.ts';
import type { LineReport } from '../../../shared/membership/gossip.ts';

const mib = 1024 * 1024;
const limits = { bytes: 8 * mib, ms: 5_000 };
const frameBytes = 24 * 1024;
const sampleBytes = limits.bytes / 2_048;

const line = (position: number, changes: Partial<LineReport> = {}): LineReport => ({
  state: 'following',
  epochNumber: 1,
  epoch: 'e',
  position,
  lag: 0,
  lagMs: 0,
  handled: 0,
  ...changes,
});

/** Stores frames at these positions. */
function fill(lag: LogLag, from: number, to: number, bytes = frameBytes): void {
  for (let position = from; position <= to; position++) lag.stored(position, bytes);
}

test('lag - bytes behind a position are those stored since, to the next sample', () => {
  const lag = new LogLag(limits);
  assert.equal(lag.bytesBehind(0), 0);
  fill(lag, 1, 300);
  assert.equal(lag.bytesBehind(300), 0);
  assert.equal(lag.bytesBehind(1_000), 0);
  for (const position of [0, 100, 200, 299]) {
    const real = (300 - position) * frameBytes;
    const told = lag.bytesBehind(position);
    assert.ok(told >= real && told <= real + sampleBytes + frameBytes, `${position}: ${told} for ${real}`);
  }
});

test('lag - a member too far behind is one to wait for, until it has come closer', () => {
  const lag = new LogLag(limits);
  fill(lag, 1, 1_000);
  lag.heard('a 1', line(990), 100);
  assert.ok(!lag.isTooFar(0));
  lag.heard('b 1', line(500), 100);
  assert.ok(lag.isTooFar(0));
  lag.heard('b 1', line(900), 200);
  assert.ok(!lag.isTooFar(0));
  fill(lag, 1_001, 1_400);
  assert.ok(lag.isTooFar(0), 'more was stored meanwhile');
});

test('lag - a member that says that it is seconds behind is one to wait for', () => {
  const lag = new LogLag(limits);
  fill(lag, 1, 10);
  lag.heard('a 1', line(9, { lagMs: 4_900 }), 100);
  assert.ok(!lag.isTooFar(0));
  lag.heard('a 1', line(9, { lagMs: 5_100 }), 100);
  assert.ok(lag.isTooFar(0));
});

test('lag - nobody waits for a member that has left, has fallen silent, or does not follow the log', () => {
  const lag = new LogLag(limits);
  fill(lag, 1, 1_000);
  lag.heard('a 1', line(1), 100);
  assert.ok(lag.isTooFar(100));
  assert.ok(!lag.isTooFar(101), 'silent');
  lag.setMembers(new Set(['b 1']));
  assert.ok(!lag.isTooFar(0), 'left');
  lag.heard('b 1', line(1), 200);
  assert.ok(lag.isTooFar(0));
  lag.heard('b 1', line(1, { state: 'fetching' }), 300);
  assert.ok(!lag.isTooFar(0));
  lag.heard('b 1', line(1), 400);
  lag.heard('b 1', undefined, 500);
  assert.ok(!lag.isTooFar(0));
});

test('lag - the frames of other tier 1s in the same log count as large as the own ones', () => {
  const lag = new LogLag(limits);
  for (let position = 3; position <= 3_000; position += 3) lag.stored(position, frameBytes);
  const told = lag.bytesBehind(2_800);
  const real = 200 * frameBytes;
  assert.ok(told >= real && told <= real + 3 * (sampleBytes + frameBytes), `${told} for ${real}`);
});

test('lag - positions of a log that was made anew are not compared with those of the former', () => {
  const lag = new LogLag(limits);
  fill(lag, 1, 1_000);
  lag.heard('a 1', line(1), 100);
  fill(lag, 1, 2);
  assert.ok(!lag.isTooFar(0));
  assert.equal(lag.bytesBehind(0), 2 * frameBytes);
});

test('lag - whatever is stored, what is told is never less than the bytes behind, as far as the limit', () => {
  const frames = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 200_000 })), {
    minLength: 1,
    maxLength: 300,
  });
  fc.assert(
    fc.property(frames, fc.nat(2_000), (stored, position) => {
      const lag = new LogLag({ bytes: mib, ms: 1 });
      let at = 0;
      let real = 0;
      for (const [gap, bytes] of stored) {
        at += gap;
        lag.stored(at, bytes);
        if (at > position) real += bytes;
      }
      const told = lag.bytesBehind(position);
      assert.ok(told >= Math.min(real, mib), `${told} for ${real}`);
      if (position >= at) assert.equal(told, 0);
    }),
  );
});
