// A join under way: appended until the log shows what it came to.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Joining } from '../../../../services/dssl/member/joining.ts';
import type { Command } from '../../../../shared/log/records/command.ts';
import { defaultRules, emptyView, type View } from '../../../../shared/membership/view.ts';

const candidate = { server: 'me', incarnation: 5, weight: 30 };
const author = { server: 'me', incarnation: 5 };
const terms = { replaces: 4, needAt: 2 };
const empty = emptyView({ group: 'g1', placement: 'rendezvous', seed: 1, rules: defaultRules });
const withMember = (incarnation: number): View => ({
  ...empty,
  number: 1,
  members: [{ server: 'me', incarnation, number: 0, state: 'joining', weight: 30, base: 30, flows: 0 }],
});

function joining() {
  const appended: Command[] = [];
  const settled: boolean[] = [];
  const joining = new Joining(candidate, (command) => appended.push(command));
  return { joining, appended, settled, begin: () => joining.begin(terms, (joined) => settled.push(joined)) };
}

test('joining - the command carries the terms, and is appended again until something comes of it', () => {
  const { joining: one, appended, settled, begin } = joining();
  one.tick('e1', 0);
  assert.equal(appended.length, 0, 'nobody wants to join yet');
  begin();
  for (let nowMs = 1_000; nowMs <= 1_800; nowMs += 20) one.tick('e1', nowMs);
  assert.equal(appended.length, 3);
  assert.deepEqual(appended[0], { kind: 'join', author, epoch: 'e1', weight: 30, ...terms, standsFor: undefined });
  assert.deepEqual(settled, []);
});

test('joining - it is a member: done, by whichever entry, and nothing more is appended', () => {
  const { joining: one, appended, settled, begin } = joining();
  begin();
  one.tick('e1', 0);
  one.onView(withMember(4), undefined);
  assert.deepEqual(settled, [], 'that is its former life');
  one.onView(withMember(5), undefined);
  one.onView(withMember(5), undefined);
  assert.deepEqual(settled, [true]);
  one.tick('e1', 10_000);
  assert.equal(appended.length, 1);
});

test('joining - its join was applied and had no effect: the terms do not hold', () => {
  const { joining: one, settled, begin } = joining();
  begin();
  one.tick('e1', 0);
  const join: Command = { kind: 'join', author, epoch: 'e1', weight: 30, ...terms };
  one.onView(empty, { ...join, author: { server: 'me', incarnation: 4 } });
  one.onView(empty, { kind: 'tick', author, epoch: 'e1' });
  assert.deepEqual(settled, [], 'that says nothing of it');
  one.onView(empty, join);
  assert.deepEqual(settled, [false]);
});

test('joining - it may be tried again, and cancelled', () => {
  const { joining: one, settled, appended, begin } = joining();
  begin();
  begin();
  assert.deepEqual(settled, [false], 'the first try is over');
  one.tick('e1', 0);
  one.cancel();
  one.cancel();
  one.tick('e1', 5_000);
  assert.deepEqual([settled, appended.length], [[false, false], 1]);
});
