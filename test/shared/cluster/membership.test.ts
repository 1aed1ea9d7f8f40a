// Weights of members: a new base takes the weight in force along, in proportion.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configureWeight } from '../../../shared/cluster/membership.ts';
import { defaultRules, type View } from '../../../shared/cluster/view.ts';

const viewWith = (weight: number, base: number): View => ({
  group: 'g1',
  cluster: 'c',
  number: 4,
  placement: 'rendezvous',
  seed: 1,
  rules: defaultRules,
  members: [
    { server: 'a', incarnation: 1, state: 'active', weight, base, flows: 0 },
    { server: 'b', incarnation: 2, state: 'active', weight: 100, base: 100, flows: 0 },
  ],
});

test('membership - the weight in force keeps its proportion to the configured one', () => {
  const cases: [weight: number, base: number, to: number, inForce: number, why: string][] = [
    [100, 100, 50, 50, 'as configured'],
    [150, 100, 50, 75, 'raised by half by a policy'],
    [25, 100, 200, 50, 'lowered to a quarter'],
    [100, 100, 0, 0, 'nothing is nothing'],
    [0, 0, 70, 70, 'there was none to depart from'],
    [0, 100, 70, 0, 'a policy gave it nothing'],
    [1, 100, 10, 1, 'little is not nothing'],
    [65_535, 30_000, 65_535, 65_535, 'the most there is'],
  ];
  for (const [weight, base, to, inForce, why] of cases) {
    const view = viewWith(weight, base);
    const next = configureWeight(view, { server: 'a', incarnation: 1 }, to);
    assert.equal(next.number, 5, why);
    assert.deepEqual(next.members, [{ ...view.members[0], base: to, weight: inForce }, view.members[1]], why);
  }
});

test('membership - nothing changes for another life, or by the weight that it has', () => {
  const view = viewWith(150, 100);
  assert.equal(configureWeight(view, { server: 'a', incarnation: 2 }, 5), view);
  assert.equal(configureWeight(view, { server: 'c', incarnation: 1 }, 5), view);
  assert.equal(configureWeight(view, { server: 'a', incarnation: 1 }, 100), view);
});
