// The bounded memory of recent things, compared with a plain list, and restored from its records at any time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FifoTable } from '../../../../../services/dssl/replica/global/fifoTable.ts';

const windowTicks = 100;

interface Modelled {
  readonly name: string;
  readonly tick: number;
  readonly value: number;
}

const operation = fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'find', 'remove', 'restore'),
  hi: fc.nat(2),
  lo: fc.constantFrom(0, 1, 2, 15, 16, 17, -1, 0x8000_0000 | 0),
  advance: fc.oneof({ arbitrary: fc.nat(30), weight: 20 }, { arbitrary: fc.constant(500), weight: 1 }),
});

test('fifo table - behaves as a list of the last records that are neither removed nor over, restored or not', () => {
  const operations = fc.array(operation, { maxLength: 300, size: 'max' });
  fc.assert(
    fc.property(fc.constantFrom(1, 2, 9, 40, 70), operations, (capacity, steps) => {
      let table = new FifoTable(capacity, windowTicks, 2);
      const twin = new FifoTable(capacity, windowTicks, 2);
      // Places in the order of recording; a removed record leaves its place empty.
      let places: (Modelled | undefined)[] = [];
      let tick = 0x7fff_ff00;
      for (const [value, { kind, hi, lo, advance }] of steps.entries()) {
        tick = (tick + advance) | 0;
        table.expire(tick);
        twin.expire(tick);
        places = places.map((place) => (place && ((tick - place.tick) | 0) > windowTicks ? undefined : place));
        const name = `${hi}:${lo}`;
        const index = places.findIndex((place) => place?.name === name);
        if (kind === 'add') {
          if (index >= 0) places[index] = undefined;
          places = [...places, { name, tick, value }].slice(-capacity);
          table.add(hi, lo, tick, value, ~value);
          twin.add(hi, lo, tick, value, ~value);
        } else if (kind === 'remove') {
          assert.equal(table.remove(hi, lo), index >= 0);
          twin.remove(hi, lo);
          if (index >= 0) places[index] = undefined;
        } else if (kind === 'find') {
          const position = table.find(hi, lo);
          assert.equal(position >= 0, index >= 0);
          if (index >= 0) {
            assert.deepEqual(
              [table.value(position, 0), table.value(position, 1)],
              [places[index]?.value, ~(places[index]?.value ?? 0)],
            );
          }
        } else {
          const restored = new FifoTable(capacity, windowTicks, 2);
          assert.ok(restored.restore(table.next, table.records(), tick));
          table = restored;
        }
        const living = places.filter((place) => place !== undefined);
        assert.deepEqual(contents(table), living);
        assert.equal(table.size, living.length);
        assert.equal(table.fingerprint, twin.fingerprint);
      }
    }),
    { numRuns: 300, seed: 1 },
  );
});

function contents(table: FifoTable): Modelled[] {
  const words = table.records();
  return Array.from({ length: words.length / 6 }, (_, index) => {
    const [, hi, lo, tick, value] = words.subarray(6 * index);
    return { name: `${hi}:${lo}`, tick, value };
  });
}

test('fifo table - the fingerprint tells contents apart', () => {
  const sums = new Set<number>();
  const fill = (...records: readonly (readonly [number, number, number])[]) => {
    const table = new FifoTable(9, windowTicks, 1);
    for (const [lo, tick, value] of records) table.add(0, lo, tick, value);
    sums.add(table.fingerprint);
  };
  fill();
  fill([1, 0, 0]);
  fill([1, 1, 0]);
  fill([1, 0, 1]);
  fill([2, 0, 0]);
  fill([1, 0, 0], [2, 0, 0]);
  fill([2, 0, 0], [1, 0, 0]);
  assert.equal(sums.size, 7);
});

test('fifo table - counts what gives way before its time', () => {
  const table = new FifoTable(2, windowTicks, 1);
  table.add(0, 1, 0, 0);
  table.add(0, 2, 90, 0);
  table.expire(101);
  table.add(0, 3, 101, 0);
  assert.equal(table.overwritten, 0);
  table.add(0, 4, 102, 0);
  assert.equal(table.overwritten, 1);
  assert.equal(table.find(0, 2), -1);
});

test('fifo table - records that cannot be are refused', () => {
  const cases: readonly (readonly [number, readonly number[]])[] = [
    [1, [1, 0, 0, 0]],
    [1, [2, 0, 0, 0, 7]],
    [5, [0, 0, 0, 0, 7]],
    [5, [4, 0, 0, 0, 7]],
    [5, [2, 0, 0, 0, 7, 2, 0, 1, 0, 7]],
    [5, [2, 0, 0, 0, 7, 1, 0, 0, 0, 7]],
    [5, [1, 0, 0, -101, 7]],
    [-1, []],
    [0.5, []],
  ];
  for (const [next, words] of cases) {
    assert.equal(new FifoTable(3, windowTicks, 1).restore(next, Int32Array.from(words), 0), false, `${next} ${words}`);
  }
  assert.ok(new FifoTable(3, windowTicks, 1).restore(5, Int32Array.of(3, 0, 0, -100, 7, 1, 0, 1, 0, 7), 0));
});

test('fifo table - a capacity out of range is refused', () => {
  assert.throws(() => new FifoTable(0, 1, 1), RangeError);
});
