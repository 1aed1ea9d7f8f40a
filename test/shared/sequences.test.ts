// Holes in numbered messages, with a bound on who is remembered.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sequences } from '../../shared/sequences.ts';

test('sequences - holes are lost, what comes again is not taken, and senders are told apart', () => {
  const sequences = new Sequences(10);
  for (const [sender, sequence] of [
    ['a', 5],
    ['a', 6],
    ['b', 1],
    ['a', 9],
    ['b', 2],
  ] as const) {
    assert.equal(sequences.arrive(sender, sequence), true);
  }
  assert.equal(sequences.lost, 2, 'a lacks 7 and 8; what came before its 5 is not known');
  assert.equal(sequences.arrive('a', 8), false);
  assert.equal(sequences.arrive('a', 9), false);
  assert.equal(sequences.repeated, 2);
  assert.equal(sequences.arrive('a', 10), true);
  assert.equal(sequences.lost, 2);
});

test('sequences - senders are bounded, and one that was forgotten begins anew', () => {
  const sequences = new Sequences(2);
  for (const sender of ['a', 'b', 'c']) sequences.arrive(sender, 1);
  assert.equal(sequences.arrive('a', 100), true);
  assert.equal(sequences.lost, 0);
  assert.equal(sequences.arrive('c', 3), true);
  assert.equal(sequences.lost, 1);
});
