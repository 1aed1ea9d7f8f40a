// What the benchmarks share: medians, targets, rounding, the table. Nothing here measures time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMet, median, percentile, rounded, rowsOf, tableOf } from './runner.ts';

test('bench - the median is the middle value, or the mean of the two in the middle', () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([9, 1, 5, 6]), 5.5);
  assert.throws(() => median([]), RangeError);
});

test('bench - a percentile is one of the values, and so is the last one of few', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual([percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)], [50, 99, 100]);
  assert.deepEqual([percentile([7], 0.5), percentile([3, 1, 2], 0.99), percentile([3, 1, 2], 0)], [7, 3, 1]);
  assert.throws(() => percentile([], 0.5), RangeError);
});

test('bench - a target is met at its bound and missed beyond it', () => {
  assert.equal(isMet(5, { atMost: 5 }), true);
  assert.equal(isMet(5.01, { atMost: 5 }), false);
  assert.equal(isMet(0.65, { atLeast: 0.65 }), true);
  assert.equal(isMet(0.64, { atLeast: 0.65 }), false);
  assert.equal(isMet(Number.NaN, { atLeast: 0.65 }), false);
});

test('bench - figures are rounded to three digits', () => {
  assert.equal(rounded(0.123456), 0.123);
  assert.equal(rounded(98.76), 98.8);
  assert.equal(rounded(1_234_567.8), 1_234_568);
});

test('bench - a figure with several values has a row and a target for each', () => {
  const rows = rowsOf({
    key: 'bytes',
    value: { own: 20, other: 40 },
    unit: 'bytes',
    target: { own: { atMost: 32 }, other: { atMost: 32 } },
  });
  assert.deepEqual(
    rows.map(({ figure, target, met }) => [figure, target, met]),
    [
      ['bytes.own', 'at most 32', 'yes'],
      ['bytes.other', 'at most 32', 'no'],
    ],
  );
  const lines = tableOf(rows).split('\n');
  assert.equal(lines.length, 4);
  assert.equal(lines[1].indexOf('at most'), lines[0].indexOf('target'));
});

test('bench - values of one figure may have units of their own', () => {
  const rows = rowsOf({ key: 'kill', value: { p50: 800, kills: 20 }, unit: { p50: 'ms' } });
  assert.deepEqual(
    rows.map(({ figure, unit }) => [figure, unit]),
    [
      ['kill.p50', 'ms'],
      ['kill.kills', ''],
    ],
  );
});
