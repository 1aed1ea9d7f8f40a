// The choice of a group: who is most in need, and that choosers who race each other end up spread as if they had come one
// by one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../../shared/base/limits.ts';
import { Prng } from '../../../shared/base/prng.ts';
import type { GroupSettings } from '../../../shared/config/map.ts';
import { findPlace, livesOf, type Place, standbyProblem } from '../../../shared/membership/assignment.ts';
import { type Candidate, isLifeOf, join } from '../../../shared/membership/transitions.ts';
import {
  defaultRules,
  emptyView,
  type GroupBirth,
  type Member,
  type MemberState,
  type View,
} from '../../../shared/membership/view.ts';

const groupsOf = (...weights: number[]): GroupSettings[] =>
  weights.map((weight, index) => ({ id: `g${index + 1}`, weight, serves: 'both', vlan: 0 }));
const birthOf = (group: string): GroupBirth => ({
  group,
  placement: 'rendezvous',
  seed: 1,
  rules: defaultRules,
});
const candidateOf = (server: string, incarnation = 1): Candidate => ({ server, incarnation, weight: 100 });

/** A view with members in these states, named after the group; `j`oining, `a`ctive, `d`raining. */
function viewOf(group: string, states: string): View {
  const words: Record<string, MemberState> = { j: 'joining', a: 'active', d: 'draining' };
  const members = [...states].map((letter, index) => ({
    server: `${group}-${index}`,
    incarnation: 1,
    number: index,
    state: words[letter],
    weight: 100,
    base: 100,
    flows: 0,
  }));
  return { ...birthOf(group), number: 5, members };
}
const viewsOf = (...states: string[]) =>
  new Map(states.flatMap((each, index) => (each === '-' ? [] : [[`g${index + 1}`, viewOf(`g${index + 1}`, each)]])));

test('assignment - a server goes to the group with the fewest members for its weight', () => {
  const cases: { weights: number[]; states: string[]; group: string; why: string }[] = [
    { weights: [100, 100, 100], states: ['-', '-', '-'], group: 'g1', why: 'the first of equals' },
    { weights: [100, 100, 100], states: ['a', '-', '-'], group: 'g2', why: 'an empty one' },
    { weights: [100, 100], states: ['aa', 'j'], group: 'g2', why: 'one that joins counts' },
    { weights: [100, 100], states: ['aa', 'ajdd'], group: 'g1', why: 'draining ones decide only between equals' },
    { weights: [100, 100], states: ['aad', 'aa'], group: 'g2', why: 'fewest in all, between equals' },
    { weights: [100, 100], states: ['ad', 'aa'], group: 'g1', why: 'a draining one leaves a place' },
    { weights: [300, 100], states: ['aa', 'a'], group: 'g1', why: 'two for 300 are fewer than one for 100' },
    { weights: [300, 100], states: ['aaa', 'a'], group: 'g2', why: 'three for 300 are as many: fewest in all' },
    { weights: [300, 100], states: ['aaaa', 'a'], group: 'g2', why: 'four for 300 are more' },
    { weights: [0, 1], states: ['-', 'aaaa'], group: 'g2', why: 'weight 0 comes last' },
    { weights: [0, 0], states: ['a', '-'], group: 'g2', why: 'nothing but weight 0: by members' },
  ];
  for (const { weights, states, group, why } of cases) {
    assert.equal(findPlace(groupsOf(...weights), viewsOf(...states), 's')?.group, group, why);
  }
});

test('assignment - a full group is not chosen, and when all are full there is no place', () => {
  const full = 'a'.repeat(limits.groupMembers);
  const groups = groupsOf(100, 1);
  assert.equal(findPlace(groups, viewsOf(full, 'aaa'), 's')?.group, 'g2');
  assert.equal(findPlace(groups, viewsOf(full, full), 's'), undefined);
  assert.equal(findPlace(groups, viewsOf(full, '-'), 's', 'g1'), undefined);
  const back = findPlace(groups, viewsOf(full, '-'), 'g1-3');
  assert.deepEqual(back, { group: 'g1', replaces: 1, needAt: undefined }, 'but a successor takes what is its own');
  const place = { group: 'g1', replaces: undefined, needAt: undefined };
  const view = viewOf('g1', full);
  assert.equal(join(view, candidateOf('s'), 9, place), view);
});

test('assignment - a server that was a member goes back to its group, unless it is told another', () => {
  const groups = groupsOf(100, 100);
  const views = viewsOf('aaa', 'a');
  assert.deepEqual(livesOf(groups, views, 'g1-1'), [{ group: 'g1', incarnation: 1, state: 'active' }]);
  assert.deepEqual(findPlace(groups, views, 'g1-1'), { group: 'g1', replaces: 1, needAt: undefined });
  assert.deepEqual(findPlace(groups, views, 'g1-1', 'g2'), { group: 'g2', replaces: undefined, needAt: undefined });
});

test('assignment - a join is declined when others came first, and not when only draining ones are more', () => {
  const membersAfter = (states: string, needAt: number | undefined) =>
    join(viewOf('g1', states), candidateOf('s'), 9, { replaces: undefined, needAt }).members.length;
  assert.equal(membersAfter('aa', 1), 2);
  assert.equal(membersAfter('aj', 1), 2);
  assert.equal(membersAfter('add', 1), 4);
  assert.equal(membersAfter('', 1), 1, 'fewer than thought is no reason');
  assert.equal(membersAfter('aaaa', undefined), 5, 'a group that was asked for is not chosen by need');
});

interface Joins {
  readonly list: { readonly candidate: Candidate; readonly place: Place }[];
  /** `views[n]`: after n joins were applied. */
  readonly views: View[];
  applied: number;
}

/**
 * Choosers that take their steps in an order of the seed's choice: every read, every append and every answer may come at any moment.
 * Joins go into one ordered list a group, as in its log, and are judged where they are applied; what is read is a
 * mirror, which shows what was applied so far.
 */
function race(seed: number, weights: readonly number[], choosers: number): { sizes: number[]; attempts: number } {
  const prng = new Prng(seed);
  const groups = groupsOf(...weights);
  const logs = new Map(
    groups.map(({ id }): [string, Joins] => [id, { list: [], views: [emptyView(birthOf(id))], applied: 0 }]),
  );
  const logOf = (id: string) => {
    const log = logs.get(id);
    assert.ok(log);
    return log;
  };
  let attempts = 0;
  const applyOne = (id: string): void => {
    const log = logOf(id);
    const next = log.list[log.applied];
    if (next === undefined) return;
    log.views.push(join(log.views[log.applied], next.candidate, log.applied, next.place));
    log.applied++;
  };
  function* chooser(server: string): Generator<void> {
    const candidate = candidateOf(server);
    for (;;) {
      attempts++;
      const views = new Map<string, View>();
      for (const { id } of prng.chance(1, 2) ? groups : [...groups].reverse()) {
        yield;
        const { views: mirrored } = logOf(id);
        views.set(id, mirrored[mirrored.length - 1]);
      }
      const place = findPlace(groups, views, server);
      assert.ok(place);
      yield;
      const log = logOf(place.group);
      const at = log.list.push({ candidate, place });
      while (log.applied < at) {
        yield;
        applyOne(place.group);
      }
      if (log.views[at].members.some((member) => isLifeOf(member, candidate))) return;
    }
  }
  const waiting = Array.from({ length: choosers }, (_, index) => chooser(`s${index}`));
  while (waiting.length > 0) {
    const at = prng.below(waiting.length);
    if (waiting[at].next().done) waiting.splice(at, 1);
  }
  return { sizes: groups.map(({ id }) => logOf(id).views.at(-1)?.members.length ?? 0), attempts };
}

test('assignment - however the reads and writes of choosers interleave, sizes differ by at most one', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 20 }), (seed, groups, choosers) => {
      const { sizes, attempts } = race(seed, new Array(groups).fill(100), choosers);
      assert.equal(
        sizes.reduce((sum, size) => sum + size, 0),
        choosers,
      );
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, `${sizes}`);
      // A decline means that somebody else got in.
      assert.ok(attempts <= (choosers * (choosers + 1)) / 2, `${attempts} attempts of ${choosers}`);
    }),
    { numRuns: 300 },
  );
});

test('assignment - with weights, nobody joined a group while another one was more in need', () => {
  const weight = fc.integer({ min: 1, max: 65_535 });
  fc.assert(
    fc.property(
      fc.nat(),
      fc.array(weight, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 20 }),
      (seed, weights, choosers) => {
        const { sizes } = race(seed, weights, choosers);
        for (let one = 0; one < sizes.length; one++) {
          for (let other = 0; other < sizes.length; other++) {
            if (sizes[one] === 0) continue;
            // When the last one joined `one`, it had no more members for its weight than `other` has now.
            assert.ok((sizes[one] - 1) * weights[other] <= sizes[other] * weights[one], `${sizes} by ${weights}`);
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('assignment - a standby has to have somebody to stand for', () => {
  const member = (server: string, standsFor?: readonly string[]): Member => ({
    ...{ server, incarnation: 1, number: 0, state: 'active', weight: 100, base: 100, flows: 0 },
    ...(standsFor === undefined ? {} : { standsFor }),
  });
  const view = (...members: readonly Member[]): View => ({ ...emptyView(birthOf('g1')), number: 1, members });
  const all = { server: 'x', standsFor: [] };
  const one = { server: 'x', standsFor: ['a'] };
  assert.equal(standbyProblem('g1', view(), { server: 'x' }), undefined);
  assert.match(standbyProblem('g1', undefined, all) ?? '', /^group g1 has 0 servers and 0 standbys: standby x would/);
  assert.match(standbyProblem('g1', view(), one) ?? '', /0 servers/);
  assert.equal(standbyProblem('g1', view(member('a')), one), undefined);
  assert.equal(standbyProblem('g1', view(member('a')), all), undefined);
  assert.equal(standbyProblem('g1', view(member('a'), member('x', [])), all), undefined, 'its own former life');
  assert.match(standbyProblem('g1', view(member('a'), member('y', [])), all) ?? '', /1 server and 1 standby:/);
  assert.equal(standbyProblem('g1', view(member('a'), member('y', ['b'])), one), undefined);
});
