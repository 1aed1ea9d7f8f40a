// Which epoch is in force, read off commands alone: the same one that the replicas find, also where the front of the log is gone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EpochScout } from '../../../../services/dssl/recovery/scout.ts';
import type { Command, EpochCommand } from '../../../../shared/log/records/command.ts';
import { defaultRules } from '../../../../shared/membership/view.ts';

const self = { server: 'me', incarnation: 9 };
const other = { server: 'a', incarnation: 1 };
const third = { server: 'b', incarnation: 1 };
const birth = { group: 'g1', placement: 'rendezvous', seed: 1, rules: defaultRules } as const;

const epochOf = (id: string, previous: string, parts: Partial<EpochCommand> = {}): EpochCommand => ({
  kind: 'epoch',
  author: other,
  epoch: '',
  id,
  number: 5,
  previous,
  since: 0,
  donor: parts.author ?? other,
  birth,
  ...parts,
});
const empty = (id: string, previous: string, parts: Partial<EpochCommand> = {}) =>
  epochOf(id, previous, { donor: undefined, ...parts });
const tick = (epoch: string, author = other): Command => ({ kind: 'tick', author, epoch });
const ask = (author = self): Command => ({ kind: 'ask', author, epoch: '' });

/** A scout of a log, with the time at which each command comes. */
function scoutOf({ hasFront = true } = {}) {
  const scout = new EpochScout(self, hasFront);
  let position = 0;
  let nowMs = 1_000;
  const on = (command: Command, isEmpty = false, afterMs = 100): boolean => {
    nowMs += afterMs;
    return scout.onCommand(command, ++position, 1_700_000_000_000 + nowMs, nowMs, isEmpty);
  };
  return { scout, on, at: () => position, nowMs: () => nowMs };
}

test('scout - the first epoch is in force, then each that follows it after a silence', () => {
  const { scout, on } = scoutOf();
  assert.equal(scout.inForce, undefined);
  assert.equal(on(epochOf('e1', '')), true);
  assert.equal(on(epochOf('x', 'of-old'), false, 5_000), false, 'it follows another one');
  assert.equal(scout.inForce, 'e1');
  assert.equal(on(epochOf('e2', 'e1', { number: 6 }), false, 5_000), true);
  assert.deepEqual([scout.inForce, scout.number], ['e2', 6]);
  assert.equal(on(epochOf('e2', 'e1', { number: 6 }), false, 5_000), false, 'one that was appended twice counts once');
  assert.equal(on(epochOf('e3', 'e1'), false, 5_000), false, 'of two that race the first counts');
});

test('scout - where the front of the log is gone, commands tell which epoch is in force', () => {
  const { scout, on } = scoutOf();
  on(ask());
  on(tick(''));
  assert.equal(scout.inForce, undefined, 'neither of them names one');
  on(tick('e7'));
  assert.deepEqual([scout.inForce, scout.number], ['e7', 0]);
  assert.equal(on(epochOf('e8', 'e7', { number: 8 }), false, 5_000), true);
});

test('scout - a command of an older epoch that was late does not hide the one in force', () => {
  const { scout, on } = scoutOf();
  on(tick('e6'));
  on(tick('e7'));
  assert.equal(scout.inForce, 'e7');
  assert.equal(on(epochOf('e8', 'e7', { number: 8 }), false, 5_000), true);
  on(tick('e7'));
  assert.equal(scout.inForce, 'e8', 'what an entry has told, no late command changes');
});

test('scout - the first entry of a log without its front is in force until somebody speaks who follows another epoch', () => {
  for (const [hasFront, told] of [
    [true, 'late'],
    [false, 'e4'],
  ] as const) {
    const { scout, on } = scoutOf({ hasFront });
    assert.equal(on(epochOf('late', 'e2', { number: 3 })), true, 'its author did not know of another third one');
    assert.equal(on(epochOf('e4', 'e3', { number: 4, author: third })), false, 'somebody seems to have begun just now');
    on(tick('late', self));
    assert.equal(scout.inForce, 'late');
    on(tick('e4', third));
    assert.equal(scout.inForce, told);
    on(tick('late'));
    assert.equal(scout.inForce, 'late', 'the newest sign tells');
  }
});

test('scout - signs of others are noted, own ones and those of another epoch are none', () => {
  const { scout, on, nowMs, at } = scoutOf();
  on(tick('e1', self));
  assert.equal(scout.signAtMs, undefined);
  on(tick('e1'));
  const signAtMs = nowMs();
  const position = at();
  assert.equal(scout.signAtMs, signAtMs);
  on(epochOf('e2', 'e1', { author: self, donor: self }), false, 100);
  assert.equal(scout.inForce, 'e1', 'somebody spoke a moment ago');
  on(ask());
  assert.deepEqual([scout.signAtMs, scout.signPosition], [signAtMs, position]);
});

test('scout - own asking counts a second apart, and begins again when somebody speaks', () => {
  const { scout, on } = scoutOf();
  on(tick('e1'));
  for (let times = 0; times < 5; times++) on(ask(), false, 1_000);
  assert.equal(scout.asks, 5);
  on(ask(), false, 10);
  assert.equal(scout.asks, 5, 'too soon');
  on(ask(third), false, 1_000);
  assert.equal(scout.asks, 5, 'another one asks for itself');
  on(tick('e1'));
  assert.equal(scout.asks, 0);
});

test('scout - an own empty line needs ten asks in vain, or a group that is known to be empty', () => {
  for (const [asks, isEmpty, counts] of [
    [9, false, false],
    [10, false, true],
    [0, true, true],
    [0, false, false],
  ] as const) {
    const { on, at } = scoutOf();
    on(tick('e1'));
    for (let times = 0; times < asks; times++) on(ask(), false, 1_000);
    const began = on(empty('e2', 'e1', { author: self, since: at() }), isEmpty);
    assert.equal(began, counts, `${asks} asks, ${isEmpty}`);
  }
});

test('scout - nobody begins an empty line over the word of somebody who spoke behind what its author has read', () => {
  for (const author of [self, other]) {
    const { scout, on, at } = scoutOf();
    on(tick('e1'));
    const since = at();
    on(tick('e1', third));
    assert.equal(on(empty('e2', 'e1', { author, since }), true), false);
    assert.equal(scout.inForce, 'e1');
  }
});

test('scout - an empty line of another author counts: it found the group empty by its own look at the store', () => {
  const { scout, on, at } = scoutOf();
  on(epochOf('e1', ''));
  on(tick('e1'));
  // This member's mirror is that of a later epoch by now, and says nothing of the time of the first.
  assert.equal(on(empty('e2', 'e1', { since: at() }), false), true);
  assert.equal(scout.inForce, 'e2');
  on(tick('e2'));
  assert.equal(on(empty('e3', 'e2', { since: at() }), false), true);
  assert.equal(scout.inForce, 'e3');
});
