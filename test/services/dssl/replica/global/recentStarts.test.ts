// A repeated start finds its first owner again, for a moment.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowState, noBackup, packInfo, serverNumbers } from '../../../../../services/dssl/replica/flows/entry.ts';
import { RecentStarts } from '../../../../../services/dssl/replica/global/recentStarts.ts';
import { FrameFlags, RESET } from '../../../../../shared/flow/frameFlags.ts';

const { START, END, SIDE } = FrameFlags;

test('recent starts - a start is remembered for its window, and no longer', () => {
  const starts = new RecentStarts(16, 10_000);
  starts.record(1, 2, 1_000, 5, noBackup);
  starts.table.expire(1_100);
  assert.equal(starts.find(1, 2, START), 5);
  starts.table.expire(1_101);
  assert.equal(starts.find(1, 2, START), -1);
  assert.equal(starts.table.size, 0);
});

test('recent starts - a start that went to another owner begins a new window', () => {
  const starts = new RecentStarts(16, 10_000);
  starts.record(1, 2, 1_000, 5, noBackup);
  starts.record(1, 2, 1_090, 6, noBackup);
  starts.table.expire(1_150);
  assert.equal(starts.find(1, 2, START), 6);
});

test('recent starts - the oldest is forgotten first, and that is counted', () => {
  const starts = new RecentStarts(3, 10_000);
  for (const lo of [1, 2, 3, 4]) starts.record(0, lo, 0, lo, noBackup);
  assert.deepEqual(
    [1, 2, 3, 4].map((lo) => starts.find(0, lo, START)),
    [-1, 2, 3, 4],
  );
  assert.equal(starts.table.overwritten, 1);
});

test('recent starts - an owner that no server can have is refused', () => {
  const record = (owner: number, state: FlowState, backup = 0) =>
    Int32Array.of(1, 0, 0, 0, packInfo(owner, backup, state, 0));
  const isTaken = (records: Int32Array) => new RecentStarts().restore(1, records, 0);
  const { established, halfClosedBySecond, closing, resetByFirst } = FlowState;
  assert.ok(isTaken(record(serverNumbers - 1, established)) && isTaken(record(3, halfClosedBySecond)));
  assert.equal(isTaken(record(serverNumbers, established)) || isTaken(record(3, established, serverNumbers)), false);
  assert.ok(isTaken(record(3, established, 1)) && isTaken(record(3, established, noBackup)));
  assert.equal(isTaken(record(3, closing)) || isTaken(record(3, resetByFirst)), false, 'ended ones are forgotten');
  assert.equal(isTaken(Int32Array.of(1, 0, 0, 0, -1)), false);
});

test('recent starts - a start is forgotten with the end of its flow: both sides, or a reset', () => {
  const starts = new RecentStarts();
  for (const lo of [1, 2, 3]) starts.record(0, lo, 0, lo, noBackup);
  const { fingerprint } = starts.table;
  starts.end(0, 1, END);
  starts.end(0, 1, END);
  starts.end(0, 9, END);
  assert.deepEqual(
    [starts.find(0, 1, START | SIDE), starts.find(0, 1, START)],
    [1, -1],
    'one side only may begin again',
  );
  assert.notEqual(starts.table.fingerprint, fingerprint);
  const copy = new RecentStarts();
  assert.ok(copy.restore(starts.table.next, starts.table.records(), 0));
  for (const each of [starts, copy]) {
    each.end(0, 1, END | SIDE);
    each.end(0, 2, RESET);
    assert.deepEqual([each.find(0, 1, START), each.find(0, 2, START), each.find(0, 3, START)], [-1, -1, 3]);
  }
  assert.equal(copy.table.fingerprint, starts.table.fingerprint);
});

test('recent starts - who stands behind the owner is remembered with it', () => {
  const starts = new RecentStarts(3, 10_000);
  starts.record(1, 2, 1_000, 5, 7);
  assert.deepEqual([starts.find(1, 2, START), starts.foundBackup], [5, 7]);
  starts.record(1, 3, 1_000, 5, noBackup);
  assert.deepEqual([starts.find(1, 3, START), starts.foundBackup], [5, noBackup]);
});
