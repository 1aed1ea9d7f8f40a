// Sums of tables: equal for equal flows whatever their order, unlike for others; and the part of a table that a bucket is.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bucketCount, isSettled, TableSums } from '../../../../services/dssl/old/tableSums.ts';
import { FlowState } from '../../../../services/dssl/replica/flows/entry.ts';
import { FlowTable } from '../../../../services/dssl/replica/flows/table.ts';
import { idleTicks } from '../../../../services/dssl/replica/idleLimits.ts';
import { RecentStarts } from '../../../../services/dssl/replica/recentStarts.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { ProtocolClass } from '../../../../shared/flow/frameFlags.ts';

const int32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
const hashes = fc.uniqueArray(fc.tuple(int32, int32), { selector: ([hi, lo]) => `${hi} ${lo}`, maxLength: 300 });

test('table sums - order plays no part, and messages carry them unchanged', () => {
  fc.assert(
    fc.property(hashes, fc.nat(), (flows, seed) => {
      const shuffled = [...flows];
      new Prng(seed).shuffle(shuffled);
      const read = TableSums.fromBytes(sumsOf(shuffled).toBytes());
      assert.ok(read !== undefined);
      assert.deepEqual(differing(sumsOf(flows), read), []);
    }),
  );
});

test('table sums - one flow more, less or other shows in its bucket and in no other', () => {
  fc.assert(
    fc.property(hashes, int32, int32, (flows, hi, lo) => {
      const others = flows.filter((each) => each[0] !== hi || each[1] !== lo);
      assert.deepEqual(differing(sumsOf(others), sumsOf([...others, [hi, lo]])), [hi >>> 24]);
      const [first] = others;
      if (first === undefined) return;
      const swapped: [number, number][] = [...others.slice(1), [(first[0] & ~0xff_ffff) | (hi & 0xff_ffff), lo]];
      const isSame = others.some((each) => each[0] === swapped.at(-1)?.[0] && each[1] === lo);
      if (!isSame) assert.deepEqual(differing(sumsOf(others), sumsOf(swapped)), [first[0] >>> 24]);
    }),
  );
});

test('table sums - bytes that are no sums are refused', () => {
  for (const length of [1, 8, 2_047, 2_049, 4_096])
    assert.equal(TableSums.fromBytes(new Uint8Array(length)), undefined);
});

test('table sums - buckets of a table, small or of many segments, are its parts', () => {
  for (const size of [0, 1, 300, 60_000]) {
    const prng = new Prng(size);
    const table = new FlowTable({ maxFlows: 100_000, idleTicks });
    for (let count = 0; count < size; count++)
      table.insert(prng.below(2 ** 32) | 0, prng.below(2 ** 32) | 0, 0, 1, FlowState.established, 0);
    let seen = 0;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      const flows = new Set<string>();
      table.scanBucket(bucket, (hi, lo) => {
        assert.equal(hi >>> 24, bucket);
        flows.add(`${hi} ${lo}`);
        seen++;
      });
      assert.ok(flows.size <= size);
    }
    assert.equal(seen, table.size);
  }
});

test('table sums - who looks later says the same of a flow, whatever came for it meanwhile', () => {
  const begin = 100_000;
  const flowTicks = fc.integer({ min: 0, max: 2_000 });
  const packet = fc.record({
    after: fc.integer({ min: 1, max: 80 }),
    kind: fc.constantFrom<FlowState>(FlowState.established, FlowState.closing),
  });
  fc.assert(
    fc.property(flowTicks, fc.array(packet, { maxLength: 4 }), fc.boolean(), (age, packets, isUdp) => {
      const starts = new RecentStarts(16);
      const table = new FlowTable({ maxFlows: 16, idleTicks });
      const protocolClass = isUdp ? ProtocolClass.UDP : ProtocolClass.TCP;
      const limit = idleTicks[protocolClass * 4 + FlowState.established];
      // Near its limit a packet makes a difference; that it is noticed twice in a row is another matter.
      fc.pre(age <= limit - 200);
      starts.record(1, 2, begin - age, 1, protocolClass, true, 1);
      const slot = table.insert(1, 2, begin - age, 1, FlowState.established, protocolClass);
      const look = () => isSettled(1, 2, table.lastSeen(slot), table.info(slot), begin, starts);
      const first = look();
      for (const { after, kind } of packets) {
        table.touch(slot, begin + after);
        table.setState(slot, kind);
        assert.equal(look(), first);
      }
    }),
  );
});

function sumsOf(flows: readonly (readonly [number, number])[]): TableSums {
  const sums = new TableSums();
  for (const [hi, lo] of flows) sums.add(hi, lo);
  return sums;
}

function differing(one: TableSums, other: TableSums): number[] {
  return [...Array(bucketCount).keys()].filter((bucket) => one.differsIn(bucket, other));
}
