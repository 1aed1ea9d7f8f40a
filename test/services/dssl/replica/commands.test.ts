// What commands do to a group's agreement, and what is ignored: by all replicas alike, so one of them is looked at.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyCommand } from '../../../../services/dssl/replica/commands.ts';
import { Roster } from '../../../../services/dssl/replica/global/roster.ts';
import { type Command, operatorAuthor } from '../../../../shared/log/records/command.ts';
import type { Life } from '../../../../shared/membership/transitions.ts';
import { defaultRules, emptyView, type View } from '../../../../shared/membership/view.ts';
import { lifeOf } from './support.ts';

type Draft = Command extends infer C ? (C extends Command ? Omit<C, 'author' | 'epoch'> : never) : never;

const [a, b, c] = [lifeOf('a'), lifeOf('b'), lifeOf('c')];

class Group {
  readonly roster = new Roster(900_000);
  view: View;
  timeMs = 0;
  #position = 0;

  constructor(active: readonly Life[] = [a, b], typeOneMethod: 'fig-6' | 'fig-7' = 'fig-7') {
    const rules = { ...defaultRules, typeOneMethod };
    this.view = emptyView({ group: 'g', placement: 'rendezvous', seed: 1, rules });
    for (const life of active) {
      this.join(life);
      this.take(life, { kind: 'activate' });
    }
  }

  /** Whether the command had an effect: then the view's number went up by one. */
  take(author: Life, draft: Draft): boolean {
    const before = this.view;
    const command = { ...draft, author, epoch: '' } as Command;
    this.#position++;
    this.view = applyCommand(this, command, this.#position, this.timeMs);
    assert.equal(this.view.number - before.number, this.view === before ? 0 : 1);
    return this.view !== before;
  }

  join(life: Life, replaces?: number): boolean {
    return this.take(life, { kind: 'join', weight: 100, replaces, needAt: undefined });
  }

  get states(): Record<string, string> {
    return Object.fromEntries(this.view.members.map(({ server, number, state }) => [`${server}${number}`, state]));
  }
}

test('commands - a life joins once, under the next number', () => {
  const group = new Group([a]);
  assert.equal(group.join(a), false);
  assert.equal(group.join(b), true);
  assert.deepEqual(group.states, { a0: 'active', b1: 'joining' });
  assert.equal(group.take(b, { kind: 'leave', life: b }), true);
  assert.equal(group.join(b), false, 'the join was appended twice');
  assert.equal(group.join(lifeOf('b', 2)), true);
  assert.deepEqual(group.states, { a0: 'active', b2: 'joining' });
  assert.equal(group.roster.entry(1)?.goneMs, 0);
  assert.equal(group.join(operatorAuthor), false);
});

test('commands - a new life takes the place of the former one that it names, and of no other', () => {
  const group = new Group();
  group.timeMs = 500;
  assert.equal(group.join(lifeOf('b', 2)), false);
  assert.equal(group.join(lifeOf('b', 3), 2), false);
  assert.equal(group.join(lifeOf('b', 2), 1), true);
  assert.deepEqual(group.states, { a0: 'active', b2: 'joining' });
  assert.equal(group.roster.entry(1)?.goneMs, 500);
  assert.equal(group.roster.entry(2)?.goneMs, undefined);
});

test('commands - who is a joining member may activate itself, and nobody else', () => {
  const group = new Group([a]);
  group.join(b);
  assert.equal(group.take(c, { kind: 'activate' }), false);
  assert.equal(group.take(a, { kind: 'activate' }), false);
  assert.equal(group.take(b, { kind: 'activate' }), true);
  assert.deepEqual(group.states, { a0: 'active', b1: 'active' });
});

test('commands - of two members that remove each other the first one in the log stays', () => {
  const group = new Group();
  assert.equal(group.take(a, { kind: 'remove', life: b, handled: 0 }), true);
  assert.equal(group.take(b, { kind: 'remove', life: a, handled: 0 }), false);
  assert.deepEqual(group.states, { a0: 'active' });
});

test('commands - the last one that takes flows is not removed, nor is anybody by a stranger', () => {
  const group = new Group();
  assert.equal(group.take(c, { kind: 'remove', life: b, handled: 0 }), false);
  assert.equal(group.take(operatorAuthor, { kind: 'remove', life: b, handled: 0 }), false);
  assert.equal(group.take(a, { kind: 'drain', life: a }), true);
  assert.equal(group.take(a, { kind: 'remove', life: b, handled: 0 }), false);
  assert.equal(group.take(b, { kind: 'remove', life: a, handled: 0 }), true);
});

test('commands - a member leaves of its own will, or because an operator says that it is gone', () => {
  const group = new Group([a, b, c]);
  assert.equal(group.take(operatorAuthor, { kind: 'leave', life: c }), true);
  assert.equal(group.take(a, { kind: 'leave', life: b }), false);
  assert.equal(group.take(lifeOf('a', 2), { kind: 'leave', life: a }), false);
  assert.equal(group.take(a, { kind: 'leave', life: a }), true);
  assert.equal(group.take(a, { kind: 'leave', life: a }), false);
});

test('commands - draining, weights, moves and rules are for members and operators', () => {
  const drafts: readonly Draft[] = [
    { kind: 'drain', life: b },
    { kind: 'configure', life: b, weight: 7 },
    { kind: 'move', life: b, to: 'g9' },
    { kind: 'rules', placement: 'maglev', rules: { midFlow: 'adopt', maxFlows: 1_000 } },
  ];
  for (const draft of drafts) {
    const group = new Group();
    assert.equal(group.take(c, draft), false, draft.kind);
    assert.equal(group.take(operatorAuthor, draft), true, draft.kind);
    assert.equal(group.take(a, draft), false, 'it is so already');
    assert.equal(new Group().take(a, draft), true, draft.kind);
  }
  const group = new Group();
  group.take(a, drafts[3]);
  const { placement, rules } = group.view;
  assert.deepEqual([placement, rules.midFlow, rules.maxFlows], ['maglev', 'adopt', 1_000]);
  const weights = new Map([['b', 5]]);
  assert.equal(group.take(operatorAuthor, { kind: 'weigh', weights }), false);
  assert.equal(group.take(a, { kind: 'weigh', weights }), true);
});

test('commands - rules that do not go together are ignored', () => {
  const group = new Group([a], 'fig-6');
  assert.equal(group.take(a, { kind: 'rules', placement: undefined, rules: { midFlow: 'adopt' } }), false);
});

test('commands - ticks and asks change no view', () => {
  const group = new Group();
  assert.equal(group.take(a, { kind: 'tick' }), false);
  assert.equal(group.take(c, { kind: 'ask' }), false);
});
