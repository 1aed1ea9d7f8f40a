// What replicas ask each other, on the wire: it comes back as it was, and garbage is nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import {
  chunkBytes,
  decodePeer,
  encodePeer,
  globalPart,
  joinSlices,
  type PeerMessage,
  splitSlices,
} from '../../../../services/dssl/recovery/messages.ts';

const packr = new Packr({ useRecords: false });
const server = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const common = { server, incarnation: fc.maxSafeNat(), nonce: fc.maxSafeNat() };
const epoch = fc.string({ maxLength: 64 });
const slice = fc.integer({ min: globalPart, max: 255 });
const message: fc.Arbitrary<PeerMessage> = fc.oneof(
  fc.record({ ...common, kind: fc.constantFrom('seek' as const, 'alive' as const) }),
  fc.record({
    ...common,
    kind: fc.constant('offer' as const),
    rank: fc.nat({ max: 3 }),
    epochNumber: fc.maxSafeNat(),
    epoch,
    position: fc.maxSafeNat(),
  }),
  fc.record({
    ...common,
    kind: fc.constant('get' as const),
    epoch,
    first: slice,
    last: slice,
    position: fc.maxSafeNat(),
  }),
  fc.integer({ min: 1, max: 64 }).chain((chunks) =>
    fc.record({
      ...common,
      kind: fc.constant('part' as const),
      first: slice,
      count: fc.integer({ min: 1, max: 256 }),
      position: fc.maxSafeNat(),
      mark: fc.nat({ max: 0xffff_ffff }),
      chunk: fc.nat({ max: chunks - 1 }),
      chunks: fc.constant(chunks),
      bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    }),
  ),
  fc.record({
    ...common,
    kind: fc.constant('want' as const),
    epoch,
    position: fc.maxSafeNat(),
    since: fc.oneof(fc.constant(-1), fc.maxSafeNat()),
    flows: fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 9 }).map((flows) => Int32Array.from(flows.flat())),
  }),
  fc.integer({ min: 1, max: 64 }).chain((chunks) =>
    fc.record({
      ...common,
      kind: fc.constant('states' as const),
      epoch,
      position: fc.maxSafeNat(),
      upTo: fc.oneof(fc.constant(-1), fc.maxSafeNat()),
      chunk: fc.nat({ max: chunks - 1 }),
      chunks: fc.constant(chunks),
      bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    }),
  ),
  fc.record({
    ...common,
    kind: fc.constant('probe' as const),
    asked: fc.record({ server, incarnation: fc.maxSafeNat() }),
  }),
);

test('recovery messages - what is sent is what is read, whatever it is', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(message, (sent) => {
      seen.add(sent.kind);
      const read = decodePeer(encodePeer(sent));
      assert.deepEqual(
        read?.kind === 'part' ? { ...read, bytes: Buffer.from(read.bytes) } : read,
        sent.kind === 'part' ? { ...sent } : structuredClone(sent),
      );
    }),
    { numRuns: 300 },
  );
  assert.equal(seen.size, 8);
});

test('recovery messages - bytes that are none, or are cut or changed, never throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodePeer(bytes)));
  fc.assert(
    fc.property(message, fc.nat(), fc.nat({ max: 255 }), (sent, at, byte) => {
      const bytes = encodePeer(sent);
      assert.equal(decodePeer(bytes.subarray(0, at % bytes.length)), undefined);
      bytes[at % bytes.length] = byte;
      decodePeer(bytes);
    }),
  );
});

test('recovery messages - a field out of its range makes it none', () => {
  const part = [1, 4, 'a', 1, 2, 0, 1, 9, 7, 0, 1, Buffer.from('x')];
  assert.equal(decodePeer(packr.pack(part))?.kind, 'part');
  const changed = (at: number, value: unknown) => decodePeer(packr.pack(part.with(at, value as number)));
  for (const [at, value] of [
    [0, 2],
    [1, 9],
    [2, 'a b'],
    [3, -1],
    [4, 1.5],
    [5, 256],
    [5, -2],
    [6, 0],
    [6, 257],
    [7, -1],
    [8, 2 ** 32],
    [9, 1],
    [10, 0],
    [10, 65],
    [11, 'text'],
    [11, Buffer.alloc(chunkBytes + 1)],
  ] as const)
    assert.equal(changed(at, value), undefined, `field ${at}: ${value}`);
  assert.equal(decodePeer(packr.pack([...part, 1])), undefined, 'a field too many');
});

test('recovery messages - a chunk of the greatest length fits the message limit of the bus', () => {
  const common = { server: 's'.repeat(64), incarnation: Number.MAX_SAFE_INTEGER, nonce: Number.MAX_SAFE_INTEGER };
  const bytes = encodePeer({
    ...common,
    ...{ kind: 'part', first: 255, count: 256, position: Number.MAX_SAFE_INTEGER, mark: 0xffff_ffff },
    ...{ chunk: 63, chunks: 64, bytes: new Uint8Array(chunkBytes) },
  });
  assert.ok(bytes.length < 1_048_576);
  assert.equal(decodePeer(bytes)?.kind, 'part');
});

test('recovery messages - slices that were joined come apart again, and nothing else does', () => {
  const slices = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(slices, (all) => {
      const joined = joinSlices(all);
      assert.deepEqual(
        splitSlices(joined, all.length)?.map((each) => [...each]),
        all.map((each) => [...each]),
      );
      assert.equal(splitSlices(joined, all.length + 1), undefined);
      assert.equal(splitSlices(joined.subarray(0, joined.length - 1), all.length), undefined);
      if (all.length > 1) assert.equal(splitSlices(joined, all.length - 1), undefined);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat({ max: 5 }), (bytes, n) => void splitSlices(bytes, n)),
  );
});
