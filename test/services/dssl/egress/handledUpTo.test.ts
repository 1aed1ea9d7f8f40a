// How far a server has handled the log while its work overlaps.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HandledUpTo } from '../../../../services/dssl/egress/handledUpTo.ts';

test('handled - without work under way everything is', () => {
  const handled = new HandledUpTo();
  assert.equal(handled.at(7), 7);
  handled.begin()();
  assert.equal(handled.at(9), 9);
});

test('handled - a server that is never idle gets on, a generation behind', () => {
  const handled = new HandledUpTo();
  let done = () => {};
  const seen: number[] = [];
  for (let position = 1; position <= 10; position++) {
    const next = handled.begin();
    done();
    done = next;
    seen.push(handled.at(position));
  }
  assert.deepEqual(seen.slice(0, 4), [0, 1, 2, 3]);
});

test('handled - another log begins at its own first position', () => {
  const handled = new HandledUpTo();
  assert.equal(handled.at(90), 90);
  const done = handled.begin();
  assert.ok(handled.at(3) <= 3);
  done();
  assert.equal(handled.at(4), 4);
});

test('handled - whatever ends in whatever order, nothing that is under way counts as handled', () => {
  const steps = fc.array(fc.record({ begins: fc.nat(2), ends: fc.array(fc.nat(9), { maxLength: 3 }) }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, (all) => {
      const handled = new HandledUpTo();
      const open: { readonly position: number; readonly done: () => void }[] = [];
      let before = 0;
      for (const [index, { begins, ends }] of all.entries()) {
        const position = index + 1;
        for (let each = 0; each < begins; each++) open.push({ position, done: handled.begin() });
        for (const end of ends) open.splice(end % Math.max(1, open.length), 1)[0]?.done();
        const now = handled.at(position);
        assert.ok(open.every((each) => each.position > now));
        assert.ok(now >= before);
        before = now;
      }
    }),
    { numRuns: 200, seed: 3 },
  );
});
