// The step that puts weights in force.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { join, reweigh } from '../../../../shared/membership/transitions.ts';
import { viewOf, weightsOf } from '../../../support/weights.ts';

test('reweigh - the weights are in force in the next view, those of others stay', () => {
  const view = viewOf([100, 100, 100]);
  const next = reweigh(view, new Map([['s1', 80]]));
  assert.equal(next.number, view.number + 1);
  assert.deepEqual(weightsOf(next), [100, 80, 100]);
  assert.equal(next.members[1].base, 100);
});

test('reweigh - weights that are in force already make no new view', () => {
  const view = viewOf([100, 80]);
  assert.equal(reweigh(view, new Map([['s1', 80]])), view);
  assert.equal(reweigh(view, new Map()), view);
});

test('reweigh - over a newer view, who is gone is left out and who is not active keeps its weight', () => {
  const weights = new Map([
    ['s0', 80],
    ['s1', 80],
    ['s2', 80],
    ['s3', 80],
  ]);
  const newer = viewOf([100, { state: 'draining' }, { state: 'joining' }]);
  assert.deepEqual(weightsOf(reweigh(newer, weights)), [80, 100, 100]);
  const terms = { replaces: 1, needAt: undefined };
  const rejoined = join(newer, { server: 's0', incarnation: 2, weight: 50 }, 3, terms);
  assert.notEqual(rejoined, newer);
  assert.equal(reweigh(rejoined, new Map([['s0', 80]])), rejoined);
});
