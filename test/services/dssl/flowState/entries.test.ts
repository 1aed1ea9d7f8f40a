// States of flows on the wire: they come back as they were, in chunks that can be read one by one, and garbage is nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EntryWriter, readEntries, type SaidState } from '../../../../services/dssl/flowState/entries.ts';
import { limits } from '../../../../shared/base/limits.ts';

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const state: fc.Arbitrary<SaidState> = fc.oneof(
  fc.constantFrom('nothing' as const, 'foreign' as const),
  fc.uint8Array({ maxLength: 200 }),
  fc.nat({ max: limits.flowStateBytes }).map((length) => new Uint8Array(length).fill(length)),
);

test('flow states - what is written is read, in chunks of a bounded length', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(int32, int32, state), { maxLength: 40 }), (entries) => {
      const writer = new EntryWriter();
      for (const entry of entries) writer.add(...entry);
      const chunks = writer.finish();
      assert.ok(chunks.length > 0 && chunks.every(({ length }) => length <= limits.flowStatesChunkBytes));
      const read: unknown[] = [];
      for (const chunk of chunks) assert.ok(readEntries(chunk, (hi, lo, each) => read.push([hi, lo, each])));
      assert.deepEqual(read, entries);
    }),
    { numRuns: 50 },
  );
});

test('flow states - bytes that are none are refused', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void readEntries(bytes, () => undefined)));
  const writer = new EntryWriter();
  writer.add(1, 2, new Uint8Array(5));
  const [chunk] = writer.finish();
  assert.ok(readEntries(chunk, () => undefined));
  for (let length = 1; length < chunk.length; length++)
    assert.ok(!readEntries(chunk.subarray(0, length), () => undefined));
});
