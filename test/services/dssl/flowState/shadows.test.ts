// Flows that a shadow keeps, one call after the other: what is asked, what waits, and what a state that comes is good for.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Shadows } from '../../../../services/dssl/flowState/shadows.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { type WrittenKeeper, writtenKeeper } from '../../../support/writtenKeeper.ts';

const hi = 7;

class Case {
  readonly keeper: WrittenKeeper = writtenKeeper();
  readonly shadows = new Shadows(this.keeper);
  readonly owner: string | undefined = 'a';
  nowMs = 0;

  packet(lo: number, position: number, bytes = 10): void {
    const place = { epoch: 1, position };
    const run = { data: new Uint8Array(bytes).fill(position), timestampMs: position, tier1Id: 't1', place };
    this.shadows.packet(run, position, 0, bytes, hi, lo, 0, 3);
    this.shadows.endRun();
  }

  /** Flows asked for at this position, by their lower halves. */
  ask(position: number): number[] {
    const serverOf = () => this.owner;
    const questions = this.shadows.questions({ position, nowMs: this.nowMs, owners: [], serverOf });
    return questions.flatMap(({ flows }) => [...flows].filter((_, at) => at % 2 === 1));
  }

  state(lo: number, text: string, position: number): void {
    this.shadows.onState(hi, lo, Buffer.from(text), position, this.nowMs);
  }
}

test('shadows - a flow that begins is fed, and its state is taken with all of its packets', () => {
  const one = new Case();
  one.shadows.started(hi, 1, 5, 20);
  one.packet(1, 20);
  one.packet(1, 21);
  assert.deepEqual(one.ask(21), []);
  assert.deepEqual(one.shadows.take(hi, 1, 21), { bytes: Buffer.from('1'), position: 21 });
  assert.deepEqual(one.keeper.calls, ['+1 new', '1: 20', '1: 21', 'save 1', 'drop 1']);
  assert.deepEqual([one.shadows.size, one.shadows.take(hi, 1, 22)], [0, undefined]);
});

test('shadows - of a flow in mid-life the state is asked for; what it has is passed over, and what came behind it was waiting', () => {
  const one = new Case();
  one.packet(1, 20);
  one.packet(1, 21);
  assert.deepEqual(one.ask(21), [1]);
  for (const position of [22, 23, 24]) one.packet(1, position);
  one.state(1, 'too old', 20);
  assert.deepEqual([one.keeper.calls, one.shadows.coldFlows], [[], 1]);
  one.state(1, 'state', 23);
  assert.deepEqual(one.keeper.calls, ['+1 promoted', 'load 1 state', '1: 24']);
  one.state(1, 'a second time', 30);
  one.packet(1, 25);
  assert.deepEqual(one.keeper.calls.slice(3), ['1: 25']);
});

test('shadows - an owner that is further on: what it has seen is passed over, be it a packet, an end or a beginning', () => {
  const one = new Case();
  one.packet(1, 20);
  one.ask(20);
  one.state(1, 'state', 30);
  one.packet(1, 25);
  assert.equal(one.shadows.end(hi, 1, 27), undefined);
  one.shadows.started(hi, 1, 0, 28);
  one.packet(1, 30);
  one.packet(1, 31);
  assert.deepEqual(one.keeper.calls, ['+1 promoted', 'load 1 state', '1: 31']);
  assert.equal(one.shadows.end(hi, 1, 32)?.position, 32);
});

test('shadows - a flow that begins anew while its former state is asked for is fed from its beginning', () => {
  const one = new Case();
  one.packet(1, 20);
  one.ask(20);
  one.packet(1, 21);
  assert.equal(one.shadows.end(hi, 1, 22), undefined);
  one.shadows.started(hi, 1, 0, 22);
  one.packet(1, 22);
  one.state(1, 'of the former one', 22);
  assert.deepEqual(one.keeper.calls, ['+1 new', '1: 22']);
});

test('shadows - without an answer it is asked again, some times, and much later anew', () => {
  const one = new Case();
  one.packet(1, 20);
  for (let ask = 0; ask < limits.flowStateAsks; ask++) {
    assert.deepEqual(one.ask(20 + ask), [1]);
    assert.deepEqual(one.ask(20 + ask), []);
    one.nowMs += limits.flowStateAskMs;
  }
  assert.deepEqual([one.ask(40), one.shadows.counters.givenUp, one.shadows.coldFlows], [[], 1, 1]);
  one.nowMs += limits.flowStateColdMs;
  assert.deepEqual(one.ask(50), [1]);
  one.shadows.onState(hi, 1, 'foreign', 50, one.nowMs);
  assert.deepEqual(one.ask(51), [1]);
  one.shadows.onState(hi, 1, 'nothing', 51, one.nowMs);
  one.packet(1, 52);
  assert.deepEqual(one.keeper.calls, ['+1 promoted', '1: 52']);
  assert.equal(one.shadows.coldFlows, 0);
});

test('shadows - what waits is bounded: a flow without room is asked for again from there', () => {
  const one = new Case();
  one.packet(1, 20);
  one.ask(20);
  const half = limits.flowStateBufferBytes / 2;
  for (const position of [21, 22, 23]) one.packet(1, position, half);
  assert.equal(one.shadows.counters.unbuffered, 1);
  one.state(1, 'of the first question', 22);
  assert.deepEqual(one.keeper.calls, []);
  assert.deepEqual(one.ask(23), [1]);
  one.state(1, 'state', 23);
  one.packet(1, 24);
  assert.deepEqual(one.keeper.calls, ['+1 promoted', 'load 1 state', '1: 24']);
});

test('shadows - flows of which somebody else has come to stand behind, and all of them at once, are forgotten', () => {
  const one = new Case();
  one.shadows.started(hi, 1, 0, 20);
  one.shadows.started(hi, 2, 0, 20);
  one.packet(3, 20);
  one.shadows.lose(hi, 1);
  assert.equal(one.shadows.size, 2);
  one.shadows.clear();
  assert.deepEqual([one.shadows.size, one.shadows.coldFlows, one.ask(20)], [0, 0, []]);
  assert.deepEqual(one.keeper.calls.slice(2), ['drop 1', 'drop 2']);
});
