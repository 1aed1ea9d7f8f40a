// Deliveries: packets and events come out in the order they went in, and what the network may send instead does no harm.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { limits } from '../../../shared/base/limits.ts';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import {
  Delivery,
  type DeliveryAck,
  DeliveryBuilder,
  DeliveryEvent,
  decodeAck,
  encodeAck,
} from '../../../shared/messages/delivery.ts';

const header = { server: 's1', life: 2 ** 46, sequence: 3 };
const hash = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const time = fc.double({ min: 0, max: 2e12, noNaN: true });
const events = fc.constantFrom(...Object.values(DeliveryEvent).filter((event) => event !== DeliveryEvent.time));
const packet = fc.record({
  bytes: fc.uint8Array({ maxLength: 80 }),
  hi: hash,
  lo: hash,
  flags: fc.nat(65_535).map((flags) => flags & ~FrameFlags.DATAGRAM),
  time,
});
const event = fc.record({ event: events, hi: hash, lo: hash, time });

test('delivery - what goes in comes out, in order, each with its time', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(packet, event), { maxLength: 40 }), (rows) => {
      const builder = new DeliveryBuilder();
      for (const row of rows) {
        if ('event' in row) builder.addEvent(row.event, row.hi, row.lo, row.time);
        else builder.addPacket(row.bytes, 0, row.bytes.length, row.hi, row.lo, row.flags, row.time);
      }
      const delivery = new Delivery();
      assert.equal(delivery.decode(builder.finish(header)), 'none');
      assert.deepEqual([delivery.server, delivery.life, delivery.sequence], ['s1', 2 ** 46, 3]);
      const read: unknown[] = [];
      let now = Number.NaN;
      let offset = 0;
      for (let row = 0; row < delivery.count; row++) {
        const [hi, lo] = [delivery.hashHi(row), delivery.hashLo(row)];
        if (!delivery.isEvent(row)) {
          const bytes = Uint8Array.from(delivery.payload.subarray(offset, (offset += delivery.length(row))));
          read.push({ bytes, hi, lo, flags: delivery.flags(row), time: now });
        } else if (delivery.event(row) === DeliveryEvent.time) now = delivery.timestampMs(row);
        else read.push({ event: delivery.event(row), hi, lo, time: now });
      }
      assert.deepEqual(
        read,
        rows.map((row) => ({ ...row })),
      );
    }),
  );
});

test('delivery - it is full by bytes and by rows, and takes the largest packet', () => {
  const builder = new DeliveryBuilder();
  const largest = new Uint8Array(limits.packetBytes).fill(7);
  assert.equal(builder.isFull(largest.length), false);
  builder.addPacket(largest, 0, largest.length, 1, 2, 0, 5);
  assert.equal(builder.isFull(1), true);
  assert.equal(builder.isFull(0), true, 'what is above the target leaves at once');
  const delivery = new Delivery();
  assert.equal(delivery.decode(builder.finish(header)), 'none');
  assert.equal(delivery.length(1), limits.packetBytes);
  let rows = 0;
  // The worst case: every row has a time of its own.
  for (; !builder.isFull(0); rows++) builder.addEvent(DeliveryEvent.started, 0, rows, rows);
  assert.equal(rows, limits.frameRows / 2);
  assert.equal(delivery.decode(builder.finish(header)), 'none');
  assert.equal(delivery.count, limits.frameRows);
});

test('delivery - an acknowledgement is read back; anything else is none', () => {
  const ack: DeliveryAck = { server: 's1', serverLife: 5, life: 6, sequence: 7, packets: 8, isLeaving: true };
  assert.deepEqual(decodeAck(encodeAck(ack)), ack);
  assert.equal(decodeAck(new DeliveryBuilder().finish(header)), undefined);
  assert.notEqual(new Delivery().decode(encodeAck(ack)), 'none');
  for (const wrong of [{ server: 'a.b' }, { life: -1 }, { packets: 0.5 }, { isLeaving: 1 as unknown as boolean }]) {
    assert.equal(decodeAck(encodeAck({ ...ack, ...wrong })), undefined);
  }
});

test('delivery - a message that is wrong in one place says what is wrong', () => {
  const packr = new Packr({ useRecords: false });
  const builder = new DeliveryBuilder();
  builder.addPacket(Uint8Array.of(1, 2), 0, 2, 3, 4, 0, 5);
  const good = packr.unpack(builder.finish(header)) as unknown[];
  const decode = (at: number, value: unknown) => {
    const fields = [...good];
    fields[at] = value;
    return new Delivery().decode(packr.pack(fields));
  };
  const meta = good[6] as Uint8Array;
  assert.equal(decode(0, 1), 'none');
  assert.equal(decode(0, 9), 'format');
  assert.equal(decode(1, 3), 'shape');
  assert.equal(decode(2, ''), 'shape');
  assert.equal(decode(5, 3), 'count');
  assert.equal(decode(7, Uint8Array.of(1)), 'rows');
  assert.equal(decode(6, Buffer.concat([meta.subarray(12), meta.subarray(0, 12)])), 'rows', 'no time at the beginning');
  const unknown = Uint8Array.from(meta);
  unknown[8] = 99;
  assert.equal(decode(6, unknown), 'rows');
  const noTime = Uint8Array.from(meta).fill(0xff, 0, 8);
  assert.equal(decode(6, noTime), 'rows');
  assert.equal(new Delivery().decode(new Uint8Array(limits.frameMaxBytes + 1)), 'size');
});

test('delivery - damaged messages are refused or read, and never throw', () => {
  const builder = new DeliveryBuilder();
  for (let i = 0; i < 3; i++) {
    builder.addEvent(DeliveryEvent.started, i, i, i);
    builder.addPacket(Uint8Array.of(1, 2), 0, 2, i, i, 0, i);
  }
  const good = builder.finish(header);
  const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(damage, fc.uint8Array({ maxLength: 100 }), (places, bytes) => {
      const message = good.slice();
      for (const [at, value] of places) message[at] = value;
      for (const each of [message, bytes]) {
        new Delivery().decode(each);
        decodeAck(each);
      }
    }),
    { numRuns: 2_000 },
  );
});
