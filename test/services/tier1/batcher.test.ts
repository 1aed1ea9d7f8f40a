// When a frame that is not full leaves: after the linger, with the frame before it stored, or at the latest.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Batcher } from '../../../services/tier1/batcher.ts';

const lingerMs = 1;
const latestMs = 5;
const open = (batcher: Batcher, group: number, nowMs: number): void => {
  batcher.opened(group);
  batcher.fed(nowMs);
};

test('batcher - while nothing is under way a frame leaves after the linger', () => {
  const batcher = new Batcher(2, lingerMs, latestMs);
  assert.equal(batcher.nextMs, Number.POSITIVE_INFINITY);
  open(batcher, 1, 100);
  assert.deepEqual([batcher.isDue(1, 100), batcher.isDue(1, 100.9), batcher.isDue(1, 101)], [false, false, true]);
  assert.ok(!batcher.isDue(0, 1_000), 'the other group has no open frame');
  assert.equal(batcher.nextMs, 101);
});

test('batcher - while the frame before it is under way it waits, until that is stored or the latest time has come', () => {
  const batcher = new Batcher(1, lingerMs, latestMs);
  batcher.underWay(0, true);
  open(batcher, 0, 100);
  assert.deepEqual([batcher.isDue(0, 104.9), batcher.isDue(0, 105), batcher.nextMs], [false, true, 105]);
  batcher.underWay(0, false);
  assert.deepEqual([batcher.isDue(0, 100.5), batcher.isDue(0, 102), batcher.nextMs], [false, true, 101]);
});

test('batcher - a frame that has left is not due; the next one counts from its own first packet', () => {
  const batcher = new Batcher(1, lingerMs, latestMs);
  open(batcher, 0, 100);
  batcher.left(0);
  assert.ok(!batcher.isDue(0, 1_000));
  open(batcher, 0, 200);
  assert.deepEqual([batcher.isDue(0, 200.5), batcher.isDue(0, 201)], [false, true]);
});

test('batcher - frames that open and leave within one run: only the open one counts, from the end of the run', () => {
  const batcher = new Batcher(2, lingerMs, latestMs);
  for (let frame = 0; frame < 10; frame++) {
    batcher.opened(0);
    batcher.opened(1);
    batcher.left(0);
  }
  assert.ok(batcher.hasFresh && !batcher.isDue(1, 1_000), 'without a time nothing is due');
  batcher.fed(50);
  assert.deepEqual([batcher.hasFresh, batcher.isDue(0, 99), batcher.isDue(1, 51)], [false, false, true]);
});

test('batcher - a later run does not put off a frame that waits', () => {
  const batcher = new Batcher(2, lingerMs, latestMs);
  batcher.underWay(0, true);
  open(batcher, 0, 100);
  open(batcher, 1, 104);
  assert.equal(batcher.nextMs, 105);
  assert.ok(batcher.isDue(0, 105));
});

test('batcher - whatever happens, no open frame waits beyond the latest time, and none leaves before the linger', () => {
  const step = fc.record({
    group: fc.nat(2),
    what: fc.constantFrom('open', 'stored', 'sent', 'time'),
    ms: fc.double({ min: 0, max: 3, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const batcher = new Batcher(3, lingerMs, latestMs);
      const sinceMs: (number | undefined)[] = [undefined, undefined, undefined];
      let nowMs = 0;
      for (const { group, what, ms } of steps) {
        nowMs += ms;
        for (const [each, since] of sinceMs.entries()) {
          if (since === undefined) continue;
          const isDue = batcher.isDue(each, nowMs);
          if (nowMs - since >= latestMs) assert.ok(isDue);
          if (nowMs - since < lingerMs) assert.ok(!isDue);
          if (!isDue) assert.ok(batcher.nextMs > nowMs);
          else {
            batcher.left(each);
            batcher.underWay(each, true);
            sinceMs[each] = undefined;
          }
        }
        if (what === 'stored') batcher.underWay(group, false);
        if (what === 'open' && sinceMs[group] === undefined) {
          open(batcher, group, nowMs);
          sinceMs[group] = nowMs;
        }
      }
    }),
  );
});
