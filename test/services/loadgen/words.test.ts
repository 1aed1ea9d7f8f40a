// A run's report as people read it, and the line that shows how it goes: nothing wider than the terminal, and nothing left
// out that fails a run.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TrafficReport } from '../../../services/loadgen/report.ts';
import { type Progress, progressLine, trafficInWords } from '../../../services/loadgen/words.ts';

const report: TrafficReport = {
  run: '0000abcd',
  bus: 'nats://127.0.0.1:4222',
  cluster: 'default',
  seed: 1,
  floodPackets: 0,
  sent: 1_000_000,
  acceptedOnce: 999_990,
  nobody: { midFlow: 4, overload: 3 },
  double: 0,
  repeats: 0,
  lost: 3,
  flows: 12_345,
  movedFlows: 0,
  failedOver: 2,
  gapMs: { p50: 812.3, p99: 903.9, max: 1_012 },
  replayed: 411,
  seconds: 10,
  packetsPerSecond: 99_999,
  latencyMs: { p50: 1.5, p99: 9.25 },
  behind: { mostMs: 4, packets: 0 },
  groups: [
    { id: 'g1', servers: 2, packets: 600_000, flows: 7_000, share: 0.6 },
    { id: 'g2', servers: 1, packets: 399_990, flows: 5_345, share: 0.4 },
  ],
  servers: ['frontend-0-7f9c4d5b6-x2x4k', 's2', 's3'].map((id, index) => ({
    id,
    group: index < 2 ? 'g1' : 'g2',
    state: index === 1 ? 'left' : 'there',
    packets: 300_000,
    flows: 3_500,
    share: 0.5,
    flowsNow: 100,
    skippedEntries: 0,
    lostReceipts: 0,
  })),
  tier1s: [
    { id: 'edge-1-0a1b2c3d', state: 'ready', packets: 500_000 },
    { id: 'edge-2-4e5f6a7b', state: 'silent', packets: 500_000 },
  ],
  receipts: { messages: 9_000, lost: 0, late: 0, strange: 0, bad: 0 },
  interrupted: false,
  problems: [],
};

describe('traffic in words', () => {
  it('traffic in words - says of all packets what became of them, and what it comes to', () => {
    const text = trafficInWords(report);
    assert.match(text, /1,000,000 packets of 12,345 flows.*edge-1-0a1b2c3d, edge-2-4e5f6a7b \(fell silent\)/);
    assert.match(text, /^999,990 accepted by exactly one server$/m);
    assert.match(text, /^ {6}0 accepted by more than one server$/m);
    assert.match(text, /^ {6}4 by nobody: in the middle of a flow/m);
    assert.match(text, /^ {6}3 by nobody: dropped at tier 1, which got more/m);
    assert.match(text, /^ {6}3 lost on the way, or the receipts for them were$/m);
    assert.match(text, /^0 flows moved to another server\.$/m);
    assert.match(text, /2 flows went on at another server when theirs had left or died/);
    assert.match(text, /waited for it p50 812\.3 ms, p99 903\.9 ms, at most 1,012 ms/);
    assert.match(text, /^411 packets .* were replayed\.$/m);
    assert.doesNotMatch(trafficInWords({ ...report, gapMs: null, replayed: 0 }), /waited for|replayed/);
    assert.match(text, /It adds up: .* or is accounted for/);
    assert.doesNotMatch(text, /fell behind its schedule/);
  });

  it('traffic in words - a run that was held back, that failed, or that was interrupted', () => {
    assert.match(
      trafficInWords({ ...report, behind: { mostMs: 900, packets: 12 } }),
      /900 ms at the worst; 12 packets/,
    );
    const failed = trafficInWords({ ...report, problems: ['2 packets were accepted by more than one server'] });
    assert.match(failed, /does not add up:\n {2}2 packets were/);
    assert.match(trafficInWords({ ...report, interrupted: true }), /interrupted/);
    assert.match(trafficInWords({ ...report, sent: 0, acceptedOnce: 0 }), /Nothing was sent/);
    assert.match(trafficInWords({ ...report, nobody: { linkType: 7 } }), /7 by nobody: dropped at tier 1, linkType/);
  });

  it('traffic in words - tables fit a terminal of 80 columns', () => {
    for (const line of trafficInWords(report)
      .split('\n')
      .filter((text) => /^(group|server|g\d|s\d|front)/.test(text)))
      assert.ok(line.length <= 80, line);
  });

  it('progress - never wider than it may be, and what fails a run goes last', () => {
    const progress: Progress = {
      elapsedMs: 4_200,
      wholeMs: 11_000,
      sent: 1_234_567,
      underWay: 321,
      packetsPerSecond: 99_999,
      double: 0,
      moved: 0,
      waiting: '',
    };
    for (let columns = 10; columns <= 200; columns++) assert.ok(progressLine(progress, columns).length <= columns);
    assert.equal(progressLine(progress, 79), '[#####-------] 4.2 of 11 s  1,234,567 sent  double 0  moved 0  99,999/s');
    assert.equal(
      progressLine(progress, 119),
      '[###########-------------------] 4.2 of 11 s  1,234,567 sent  double 0  moved 0  99,999/s  321 under way',
    );
    assert.equal(progressLine({ ...progress, waiting: 'reconnecting' }, 79), 'reconnecting');
    assert.match(progressLine({ ...progress, elapsedMs: 99_999 }, 79), /^\[#{12}\] 11\.0 of 11 s/);
  });
});
