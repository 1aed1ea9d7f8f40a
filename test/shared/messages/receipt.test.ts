// Receipts on the wire: read as they were written, and garbage is no exception.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { limits } from '../../../shared/base/limits.ts';
import {
  Receipt,
  type ReceiptHeader,
  ReceiptRows,
  receiptVerdicts,
  runName,
} from '../../../shared/messages/receipt.ts';

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const u32 = fc.nat({ max: 0xffff_ffff });
const header: fc.Arbitrary<ReceiptHeader> = fc.record(
  {
    server: name,
    group: name,
    incarnation: count,
    sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    isLast: fc.boolean(),
    skippedEntries: count,
    flows: count,
    evicted: count,
    expired: count,
  },
  { noNullPrototype: true },
);
const row = fc.record(
  { id: u32, flow: u32, verdict: fc.nat({ max: receiptVerdicts.length - 1 }), atMs: fc.nat(500) },
  { noNullPrototype: true },
);

describe('receipt', () => {
  it('receipt - is read as it was written, and says how long each row waited', () => {
    const rows = new ReceiptRows();
    const receipt = new Receipt();
    const property = fc.property(header, fc.array(row, { maxLength: 50 }), (one, list) => {
      for (const { id, flow, verdict, atMs } of list) rows.add(id, flow, verdict, atMs);
      assert.ok(receipt.decode(rows.finish(one, 500)));
      assert.equal(rows.count, 0);
      const { server, group, incarnation, sequence, isLast, skippedEntries, flows, evicted, expired } = receipt;
      assert.deepEqual({ server, group, incarnation, sequence, isLast, skippedEntries, flows, evicted, expired }, one);
      const read = Array.from({ length: receipt.count }, (_, index) => ({
        id: receipt.id(index),
        flow: receipt.flow(index),
        verdict: receipt.verdict(index),
        atMs: 500 - receipt.waitedMs(index),
      }));
      assert.deepEqual(read, list);
    });
    fc.assert(property);
  });

  it('receipt - is full at its limit, and fits a message of the bus', () => {
    const rows = new ReceiptRows();
    while (!rows.isFull) rows.add(1, 2, 0, 0);
    assert.equal(rows.count, limits.receiptRows);
    const one = { server: 's', group: 'g', incarnation: 1, sequence: 1, isLast: false, skippedEntries: 0, flows: 0 };
    const message = rows.finish({ ...one, evicted: 0, expired: 0 }, 10_000);
    assert.ok(message.length < 65_536);
    assert.ok(new Receipt().decode(message));
  });

  it('receipt - a message with a byte changed or cut off is another message or none, never an exception', () => {
    const rows = new ReceiptRows();
    const receipt = new Receipt();
    const property = fc.property(header, fc.nat(), fc.nat({ max: 255 }), (one, at, byte) => {
      rows.add(1, 2, 0, 0);
      const message = rows.finish(one, 1);
      message[at % message.length] = byte;
      if (receipt.decode(message)) for (let index = 0; index < receipt.count; index++) receipt.verdict(index);
      receipt.decode(message.subarray(0, at % message.length));
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('receipt - what does not have its shape is none', () => {
    const pack = (value: unknown) => Uint8Array.from(new Packr({ useRecords: false }).pack(value));
    const good = [2, 's1', 'g1', 7, 1, false, 0, 3, 0, 0, new Uint8Array(24)];
    const receipt = new Receipt();
    assert.ok(receipt.decode(pack(good)));
    assert.equal(receipt.count, 2);
    const changes: [number, unknown][] = [
      [0, 1],
      [1, 'a b'],
      [2, null],
      [3, -1],
      [4, 0],
      [5, 1],
      [6, 0.5],
      [7, 'x'],
      [8, -1],
      [9, []],
      [10, new Uint8Array(13)],
      [10, 'rows'],
    ];
    for (const [at, value] of changes) {
      assert.equal(receipt.decode(pack(good.with(at, value as never))), false, JSON.stringify([at, value]));
    }
    assert.equal(receipt.decode(pack(good.slice(0, 10))), false);
    assert.equal(receipt.decode(new Uint8Array(100_000)), false);
  });

  it('receipt - a run is named by eight hex digits', () => {
    assert.equal(runName(0xab), '000000ab');
    assert.equal(runName(-1), 'ffffffff');
  });
});
