// Steps from one view to the next: weights, and who is removed by whom.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activate, configureWeight, isSpare, remove } from '../../../shared/membership/transitions.ts';
import { defaultRules, type MemberState, type View } from '../../../shared/membership/view.ts';

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

const group = (...members: [server: string, state: MemberState][]): View => ({
  ...viewWith(100, 100),
  members: members.map(([server, state]) => ({ server, incarnation: 1, state, weight: 100, base: 100, flows: 0 })),
});
const life = (server: string, incarnation = 1) => ({ server, incarnation });
const namesOf = (view: View) => view.members.map(({ server }) => server);

test('membership - a member removes the dead: that life, and only while it is a member itself', () => {
  const view = group(['a', 'active'], ['b', 'active'], ['c', 'draining']);
  assert.deepEqual(namesOf(remove(view, life('b'), life('c'))), ['a', 'c']);
  assert.equal(remove(view, life('b'), life('c')).number, 5);
  assert.equal(remove(view, life('b', 2), life('a')), view, 'another life of it');
  assert.equal(remove(view, life('b'), life('a', 2)), view, 'a former life of the one that says so');
  assert.equal(remove(view, life('b'), life('d')), view, 'who is no member');
});

test('membership - the last one that takes flows stays', () => {
  const view = group(['a', 'active'], ['b', 'draining'], ['c', 'joining']);
  assert.equal(remove(view, life('a'), life('c')), view);
  assert.deepEqual(namesOf(remove(view, life('b'), life('a'))), ['a', 'c']);
});

test('membership - whoever told a joiner nothing leaves in the view in which it becomes active', () => {
  const view = group(['a', 'active'], ['b', 'active'], ['c', 'joining']);
  const candidate = { ...life('c'), weight: 100 };
  const next = activate(view, candidate, [life('a'), life('b', 2)]);
  assert.deepEqual(
    next.members.map(({ server, state }) => `${server} ${state}`),
    ['b active', 'c active'],
  );
  assert.equal(activate(next, candidate, [life('b')]), next, 'once it is active it removes nobody by this');
});

test('membership - the only one that takes flows waits for those that join, and for nobody else', () => {
  assert.equal(isSpare(group(['a', 'active'], ['b', 'joining']), life('a')), false);
  assert.equal(isSpare(group(['a', 'active'], ['b', 'joining'], ['c', 'active']), life('a')), true);
  assert.equal(isSpare(group(['a', 'active'], ['b', 'draining']), life('a')), true);
  assert.equal(isSpare(group(['a', 'active']), life('a')), true);
});
