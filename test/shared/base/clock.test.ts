// Time as a port: the virtual clock keeps its order, and a run repeats exactly.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Clock, systemClock, VirtualClock } from '../../../shared/base/clock.ts';

describe('clock', () => {
  it('virtual clock - events run by time, then in the order they were set', () => {
    const property = fc.property(
      fc.array(fc.integer({ min: 0, max: 50 })),
      fc.array(fc.boolean()),
      (delays, cancelled) => {
        const clock = new VirtualClock(1_000);
        const ran: [number, number][] = [];
        const timers = delays.map((delay, at) => clock.setTimer(delay, () => ran.push([clock.nowMs() - 1_000, at])));
        for (const [at, timer] of timers.entries()) if (cancelled[at]) timer.cancel();
        const expected = delays.map((delay, at): [number, number] => [delay, at]).filter(([, at]) => !cancelled[at]);
        expected.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
        assert.equal(clock.pending, expected.length);
        clock.advance(50);
        assert.deepEqual(ran, expected);
        assert.equal(clock.pending, 0);
        assert.equal(clock.nowMs(), 1_050);
        assert.equal(clock.monotonicMs(), 50);
      },
    );
    fc.assert(property);
  });

  it('virtual clock - advance stops at its end, and includes what is set on the way', () => {
    const clock = new VirtualClock();
    const ran: number[] = [];
    const every = (): void => {
      ran.push(clock.nowMs());
      clock.setTimer(10, every);
    };
    clock.setTimer(10, every);
    clock.advance(35);
    assert.deepEqual(ran, [10, 20, 30]);
    clock.advance(5);
    assert.deepEqual(ran, [10, 20, 30, 40]);
    assert.throws(() => clock.runAll(100), /still events/);
  });

  it('virtual clock - deferred work waits for the clock, after what was deferred before', () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    clock.defer(() => {
      ran.push('one');
      clock.defer(() => ran.push('three'));
    });
    clock.defer(() => ran.push('two'));
    assert.deepEqual(ran, []);
    clock.advance(0);
    assert.deepEqual(ran, ['one', 'two', 'three']);
  });

  it('virtual clock - advanceAsync lets awaiting code run between events', async () => {
    const clock = new VirtualClock();
    const sleep = (ms: number) => new Promise<void>((resolve) => clock.setTimer(ms, resolve));
    const seen: number[] = [];
    void (async () => {
      for (let at = 0; at < 3; at++) {
        await sleep(10);
        seen.push(clock.nowMs());
      }
    })();
    await clock.advanceAsync(30);
    assert.deepEqual(seen, [10, 20, 30]);
  });

  it('clock - an event may cancel another, and itself, of the same moment', () => {
    const clock = new VirtualClock();
    const ran: number[] = [];
    const first = clock.setTimer(1, () => {
      ran.push(1);
      first.cancel();
      second.cancel();
    });
    const second = clock.setTimer(1, () => ran.push(2));
    clock.advance(1);
    second.cancel();
    assert.deepEqual(ran, [1]);
    assert.equal(clock.pending, 0);
  });

  it('system clock - defers and times later, and cancels', async () => {
    const clock: Clock = systemClock;
    const ran: string[] = [];
    clock.setTimer(1, () => ran.push('cancelled')).cancel();
    const hour = clock.setTimer(3_600_000, () => undefined);
    hour.unref();
    const done = new Promise<void>((resolve) => {
      clock.defer(() => ran.push('deferred'));
      clock.setTimer(2, resolve);
    });
    assert.deepEqual(ran, []);
    await done;
    assert.deepEqual(ran, ['deferred']);
    assert.ok(clock.nowMs() > 1_600_000_000_000 && Number.isInteger(clock.nowMs()));
    hour.cancel();
  });
});
