// The bounded memory of recent things, compared with a plain list.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FifoTable } from '../../../../services/dssl/replica/fifoTable.ts';
import { clockJumpTicks } from '../../../../services/dssl/replica/ticks.ts';

const windowTicks = 100;

interface Modelled {
  name: string;
  tick: number;
  value: number;
}

const operation = fc.record({
  kind: fc.constantFrom('add', 'add', 'find', 'remove'),
  hi: fc.nat(2),
  lo: fc.constantFrom(0, 1, 2, 15, 16, 17, -1, 0x8000_0000 | 0),
  advance: fc.oneof(
    { arbitrary: fc.integer({ min: -10, max: 30 }), weight: 20 },
    { arbitrary: fc.constant(-2 * clockJumpTicks), weight: 1 },
  ),
});

test('fifo table - behaves as a list of the last records that are neither removed nor over', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.array(operation, { maxLength: 200, size: 'max' }),
      (capacity, operations) => {
        const table = new FifoTable(capacity, windowTicks, 2);
        // Places in the order of recording; a removed record leaves its place empty until it is overwritten.
        let places: (Modelled | undefined)[] = [];
        let tick = 0x7fff_ff00;
        let value = 0;
        for (const { kind, hi, lo, advance } of operations) {
          tick = (tick + advance) | 0;
          value++;
          const name = `${hi}:${lo}`;
          const index = places.findIndex((place) => place?.name === name);
          const known = places[index];
          const age = known === undefined ? 0 : (tick - known.tick) | 0;
          if (kind === 'add') {
            if (index >= 0) places[index] = undefined;
            places = [...places, { name, tick, value }].slice(-capacity);
            const position = table.add(hi, lo, tick);
            table.setValue(position, 0, value);
            table.setValue(position, 1, -value);
          } else if (kind === 'remove') {
            assert.equal(table.remove(hi, lo), index >= 0);
            if (index >= 0) places[index] = undefined;
          } else {
            const position = table.find(hi, lo, tick);
            if (known === undefined || age > windowTicks || age < -clockJumpTicks) {
              assert.equal(position, -1);
              if (index >= 0) places[index] = undefined;
            } else {
              assert.deepEqual([table.value(position, 0), table.value(position, 1)], [known.value, -known.value]);
            }
          }
          const live = places.filter((place) => place !== undefined);
          assert.equal(table.size, live.length);
          assert.deepEqual(contents(table, 1 + (value % 3)), live);
          const earliest = (tick - (value % 40)) | 0;
          const late = live.filter((place) => ((place.tick - earliest) | 0) >= 0);
          assert.deepEqual(contents(table, 1 + (value % 3), earliest), late);
        }
      },
    ),
    { numRuns: 300 },
  );
});

function contents(table: FifoTable, limit: number, earliest?: number): Modelled[] {
  const found: Modelled[] = [];
  for (let cursor = 0; cursor >= 0; ) {
    const find = (hi: number, lo: number, tick: number, position: number): void => {
      found.push({ name: `${hi}:${lo}`, tick, value: table.value(position, 0) });
    };
    cursor = table.scan(cursor, limit, find, earliest);
  }
  return found;
}

test('fifo table - counts what it forgets before its time', () => {
  const table = new FifoTable(2, windowTicks, 1);
  table.add(0, 1, 0);
  table.add(0, 2, 90);
  table.add(0, 3, 101);
  assert.equal(table.overwritten, 0);
  table.add(0, 4, 102);
  assert.equal(table.overwritten, 1);
  assert.equal(table.find(0, 2, 102), -1);
});

test('fifo table - a capacity out of range is refused', () => {
  assert.throws(() => new FifoTable(0, 1, 1), RangeError);
});
