// Standbys: who stands behind whom, who takes whose place, and what becomes of the server that comes back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStandby, placeOf, standbysOf, takesFlows } from '../../../shared/membership/standbys.ts';
import {
  activate,
  drain,
  isSpare,
  join,
  type Life,
  leave,
  remove,
  reweigh,
} from '../../../shared/membership/transitions.ts';
import {
  type AvailabilityName,
  defaultRules,
  emptyView,
  findMember,
  type View,
} from '../../../shared/membership/view.ts';

type Step = (view: View) => View;

const life = (server: string, incarnation = 1): Life => ({ server, incarnation });
let numbers = 0;

function joins(server: string, standsFor?: readonly string[], incarnation = 1): Step {
  return (view) => {
    const replaces = findMember(view, server)?.incarnation;
    const candidate = { ...life(server, incarnation), weight: 50, ...(standsFor === undefined ? {} : { standsFor }) };
    return join(view, candidate, ++numbers, { replaces, needAt: undefined });
  };
}

function comes(server: string, standsFor?: readonly string[], incarnation = 1): Step {
  return (view) => activate(joins(server, standsFor, incarnation)(view), life(server, incarnation));
}

const dies =
  (server: string, by: string): Step =>
  (view) => {
    const author = findMember(view, by);
    const gone = findMember(view, server);
    return author === undefined || gone === undefined ? view : remove(view, gone, author);
  };

function groupOf(availability: AvailabilityName, ...steps: readonly Step[]): View {
  const rules = { ...defaultRules, availability };
  const born = emptyView({ group: 'g1', placement: 'rendezvous', seed: 1, rules });
  return steps.reduce((view, step) => step(view), born);
}

/** `a`: takes flows; `b~a`: stands by for a; `b~`: for all; `b=a`: in the place of a. Behind it who stands behind each. */
function told(view: View): string {
  const standbys = standbysOf(view);
  const words = view.members.map(({ server, standsFor, inPlaceOf, number, state }) => {
    const role = standsFor === undefined ? '' : `~${standsFor.join('+')}`;
    const place = inPlaceOf === undefined ? '' : `=${inPlaceOf}`;
    const behind = standbys.get(number);
    return `${state === 'active' ? '' : `${state} `}${server}${role}${place}${behind === undefined ? '' : ` (${behind.server})`}`;
  });
  return words.sort().join(', ');
}

test('standbys - active-passive: a standby stands behind the server that it names, and takes its place', () => {
  const view = groupOf('active-passive', comes('a'), comes('b'), comes('c', ['a']), joins('d', ['b']));
  assert.equal(told(view), 'a (c), b, c~a, joining d~b');
  assert.equal(told(dies('a', 'b')(view)), 'b, c=a, joining d~b');
  assert.deepEqual(
    [findMember(view, 'c')?.weight, findMember(dies('a', 'b')(view), 'c')?.weight, findMember(view, 'c')?.base],
    [0, 50, 0],
  );
  assert.equal(told(dies('b', 'a')(view)), 'a (c), c~a, joining d~b');
});

test('standbys - who comes back finds its place taken, stands by, and takes it again only when it is free', () => {
  const first = groupOf('active-passive', comes('a'), comes('b'), comes('c', ['a']), dies('a', 'b'));
  const back = comes('a', undefined, 2)(first);
  assert.equal(told(back), 'a~a, b, c=a (a)');
  assert.equal(told(dies('c', 'b')(back)), 'a, b');
  assert.equal(told(comes('c', ['a'], 2)(dies('c', 'b')(back))), 'a (c), b, c~a');
});

test('standbys - a life that takes the place of one nobody had missed stands by, too', () => {
  const view = groupOf('active-passive', comes('a'), comes('c', ['a']), joins('a', undefined, 2));
  assert.equal(told(view), 'c=a, joining a~a');
  const alone = groupOf('active-passive', comes('a'), joins('c', ['a']), joins('a', undefined, 2));
  assert.equal(told(alone), 'joining a, joining c~a');
});

test('standbys - a server that drains is followed at once by its own standby; its flows stay, with that one behind them', () => {
  const view = groupOf('active-passive', comes('a'), comes('b'), comes('c', ['a']), (view) => drain(view, life('a')));
  assert.equal(told(view), 'b, c=a, draining a (c)');
  assert.equal(told(leave(view, life('a'))), 'b, c=a');
  assert.equal(told(dies('a', 'b')(view)), 'b, c=a');
});

test('standbys - n-plus-m: standbys share the servers evenly, one takes the place of each that dies, and none of one that leaves', () => {
  const view = groupOf('n-plus-m', comes('a'), comes('b'), comes('c'), comes('d'), comes('x', []), comes('y', []));
  assert.equal(told(view), 'a (x), b (y), c (x), d (y), x~ (y), y~ (x)');
  const one = dies('c', 'a')(view);
  assert.equal(told(one), 'a (y), b (y), d (y), x=c (y), y~');
  const two = dies('d', 'a')(one);
  assert.equal(told(two), 'a, b, x=c, y=d');
  assert.equal(told(comes('d', undefined, 2)(two)), 'a (d), b (d), d~, x=c (d), y=d (d)');
  assert.equal(told(leave(view, life('a'))), 'b (x), c (y), d (x), x~ (y), y~ (x)');
});

test('standbys - n-plus-m: when the last server leaves or drains, a standby takes flows', () => {
  const view = groupOf('n-plus-m', comes('a'), comes('x', []));
  assert.equal(isSpare(view, life('a')), true);
  assert.equal(told(drain(view, life('a'))), 'draining a (x), x=a');
  assert.equal(told(leave(view, life('a'))), 'x=a');
  assert.equal(told(dies('a', 'x')(view)), 'x=a');
});

test('standbys - where nobody takes flows and nobody is about to, a standby of another server does', () => {
  const view = groupOf('active-passive', comes('a'), comes('d', ['z']));
  assert.equal(told(view), 'a, d~z');
  assert.equal(told(dies('a', 'd')(view)), 'd=z');
  assert.equal(told(drain(view, life('a'))), 'd=a, draining a (d)');
  assert.equal(told(groupOf('active-passive', comes('d', ['z']))), 'd=z');
  assert.equal(told(groupOf('active-passive', comes('d', ['z']), comes('z'))), 'd=z (z), z~z');
  assert.equal(told(groupOf('active-passive', joins('a'), comes('d', ['z']))), 'd~z, joining a');
  assert.equal(told(groupOf('active-passive', joins('a'), comes('d', ['z']), dies('a', 'd'))), 'd=z');
  assert.equal(told(groupOf('active-active', comes('a'), comes('c', ['a']))), 'a', 'no standbys in such a group');
});

test('standbys - policies of weights leave them alone', () => {
  const view = groupOf('n-plus-m', comes('a'), comes('x', []));
  assert.equal(reweigh(view, new Map([['x', 70]])), view);
});

test('standbys - whoever comes, goes, dies and drains: flows are taken as long as somebody may, places are held once', () => {
  const names = ['a', 'b', 'c', 'x', 'y'];
  const step = fc.record({ kind: fc.constantFrom('come', 'die', 'drain', 'leave'), name: fc.constantFrom(...names) });
  const modes = fc.constantFrom('active-passive', 'n-plus-m');
  fc.assert(
    fc.property(modes, fc.array(step, { maxLength: 40 }), (availability, steps) => {
      let view = groupOf(availability, comes('a'));
      let incarnation = 1;
      for (const { kind, name } of steps) {
        const before = view;
        const isStandbyByName = name === 'x' || name === 'y';
        const standsFor = availability === 'n-plus-m' ? [] : [name === 'x' ? 'a' : 'b'];
        const by = view.members.find(({ server }) => server !== name)?.server ?? '';
        const present = findMember(view, name);
        if (kind === 'come' && present === undefined)
          view = comes(name, isStandbyByName ? standsFor : undefined, ++incarnation)(view);
        else if (kind === 'die') view = dies(name, by)(view);
        else if (kind === 'drain' && present !== undefined) view = drain(view, present);
        else if (kind === 'leave' && present !== undefined) view = leave(view, present);
        if (kind === 'die' && before.members.some(takesFlows)) assert.ok(view.members.some(takesFlows));
        const held = view.members.filter(takesFlows).map(placeOf);
        assert.equal(new Set(held).size, held.length, told(view));
        for (const [number, standby] of standbysOf(view)) {
          assert.notEqual(standby.number, number);
          assert.equal(standby.state, 'active');
        }
        for (const member of view.members) if (isStandby(member)) assert.equal(member.weight, 0);
      }
    }),
    { numRuns: 500, seed: 3 },
  );
});
