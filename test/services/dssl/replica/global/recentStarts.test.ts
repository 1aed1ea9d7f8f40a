// A repeated start finds its first owner again, for a moment.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverNumbers } from '../../../../../services/dssl/replica/flows/entry.ts';
import { RecentStarts } from '../../../../../services/dssl/replica/global/recentStarts.ts';

test('recent starts - a start is remembered for its window, and no longer', () => {
  const starts = new RecentStarts(16, 10_000);
  starts.record(1, 2, 1_000, 5);
  starts.table.expire(1_100);
  assert.equal(starts.find(1, 2), 5);
  starts.table.expire(1_101);
  assert.equal(starts.find(1, 2), -1);
  assert.equal(starts.table.size, 0);
});

test('recent starts - a start that went to another owner begins a new window', () => {
  const starts = new RecentStarts(16, 10_000);
  starts.record(1, 2, 1_000, 5);
  starts.record(1, 2, 1_090, 6);
  starts.table.expire(1_150);
  assert.equal(starts.find(1, 2), 6);
});

test('recent starts - the oldest is forgotten first, and that is counted', () => {
  const starts = new RecentStarts(3, 10_000);
  for (const lo of [1, 2, 3, 4]) starts.record(0, lo, 0, lo);
  assert.deepEqual(
    [1, 2, 3, 4].map((lo) => starts.find(0, lo)),
    [-1, 2, 3, 4],
  );
  assert.equal(starts.table.overwritten, 1);
});

test('recent starts - an owner that no server can have is refused', () => {
  for (const owner of [serverNumbers, -1]) {
    assert.equal(new RecentStarts().restore(1, Int32Array.of(1, 0, 0, 0, owner), 0), false);
  }
  assert.ok(new RecentStarts().restore(1, Int32Array.of(1, 0, 0, 0, serverNumbers - 1), 0));
});
