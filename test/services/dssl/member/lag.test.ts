// How far behind the end of the log a replica is in time, although the log has a clock of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LagMeter } from '../../../../services/dssl/member/lag.ts';

test('lag - whoever has caught up has none, and neither has who never heard anything', () => {
  const lag = new LagMeter();
  assert.equal(lag.lagMs(5, 1_000), 0);
  lag.onEntry(1_000, 1_000, 1_000);
  assert.equal(lag.lagMs(0, 9_000), 0);
});

test('lag - it is what entries are later than when they came quickest, however the two clocks differ', () => {
  for (const clocksDiffer of [0, 3_600_000, -3_600_000]) {
    const lag = new LagMeter();
    const at = (stampMs: number, lateMs: number) =>
      lag.onEntry(stampMs, stampMs + clocksDiffer + lateMs, stampMs + clocksDiffer + lateMs);
    at(1_000_000, 30);
    at(1_000_100, 5);
    at(1_000_200, 400);
    assert.equal(lag.lagMs(1, 1_000_200 + clocksDiffer + 400), 395);
    assert.equal(lag.lagMs(1, 1_000_200 + clocksDiffer + 900), 895, 'and grows while nothing comes');
  }
});

test('lag - how quick entries can be is remembered for ten seconds at least, whenever the turn comes', () => {
  const lag = new LagMeter();
  const at = (stampMs: number, lateMs: number) => lag.onEntry(stampMs, stampMs + lateMs, stampMs + lateMs);
  at(1_000_000, 5);
  at(1_009_900, 5);
  for (let stampMs = 1_010_100; stampMs < 1_019_000; stampMs += 100) {
    at(stampMs, 700);
    assert.equal(lag.lagMs(1, stampMs + 700), 695, `at ${stampMs}`);
  }
});

test('lag - the clock of the log is set back: that is forgotten in twenty seconds', () => {
  const lag = new LagMeter();
  lag.onEntry(1_000_000, 1_000_000, 1_000_000);
  const back = (ms: number) => lag.onEntry(ms - 5_000, ms, ms);
  for (let wallMs = 1_000_100; wallMs < 1_008_000; wallMs += 100) back(wallMs);
  assert.ok(lag.lagMs(1, 1_008_000) >= 5_000);
  for (let wallMs = 1_008_000; wallMs < 1_025_000; wallMs += 100) back(wallMs);
  assert.ok(lag.lagMs(1, 1_025_000) <= 200, `${lag.lagMs(1, 1_025_000)}`);
});

test('lag - the clock of the log is set forward: nothing below nothing', () => {
  const lag = new LagMeter();
  lag.onEntry(1_000_000, 1_000, 1_000);
  lag.onEntry(1_900_000, 1_100, 1_100);
  assert.equal(lag.lagMs(1, 1_100), 0);
  assert.ok(lag.lateMs(1_900_200, 1_200, 1_200) <= 0);
});

test('lag - after a silence nobody can tell how late an entry is: the log may have another clock', () => {
  const meter = new LagMeter();
  for (let ms = 0; ms < 5_000; ms += 1_000) meter.onEntry(ms, 100 + ms, 100 + ms);
  assert.equal(meter.lateMs(5_000, 5_400, 5_400), 300);
  assert.equal(meter.lateMs(900_000, 8_000, 8_000), Number.POSITIVE_INFINITY);
  meter.onEntry(900_000, 8_000, 8_000);
  assert.equal(meter.lateMs(900_100, 8_100, 8_100), 0);
});

test('lag - neither a machine that slept nor a clock that was set hides a pause', () => {
  const begin = () => {
    const one = new LagMeter();
    for (let ms = 0; ms < 5_000; ms += 100) one.onEntry(ms, ms, ms);
    return one;
  };
  assert.equal(begin().lateMs(5_000, 6_500, 5_000), 1_500, 'set back meanwhile');
  assert.equal(begin().lateMs(5_000, 5_000, 6_500), 1_500, 'the machine slept');
  assert.equal(begin().lateMs(5_000, 9_000, 5_000), Number.POSITIVE_INFINITY);
});
