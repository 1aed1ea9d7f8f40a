// A repeated start finds its first owner again, for a moment.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecentStarts } from '../../../../services/dssl/replica/recentStarts.ts';

test('recent starts - a repeated start finds its first owner, and does not make the window longer', () => {
  const starts = new RecentStarts(16, 10_000);
  starts.record(1, 2, 1_000, 5, 1, false, 1);
  assert.equal(starts.find(1, 2, 1_050), 5);
  starts.record(1, 2, 1_090, 5, 1, false, 1);
  assert.equal(starts.find(1, 2, 1_100), 5);
  assert.equal(starts.find(1, 2, 1_101), -1);
  assert.equal(starts.size, 0);
});

test('recent starts - a start that went to another owner begins a new window', () => {
  const starts = new RecentStarts(16, 10_000);
  starts.record(1, 2, 1_000, 5, 1, false, 1);
  starts.record(1, 2, 1_090, 6, 1, false, 1);
  assert.equal(starts.find(1, 2, 1_150), 6);
});

test('recent starts - the oldest is forgotten first, and that is counted', () => {
  const starts = new RecentStarts(3, 10_000);
  for (const lo of [1, 2, 3, 4]) starts.record(0, lo, 0, lo, 1, false, 1);
  assert.deepEqual(
    [1, 2, 3, 4].map((lo) => starts.find(0, lo, 0)),
    [-1, 2, 3, 4],
  );
  assert.equal(starts.overwritten, 1);
  assert.equal(starts.remove(0, 3), true);
  assert.equal(starts.remove(0, 3), false);
  const seen: number[] = [];
  assert.equal(
    starts.scan(0, 10, (_hi, lo, _tick, position) => seen.push(lo, starts.ownerAt(position))),
    -1,
  );
  assert.deepEqual(seen, [2, 2, 4, 4]);
});
