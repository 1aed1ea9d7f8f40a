// Flows kept as their owners had them: what an answer says about those that are not in it, and what comes from the log before a state is used.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Checkpoints } from '../../../../services/dssl/flowState/checkpoints.ts';
import { EndedFlows } from '../../../../services/dssl/flowState/ended.ts';
import type { TakenState } from '../../../../services/dssl/flowState/ways.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { type WrittenKeeper, writtenKeeper } from '../../../support/writtenKeeper.ts';

const hi = 7;
const owner = 5;

class Case {
  readonly keeper: WrittenKeeper = writtenKeeper();
  readonly ended = new EndedFlows<TakenState>();
  readonly checkpoints = new Checkpoints(this.keeper, (flowHi, lo) => this.ended.peek(flowHi, lo));

  state(lo: number, text: string | undefined, position: number): void {
    const state = text === undefined ? 'nothing' : Buffer.from(text);
    this.checkpoints.onState(hi, lo, state, position, 0, owner);
  }

  feed(lo: number, due: number): void {
    const run = {
      data: new Uint8Array(10).fill(due),
      timestampMs: due,
      tier1Id: 't1',
      place: { epoch: 1, position: due },
    };
    this.checkpoints.feed(run, 0, 10, hi, lo, 0, 0, due);
  }

  take(lo: number): string | undefined {
    const taken = this.checkpoints.take(hi, lo);
    return taken === undefined ? undefined : `${Buffer.from(taken.bytes ?? []).toString()} ${taken.position}`;
  }
}

test('checkpoints - a state is good up to its position, and to where the owner says that it is the last one', () => {
  const one = new Case();
  one.state(1, 'one', 20);
  one.state(2, 'two', 20);
  assert.equal(one.checkpoints.stateAt(hi, 1), 20);
  one.checkpoints.onAnswer(owner, 30);
  one.state(2, 'two more', 40);
  one.state(2, 'late', 35);
  assert.deepEqual([one.checkpoints.stateAt(hi, 1), one.checkpoints.stateAt(hi, 2)], [30, 40]);
  one.checkpoints.onAnswer(owner, 25);
  assert.equal(one.checkpoints.stateAt(hi, 1), 30);
  assert.equal(one.checkpoints.stateAt(hi, 3), undefined);
  assert.deepEqual([one.take(1), one.take(2), one.take(3)], ['one 30', 'two more 40', undefined]);
  assert.deepEqual(one.keeper.calls, []);
});

test('checkpoints - what came behind a state is given to the shadow, and the state is taken from there', () => {
  const one = new Case();
  one.state(1, 'one', 20);
  for (const due of [19, 20, 21, 22]) one.feed(1, due);
  assert.equal(one.take(1), 'one 20');
  assert.deepEqual(one.keeper.calls, ['+1 promoted', 'load 1 one', '1: 21', '1: 22', 'save 1', 'drop 1']);
});

test('checkpoints - a flow whose beginning was seen has nothing, and all of its packets are to come', () => {
  const one = new Case();
  one.checkpoints.started(hi, 1, 0, 20, owner);
  assert.equal(one.checkpoints.stateAt(hi, 1), 19);
  one.feed(1, 20);
  assert.deepEqual(one.keeper.calls, ['+1 new', '1: 20']);
});

test('checkpoints - an owner that is further on: what has come from it is not undone by what it had seen', () => {
  const one = new Case();
  one.state(1, 'of the second flow', 30);
  assert.equal(one.checkpoints.end(hi, 1, 25), undefined);
  one.checkpoints.started(hi, 1, 0, 26, owner);
  one.checkpoints.lose(hi, 1, 28);
  assert.equal(one.checkpoints.stateAt(hi, 1), 30);
  one.checkpoints.lose(hi, 1, 31);
  assert.equal(one.checkpoints.size, 0);
});

test('checkpoints - a flow that has ended can be made whole yet', () => {
  const one = new Case();
  one.state(1, 'one', 20);
  const taken = one.checkpoints.end(hi, 1, 25);
  assert.ok(taken !== undefined);
  one.ended.add({ hi, lo: 1, owner, position: 25, reason: 0, timestampMs: 0 }, taken);
  assert.equal(one.checkpoints.stateAt(hi, 1), 20);
  one.ended.removed(owner, 10);
  one.feed(1, 22);
  const [{ kept }] = one.ended.takeAll();
  assert.deepEqual(
    [kept.bytes, kept.bytes, one.keeper.calls],
    [Buffer.from('one'), Buffer.from('one'), ['+1 promoted', 'load 1 one', '1: 22', 'save 1', 'drop 1']],
  );
});

test('checkpoints - each owner is asked now and then, for what has changed since its last answer; seldom where there are many', () => {
  const one = new Case();
  const ask = (nowMs: number, count = 2) => {
    const owners = Array.from({ length: count }, (_, at) => ({ server: `s${at}`, number: owner + at }));
    return one.checkpoints.questions({ position: 50, nowMs, owners, serverOf: () => undefined });
  };
  const said = (nowMs: number, count?: number) => ask(nowMs, count).map(({ server, since }) => `${server} ${since}`);
  assert.deepEqual(said(0), ['s0 0', 's1 0']);
  one.checkpoints.onAnswer(owner, 30);
  assert.deepEqual(said(limits.checkpointMs - 1), []);
  assert.deepEqual(said(limits.checkpointMs), ['s0 30', 's1 0']);
  assert.deepEqual(said(2 * limits.checkpointMs, 10 * limits.checkpointMembers), []);
  one.checkpoints.clear();
  assert.deepEqual(said(3 * limits.checkpointMs), ['s0 0', 's1 0']);
});

test('ended flows - they are kept until their owner has said that it was done with them, and are due when it goes without', () => {
  const ended = new EndedFlows<string>();
  const add = (lo: number, position: number, by = owner) =>
    ended.add({ hi, lo, owner: by, position, reason: 0, timestampMs: 0 }, `${lo} ${position}`);
  for (const position of [10, 11, 12]) add(position, position);
  add(10, 13);
  add(14, 14, 6);
  ended.handled(owner, 11);
  assert.deepEqual([ended.peek(hi, 10), ended.peek(hi, 11), ended.peek(hi, 12)], ['10 13', undefined, '12 12']);
  ended.removed(owner, 12);
  assert.ok(ended.isDue && ended.isDueFlow(hi, 10) && !ended.isDueFlow(hi, 12) && !ended.isDueFlow(hi, 14));
  assert.equal(ended.take(hi, 14), undefined);
  ended.removed(6, 0);
  assert.equal(ended.take(hi, 14), '14 14');
  assert.deepEqual(
    ended.takeAll().map(({ kept }) => kept),
    ['10 13'],
  );
  assert.deepEqual([ended.isDue, ended.peek(hi, 10)], [false, undefined]);
  for (let lo = 0; lo <= limits.endedFlowStates; lo++) add(lo, 20);
  assert.equal(ended.overflowed, 1);
});
