// The static choice of a group: alike on every tier 1, by weight, by type, and of fixed size.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePlacement } from '../../../../services/dssl/replica/global/placement.ts';
import { type GroupEntry, GroupTable } from '../../../../services/tier1/routing/groupTable.ts';
import { groupSelections } from '../../../../shared/config/map.ts';
import { defaultRules, placementNames } from '../../../../shared/membership/view.ts';
import { excessOverShares, forFlows } from '../../../support/shares.ts';

const entry = (id: string, weight = 1, serves: GroupEntry['serves'] = 'both'): GroupEntry => ({ id, weight, serves });

const groupsArb = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 8 }),
    weight: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 65_535 })),
    serves: fc.constantFrom('type-1' as const, 'type-2' as const, 'both' as const),
  }),
  { selector: ({ id }) => id, maxLength: 8 },
);
const hash = fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 });
const SLOTS = 1_009;

test('group table - a group is chosen if one with a weight serves the type, and only such a one', () => {
  fc.assert(
    fc.property(groupsArb, fc.constantFrom(...groupSelections), hash, fc.boolean(), (groups, method, lo, type1) => {
      const chosen = new GroupTable(groups, method, SLOTS).select(lo, type1);
      const fit = ({ weight, serves }: GroupEntry) => weight > 0 && serves !== (type1 ? 'type-2' : 'type-1');
      if (groups.some(fit)) assert.ok(fit(groups[chosen]));
      else assert.equal(chosen, -1);
    }),
    { numRuns: 500 },
  );
});

test('group table - replicas agree however the groups are listed', () => {
  fc.assert(
    fc.property(groupsArb, fc.constantFrom(...groupSelections), hash, fc.boolean(), (groups, method, lo, type1) => {
      const reversed = groups.toReversed().map((group) => ({ ...group }));
      const one = new GroupTable(groups, method, SLOTS).select(lo | 0, type1);
      const two = new GroupTable(reversed, method, SLOTS).select(lo >>> 0, type1);
      assert.equal(groups[one]?.id, reversed[two]?.id);
    }),
    { numRuns: 300 },
  );
});

test('group table - weighted: shares follow the weights, for each type among its own groups', () => {
  const groups = [entry('c', 5), entry('a', 0), entry('b', 2, 'type-1'), entry('d', 1, 'type-2'), entry('e', 7)];
  const table = new GroupTable(groups, 'weighted');
  for (const [type1, shares] of [
    [true, [5, 0, 2, 0, 7]],
    [false, [5, 0, 0, 1, 7]],
  ] as const) {
    const counts = groups.map(() => 0);
    forFlows(50_000, 21, (_hi, lo) => counts[table.select(lo, type1)]++);
    assert.ok(excessOverShares(counts, shares) < 5, `${counts}`);
  }
});

test('group table - hash: groups with a weight share alike', () => {
  const groups = [entry('a', 9), entry('b', 0), entry('c', 1), entry('d', 4)];
  const table = new GroupTable(groups, 'hash');
  const counts = groups.map(() => 0);
  forFlows(50_000, 22, (_hi, lo) => counts[table.select(lo, true)]++);
  assert.ok(excessOverShares(counts, [1, 0, 1, 1]) < 5, `${counts}`);
});

test('group table - source-last-byte: the byte modulo the groups in the order of their ids', () => {
  const table = new GroupTable([entry('c'), entry('a'), entry('b')], 'source-last-byte');
  assert.deepEqual(
    [0, 1, 2, 3, 254, 255].map((byte) => table.select(byte, false)),
    [1, 2, 0, 1, 0, 1],
  );
  assert.equal(table.select(0xabcdef07 | 0, false), table.select(7, true));
});

test('group table - weighted: a group that leaves takes little along, one that comes too', () => {
  const groups = Array.from({ length: 8 }, (_, index) => entry(`group-${index}`, 3));
  const all = new GroupTable(groups, 'weighted');
  const fewer = new GroupTable(groups.slice(0, 7), 'weighted');
  let moved = 0;
  forFlows(50_000, 23, (_hi, lo) => {
    const before = all.select(lo, true);
    if (before !== 7 && before !== fewer.select(lo, true)) moved++;
  });
  assert.ok(moved > 0 && moved / 50_000 <= 0.0037, `${moved}`);
});

test('group table - all of 256 groups are reached', () => {
  const groups = Array.from({ length: 256 }, (_, index) => entry(`group-${index}`));
  for (const method of groupSelections) {
    const table = new GroupTable(groups, method);
    const reached = new Set<number>();
    forFlows(20_000, 24, (_hi, lo) => reached.add(table.select(lo, true)));
    assert.equal(reached.size, 256, method);
  }
});

test('group table - levels choose independently', () => {
  const groups = Array.from({ length: 4 }, (_, index) => entry(`group-${index}`));
  for (const method of ['hash', 'weighted'] as const) {
    const [upper, lower] = [new GroupTable(groups, method), new GroupTable(groups, method, undefined, 1)];
    const counts = new Array<number>(16).fill(0);
    forFlows(50_000, 25, (_hi, lo) => counts[4 * upper.select(lo, true) + lower.select(lo, true)]++);
    assert.ok(
      excessOverShares(
        counts,
        counts.map(() => 1),
      ) < 5,
      `${method}: ${counts}`,
    );
  }
});

test('group table - the choice of a group leaves the choice of a member open, also by one and the same hash', () => {
  const groups = Array.from({ length: 4 }, (_, index) => entry(`group-${index}`));
  const members = [0, 1, 2, 3].map(
    (index) =>
      ({ server: `s${index}`, incarnation: 1, number: index, state: 'active', weight: 1, base: 1, flows: 0 }) as const,
  );
  for (const method of ['hash', 'weighted'] as const) {
    for (const placement of placementNames) {
      const view = { group: 'g', number: 1, placement, seed: 0, rules: defaultRules, members };
      const table = new GroupTable(groups, method);
      const placed = compilePlacement(view);
      const counts = new Array<number>(16).fill(0);
      forFlows(20_000, 27, (hi, lo) => counts[4 * table.select(lo, true) + placed.place(hi, lo, -1)]++);
      assert.ok(excessOverShares(counts, new Array(16).fill(1)) < 5, `${method}, ${placement}: ${counts}`);
    }
  }
});

test('group table - its memory does not depend on the traffic', () => {
  const groups = [entry('a'), entry('b', 60_000)];
  const table = new GroupTable(groups, 'weighted');
  const bytes = table.byteLength;
  assert.equal(bytes, 2 * 65_537);
  forFlows(10_000, 26, (_hi, lo) => table.select(lo, true));
  assert.equal(table.byteLength, bytes);
  assert.equal(new GroupTable([...groups, entry('c', 1, 'type-1')], 'weighted').byteLength, 2 * bytes);
});

test('group table - a number of slots that is no prime is refused', () => {
  assert.throws(() => new GroupTable([entry('a')], 'weighted', 65_536), RangeError);
});
