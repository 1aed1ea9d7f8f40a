// What a process makes of its memberships when it looks at them for moves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Life } from '../../../../../services/cli/run/dssl/life.ts';
import { seatOf } from '../../../../../services/cli/run/dssl/seats.ts';
import { nextSteps } from '../../../../../services/dssl/member/moving.ts';
import type { MemberPhase } from '../../../../../services/dssl/member/standing.ts';

const lifeIn = (group: string, phase: MemberPhase, wantsToLeave = false) =>
  ({ actor: { group, phase, standing: { wantsToLeave } } }) as unknown as Life;
const nowhere = { memberOf: undefined, cameFrom: undefined, line: 0, movesTo: undefined };
const home = { ...nowhere, current: lifeIn('g1', 'active'), movesTo: 'g2' };

test('seats - one that has no place yet, or waits for another one, is on its way: it is not begun a second time', () => {
  const arriving = { ...nowhere, memberOf: 'g2', cameFrom: 'g1' };
  for (const current of [undefined, lifeIn('g2', 'outside'), lifeIn('g2', 'joining'), lifeIn('g2', 'left')]) {
    const seats = [...seatOf(home), ...seatOf({ ...arriving, current })];
    assert.deepEqual(
      seats.map(({ group }) => group),
      ['g1', 'g2'],
    );
    assert.deepEqual(nextSteps(seats), []);
  }
  assert.deepEqual(nextSteps([...seatOf(home), ...seatOf({ ...arriving, current: lifeIn('g2', 'active') })]), [
    { kind: 'drain', group: 'g1', to: 'g2' },
  ]);
  assert.deepEqual(nextSteps(seatOf(home)), [{ kind: 'join', group: 'g1', to: 'g2' }]);
});

test('seats - one that looks for a group yet is none, and one that is told to leave goes nowhere', () => {
  assert.deepEqual(seatOf({ ...nowhere, current: undefined }), []);
  assert.deepEqual(nextSteps(seatOf({ ...home, current: lifeIn('g1', 'active', true) })), []);
});
