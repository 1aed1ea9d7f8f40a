// What the benchmark of membership says would be worth nothing if it could not say otherwise: its checks object, and its
// simulation shows removals where there are some. Nothing here measures time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detectMs, gossipOf, pausedGroup } from '../local/gossip.ts';
import { MarkEgress, mark, tally } from '../processes/marks.ts';
import { checkedReport } from './trafficReport.ts';

const report = { double: 0, movedFlows: 0, interrupted: true, problems: [] };

function reportOf(changes: object, exitCode = 0) {
  return checkedReport({ stdout: JSON.stringify({ ...report, ...changes }), messages: [] }, exitCode);
}

test('bench membership - a run counts only when nothing came twice or moved, and it adds up', () => {
  assert.equal(reportOf({}).interrupted, true);
  assert.throws(() => reportOf({ double: 1 }), /1 packets were accepted by two servers/);
  assert.throws(() => reportOf({ movedFlows: 2 }), /2 flows moved/);
  assert.throws(() => reportOf({ problems: ['7 packets were accepted by nobody'] }), /7 packets/);
  assert.throws(() => reportOf({}, 1), /ended with 1/);
  assert.throws(() => checkedReport({ stdout: '', messages: ['no tier 1'] }, 1), /no report:\s+no tier 1/);
});

test('bench marks - a packet that no server got, or more than one, or one twice, shows', () => {
  const reportOf = (...numbers: readonly number[]) => {
    const egress = new MarkEgress();
    const packet = new Uint8Array(64);
    egress.begin(packet);
    for (const number of numbers) {
      mark(new DataView(packet.buffer), packet.length, number, 0);
      egress.add(0, packet.length);
    }
    egress.end();
    return egress.report;
  };
  assert.deepEqual(tally([reportOf(0, 3, 1), reportOf(2, 4, 1_000_000)]), { got: 6, double: 0 });
  assert.deepEqual(tally([reportOf(0, 3), reportOf(3, 4)]), { got: 3, double: 1 });
  assert.deepEqual(tally([reportOf(7, 7), reportOf()]), { got: 1, double: 1 });
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
