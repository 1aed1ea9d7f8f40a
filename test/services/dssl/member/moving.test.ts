// The steps of a server from one group to another, whatever order its groups' views come in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nextSteps, type Seat } from '../../../../services/dssl/member/moving.ts';
import type { MemberPhase } from '../../../../services/dssl/member/standing.ts';
import { Prng } from '../../../../shared/base/prng.ts';

const seat = (group: string, phase: MemberPhase, parts: Partial<Seat> = {}): Seat => ({
  group,
  phase,
  movesTo: undefined,
  cameFrom: undefined,
  line: 0,
  isEnding: false,
  ...parts,
});

test('moving - a server joins the other group, drains in its own when it is active there, and nothing is to be done besides', () => {
  const a = seat('A', 'active', { movesTo: 'B' });
  const cameFrom = 'A';
  assert.deepEqual(nextSteps([seat('A', 'active')]), []);
  assert.deepEqual(nextSteps([a]), [{ kind: 'join', group: 'A', to: 'B' }]);
  for (const phase of ['outside', 'joining'] as const)
    assert.deepEqual(nextSteps([a, seat('B', phase, { cameFrom })]), []);
  assert.deepEqual(nextSteps([a, seat('B', 'active', { cameFrom })]), [{ kind: 'drain', group: 'A', to: 'B' }]);
  assert.deepEqual(nextSteps([{ ...a, phase: 'draining' }, seat('B', 'active', { cameFrom })]), []);
  assert.deepEqual(nextSteps([seat('B', 'active', { cameFrom })]), []);
});

test('moving - one that is called back stays: before it has arrived, and when it has', () => {
  const cameFrom = 'A';
  const home = seat('A', 'active');
  assert.deepEqual(nextSteps([home, seat('B', 'joining', { cameFrom })]), [], 'it can be sent back when it is active');
  assert.deepEqual(nextSteps([home, seat('B', 'active', { cameFrom })]), [{ kind: 'move', group: 'B', to: 'A' }]);
  const away = seat('A', 'draining', { movesTo: 'B' });
  const back = seat('B', 'active', { cameFrom, movesTo: 'A' });
  assert.deepEqual(nextSteps([away, back]), [{ kind: 'move', group: 'A', to: 'A' }], 'it takes new flows again');
  assert.deepEqual(nextSteps([home, back]), [{ kind: 'drain', group: 'B', to: 'A' }]);
  assert.deepEqual(nextSteps([{ ...away, isEnding: true }, back]), [], 'it cannot come back where it ends');
});

test('moving - one that is sent on while it moves goes on from where it is active, and one that is sent both ways stays in one', () => {
  const b = seat('B', 'active', { cameFrom: 'A', movesTo: 'C' });
  const a = seat('A', 'draining', { movesTo: 'B' });
  assert.deepEqual(nextSteps([a, b]), [{ kind: 'join', group: 'B', to: 'C' }]);
  assert.deepEqual(nextSteps([seat('A', 'active', { movesTo: 'B' }), seat('B', 'active', { movesTo: 'A' })]), [
    { kind: 'move', group: 'A', to: 'A' },
  ]);
});

test('moving - one that drains comes back also when the group that it drained for has been left again', () => {
  const a = seat('A', 'draining', { movesTo: 'B' });
  assert.deepEqual(nextSteps([a, seat('C', 'active', { cameFrom: 'B' })]), []);
  assert.deepEqual(nextSteps([a, seat('C', 'active', { cameFrom: 'B', movesTo: 'A' })]), [
    { kind: 'move', group: 'A', to: 'A' },
  ]);
});

test('moving - a server that is in several groups from the beginning stays in all of them', () => {
  assert.deepEqual(nextSteps([seat('A', 'active'), seat('B', 'active', { line: 1 })]), []);
  const sent = [seat('A', 'active', { movesTo: 'C' }), seat('B', 'active', { line: 1 })];
  assert.deepEqual(nextSteps(sent), [{ kind: 'join', group: 'A', to: 'C' }]);
});

test('moving - one that is active in several groups and wanted nowhere else goes where it drains for, else back', () => {
  const c = seat('C', 'active', { cameFrom: 'A' });
  const b = seat('B', 'active', { cameFrom: 'A' });
  const aimed = nextSteps([seat('A', 'draining', { movesTo: 'C' }), b, c]);
  assert.deepEqual(aimed, [{ kind: 'move', group: 'B', to: 'C' }], 'it was sent to C while it joined B');
  const home = nextSteps([seat('A', 'active'), b, c]);
  assert.deepEqual(home, [
    { kind: 'move', group: 'B', to: 'A' },
    { kind: 'move', group: 'C', to: 'A' },
  ]);
  assert.deepEqual(nextSteps([b, c]), [{ kind: 'move', group: 'C', to: 'B' }], 'the way back is gone');
});

/** A process and its groups: each step takes its time, an operator sends the server about meanwhile, and in the end nobody does any more. */
function comeToRest(random: () => number, orders: number): readonly Seat[] {
  const groups = ['A', 'B', 'C'];
  const below = (most: number) => Math.floor(random() * most);
  let seats: readonly Seat[] = [seat('A', 'active')];
  const change = (group: string, parts: Partial<Seat>) => {
    seats = seats.map((each) => (each.group === group ? { ...each, ...parts } : each));
  };
  for (let turn = 0, left = orders; turn < 2_000; turn++) {
    if (left > 0 && random() < 0.2) {
      left--;
      const active = seats.filter(({ phase }) => phase === 'active');
      const { group } = active[below(active.length)];
      const to = groups[below(groups.length)];
      change(group, { movesTo: to === group ? undefined : to });
    }
    for (const step of nextSteps(seats)) {
      if (random() < 0.5) continue;
      const { group } = step;
      if (step.kind === 'drain') change(group, { phase: 'draining' });
      else if (step.kind === 'join') seats = [...seats, seat(step.to, 'outside', { cameFrom: group })];
      else change(group, step.to === group ? { phase: 'active', movesTo: undefined } : { movesTo: step.to });
    }
    const { group, phase } = seats[below(seats.length)];
    if (phase === 'outside') change(group, { phase: 'joining' });
    if (phase === 'joining') change(group, { phase: 'active' });
    if (phase === 'draining' && random() < 0.3) seats = seats.filter((each) => each.group !== group);
    if (left === 0 && seats.length === 1 && seats[0].movesTo === undefined && seats[0].phase === 'active') break;
  }
  return seats;
}

test('moving - wherever it is sent in whichever moment, it comes to rest, active in one group and on its way to none', () => {
  const property = fc.property(fc.integer(), fc.integer({ min: 1, max: 12 }), (seed, orders) => {
    const prng = new Prng(seed >>> 0);
    const rest = comeToRest(() => prng.fraction(), orders);
    assert.deepEqual(
      rest.map(({ phase, movesTo }) => [phase, movesTo]),
      [['active', undefined]],
    );
  });
  fc.assert(property, { numRuns: 3_000 });
});
