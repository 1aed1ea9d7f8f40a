// The frame's wire format: what the builder assembles in place is what any MessagePack library reads.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import {
  Frame,
  FrameBuilder,
  type FrameHeader,
  frameFaults,
  lifeName,
  lifeNameBytesMax,
  metaRowBytes,
  setFollows,
  tier1Of,
} from '../../../../shared/log/records/frame.ts';
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
  number: fc.integer({ min: 2 ** 40, max: Number.MAX_SAFE_INTEGER }),
  follows: fc.nat(),
  mapVersion: fc.nat(),
  timestampMs: fc.oneof(
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((ms) => ms || 0),
  ),
});

test('frame - what goes in comes out, and any MessagePack reader sees nine fields ending in two columns', () => {
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
      assert.equal(fields.length, 9);
      const other = new Frame();
      assert.equal(other.decode(encodeFrame(head, packets.length, fields[7], fields[8])), 'none');
      assert.deepEqual(other.payload.length, frame.payload.length);
      assert.equal(fields[7].length, packets.length * metaRowBytes);
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

test('frame - what it follows can be changed in the finished message, and nothing else changes', () => {
  fc.assert(
    fc.property(header, fc.nat(), fc.uint8Array({ maxLength: 3_000 }), (head, follows, bytes) => {
      const builder = new FrameBuilder();
      for (let row = 0; row < 3; row++) builder.add(bytes, 0, bytes.length, 1, 2, 3);
      const message = builder.finish(head);
      setFollows(message, follows);
      const frame = new Frame();
      assert.equal(frame.decode(message), 'none');
      assert.equal(frame.follows, follows);
      setFollows(message, head.follows);
      assert.equal(frame.decode(message), 'none');
      for (const key of Object.keys(head) as (keyof typeof head)[]) assert.deepEqual(frame[key], head[key], key);
      assert.equal(frame.payload.length, 3 * bytes.length);
    }),
  );
});

test('frame - a frame is where it was found: a message inside a larger buffer is changed in its place', () => {
  const builder = new FrameBuilder();
  builder.add(Buffer.from('bytes'), 0, 5, 1, 1, 0);
  const message = builder.finish({ ...plain, number: 9, follows: 8 });
  const around = Buffer.alloc(message.length + 20, 0xee);
  around.set(message, 7);
  setFollows(around.subarray(7, 7 + message.length), 4);
  const frame = new Frame();
  assert.equal(frame.decode(around.subarray(7, 7 + message.length)), 'none');
  assert.deepEqual([frame.number, frame.follows], [9, 4]);
  assert.deepEqual(around.subarray(0, 7), Buffer.alloc(7, 0xee));
  assert.deepEqual(around.subarray(7 + message.length), Buffer.alloc(13, 0xee));
});

test('frame - what no frame may say is refused: numbers below 1, following itself, other formats, other lengths', () => {
  const frame = new Frame();
  const none = new Uint8Array(0);
  const faultOf = (head: Partial<FrameHeader>, count = 0, meta = none, payload = none) =>
    frame.decode(encodeFrame({ ...plain, ...head }, count, meta, payload));
  assert.equal(faultOf({}), 'none');
  assert.equal(faultOf({ number: 0, follows: 0 }), 'shape');
  assert.equal(faultOf({ number: 3, follows: 3 }), 'shape');
  assert.equal(faultOf({ number: 3, follows: -1 }), 'shape');
  assert.equal(faultOf({ number: 1.5 }), 'shape');
  assert.equal(faultOf({ timestampMs: Number.NaN }), 'shape');
  assert.equal(faultOf({ tier1Id: '' }), 'shape');
  assert.equal(faultOf({ tier1Id: 'x'.repeat(lifeNameBytesMax + 1) }), 'shape');
  assert.equal(faultOf({}, 1), 'count');
  assert.equal(faultOf({}, 1, new Uint8Array(metaRowBytes), Uint8Array.of(1)), 'lengths');
  assert.equal(frame.decode(new Uint8Array(1)), 'size');
  assert.equal(frame.decode(new Uint8Array(limits.frameMaxBytes + 1)), 'size');
  assert.equal(frame.decode(Uint8Array.of(0x9a, 1, 2)), 'encoding');
  assert.equal(frame.decode(Uint8Array.of(0x99, 2, 0xa1)), 'encoding');
  assert.equal(frame.decode(packr.pack([1, 't', 1, 0, 1, 0, 0, none, none])), 'format');
  assert.equal(frame.decode(packr.pack([null, 't', 1, 0, 1, 0, 0, none, none])), 'shape');
});

test('frame - the lives of a tier 1 have names of their own, and tell whose they are', () => {
  assert.deepEqual([lifeName('t-1', 1), lifeName('t-1', 2), lifeName('t-1', 10)], ['t-1', 't-1.2', 't-1.10']);
  for (const life of [1, 2, 10]) assert.equal(tier1Of(lifeName('t-1', life)), 't-1');
  assert.ok(lifeName('x'.repeat(64), 1_000_000).length <= lifeNameBytesMax);
});

test('frame - any bytes are answered, never thrown at', () => {
  const builder = new FrameBuilder();
  const frame = new Frame();
  const property = fc.property(fc.array(packet, { maxLength: 5 }), fc.nat(), fc.nat(0xff), (packets, at, flip) => {
    for (const { bytes, hi, lo, flags } of packets) builder.add(bytes, 0, bytes.length, hi, lo, flags);
    const message = Uint8Array.from(builder.finish(plain));
    message[at % message.length] ^= flip;
    assert.ok(frameFaults.includes(frame.decode(message)));
    assert.ok(frameFaults.includes(frame.decode(message.subarray(0, at % message.length))));
  });
  fc.assert(property, { numRuns: 500 });
});

test('frame - a life without a name, or with too long a one, is a defect of the caller; so is patching what is no frame', () => {
  const builder = new FrameBuilder();
  assert.throws(() => builder.finish({ ...plain, tier1Id: '' }), RangeError);
  assert.throws(() => builder.finish({ ...plain, tier1Id: 'x'.repeat(lifeNameBytesMax + 1) }), RangeError);
  assert.throws(() => setFollows(encodeFrame(plain, 0, new Uint8Array(0), new Uint8Array(0)), 0), TypeError);
  assert.throws(() => setFollows(Uint8Array.of(0x93, 1, 2, 3), 0), TypeError);
});

const plain = { tier1Id: 't', number: 1, follows: 0, mapVersion: 1, timestampMs: 0 };
