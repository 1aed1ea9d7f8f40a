// The flow table as it grows, splits, shrinks and is scanned meanwhile; and under hashes that somebody chose.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FlowState } from '../../../../../services/dssl/replica/flows/entry.ts';
import { FlowSegment } from '../../../../../services/dssl/replica/flows/segment.ts';
import { FlowTable } from '../../../../../services/dssl/replica/flows/table.ts';

const idleTicks = new Int32Array(64).fill(100);

function newTable(maxFlows = 1_000_000): FlowTable {
  return new FlowTable({ maxFlows, idleTicks });
}

/** The finalizer of MurmurHash3: a bijection on 32 bits. */
function mix(index: number, seed: number): number {
  let h = index ^ seed;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return h ^ (h >>> 16);
}

const hiOf = (index: number) => mix(index, 0x3c6e_f372);
const loOf = (index: number) => mix(index, 0x1b87_3593);

function add(table: FlowTable, index: number, tick = 0): number {
  return table.insert(hiOf(index), loOf(index), tick, index % 7, FlowState.established, 1);
}

test('flow table - growth and splits keep every entry, in steps of one segment, at no more than 20 bytes each', () => {
  const flows = 200_000;
  const table = newTable();
  assert.ok(table.capacityBytes < 4_096);
  for (let index = 0; index < flows; index++) assert.notEqual(add(table, index), -1);
  assert.equal(table.size, flows);
  assert.ok(table.counters.split > 10 && table.counters.grown > 50);
  assert.ok(table.counters.growthMaxEntries < 16_384);
  assert.ok(table.capacityBytes / flows <= 20);
  for (let index = 0; index < flows; index++) {
    const handle = table.find(hiOf(index), loOf(index), 0);
    assert.ok(handle >= 0 && table.owner(handle) === index % 7);
  }
  for (let index = flows; index < 2 * flows; index++) assert.equal(table.find(hiOf(index), loOf(index), 0), -1);
});

test('flow table - sweeping reclaims what expired and no more, and gives memory back', () => {
  const flows = 60_000;
  const table = newTable();
  for (let index = 0; index < flows; index++) add(table, index, index % 10 === 0 ? 150 : 0);
  const full = table.capacityBytes;
  let removed = 0;
  for (let turn = 0; turn < 100; turn++) removed += table.sweep(1_000, 200);
  assert.equal(removed, flows * 0.9);
  assert.equal(table.size, flows / 10);
  assert.ok(table.capacityBytes < full / 5);
  for (let index = 0; index < flows; index++) {
    assert.equal(table.find(hiOf(index), loOf(index), 200) >= 0, index % 10 === 0);
  }
  assert.equal(table.counters.expired, removed);
});

test('flow table - a sweep examines its budget and goes on where it stopped', () => {
  const table = newTable();
  for (let index = 0; index < 50_000; index++) add(table, index, 0);
  const first = table.sweep(1_000, 200);
  assert.ok(first > 500 && first <= 1_000);
  for (let index = 50_000; index < 100_000; index++) add(table, index, 200);
  let removed = first;
  for (let turn = 0; turn < 150; turn++) removed += table.sweep(1_000, 200);
  assert.equal(removed, 50_000);
});

test('flow table - a scan visits every entry that lives during all of it, while others come and go', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer({ min: 50, max: 3_000 }),
      fc.integer({ min: 0, max: 2_000 }),
      (seed, limit, churn) => {
        const table = newTable();
        const stay = 15_000;
        for (let index = 0; index < 2 * stay; index++) add(table, index);
        const seen = new Uint8Array(stay);
        const byHash = new Map<number, number>();
        for (let index = 0; index < stay; index++) byHash.set(loOf(index), index);
        let cursor = 0;
        let fresh = 2 * stay;
        let gone = stay;
        do {
          cursor = table.scan(cursor, limit, (_hi, lo) => {
            const index = byHash.get(lo);
            if (index !== undefined) seen[index]++;
          });
          const comes = mix(fresh, seed) % 2 === 0 ? churn : 0;
          for (let turn = 0; turn < comes && fresh < 120_000; turn++) add(table, fresh++);
          for (let turn = 0; turn < churn && gone < 2 * stay; turn++, gone++) {
            table.remove(table.find(hiOf(gone), loOf(gone), 0));
          }
        } while (cursor >= 0);
        assert.equal(seen.indexOf(0), -1);
      },
    ),
    { numRuns: 15 },
  );
});

test('flow table - a scan without changes visits every entry once, whatever its steps', () => {
  const table = newTable();
  for (let index = 0; index < 30_000; index++) add(table, index);
  for (const limit of [1, 7, 1_000, 1_000_000]) {
    let visits = 0;
    const seen = new Set<number>();
    for (let cursor = 0; cursor >= 0; ) {
      cursor = table.scan(cursor, limit, (_hi, lo) => {
        visits++;
        seen.add(lo);
      });
    }
    assert.deepEqual([visits, seen.size], [30_000, 30_000]);
  }
});

const chosen = [
  { what: 'one hashLo', hi: (index: number) => hiOf(index), lo: () => 42 },
  { what: 'the last hashLo', hi: (index: number) => hiOf(index), lo: () => -1 },
  { what: 'the key of a free slot', hi: (index: number) => hiOf(index), lo: () => 0x7fff_ffff },
  { what: 'one hashHi', hi: () => -5, lo: (index: number) => loOf(index) },
  { what: 'hashLo in a row at the end', hi: () => 9, lo: (index: number) => -1 - index },
];

for (const { what, hi, lo } of chosen) {
  test(`flow table - chosen hashes stay right and bounded: ${what}`, () => {
    const flows = 15_000;
    const table = newTable();
    for (let index = 0; index < flows; index++) {
      assert.notEqual(table.insert(hi(index), lo(index), 0, 3, FlowState.established, 1), -1);
    }
    assert.equal(table.size, flows);
    assert.ok(table.capacityBytes < 64 * flows);
    for (let index = 0; index < flows; index += 2) table.remove(table.find(hi(index), lo(index), 0));
    for (let index = 0; index < flows; index++) {
      assert.equal(table.find(hi(index), lo(index), 0) >= 0, index % 2 === 1);
    }
    let seen = 0;
    for (let cursor = 0; cursor >= 0; ) cursor = table.scan(cursor, 100, () => seen++);
    assert.equal(seen, flows / 2);
    assert.equal(table.sweep(1_000_000, 101), flows / 2);
  });
}

test('flow table - a segment that can neither split nor grow refuses flows and counts them', () => {
  const table = newTable();
  let refused = 0;
  for (let index = 0; index < 140_000; index++) {
    if (table.insert(77, loOf(index), 0, 3, FlowState.established, 1) < 0) refused++;
  }
  assert.ok(refused > 0);
  assert.equal(table.counters.refusedFull, refused);
  assert.equal(table.size, 140_000 - refused);
  assert.ok(table.size > 100_000);
  assert.ok(table.capacityBytes < 3_000_000);
  assert.notEqual(table.insert(-1, 5, 0, 3, FlowState.established, 1), -1);
});

test('flow segment - after any changes the entries are in order, none before its home and none with a hole before it', () => {
  const change = fc.record({ lo: fc.nat(80), spread: fc.boolean(), add: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200, size: 'max' }), fc.nat(5), (changes, modulus) => {
      const segment = new FlowSegment(0, 64, 0, 0);
      for (const { lo, spread, add } of changes) {
        // Every other hash is far from its neighbours, the rest share a few homes.
        const hash = spread ? Math.imul(lo, 0x0333_3333) : lo << 22;
        const slot = segment.find(1, hash);
        if (add && slot < 0 && segment.count < 60) segment.insert(1, hash, 0, -1);
        else if (!add && slot >= 0) segment.removeAt(slot);
        assertOrdered(segment);
      }
      const kept = segment.count;
      let dropped = 0;
      let from = segment.lowerBound(0);
      while (from >= 0) {
        from = segment.walk(from, 5, (slot) => {
          const drop = (segment.loAt(slot) >>> 22) % (modulus + 2) === 0;
          if (drop) dropped++;
          return drop;
        });
        assertOrdered(segment);
      }
      assert.equal(segment.count, kept - dropped);
    }),
  );
});

test('flow segment - a sweep in steps removes what is over, tells each, and leaves the rest in order', () => {
  const entry = fc.record({ lo: fc.nat(80), spread: fc.boolean(), tick: fc.integer({ min: 0, max: 20 }) });
  const idleTicks = new Int32Array(64).fill(10);
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60, size: 'max' }), fc.integer({ min: 1, max: 90 }), (entries, budget) => {
      const segment = new FlowSegment(0, 64, 0, 0);
      // Several may have the same hashLo.
      for (const [index, { lo, spread, tick }] of entries.entries())
        segment.insert(index, spread ? Math.imul(lo, 0x0333_3333) : lo << 22, tick, -1);
      const ended: number[] = [];
      let steps = 0;
      for (let from = segment.lowerBound(0); from >= 0; steps++) {
        from = segment.sweep(from, budget, 20, idleTicks, (slot) => ended.push(segment.data[4 * slot + 1]));
        assertOrdered(segment);
      }
      const over = entries.flatMap(({ tick }, index) => (tick < 10 ? [index] : []));
      assert.deepEqual(
        ended.sort((one, other) => one - other),
        over,
      );
      assert.equal(segment.count, entries.length - over.length);
      assert.ok(steps <= 1 + (segment.data.length >> 2) / budget);
    }),
  );
});

function assertOrdered(segment: FlowSegment): void {
  const { data, homes } = segment;
  let count = 0;
  let run = 0;
  let last = -1;
  for (let slot = 0; slot < data.length >> 2; slot++) {
    if (data[slot * 4 + 3] >= 0) {
      run = slot + 1;
      continue;
    }
    const lo = segment.loAt(slot) >>> 0;
    const home = Math.floor((lo * homes) / 2 ** 32);
    assert.ok(home <= slot && home >= run, `slot ${slot} home ${home} run ${run}`);
    assert.ok(lo >= last);
    last = lo;
    count++;
  }
  assert.equal(count, segment.count);
}
