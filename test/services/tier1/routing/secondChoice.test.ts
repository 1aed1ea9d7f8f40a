// Groups that are mapped out: their flows go to others, alike on every tier 1, and no other flow moves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePlacement } from '../../../../services/dssl/replica/global/placement.ts';
import { type GroupEntry, GroupTable } from '../../../../services/tier1/routing/groupTable.ts';
import { groupSelections } from '../../../../shared/config/map.ts';
import { defaultRules } from '../../../../shared/membership/view.ts';
import { excessOverShares, forFlows } from '../../../support/shares.ts';

const SLOTS = 1_009;
const entry = (id: string, weight = 1, serves: GroupEntry['serves'] = 'both'): GroupEntry => ({ id, weight, serves });
const isFit = ({ weight, serves }: GroupEntry, type1: boolean) =>
  weight > 0 && serves !== (type1 ? 'type-2' : 'type-1');

/** Groups, and some of them, by index. */
const mappedArb = fc
  .uniqueArray(
    fc.record({
      id: fc.string({ minLength: 1, maxLength: 8 }),
      weight: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 65_535 })),
      serves: fc.constantFrom('type-1' as const, 'type-2' as const, 'both' as const, 'both' as const),
    }),
    { selector: ({ id }) => id, minLength: 1, maxLength: 8 },
  )
  .chain((groups) => fc.record({ groups: fc.constant(groups), out: fc.subarray(groups.map((_, index) => index)) }));
const methodArb = fc.constantFrom(...groupSelections);

test('second choice - no flow of a group that is in moves; those of one that is out go to one that serves them', () => {
  let moved = 0;
  fc.assert(
    fc.property(mappedArb, methodArb, fc.integer(), ({ groups, out }, method, seed) => {
      const before = new GroupTable(groups, method, SLOTS);
      const table = new GroupTable(groups, method, SLOTS);
      table.mapOut(new Set(out));
      forFlows(40, seed, (hi, lo) => {
        const type1 = (hi & 1) === 1;
        const [first, now] = [before.select(lo, type1), table.select(lo, type1)];
        const others = groups.filter((group, index) => !out.includes(index) && isFit(group, type1));
        if (!out.includes(first) || others.length === 0) assert.equal(now, first);
        else {
          assert.ok(others.includes(groups[now]));
          moved++;
        }
      });
      table.mapOut(new Set());
      forFlows(40, seed, (_hi, lo) => assert.equal(table.select(lo, true), before.select(lo, true)));
    }),
    { numRuns: 400 },
  );
  assert.ok(moved > 1_000, `${moved}`);
});

test('second choice - tier 1s that have mapped out the same groups agree, whatever came before and however they list them', () => {
  fc.assert(
    fc.property(mappedArb, methodArb, fc.integer(), ({ groups, out }, method, seed) => {
      const reversed = groups.toReversed();
      const one = new GroupTable(groups, method, SLOTS);
      const two = new GroupTable(reversed, method, SLOTS);
      one.mapOut(new Set(out));
      two.mapOut(new Set([0]));
      two.mapOut(new Set(out.map((index) => groups.length - 1 - index)));
      forFlows(20, seed, (hi, lo) => {
        const type1 = (hi & 1) === 1;
        assert.equal(groups[one.select(lo | 0, type1)]?.id, reversed[two.select(lo >>> 0, type1)]?.id);
      });
    }),
    { numRuns: 300 },
  );
});

test('second choice - a further group that goes out moves its own flows alone, and one that returns moves flows to itself', () => {
  fc.assert(
    fc.property(mappedArb, methodArb, fc.nat(7), fc.integer(), ({ groups, out }, method, further, seed) => {
      const next = further % groups.length;
      fc.pre(!out.includes(next));
      const fewer = new GroupTable(groups, method, SLOTS);
      const more = new GroupTable(groups, method, SLOTS);
      fewer.mapOut(new Set(out));
      more.mapOut(new Set([...out, next]));
      forFlows(40, seed, (hi, lo) => {
        const type1 = (hi & 1) === 1;
        const [before, after] = [fewer.select(lo, type1), more.select(lo, type1)];
        const hasOther = groups.some((group, index) => index !== next && !out.includes(index) && isFit(group, type1));
        if (before !== next && hasOther) assert.equal(after, before);
      });
    }),
    { numRuns: 300 },
  );
});

test('second choice - the flows of a group spread over the others, by weight where weights count', () => {
  const groups = [entry('a', 3), entry('b', 1), entry('c', 2), entry('d', 5)];
  for (const [method, shares] of [
    ['weighted', [3, 0, 2, 5]],
    ['hash', [1, 0, 1, 1]],
  ] as const) {
    const before = new GroupTable(groups, method);
    const table = new GroupTable(groups, method);
    table.mapOut(new Set([1]));
    const counts = [0, 0, 0, 0];
    forFlows(100_000, 31, (_hi, lo) => {
      if (before.select(lo, false) === 1) counts[table.select(lo, false)]++;
    });
    assert.ok(excessOverShares(counts, shares) < 5, `${method}: ${counts}`);
    assert.deepEqual([...table.diverted], [0, counts.reduce((a, b) => a + b, 0), 0, 0]);
    assert.equal(
      before.diverted.reduce((a, b) => a + b, 0),
      0,
    );
  }
});

test('second choice - source-last-byte: only the byte counts, and no other group gets them all', () => {
  const table = new GroupTable([entry('a'), entry('b'), entry('c')], 'source-last-byte');
  table.mapOut(new Set([0]));
  const counts = [0, 0, 0];
  for (let byte = 0; byte < 256; byte++) {
    const group = table.select(byte, true);
    assert.equal(table.select(0xabcdef00 | byte, true), group);
    if (byte % 3 === 0) counts[group]++;
    else assert.equal(group, byte % 3);
  }
  assert.equal(counts[0], 0);
  assert.ok(Math.min(counts[1], counts[2]) > 25, `${counts}`);
});

test('second choice - leaves the choice of a member open, also by one and the same hash', () => {
  const groups = Array.from({ length: 5 }, (_, index) => entry(`group-${index}`));
  const members = [0, 1, 2, 3].map(
    (index) =>
      ({
        server: `group-${index}`,
        incarnation: 1,
        number: index,
        state: 'active',
        weight: 1,
        base: 1,
        flows: 0,
      }) as const,
  );
  const placed = compilePlacement({
    group: 'g',
    number: 1,
    placement: 'rendezvous',
    seed: 0,
    rules: defaultRules,
    members,
  });
  const table = new GroupTable(groups, 'hash');
  table.mapOut(new Set([4]));
  const counts = new Array<number>(16).fill(0);
  forFlows(100_000, 32, (_hi, lo) => {
    const diverted = table.diverted[4];
    const group = table.select(lo, true);
    if (table.diverted[4] > diverted) counts[4 * group + placed.place(0, lo, -1)]++;
  });
  assert.ok(excessOverShares(counts, new Array(16).fill(1)) < 5, `${counts}`);
});

test('second choice - levels choose independently', () => {
  const groups = Array.from({ length: 4 }, (_, index) => entry(`group-${index}`));
  const [upper, lower] = [new GroupTable(groups, 'weighted'), new GroupTable(groups, 'weighted', undefined, 1)];
  for (const table of [upper, lower]) table.mapOut(new Set([0]));
  const counts = new Array<number>(16).fill(0);
  forFlows(100_000, 33, (_hi, lo) => {
    const before = upper.diverted[0] + lower.diverted[0];
    const cell = 4 * upper.select(lo, true) + lower.select(lo, true);
    if (upper.diverted[0] + lower.diverted[0] === before + 2) counts[cell]++;
  });
  const shares = counts.map((_, cell) => (cell >= 4 && cell % 4 > 0 ? 1 : 0));
  assert.ok(excessOverShares(counts, shares) < 5, `${counts}`);
});
