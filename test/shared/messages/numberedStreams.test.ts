// Numbered messages of several senders: every hole and every repeat is counted, and memory is bounded.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { NumberedStream, NumberedStreams } from '../../../shared/messages/numberedStreams.ts';

function streams(most: number, mayForget?: (stream: NumberedStream) => boolean) {
  return new NumberedStreams<NumberedStream>({
    most,
    create: (id, sequence, nowMs) => new NumberedStream(id, sequence, nowMs),
    ...(mayForget === undefined ? {} : { mayForget }),
  });
}

describe('numbered streams', () => {
  it('numbered streams - whatever comes in whatever order: taken, lost and repeated agree with what was heard', () => {
    const arrivals = fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.integer({ min: 1, max: 30 })), { maxLength: 60 });
    const property = fc.property(arrivals, (messages) => {
      const all = streams(10);
      let taken = 0;
      let holes = 0;
      for (const [id, sequence] of messages) {
        if (all.arrive(id, sequence, 0, (_stream, missing) => (holes += missing)) !== undefined) taken++;
      }
      assert.equal(taken + all.repeated, messages.length);
      assert.equal(holes, all.lost);
      const span = [...all.all()].map((stream) => {
        const first = messages.find(([id]) => id === stream.id)?.[1] ?? 0;
        assert.equal(
          stream.received,
          Math.max(...messages.filter(([id]) => id === stream.id).map(([, n]) => n), first),
        );
        return stream.received - first + 1;
      });
      assert.equal(
        span.reduce((sum, each) => sum + each, 0),
        taken + all.lost,
      );
    });
    fc.assert(property);
  });

  it('numbered streams - the longest silent sender is forgotten first, and never one that may not be', () => {
    const all = streams(2, ({ id }) => id !== 'kept');
    all.arrive('kept', 1, 0);
    all.arrive('b', 1, 1);
    all.arrive('c', 1, 2);
    assert.deepEqual(
      [...all.all()].map(({ id }) => id),
      ['kept', 'c'],
    );
    assert.equal(all.size, 2);
    assert.equal(all.get('b'), undefined);
    const full = streams(1, ({ id }) => id !== 'kept');
    full.arrive('kept', 1, 0);
    full.arrive('new', 1, 0);
    assert.equal(full.get('new')?.received, 1, 'nor the one that has just come');
  });
});
