// Memory for frames: builders that share a pool never write into each other's messages, nor into one that was given away.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Frame, FrameBuilder } from '../../../../shared/log/records/frame.ts';
import { FramePool } from '../../../../shared/log/records/framePool.ts';

test('frame pool - cuts slabs into messages, and gives back what came back', () => {
  const pool = new FramePool(300_000);
  const [one, two, three, four] = [pool.take(), pool.take(), pool.take(), pool.take()];
  assert.deepEqual(
    [one, two, three].map(({ bytes }) => [bytes.buffer === one.bytes.buffer, bytes.byteOffset, bytes.length]),
    [0, 1, 2].map((at) => [true, at * 300_000, 300_000]),
  );
  assert.notEqual(four.bytes.buffer, one.bytes.buffer);
  pool.giveBack(two);
  assert.equal(pool.take(), two);
  const large = pool.take(300_001);
  assert.equal(large.bytes.length, 300_001);
  pool.giveBack(large);
  assert.notEqual(pool.take(), large);
});

test('frame pool - whatever builders that share one do, each message stays what it was', () => {
  const step = fc.record({
    builder: fc.nat(2),
    bytes: fc.oneof(fc.nat(40), fc.integer({ min: 300, max: 450 }), fc.integer({ min: 3_000, max: 30_000 })),
    ends: fc.boolean(),
    ownBuffer: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const pool = FrameBuilder.pool();
      const builders = [0, 1, 2].map(() => ({ builder: new FrameBuilder(pool), packets: [] as Uint8Array[] }));
      const source = new Uint8Array(40_000);
      const made: { message: Uint8Array; packets: Uint8Array[] }[] = [];
      const finish = (each: (typeof builders)[number]) => {
        const message = each.builder.finish({ tier1Id: 't', number: 1, follows: 0, mapVersion: 1, timestampMs: 0 });
        made.push({ message, packets: each.packets });
        each.packets = [];
      };
      for (const [value, { builder, bytes, ends, ownBuffer }] of steps.entries()) {
        const each = builders[builder];
        if (each.builder.isFull(bytes)) finish(each);
        const packet = Uint8Array.from({ length: bytes }, (_, index) => value + index);
        source.set(packet, value);
        each.builder.add(ownBuffer ? packet : source, ownBuffer ? 0 : value, bytes, value, -value, value);
        each.packets.push(packet);
        if (ends) finish(each);
      }
      const frame = new Frame();
      for (const { message, packets } of made) {
        assert.equal(frame.decode(message), 'none');
        assert.deepEqual(Buffer.from(frame.payload), Buffer.concat(packets));
      }
    }),
  );
});
