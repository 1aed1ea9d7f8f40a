// The steps of a server from one group to another, whatever order its groups' views come in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nextSteps, type Seat } from '../../../../services/dssl/member/moving.ts';
import type { MemberPhase } from '../../../../services/dssl/member/standing.ts';

const seat = (group: string, phase: MemberPhase, parts: Partial<Seat> = {}): Seat => ({
  group,
  phase,
  movesTo: undefined,
  cameFrom: undefined,
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
  assert.deepEqual(nextSteps([a, seat('B', 'active', { cameFrom })]), [{ kind: 'drain', group: 'A' }]);
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
  assert.deepEqual(nextSteps([home, back]), [{ kind: 'drain', group: 'B' }]);
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

test('moving - a server that is in several groups from the beginning stays in all of them', () => {
  assert.deepEqual(nextSteps([seat('A', 'active'), seat('B', 'active')]), []);
});

/** Groups that do at once what is asked of them: where each seat stands afterwards. */
function settle(first: readonly Seat[]): readonly Seat[] {
  let seats = first;
  for (let rounds = 0; rounds < 50; rounds++) {
    const steps = nextSteps(seats);
    const next = seats.map((each): Seat => {
      const step = steps.find(({ group }) => group === each.group);
      if (each.phase === 'outside') return { ...each, phase: 'joining' };
      if (each.phase === 'joining') return { ...each, phase: 'active' };
      if (step?.kind === 'drain') return { ...each, phase: 'draining' };
      if (step?.kind !== 'move') return each.phase === 'draining' ? { ...each, phase: 'left' } : each;
      return step.to === each.group ? { ...each, phase: 'active', movesTo: undefined } : { ...each, movesTo: step.to };
    });
    const joins = steps.flatMap((step) =>
      step.kind === 'join' ? [seat(step.to, 'outside', { cameFrom: step.group })] : [],
    );
    const here = [...next, ...joins].filter(({ phase }) => phase !== 'left');
    if (steps.length === 0 && here.length === seats.length && here.every((each, at) => each.phase === seats[at].phase))
      return here;
    seats = here;
  }
  throw new Error(`it never settles: ${JSON.stringify(seats)}`);
}

test('moving - whatever it has been sent to, it comes to rest, active where it is and nowhere on its way', () => {
  const groups = ['A', 'B', 'C'];
  const anyGroup = fc.option(fc.constantFrom(...groups), { nil: undefined });
  const phases = fc.constantFrom<MemberPhase[]>('outside', 'joining', 'active', 'draining');
  const anySeat = fc.record({
    group: fc.constantFrom(...groups),
    phase: phases,
    movesTo: anyGroup,
    cameFrom: anyGroup,
  });
  const anySeats = fc.uniqueArray(anySeat, { selector: ({ group }) => group, minLength: 1 });
  const property = fc.property(anySeats, (drawn) => {
    const seats = drawn.map(({ group, phase, movesTo, cameFrom }) => {
      const isIn = phase === 'active' || phase === 'draining';
      const goesTo = isIn && movesTo !== group ? movesTo : undefined;
      const other = cameFrom === group ? undefined : cameFrom;
      // It drains because it goes elsewhere.
      return seat(group, goesTo === undefined && isIn ? 'active' : phase, { movesTo: goesTo, cameFrom: other });
    });
    for (const { phase, movesTo } of settle(seats)) assert.deepEqual([phase, movesTo], ['active', undefined]);
  });
  fc.assert(property, { numRuns: 3_000 });
});
