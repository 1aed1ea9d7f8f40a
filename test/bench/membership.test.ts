// What the benchmark of membership says would be worth nothing if it could not say otherwise: its checks object, and its
// simulation shows removals where there are some. Nothing here measures time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertSame } from './membershipJoin.ts';
import { checkedReport } from './membershipKills.ts';
import { detectMs, gossipOf, pausedGroup } from './membershipSim.ts';

const report = { double: 0, movedFlows: 0, interrupted: true, problems: [] };

function reportOf(changes: object, exitCode = 0) {
  return checkedReport({ stdout: JSON.stringify({ ...report, ...changes }), messages: [] }, exitCode);
}

test('bench membership - a run counts only when nothing came twice or moved, it adds up, and it lasted', () => {
  assert.equal(reportOf({}).interrupted, true);
  assert.throws(() => reportOf({ double: 1 }), /1 packets were accepted by two servers/);
  assert.throws(() => reportOf({ movedFlows: 2 }), /2 flows moved/);
  assert.throws(() => reportOf({ problems: ['7 packets were accepted by nobody'] }), /7 packets/);
  assert.throws(() => reportOf({}, 1), /ended with 1/);
  assert.throws(() => reportOf({ interrupted: false }), /before the last kill/);
  assert.throws(() => checkedReport({ stdout: '', messages: ['no tier 1'] }, 1), /no report:\s+no tier 1/);
});

test('bench membership - a joiner that lacks a flow, or gives it to another server, is found out', () => {
  assertSame({ s1: 500_006, s2: 499_994 }, { s2: 499_994, s1: 500_006 }, 'they');
  assert.throws(
    () => assertSame({ s1: 500_006, s2: 499_994 }, { s1: 500_006, s2: 499_993 }, 'they'),
    /they do not know/,
  );
  assert.throws(() => assertSame({ s1: 500_006, s2: 499_994 }, { s1: 500_005, s2: 499_995 }, 'they'));
  assert.throws(() => assertSame({ s1: 999_999 }, { s1: 999_999 }, 'they'), /the same 1000000 flows/);
});

test('bench membership - pauses that are too long do remove members, and short ones are noticed', () => {
  assert.ok(pausedGroup(120, 3_000).removals > 0);
  const { removals, pauses, suspicions } = pausedGroup(120, 500);
  assert.equal(removals, 0);
  assert.ok(pauses > 500 && suspicions > 0, `${pauses} pauses, ${suspicions} suspicions`);
});

test('bench membership - what is simulated is the same every time', () => {
  assert.deepEqual(detectMs(5), detectMs(5));
  assert.deepEqual(pausedGroup(60, 500), pausedGroup(60, 500));
});

test('bench membership - a member sends ten beats a second and hears those of three others, its own, and the states', () => {
  const { sent, heard, messagesHeard } = gossipOf(10, 5);
  assert.equal(messagesHeard, 50);
  assert.ok(heard > 4 * sent, `${heard} bytes heard, ${sent} sent`);
});
