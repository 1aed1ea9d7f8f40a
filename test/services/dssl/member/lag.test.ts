// How far behind the end of the log a replica is in time, although the log has a clock of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LagMeter } from '../../../../services/dssl/member/lag.ts';

/** A meter on two clocks that are set by hand. */
class Case {
  monotonic = 0;
  wall = 0;
  readonly meter = new LagMeter({ monotonicMs: () => this.monotonic, nowMs: () => this.wall });

  at(ms: number, wall: number = ms): LagMeter {
    this.monotonic = ms;
    this.wall = wall;
    return this.meter;
  }
}

test('lag - whoever has caught up has none, and neither has who never heard anything', () => {
  const lag = new Case();
  assert.equal(lag.at(1_000).lagMs(5), 0);
  lag.at(1_000).onEntry(1_000);
  assert.equal(lag.at(9_000).lagMs(0), 0);
});

test('lag - it is what entries are later than when they came quickest, however the two clocks differ', () => {
  for (const clocksDiffer of [0, 3_600_000, -3_600_000]) {
    const lag = new Case();
    const at = (stampMs: number, lateMs: number) => lag.at(stampMs + clocksDiffer + lateMs).onEntry(stampMs);
    at(1_000_000, 30);
    at(1_000_100, 5);
    at(1_000_200, 400);
    assert.equal(lag.at(1_000_200 + clocksDiffer + 400).lagMs(1), 395);
    assert.equal(lag.at(1_000_200 + clocksDiffer + 900).lagMs(1), 895, 'and grows while nothing comes');
  }
});

test('lag - how quick entries can be is remembered for ten seconds at least, whenever the turn comes', () => {
  const lag = new Case();
  const at = (stampMs: number, lateMs: number) => lag.at(stampMs + lateMs).onEntry(stampMs);
  at(1_000_000, 5);
  at(1_009_900, 5);
  for (let stampMs = 1_010_100; stampMs < 1_019_000; stampMs += 100) {
    at(stampMs, 700);
    assert.equal(lag.at(stampMs + 700).lagMs(1), 695, `at ${stampMs}`);
  }
});

test('lag - the clock of the log is set back: that is forgotten in twenty seconds', () => {
  const lag = new Case();
  lag.at(1_000_000).onEntry(1_000_000);
  const back = (ms: number) => lag.at(ms).onEntry(ms - 5_000);
  for (let wallMs = 1_000_100; wallMs < 1_008_000; wallMs += 100) back(wallMs);
  assert.ok(lag.at(1_008_000).lagMs(1) >= 5_000);
  for (let wallMs = 1_008_000; wallMs < 1_025_000; wallMs += 100) back(wallMs);
  assert.ok(lag.at(1_025_000).lagMs(1) <= 200, `${lag.at(1_025_000).lagMs(1)}`);
});

test('lag - the own clock is set back: nothing below nothing', () => {
  const lag = new Case();
  lag.at(1_000_000).onEntry(1_000_000);
  lag.at(500_000).onEntry(1_000_100);
  assert.equal(lag.at(500_000).lagMs(1), 0);
});

test('lag - after a silence nobody can tell how late an entry is: the log may have another clock', () => {
  const meter = new Case();
  for (let ms = 0; ms < 5_000; ms += 1_000) meter.at(100 + ms).onEntry(ms);
  assert.equal(meter.at(5_400).lateMs(5_000), 300);
  assert.equal(meter.at(8_000).lateMs(900_000), Number.POSITIVE_INFINITY);
  meter.at(8_000).onEntry(900_000);
  assert.equal(meter.at(8_100).lateMs(900_100), 0);
});

test('lag - neither a machine that slept nor a clock that was set hides a pause', () => {
  const begin = () => {
    const one = new Case();
    for (let ms = 0; ms < 5_000; ms += 100) one.at(ms).onEntry(ms);
    return one;
  };
  assert.equal(begin().at(6_500, 5_000).lateMs(5_000), 1_500, 'set back meanwhile');
  assert.equal(begin().at(5_000, 6_500).lateMs(5_000), 1_500, 'the machine slept');
  assert.equal(begin().at(9_000, 5_000).lateMs(5_000), Number.POSITIVE_INFINITY);
});
