// Flows that were replayed before the group moved them: their server hears of each once, and of its end.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldFlows } from '../../../../services/dssl/failover/heldFlows.ts';

const ended: string[] = [];
const nothing = () => undefined;
const egress = {
  ...{ begin: nothing, add: nothing, end: nothing, flowStarted: nothing },
  flowEnded: (hi: number, lo: number, reason: string) => void ended.push(`${hi} ${lo} ${reason}`),
};

test('held flows - one that goes on is not told again; one that begins anew has ended before', () => {
  const held = new HeldFlows();
  assert.equal(held.meet(1, 2, false), true);
  assert.equal(held.meet(1, 2, false), false);
  assert.equal(held.goesOn(1, 2), true);
  assert.equal(held.goesOn(1, 2), false);
  held.meet(3, 4, true);
  held.begins(3, 4, egress, 0);
  held.begins(3, 4, egress, 0);
  assert.deepEqual([ended.splice(0), held.size], [['3 4 closed'], 0]);
});

test('held flows - those that will not go on here end', () => {
  const held = new HeldFlows();
  for (let lo = 0; lo < 4; lo++) held.meet(9, lo, lo === 3);
  held.sweep((_, lo) => lo === 1, egress, 0);
  assert.deepEqual(ended.splice(0), ['9 0 idle', '9 2 idle', '9 3 closed']);
  assert.equal(held.size, 1);
});
