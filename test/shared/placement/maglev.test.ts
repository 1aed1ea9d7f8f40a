// Maglev tables against the paper's and another implementation's, and how little a change moves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAGLEV_SLOTS, MaglevBuilder, maglevTable, NOBODY } from '../../../shared/placement/maglev.ts';
import { murmur3x64 } from '../../support/murmur3.ts';

const named = (count: number, weight = 1) =>
  Array.from({ length: count }, (_, index) => ({ name: `server-${index}`, weight }));

test('maglev - both tables of the paper, table 1', () => {
  const preferences = [
    [3, 4],
    [0, 2],
    [3, 1],
  ];
  const slots = (weights: number[]) => {
    const table = new MaglevBuilder(3, 7);
    for (const [index, [offset, skip]] of preferences.entries()) table.setPermutation(index, offset, skip);
    table.fill(weights);
    return [...table.slots];
  };
  assert.deepEqual(slots([1, 1, 1]), [1, 0, 1, 0, 2, 2, 0]);
  assert.deepEqual(slots([1, 0, 1]), [0, 0, 0, 0, 2, 2, 2]);
});

// Katran's ring: 100 reals whose hash is their index, weight 10 each.
function katranRing(without: number, fill: (table: MaglevBuilder, weights: number[]) => void): Uint16Array {
  const table = new MaglevBuilder(100, MAGLEV_SLOTS);
  for (let real = 0; real < 100; real++) {
    const offset = murmur3x64(BigInt(real), 42n, 0n) % BigInt(MAGLEV_SLOTS);
    const skip = (murmur3x64(BigInt(real), 2_718_281_828n, 2_307n) % BigInt(MAGLEV_SLOTS - 1)) + 1n;
    table.setPermutation(real, Number(offset), Number(skip));
  }
  fill(
    table,
    Array.from({ length: 100 }, (_, real) => (real === without ? 0 : 10)),
  );
  return table.slots;
}

test("maglev - katran's ring changes 1,020 slots when real 0 leaves (weights as in its second version)", () => {
  const ring = (without: number) => katranRing(without, (table, weights) => table.fill(weights));
  assert.equal(differences(ring(-1), ring(0)), 1_020);
});

test("maglev - katran's ring changes 1,009 slots when real 0 leaves (weights as in its first version)", () => {
  // In the first version a real takes as many turns as its weight says in the first round, and one in each later round.
  const ring = (without: number) =>
    katranRing(without, (table, weights) => {
      for (let round = 0, free = true; free; round++) {
        for (const [real, weight] of weights.entries()) {
          const turns = weight === 0 ? 0 : round === 0 ? weight : 1;
          for (let turn = 0; turn < turns && free; turn++) free = table.take(real);
        }
      }
    });
  assert.equal(differences(ring(-1), ring(0)), 1_009);
});

for (const { servers, excess } of [
  { servers: 8, excess: 0.0037 },
  { servers: 32, excess: 0.004 },
  { servers: 128, excess: 0.0058 },
]) {
  test(`maglev - removing one of ${servers} servers moves few slots besides its own`, () => {
    const candidates = named(servers);
    const table = maglevTable(candidates, 1);
    let moved = 0;
    const tries = 8;
    for (let gone = 0; gone < tries; gone++) {
      const rest = candidates.filter((_, index) => index !== gone);
      const other = maglevTable(rest, 1);
      for (const [slot, owner] of table.entries()) {
        if (owner !== gone && candidates[owner].name !== rest[other[slot]].name) moved++;
      }
    }
    const share = moved / tries / MAGLEV_SLOTS;
    assert.ok(share > 0 && share <= excess, `${share}`);
  });
}

test('maglev - needs next to no over-provision for 1,000 servers', () => {
  for (const slots of [65_537, 655_373]) {
    const counts = countsOf(maglevTable(named(1_000), 1, slots), 1_000);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${slots} slots`);
  }
});

test('maglev - nobody lacks more than two slots of its share, and no slot is free', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 20 }), (weights) => {
      const table = maglevTable(
        weights.map((weight, index) => ({ name: `s${index}`, weight })),
        3,
        1_009,
      );
      assert.ok(table.every((owner) => owner !== NOBODY));
      const all = weights.reduce((a, b) => a + b, 0);
      for (const [index, count] of countsOf(table, weights.length).entries()) {
        const error = count - (1_009 * weights[index]) / all;
        // One by rounding down, one because the last round may be cut short; the others' losses are a heavy one's gain.
        assert.ok(error >= -2 && error <= weights.length, `${weights[index]} of ${all} has ${count} slots`);
      }
    }),
    { numRuns: 100 },
  );
});

test('maglev - turns by weight come in the order of saving up, round after round', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 6 }), (weights) => {
      const slots = 101;
      const build = () => {
        const table = new MaglevBuilder(weights.length, slots);
        for (const index of weights.keys()) table.setPermutation(index, (index * 37) % slots, index + 1);
        return table;
      };
      const table = build();
      table.fill(weights);

      const expected = build();
      const largest = Math.max(...weights);
      const saved = weights.map(() => 0);
      for (let free = largest > 0; free; ) {
        for (let index = 0; index < weights.length && free; index++) {
          saved[index] += weights[index];
          if (saved[index] < largest) continue;
          saved[index] -= largest;
          free = expected.take(index);
        }
      }
      assert.deepEqual(table.slots, expected.slots);
    }),
  );
});

test('maglev - a thousand members of very uneven weight fit', () => {
  const counts = countsOf(maglevTable([{ name: 'big', weight: 65_535 }, ...named(1_023)], 1), 1_024);
  assert.ok(counts[0] > 64_000);
});

test('maglev - a number of slots that is no prime is refused', () => {
  assert.throws(() => maglevTable(named(2), 1, 65_536), RangeError);
  assert.throws(() => maglevTable(named(8), 1, 7), RangeError);
  assert.ok(maglevTable([], 1, 7).every((owner) => owner === NOBODY));
});

function differences(a: Uint16Array, b: Uint16Array): number {
  let count = 0;
  for (let slot = 0; slot < a.length; slot++) if (a[slot] !== b[slot]) count++;
  return count;
}

function countsOf(table: Uint16Array, candidates: number): number[] {
  const counts = new Array<number>(candidates).fill(0);
  for (const owner of table) counts[owner]++;
  return counts;
}
