// What tier 1s say of themselves: read as it was written, and garbage is no exception.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { decodeHello, encodeHello, type Hello, helloStates } from '../../../shared/messages/hello.ts';

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const dropped = fc.dictionary(name, count, { maxKeys: 5, noNullPrototype: true });
const plain = { noNullPrototype: true };
const sender = fc.record({ name, received: count, lostFrames: count, dropped }, plain);
const hello: fc.Arbitrary<Hello> = fc.record(
  {
    tier1: name,
    state: fc.constantFrom(...helloStates),
    received: count,
    faults: count,
    dropped,
    senders: fc.array(sender, { maxLength: 8 }),
  },
  plain,
);

describe('hello', () => {
  it('hello - is read as it was written', () => {
    fc.assert(fc.property(hello, (one) => assert.deepEqual(decodeHello(encodeHello(one)), one)));
  });

  it('hello - a message with a byte changed is another message or none, never an exception', () => {
    const property = fc.property(hello, fc.nat(), fc.nat({ max: 255 }), (one, at, byte) => {
      const message = encodeHello(one);
      message[at % message.length] = byte;
      decodeHello(message);
      decodeHello(message.subarray(0, at % message.length));
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('hello - what does not have its shape is none', () => {
    const pack = (value: unknown) => Uint8Array.from(new Packr({ useRecords: false }).pack(value));
    const good = [1, 't1', 1, 5, 0, ['overload', 2], [['gen', 5, 0, []]]];
    assert.ok(decodeHello(pack(good)) !== undefined);
    const changes: [number, unknown][] = [
      [0, 2],
      [1, 'a.b'],
      [1, 7],
      [2, 4],
      [2, 'ready'],
      [3, -1],
      [3, 1.5],
      [4, null],
      [5, ['overload']],
      [5, ['overload', -2]],
      [5, Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? `c${i}` : 1))],
      [6, [['gen', 5, 0]]],
      [6, [['gen', 'many', 0, []]]],
      [6, Array.from({ length: 65 }, () => ['gen', 5, 0, []])],
    ];
    for (const [at, value] of changes) {
      assert.equal(decodeHello(pack(good.with(at, value as never))), undefined, JSON.stringify([at, value]));
    }
    assert.equal(decodeHello(pack(good.slice(0, 6))), undefined);
    assert.equal(decodeHello(pack({})), undefined);
    assert.equal(decodeHello(new Uint8Array(0)), undefined);
    assert.equal(decodeHello(new Uint8Array(100_000)), undefined);
  });
});
