// The ledger of a run in which servers die: what their heirs get, they may have had themselves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Answer, Ledger } from '../../../services/loadgen/ledger.ts';

test('ledger - what the heir of a dead server has, the dead one may have too, in whatever order they say so', () => {
  const ledger = new Ledger({ capacity: 64, graceMs: 100, onMove: () => undefined });
  const [first, second, third, fourth] = [1, 2, 3, 4].map(() => {
    const row = ledger.flows.sends(1, 0, false, () => ({ hi: 0, lo: 1, typeOne: true, starts: true }));
    const id = ledger.add(row, 0, false, false);
    ledger.handedOver(id, 0);
    return id;
  });
  assert.equal(ledger.accept(first, 1, 1, 1), Answer.once);
  assert.equal(ledger.accept(first, 1, 2, 2, true), Answer.repeat);
  assert.equal(ledger.accept(second, 1, 2, 2, true), Answer.once);
  assert.equal(ledger.accept(second, 1, 1, 3), Answer.repeat);
  assert.equal(ledger.accept(third, 1, 2, 3, true), Answer.once);
  assert.equal(ledger.accept(fourth, 1, 1, 3), Answer.once);
  assert.equal(ledger.accept(fourth, 1, 2, 3), Answer.double);
  ledger.settleAll();
  assert.deepEqual([ledger.acceptedOnce, ledger.repeats, ledger.double], [1, 2, 1]);
});

test('ledger - a flow that goes on elsewhere has waited since the oldest packet that nobody took', () => {
  const gaps: (number | undefined)[] = [];
  const again: boolean[] = [];
  const onMove = (_from: number, _to: number, _nowMs: number, gapMs: number | undefined, isAgain: boolean) => {
    gaps.push(gapMs);
    again.push(isAgain);
  };
  const ledger = new Ledger({ capacity: 64, graceMs: 10_000, onMove });
  const send = (nowMs: number) => {
    const row = ledger.flows.sends(1, nowMs, false, () => ({ hi: 0, lo: 1, typeOne: false, starts: true }));
    const id = ledger.add(row, 0, false, false);
    ledger.handedOver(id, nowMs);
    return id;
  };
  ledger.accept(send(0), 1, 1, 5);
  // Silent for a second: nothing waits.
  const [lost, repeated, replayed] = [send(1_000), send(1_100), send(1_200)];
  ledger.accept(repeated, 1, 2, 1_900, true);
  assert.deepEqual(gaps, [900], `since ${lost}`);
  ledger.accept(replayed, 1, 2, 1_900, true);
  assert.equal(ledger.flows.waitsSince[0], Number.NaN, 'nothing waits any more');
  const [, next] = [send(3_000), send(3_050)];
  ledger.accept(next, 1, 3, 3_400);
  assert.deepEqual(
    [gaps, again],
    [
      [900, 400],
      [false, true],
    ],
  );
});
