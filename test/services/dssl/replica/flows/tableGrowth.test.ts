// The flow table as it grows, splits and shrinks; and under hashes that somebody chose.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sliceCount } from '../../../../../services/dssl/replica/flows/directory.ts';
import { FlowState, idleLimitCount } from '../../../../../services/dssl/replica/flows/entry.ts';
import { FlowSegment } from '../../../../../services/dssl/replica/flows/segment.ts';
import { FlowTable } from '../../../../../services/dssl/replica/flows/table.ts';
import { limits } from '../../../../../shared/base/limits.ts';

const idleTicks = new Int32Array(idleLimitCount).fill(100);

function newTable(maxFlows: number = limits.tableFlows): FlowTable {
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
/** All flows in eight slices, so that these split. */
const narrowHiOf = (index: number) => hiOf(index) & 0x07ff_ffff;

function add(table: FlowTable, hi: number, index: number, tick = 0): number {
  return table.insert(hi, loOf(index), tick, index % 7, FlowState.established, 1);
}

for (const { what, hashOf } of [
  { what: 'in all slices', hashOf: hiOf },
  { what: 'in few slices, which split', hashOf: narrowHiOf },
]) {
  test(`flow table - growth keeps every entry, in steps of one segment, at no more than 20 bytes each: ${what}`, () => {
    const flows = 300_000;
    const table = newTable();
    assert.ok(table.capacityBytes < 4_096);
    for (let index = 0; index < flows; index++) assert.notEqual(add(table, hashOf(index), index), -1);
    assert.equal(table.size, flows);
    assert.ok(table.counters.grown > 50);
    assert.equal(table.counters.split > 10, hashOf === narrowHiOf);
    assert.ok(table.counters.growthMaxEntries < 16_384);
    assert.ok(table.capacityBytes / flows <= 20.5, `${table.capacityBytes / flows} bytes`);
    for (let index = 0; index < flows; index++) {
      const handle = table.find(hashOf(index), loOf(index), 0);
      assert.ok(handle >= 0 && table.owner(handle) === index % 7);
    }
    for (let index = flows; index < 2 * flows; index++) assert.equal(table.find(hashOf(index), loOf(index), 0), -1);
    let seen = 0;
    table.scan(() => seen++);
    assert.equal(seen, flows);
  });
}

test('flow table - sweeping reclaims what expired and no more, and gives memory back', () => {
  const flows = 200_000;
  const table = newTable();
  for (let index = 0; index < flows; index++) add(table, narrowHiOf(index), index, index % 10 === 0 ? 150 : 0);
  const full = table.capacityBytes;
  for (let slice = 0; slice < sliceCount; slice++) table.sweepSlice(slice, 200);
  assert.equal(table.size, flows / 10);
  assert.equal(table.counters.expired, flows * 0.9);
  assert.ok(table.capacityBytes < full / 5);
  for (let index = 0; index < flows; index++) {
    assert.equal(table.find(narrowHiOf(index), loOf(index), 200) >= 0, index % 10 === 0);
  }
  for (let slice = 0; slice < sliceCount; slice++) table.sweepSlice(slice, 300);
  assert.equal(table.size, 0);
});

test('flow table - a slice is never scattered: its content is in it, and clearing it leaves the others', () => {
  const flows = 200_000;
  const table = newTable();
  for (let index = 0; index < flows; index++) add(table, narrowHiOf(index), index);
  const before = table.size;
  const { entries } = table.content(3, 0);
  for (let at = 0; at < entries.length; at += 4) assert.equal(entries[at] >>> 24, 3);
  const digests = Array.from({ length: sliceCount }, (_, slice) => table.digest(slice, 0));
  const content = table.content(3, 0);
  table.clear(3);
  assert.equal(table.size, before - entries.length / 4);
  for (let slice = 0; slice < sliceCount; slice++) {
    assert.equal(table.digest(slice, 0) === digests[slice], slice !== 3);
  }
  assert.ok(table.load(3, content, 0));
  assert.deepEqual([table.size, table.digest(3, 0)], [before, digests[3]]);
  assert.equal(
    table.load(3, { ...content, entries: Int32Array.of(...[0, 1].flatMap(() => [...entries.slice(0, 4)])) }, 0),
    false,
  );
  assert.equal(table.content(3, 0).entries.length, 0);
});

test('flow table - one without flows is made in no time', () => {
  const before = process.memoryUsage().arrayBuffers;
  const tables = Array.from({ length: 100 }, () => newTable());
  assert.ok(process.memoryUsage().arrayBuffers - before < 100 * 8_192);
  assert.equal(tables[0].size, 0);
});

const chosen = [
  { what: 'one hashLo', hi: (index: number) => hiOf(index), lo: () => 42 },
  { what: 'the last hashLo', hi: (index: number) => hiOf(index), lo: () => -1 },
  { what: 'the key of a free slot', hi: (index: number) => hiOf(index), lo: () => 0x7fff_ffff },
  { what: 'one hashHi', hi: () => -5, lo: (index: number) => loOf(index) },
  { what: 'hashLo in a row at the end', hi: () => 9, lo: (index: number) => -1 - index },
  { what: 'one slice and one hashLo', hi: (index: number) => 9 + index, lo: () => -1 },
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
    for (let slice = 0; slice < sliceCount; slice++) table.sweepSlice(slice, 101);
    assert.equal(table.size, 0);
  });
}

test('flow table - a segment takes all that the cap of its slice allows', () => {
  const cap = Math.floor(limits.tableFlows / sliceCount);
  const table = newTable();
  for (let index = 0; index < cap; index++) {
    assert.notEqual(table.insert(77, loOf(index), 0, 3, FlowState.established, 1), -1);
  }
  assert.equal(table.insert(77, 0, 0, 3, FlowState.established, 1), -1);
  assert.equal(table.counters.refusedFull, 1);
});

test('flow segment - it has room for that many also if all of them pile up at its end', () => {
  const cap = Math.floor(limits.tableFlows / sliceCount);
  const segment = new FlowSegment(0, 0, 0);
  const pile = new FlowSegment(1, 0, 0);
  pile.data = new Int32Array(4 * cap);
  for (let index = 0; index < cap; index++) pile.data.set([0x7fff_fffe, index, 0, -1], 4 * index);
  // Nine eighths of the homes at which the last entry but one made it grow: the most that it is ever given.
  assert.ok(segment.rebuild(pile, Math.ceil((cap / 0.9) * 1.125), 0, 0, 0));
  assert.equal(segment.count, cap);
});

test('flow segment - after any changes the entries are in order, none before its home and none with a hole before it', () => {
  const change = fc.record({ lo: fc.nat(80), spread: fc.boolean(), add: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200, size: 'max' }), fc.nat(5), (changes, modulus) => {
      const segment = newSegment();
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
      segment.drop((slot) => {
        const drop = (segment.loAt(slot) >>> 22) % (modulus + 2) === 0;
        if (drop) dropped++;
        return drop;
      });
      assertOrdered(segment);
      assert.equal(segment.count, kept - dropped);
    }),
  );
});

test('flow segment - a sweep removes what is over, tells each, and leaves the rest in order', () => {
  const entry = fc.record({ lo: fc.nat(80), spread: fc.boolean(), tick: fc.integer({ min: 0, max: 20 }) });
  const limitTicks = new Int32Array(idleLimitCount).fill(10);
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60, size: 'max' }), (entries) => {
      const segment = newSegment();
      // Several may have the same hashLo.
      for (const [index, { lo, spread, tick }] of entries.entries())
        segment.insert(index, spread ? Math.imul(lo, 0x0333_3333) : lo << 22, tick, -1);
      const ended: number[] = [];
      segment.sweep(20, limitTicks, (_, slot) => ended.push(segment.data[4 * slot + 1]));
      assertOrdered(segment);
      const over = entries.flatMap(({ tick }, index) => (tick < 10 ? [index] : []));
      assert.deepEqual(
        ended.sort((one, other) => one - other),
        over,
      );
      assert.equal(segment.count, entries.length - over.length);
    }),
  );
});

/** Room for sixty entries wherever they lie. */
function newSegment(): FlowSegment {
  const segment = new FlowSegment(0, 0, 0);
  segment.rebuild(segment, 64, 64, 0, 0);
  return segment;
}

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
