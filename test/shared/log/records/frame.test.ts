// The frame's wire format: what the builder assembles in place is what any MessagePack library reads.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import { Frame, FrameBuilder, metaRowBytes } from '../../../../shared/log/records/frame.ts';
import { encodeFrame } from '../../../support/encodeFrame.ts';

const packr = new Packr({ useRecords: false });

const packet = fc.record({
  bytes: fc.uint8Array({ maxLength: 200 }),
  hi: fc.integer(),
  lo: fc.integer(),
  flags: fc.nat(0xffff).map((flags) => flags & ~FrameFlags.DATAGRAM),
});
const header = fc.record({
  tier1Id: fc.string({ minLength: 1, maxLength: 64 }).filter((text) => Buffer.byteLength(text) <= 64),
  sequence: fc.maxSafeNat(),
  viewNumber: fc.maxSafeNat(),
  mapVersion: fc.nat(),
  timestampMs: fc.oneof(
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((ms) => ms || 0),
  ),
  startOrdinal: fc.maxSafeNat(),
});

test('frame - what goes in comes out, and any MessagePack reader sees ten fields ending in two columns', () => {
  const builder = new FrameBuilder();
  fc.assert(
    fc.property(header, fc.array(packet, { maxLength: 40 }), (head, packets) => {
      for (const { bytes, hi, lo, flags } of packets) builder.add(bytes, 0, bytes.length, hi, lo, flags);
      const message = builder.finish(head);
      const frame = new Frame();
      assert.equal(frame.decode(message), 'none');
      for (const key of Object.keys(head) as (keyof typeof head)[]) assert.deepEqual(frame[key], head[key], key);
      assert.equal(frame.count, packets.length);
      let offset = 0;
      for (const [row, { bytes, hi, lo, flags }] of packets.entries()) {
        assert.deepEqual(
          [frame.hashHi(row), frame.hashLo(row), frame.length(row), frame.flags(row)],
          [hi, lo, bytes.length, flags],
        );
        assert.deepEqual(Buffer.from(frame.payload.subarray(offset, offset + bytes.length)), Buffer.from(bytes));
        offset += bytes.length;
      }
      const fields = packr.unpack(message);
      assert.equal(fields.length, 10);
      const other = new Frame();
      assert.equal(other.decode(encodeFrame(head, packets.length, fields[8], fields[9])), 'none');
      assert.deepEqual(other.payload.length, frame.payload.length);
      assert.equal(fields[8].length, packets.length * metaRowBytes);
    }),
  );
});

test('frame - the builder closes at its target, takes the largest packet, and fits the largest message', () => {
  const builder = new FrameBuilder();
  const small = Buffer.alloc(64, 1);
  for (let row = 0; row < 20; row++) builder.add(small, 0, small.length, row, row, 0);
  assert.ok(builder.isFull(limits.packetBytes), 'a large packet goes into the next frame');
  assert.ok(!builder.isFull(small.length));
  builder.finish(plain);
  const large = Buffer.alloc(limits.packetBytes, 2);
  assert.ok(!builder.isFull(large.length), 'an empty frame takes any packet');
  builder.add(large, 0, large.length, 1, 2, 3);
  const message = builder.finish(plain);
  assert.ok(message.length <= limits.frameMaxBytes);
  const frame = new Frame();
  assert.equal(frame.decode(message), 'none');
  assert.deepEqual(Buffer.from(frame.payload), large);
  for (let row = 0; !builder.isFull(0); row++) builder.addDatagram(row, row, FrameFlags.DATAGRAM);
  assert.ok(builder.count >= limits.frameRows - 2);
  assert.equal(frame.decode(builder.finish(plain)), 'none');
});

test('frame - a message that was given away is not written to again', () => {
  const builder = new FrameBuilder();
  builder.add(Buffer.from('first'), 0, 5, 1, 1, 0);
  const message = builder.finish(plain);
  const before = Buffer.from(message);
  builder.add(Buffer.from('other'), 0, 5, 2, 2, 0);
  builder.finish(plain);
  assert.deepEqual(Buffer.from(message), before);
});

const plain = { tier1Id: 't', sequence: 1, viewNumber: 1, mapVersion: 1, timestampMs: 0, startOrdinal: 0 };
