// Slices that are not held at the replica's position: missing ones, and ones that were taken from further on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AbsentSlices } from '../../../../../services/dssl/replica/snapshot/absentSlices.ts';

test('absent slices - rows are passed over up to the position of the slice, and no further', () => {
  const absent = new AbsentSlices();
  absent.begin(10);
  assert.deepEqual([absent.some, absent.covers(7)], [false, false]);
  absent.setAhead(7, 12, 99);
  const passed = [11, 12, 13].map((position) => {
    absent.begin(position);
    return [absent.some, absent.covers(7), absent.covers(8)];
  });
  assert.deepEqual(passed, [
    [true, true, false],
    [true, true, false],
    [false, false, false],
  ]);
});

test('absent slices - the entry at the position of a slice must have its mark', () => {
  const absent = new AbsentSlices();
  absent.setAhead(7, 12, 99);
  absent.setAhead(8, 12, 98);
  absent.setMissing(9);
  assert.deepEqual(absent.mismatched(11, 99), []);
  assert.deepEqual(absent.mismatched(12, 99), [8]);
  assert.deepEqual([absent.positionOf(7, 11), absent.markOf(7, 11, 5)], [12, 99]);
  assert.deepEqual([absent.positionOf(7, 13), absent.markOf(7, 13, 5)], [13, 5]);
});

test('absent slices - whatever is set, it is as a list of positions says', () => {
  const change = fc.record({ slice: fc.nat(3), until: fc.constantFrom(0, 5, 6, 9, Number.POSITIVE_INFINITY) });
  fc.assert(
    fc.property(fc.array(change), fc.nat(10), (changes, position) => {
      const absent = new AbsentSlices();
      const model = [0, 0, 0, 0];
      absent.begin(position);
      for (const { slice, until } of changes) {
        if (until === Number.POSITIVE_INFINITY) absent.setMissing(slice);
        else absent.setAhead(slice, until, 1);
        model[slice] = until;
        assert.equal(absent.some, position > 0 ? model.some((each) => position <= each) : absent.some);
        assert.deepEqual(
          model.map((_, index) => absent.covers(index)),
          model.map((each) => position <= each),
        );
        assert.equal(absent.missing, model.filter((each) => each === Number.POSITIVE_INFINITY).length);
      }
      absent.setAllMissing();
      assert.equal(absent.missing, 256);
      absent.reset();
      absent.begin(position + 1);
      assert.deepEqual([absent.some, absent.missing], [false, 0]);
    }),
  );
});
