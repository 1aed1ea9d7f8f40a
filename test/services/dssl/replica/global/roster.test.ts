// Server numbers: by the order of joins, and given again only when nothing can mean the former life any more.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noServer, serverNumbers } from '../../../../../services/dssl/replica/flows/entry.ts';
import { Roster } from '../../../../../services/dssl/replica/global/roster.ts';
import { lifeOf } from '../support.ts';

/** All numbers taken, by lives that joined at the position of their number. */
function fullRoster(): Roster {
  const roster = new Roster(900_000);
  for (let number = 0; number < serverNumbers; number++) {
    assert.equal(roster.next(0), number);
    roster.add(lifeOf(`s${number}`), number, number + 1);
  }
  return roster;
}

test('roster - the n-th life that joins is number n', () => {
  const roster = new Roster(900_000);
  for (const [number, life] of [lifeOf('b'), lifeOf('a'), lifeOf('b', 2)].entries()) {
    roster.add(life, roster.next(0), 10);
    assert.equal(roster.numberOf(life), number);
    assert.equal(roster.entry(number)?.server, life.server);
  }
  assert.equal(roster.numberOf(lifeOf('c')), noServer);
});

test('roster - a number is given again when all are taken and its life has been gone for long, the longest gone first', () => {
  const roster = fullRoster();
  assert.equal(roster.next(1e9), noServer);
  roster.gone(7, 2_000);
  roster.gone(9, 1_000);
  roster.gone(8, 1_000);
  assert.equal(roster.next(1_000 + roster.reuseAfterMs), noServer);
  assert.equal(roster.next(1_001 + roster.reuseAfterMs), 8, 'of two that went together the smaller one');
  roster.add(lifeOf('new'), 8, 5_000);
  assert.equal(roster.numberOf(lifeOf('s8')), noServer);
  assert.equal(roster.numberOf(lifeOf('new')), 8);
  assert.equal(roster.next(1_001 + roster.reuseAfterMs), 9);
  assert.equal(roster.entry(8)?.goneMs, undefined);
});

test('roster - restored it is the same, and what cannot be is refused', () => {
  const roster = new Roster(900_000);
  roster.add(lifeOf('a'), 0, 3);
  roster.add(lifeOf('b'), 1, 4);
  roster.gone(0, 77);
  const restored = new Roster(900_000);
  assert.ok(restored.restore(roster.entries()));
  assert.deepEqual(restored.entries(), roster.entries());
  assert.equal(restored.fingerprint, roster.fingerprint);
  restored.gone(1, 78);
  assert.notEqual(restored.fingerprint, roster.fingerprint);
  const [first, second] = roster.entries();
  assert.equal(new Roster(900_000).restore([second]), false);
  assert.equal(new Roster(900_000).restore([first, { ...first, number: 1 }]), false);
});
