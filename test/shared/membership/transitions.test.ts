// Steps from one view to the next: who comes and goes, who is removed by whom, weights and rules.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../../shared/base/limits.ts';
import {
  activate,
  changeRules,
  configureWeight,
  drain,
  isSpare,
  join,
  leave,
  move,
  remove,
} from '../../../shared/membership/transitions.ts';
import { defaultRules, emptyView, type MemberState, type View } from '../../../shared/membership/view.ts';

const viewWith = (weight: number, base: number): View => ({
  group: 'g1',
  number: 4,
  placement: 'rendezvous',
  seed: 1,
  rules: defaultRules,
  members: [
    { server: 'a', incarnation: 1, number: 0, state: 'active', weight, base, flows: 0 },
    { server: 'b', incarnation: 2, number: 1, state: 'active', weight: 100, base: 100, flows: 0 },
  ],
});

const group = (...members: [server: string, state: MemberState][]): View => ({
  ...viewWith(100, 100),
  members: members.map(([server, state], number) => ({
    server,
    incarnation: 1,
    number,
    state,
    weight: 100,
    base: 100,
    flows: 0,
  })),
});
const life = (server: string, incarnation = 1) => ({ server, incarnation });
const namesOf = (view: View) => view.members.map(({ server }) => server);
const anybody = { replaces: undefined, needAt: undefined };

test('membership - a joiner gets the number that the log has given it, joins, and takes nothing yet', () => {
  const first = join(emptyView(group()), { ...life('a', 7), weight: 30 }, 5, anybody);
  assert.equal(first.number, 1);
  assert.deepEqual(first.members, [
    { server: 'a', incarnation: 7, number: 5, state: 'joining', weight: 30, base: 30, flows: 0 },
  ]);
});

test('membership - a join has no effect when its terms do not hold where it is applied', () => {
  const view = group(['a', 'active'], ['b', 'joining'], ['c', 'draining']);
  const tried = (candidate: { server: string; incarnation: number }, replaces?: number, needAt?: number) =>
    namesOf(join(view, { ...candidate, weight: 1 }, 9, { replaces, needAt })).join(' ');
  const same = 'a b c';
  assert.equal(tried(life('a', 2)), same, 'the name is taken');
  assert.equal(tried(life('a', 2), 9), same, 'another life has it than the one that was found dead');
  assert.equal(tried(life('a', 2), 1), 'b c a', 'its own former life');
  assert.equal(tried(life('a', 1), 1), same, 'a member joins once');
  assert.equal(tried(life('d'), 1), same, 'whom it was to replace is gone');
  assert.equal(tried(life('d'), undefined, 1), same, 'two are taking flows, one was expected at most');
  assert.equal(tried(life('d'), undefined, 2), 'a b c d', 'one that drains is none of them');
});

test('membership - a full group takes nobody but the next life of a member', () => {
  const names = Array.from({ length: limits.groupMembers }, (_, index) => `s${index}`);
  const full = group(...names.map((name): [string, MemberState] => [name, 'active']));
  assert.equal(join(full, { ...life('new'), weight: 1 }, 9, anybody), full);
  const next = join(full, { ...life('s3', 2), weight: 1 }, 9, { replaces: 1, needAt: undefined });
  assert.equal(next.members.length, limits.groupMembers);
});

test('membership - a state follows the one before it alone, and only for that life', () => {
  const view = group(['a', 'active'], ['b', 'joining'], ['c', 'draining']);
  const statesOf = ({ members }: View) => members.map(({ state }) => state[0]).join('');
  assert.equal(statesOf(activate(view, life('b'))), 'aad');
  assert.equal(statesOf(drain(view, life('a'))), 'djd');
  assert.equal(activate(view, life('b')).number, view.number + 1);
  for (const same of [
    activate(view, life('a')),
    activate(view, life('c')),
    activate(view, life('b', 2)),
    drain(view, life('b')),
    drain(view, life('c')),
    drain(view, life('a', 2)),
    leave(view, life('a', 2)),
  ])
    assert.equal(same, view);
  assert.deepEqual(namesOf(leave(view, life('b'))), ['a', 'c']);
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
    const next = configureWeight(view, life('a'), to);
    assert.equal(next.number, 5, why);
    assert.deepEqual(next.members, [{ ...view.members[0], base: to, weight: inForce }, view.members[1]], why);
  }
});

test('membership - nothing changes for another life, or by the weight that it has', () => {
  const view = viewWith(150, 100);
  assert.equal(configureWeight(view, life('a', 2), 5), view);
  assert.equal(configureWeight(view, life('c'), 5), view);
  assert.equal(configureWeight(view, life('a'), 100), view);
});

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

test('membership - the only one that takes flows waits for those that join, and for nobody else', () => {
  assert.equal(isSpare(group(['a', 'active'], ['b', 'joining']), life('a')), false);
  assert.equal(isSpare(group(['a', 'active'], ['b', 'joining'], ['c', 'active']), life('a')), true);
  assert.equal(isSpare(group(['a', 'active'], ['b', 'draining']), life('a')), true);
  assert.equal(isSpare(group(['a', 'active']), life('a')), true);
});

test('membership - rules may change but for those that flow entries depend on', () => {
  const view = group(['a', 'active']);
  const next = changeRules(view, { placement: 'maglev' }, { maxFlows: 5, midFlow: 'adopt' });
  assert.deepEqual(next, {
    ...view,
    number: view.number + 1,
    placement: 'maglev',
    rules: { ...view.rules, maxFlows: 5, midFlow: 'adopt' },
  });
  assert.equal(changeRules(view, {}, { typeOneMethod: 'fig-6', time: 'capture' }), view);
  assert.equal(changeRules(view, { placement: view.placement }, { maxFlows: view.rules.maxFlows }), view);
});

test('membership - a server is on its way to another group until it drains, or is called back by anybody', () => {
  const view = group(['a', 'active'], ['b', 'active'], ['c', 'joining'], ['d', 'draining']);
  const operator = life('', 0);
  const going = move(view, life('a'), 'g2', operator);
  assert.equal(going.number, view.number + 1);
  assert.deepEqual(going.members[0], { ...view.members[0], movesTo: 'g2' });
  assert.equal(move(going, life('a'), 'g2', operator), going, 'as it is');
  assert.equal(move(going, life('a'), 'g3', operator).members[0].movesTo, 'g3');
  assert.deepEqual(move(going, life('a'), 'g1', operator).members, view.members);
  for (const other of [life('c'), life('d'), life('a', 2), life('x')])
    assert.equal(move(view, other, 'g2', operator), view, `${other.server} ${other.incarnation} takes no new flows`);
  assert.equal(move(view, life('a'), 'g1', operator), view, 'it is there');
});

test('membership - one that drains because it moves takes new flows again if it says so itself, and no other one that drains', () => {
  const going = move(group(['a', 'active'], ['b', 'active']), life('a'), 'g2', life('b'));
  const away = drain(going, life('a'));
  assert.deepEqual([away.members[0].state, away.members[0].movesTo], ['draining', 'g2']);
  assert.equal(move(away, life('a'), 'g1', life('b')), away);
  assert.equal(move(away, life('a'), 'g3', life('a')), away, 'it goes on from where it is active');
  const back = move(away, life('a'), 'g1', life('a'));
  assert.deepEqual([back.members[0].state, back.members[0].movesTo], ['active', undefined]);
  assert.equal(drain(going, life('a'), 'g3'), going, 'it was sent on, or called back, before it came to draining');
  assert.deepEqual(drain(going, life('a'), 'g2'), away);
  const drained = drain(group(['a', 'active'], ['b', 'active']), life('a'));
  assert.equal(move(drained, life('a'), 'g1', life('a')), drained);
});

test('membership - no standby moves, and no server where standbys stand for servers by name', () => {
  const withRules = (availability: View['rules']['availability'], standsFor?: readonly string[]): View => {
    const view = group(['a', 'active'], ['b', 'active']);
    const members = view.members.map((each) => (each.server === 'b' && standsFor ? { ...each, standsFor } : each));
    return { ...view, members, rules: { ...view.rules, availability } };
  };
  const pool = withRules('n-plus-m', []);
  assert.equal(move(pool, life('b'), 'g2', life('a')), pool);
  assert.equal(move(pool, life('a'), 'g2', life('b')).members[0].movesTo, 'g2');
  const passive = withRules('active-passive', ['a']);
  assert.equal(move(passive, life('a'), 'g2', life('b')), passive);
});
