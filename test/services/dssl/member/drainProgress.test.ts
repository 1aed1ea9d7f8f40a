// How far a drain has come: by the pace at which flows end, by their silence, and never later than the deadline.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DrainProgress } from '../../../../services/dssl/member/drainProgress.ts';
import { FlowState } from '../../../../services/dssl/replica/flows/entry.ts';
import { FlowTable } from '../../../../services/dssl/replica/flows/table.ts';
import { idleTicksOf } from '../../../../services/dssl/replica/idleLimits.ts';
import { ProtocolClass } from '../../../../shared/flow/frameFlags.ts';
import { defaultIdle } from '../../../../shared/membership/idleLimits.ts';

const self = 1;
const other = 2;
const deadlineMs = 3_600_000;
/** Idle limits of established and of closing TCP flows, in seconds. */
const establishedSeconds = 900;
/** A server waits no longer for flows that have ended. */
const closingSeconds = 10;
const idleTicks = idleTicksOf({ ...defaultIdle, 'tcp-established': establishedSeconds });
/** A replica sweeps one of its 256 slices in a tenth of a second. */
const sweepSeconds = 26;

function newDrain() {
  const table = new FlowTable({ maxFlows: 10_000_000, idleTicks });
  const progress = new DrainProgress({ idleTicks, deadlineMs });
  const tables = { selfNumber: self, table };
  let flows = 0;
  const hold = (lastSeenSeconds: number, owner = self, state: FlowState = FlowState.established): void => {
    flows++;
    const [hi, lo] = [Math.imul(flows, 0x9e37_79b1), Math.imul(flows, 0x85eb_ca6b)];
    table.insert(hi, lo, lastSeenSeconds * 10, owner, state, ProtocolClass.TCP);
  };
  const look = (tick: number, nowMs: number): void => progress.look(tables, tick, nowMs);
  return { look, progress, hold };
}

test('drain progress - while flows end, their pace of the last seconds tells when all will have', () => {
  const { progress } = newDrain();
  progress.sample(1_000, 0);
  assert.equal(progress.state(0).expectedEndSeconds, undefined, 'nothing is known yet');
  progress.sample(900, 1_000);
  assert.equal(progress.state(1_000).expectedEndSeconds, 9);
  // It has become slower; the first, fast seconds are forgotten.
  for (let second = 2; second <= 30; second++) progress.sample(900 - second, second * 1_000);
  assert.deepEqual(progress.state(30_000), {
    flowsLeft: 870,
    oldestSeconds: undefined,
    expectedEndSeconds: 870,
    deadlineSeconds: 3_570,
  });
  for (let second = 31; second <= 60; second++) progress.sample(870, second * 1_000);
  assert.equal(progress.state(60_000).expectedEndSeconds, undefined, 'none has ended lately');
});

test('drain progress - what is expected is never later than the deadline, and nothing left is the end', () => {
  const { progress } = newDrain();
  progress.sample(1_000, 0);
  progress.sample(999, 10_000);
  assert.equal(progress.state(10_000).expectedEndSeconds, 3_590);
  assert.equal(progress.state(deadlineMs + 5_000).deadlineSeconds, 0);
  progress.sample(0, 11_000);
  const { flowsLeft, expectedEndSeconds } = progress.state(11_000);
  assert.deepEqual([flowsLeft, expectedEndSeconds], [0, 0]);
});

test('drain progress - silent flows end at their idle limits, and the oldest of the own ones is told', () => {
  const { look, progress, hold } = newDrain();
  hold(100);
  hold(85, self, FlowState.closing);
  hold(5, other);
  progress.sample(2, 0);
  look(120 * 10, 0);
  assert.deepEqual(progress.state(0), {
    flowsLeft: 2,
    oldestSeconds: 35,
    expectedEndSeconds: establishedSeconds - 20 + sweepSeconds,
    deadlineSeconds: 3_600,
  });
  assert.equal(progress.state(60_000).expectedEndSeconds, establishedSeconds - 80 + sweepSeconds, 'time goes on');
  assert.equal(progress.state(1_000_000).expectedEndSeconds, sweepSeconds);
});

test('drain progress - the sooner of pace and silence counts where all are silent', () => {
  const { look, progress, hold } = newDrain();
  hold(100, self, FlowState.closing);
  progress.sample(400, 0);
  progress.sample(399, 10_000);
  look(110 * 10, 10_000);
  assert.equal(progress.state(10_000).expectedEndSeconds, closingSeconds - 10 + sweepSeconds);
});

test('drain progress - flows that go on and do not end may go on for ever: nothing is expected', () => {
  const { look, progress, hold } = newDrain();
  hold(100);
  hold(119);
  for (let second = 0; second < 10; second++) progress.sample(2, second * 1_000);
  look(120 * 10, 9_000);
  assert.deepEqual(progress.state(9_000), {
    flowsLeft: 2,
    oldestSeconds: 20,
    expectedEndSeconds: undefined,
    deadlineSeconds: 3_591,
  });
});

test('drain progress - a large table is looked through in slices, and one pass counts when it is whole', () => {
  const { look, progress, hold } = newDrain();
  for (let flow = 0; flow < 200_000; flow++) hold(100);
  hold(7);
  let looks = 0;
  for (; progress.state(0).oldestSeconds === undefined && looks < 100; looks++) look(1_200, 0);
  assert.ok(looks > 2 && looks < 10, `${looks}`);
  assert.equal(progress.state(0).oldestSeconds, 113);
});
