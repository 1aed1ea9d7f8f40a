// Commands that are wanted: appended at once, again when they have had no effect for a while, and no longer than they are wanted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Proposals } from '../../../../services/dssl/member/proposals.ts';
import type { Command } from '../../../../shared/log/records/command.ts';

const tick: Command = { kind: 'tick', author: { server: 'a', incarnation: 1 }, epoch: 'e' };
const ask: Command = { ...tick, kind: 'ask' };

function proposals() {
  const appended: Command[] = [];
  return { proposals: new Proposals((command) => appended.push(command)), appended };
}

test('proposals - what is wanted all the time is appended twice a second', () => {
  const { proposals: one, appended } = proposals();
  for (let nowMs = 0; nowMs < 2_000; nowMs += 20) one.propose('tick', tick, nowMs);
  assert.equal(appended.length, 4);
  assert.equal(one.appended, 4);
});

test('proposals - two of different names do not wait for each other, two of one name are the same', () => {
  const { proposals: one, appended } = proposals();
  one.propose('remove a', tick, 0);
  one.propose('remove b', tick, 10);
  one.propose('remove a', ask, 20);
  assert.deepEqual(appended, [tick, tick]);
});

test('proposals - what is wanted still after the view has changed is appended at once', () => {
  const { proposals: one, appended } = proposals();
  one.propose('tick', tick, 0);
  one.clear();
  one.propose('tick', tick, 20);
  assert.equal(appended.length, 2);
});

test('proposals - names of long ago are forgotten, those of a moment ago are not', () => {
  const { proposals: one, appended } = proposals();
  for (let number = 0; number < 2_000; number++) one.propose(`remove s${number}`, tick, number);
  assert.equal(appended.length, 2_000);
  one.propose('remove s1999', tick, 2_000);
  assert.equal(appended.length, 2_000);
});
