// Repeats whose effects have happened are told from those that have not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchBuffer } from '../../../../../services/dssl/egress/batch.ts';
import { RepeatFilter } from '../../../../../services/dssl/egress/handlers/repeats.ts';

/** A batch of one packet for each row, of flow 1 or 2 in turn. */
function batchAt(
  epoch: number,
  position: number,
  isRepeat: boolean,
  rows: readonly number[] = [0, 1, 2, 3],
): BatchBuffer {
  const batch = new BatchBuffer();
  Object.assign(batch, { epoch, position, isRepeat });
  for (const row of rows) batch.add(0, 0, 1, 1 + (row % 2), 0, row, false);
  return batch;
}

test('repeats - places sort in the order of the log', () => {
  const places = [batchAt(1, 9, true), batchAt(1, 10, true), batchAt(1, 2 ** 40, true), batchAt(2, 1, true)].flatMap(
    (batch) => [0, 1, 2, 3].map((i) => batch.place(i)),
  );
  assert.deepEqual([...places].sort(), places);
  assert.equal(new Set(places).size, places.length);
  assert.equal(batchAt(1, 0, true).place(0), '');
});

test('repeats - up to the last place that is known of a flow they are done, and no others', () => {
  const filter = new RepeatFilter();
  const done = batchAt(1, 10, true);
  filter.know(1, 1, done.place(0));
  filter.know(1, 1, batchAt(1, 9, true).place(0));
  filter.know(1, 2, undefined);
  filter.know(1, 2, '');
  const isDone = (batch: BatchBuffer) => [0, 1, 2, 3].map((i) => filter.isDone(batch, i));
  assert.deepEqual(isDone(batchAt(1, 9, true)), [true, false, true, false]);
  assert.deepEqual(isDone(done), [true, false, false, false]);
  assert.deepEqual(isDone(batchAt(1, 9, false)), [false, false, false, false]);
  assert.deepEqual(isDone(batchAt(1, 0, true)), [false, false, false, false]);
  filter.forget(1, 1);
  assert.deepEqual(isDone(done), [false, false, false, false]);
});
