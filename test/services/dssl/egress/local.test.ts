// What a handler may rely on: batches, the order of starts and ends, and that its faults stay its own.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { HandlerLog, PacketBatch, ServerHandler } from '../../../../services/dssl/egress/handlers/handler.ts';
import { LocalEgress, type LocalEgressOptions } from '../../../../services/dssl/egress/local.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';

class Lines implements HandlerLog {
  readonly lines: string[] = [];
  readonly fields: (Record<string, unknown> | undefined)[] = [];
  info(message: string): void {
    this.lines.push(message);
  }
  warn(message: string): void {
    this.lines.push(message);
  }
  error(message: string, fields?: Record<string, unknown>): void {
    this.lines.push(message);
    this.fields.push(fields);
  }
}

/** An egress over the handler, with a clock that stands still unless it is moved, and what happened as lines of text. */
function setUp(handler: Partial<ServerHandler>, options: Partial<LocalEgressOptions> = {}) {
  const log = new Lines();
  const clock = { nowMs: 0 };
  const events: string[] = [];
  const whole: ServerHandler = {
    onFlowStart: (flow, origin) => void events.push(`start ${flow.flowId} ${flow.timestampMs} ${origin}`),
    onPackets: (batch) => void events.push(`packets ${describe(batch)}`),
    onFlowEnd: (flow, reason) => void events.push(`end ${flow.flowId} ${reason}`),
    ...handler,
  };
  const egress = new LocalEgress({ handler: whole, name: 'mine', log, nowMs: () => clock.nowMs, ...options });
  return { egress, log, clock, events };
}

function describe(batch: PacketBatch): string {
  const packets = Array.from({ length: batch.count }, (_, i) => `${batch.packet(i).join('.')}@${batch.flowLo[i]}`);
  return `${batch.timestampMs}: ${packets.join(' ')}`;
}

const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9);

test('local egress - the accepted packets of a frame are one batch, in their order', () => {
  const { egress, events } = setUp({});
  egress.begin(bytes, 1_000);
  egress.add(2, 3, 0, 7, 0);
  egress.add(9, 1, 0, 8, 0);
  egress.end();
  egress.begin(bytes, 2_000);
  egress.end();
  egress.begin(bytes, 3_000);
  egress.add(0, 1, 0, 9, 0);
  egress.end();
  assert.deepEqual(events, ['packets 1000: 2.3.4@7 9@8', 'packets 3000: 0@9']);
  assert.equal(egress.stats.packets, 3);
  assert.equal(egress.stats.bytes, 5);
  assert.equal(egress.stats.batches, 2);
});

test('local egress - a batch tells link type, start, end and flow of a packet', () => {
  let seen: unknown[] = [];
  const { egress } = setUp({
    onPackets: (batch) => {
      seen = [0, 1].map((i) => [batch.flowId(i), batch.linkType(i), batch.isStart(i), batch.isEnd(i)]);
    },
  });
  egress.begin(bytes, 0);
  egress.add(0, 1, -1, 5, FrameFlags.START);
  egress.add(1, 1, 0x1234, -2, FrameFlags.END | (1 << 8));
  egress.end();
  assert.deepEqual(seen, [
    ['ffffffff00000005', 1, true, false],
    ['00001234fffffffe', 113, false, true],
  ]);
});

test('local egress - a flow starts before the batch with its first packet and ends after the one with its last', () => {
  const { egress, events } = setUp({});
  egress.begin(bytes, 50);
  egress.flowStarted(0, 7, 50);
  egress.add(0, 1, 0, 7, 0);
  egress.flowEnded(0, 7, 'closed', 50);
  egress.add(1, 1, 0, 7, 0);
  egress.end();
  egress.flowEnded(0, 8, 'idle', 60);
  assert.deepEqual(events, [
    'start 0000000000000007 50 new',
    'packets 50: 0@7 1@7',
    'end 0000000000000007 closed',
    'end 0000000000000008 idle',
  ]);
});

test('local egress - a flow that ends and starts again within a frame does so in that order', () => {
  const { egress, events } = setUp({});
  egress.begin(bytes, 50);
  egress.add(0, 1, 0, 7, 0);
  egress.flowEnded(0, 7, 'closed', 50);
  egress.flowStarted(0, 7, 50);
  egress.add(1, 1, 0, 7, 0);
  egress.end();
  assert.deepEqual(events, [
    'packets 50: 0@7',
    'end 0000000000000007 closed',
    'start 0000000000000007 50 new',
    'packets 50: 1@7',
  ]);
});

test('local egress - many ends in one frame are all told, each after its packet', () => {
  const { egress, events } = setUp({});
  egress.begin(bytes, 0);
  for (let flow = 1; flow <= 200; flow++) {
    egress.flowEnded(0, flow, 'closed', 0);
    egress.add(0, 1, 0, flow, 0);
  }
  egress.end();
  const text = events.join('\n');
  for (let flow = 1; flow <= 200; flow++) {
    const id = flow.toString(16).padStart(16, '0');
    const packetAt = text.search(new RegExp(`0@${flow}\\b`));
    assert.ok(packetAt >= 0 && packetAt < text.indexOf(`end ${id}`), `${flow}`);
  }
});

test('local egress - a run of more packets than a batch holds is more batches, and none is lost', () => {
  let packets = 0;
  const { egress } = setUp({ onPackets: (batch) => void (packets += batch.count) });
  egress.begin(bytes, 0);
  for (let i = 0; i < limits.frameRows * 2 + 5; i++) egress.add(0, 1, 0, 1, 0);
  egress.end();
  assert.equal(packets, limits.frameRows * 2 + 5);
  assert.equal(egress.stats.batches, 3);
});

test('local egress - an exception costs that batch, is counted, and is logged once a second', () => {
  let calls = 0;
  const { egress, log, clock } = setUp({
    onPackets: () => {
      calls++;
      throw new Error('no such luck');
    },
  });
  const send = () => {
    egress.begin(bytes, 0);
    egress.add(0, 1, 0, 1, 0);
    egress.add(0, 1, 0, 1, 0);
    egress.end();
  };
  for (let i = 0; i < 5; i++) send();
  clock.nowMs = 999;
  send();
  clock.nowMs = 1_000;
  send();
  assert.equal(calls, 7);
  assert.equal(egress.stats.handlerErrors, 7);
  assert.equal(egress.stats.packetsLost, 14);
  assert.deepEqual(log.lines, new Array(2).fill('handler mine: onPackets failed: no such luck'));
  assert.equal(log.fields[1]?.unlogged, 5);
});

test('local egress - a rejected promise costs that batch too, and stop waits for the unfinished', async () => {
  const settle: { resolve: () => void; reject: (error: Error) => void }[] = [];
  let stopped = false;
  const { egress, log } = setUp({
    onPackets: () => new Promise<void>((resolve, reject) => void settle.push({ resolve, reject })),
    stop: () => void (stopped = true),
  });
  for (let i = 0; i < 2; i++) {
    egress.begin(bytes, 0);
    egress.add(0, 1, 0, 1, 0);
    egress.end();
  }
  assert.equal(egress.stats.pendingBatches, 2);
  const stopping = egress.stop();
  settle[0]!.reject(new Error('disk full'));
  await Promise.resolve();
  assert.ok(!stopped);
  settle[1]!.resolve();
  await stopping;
  assert.ok(stopped);
  assert.equal(egress.stats.packetsLost, 1);
  assert.equal(egress.stats.handlerErrors, 1);
  assert.deepEqual(log.lines, ['handler mine: onPackets failed: disk full']);
});

test('local egress - a handler that falls too far behind loses batches, not memory', () => {
  let calls = 0;
  const { egress } = setUp(
    {
      onPackets: () => {
        calls++;
        return new Promise<void>(() => {});
      },
    },
    { maxPendingBatches: 3 },
  );
  for (let i = 0; i < 10; i++) {
    egress.begin(bytes, 0);
    egress.add(0, 1, 0, 1, 0);
    egress.end();
  }
  assert.equal(calls, 3);
  assert.equal(egress.stats.batchesRefused, 7);
  assert.equal(egress.stats.packetsLost, 7);
  assert.equal(egress.stats.packets, 10);
});

test('local egress - faults in events, ticks, reports and stop are counted and go no further', async () => {
  const fail = () => {
    throw new Error('broken');
  };
  const { egress } = setUp({ onFlowStart: fail, onFlowEnd: fail, onTick: fail, report: fail, stop: fail });
  egress.flowStarted(0, 1, 0);
  egress.flowEnded(0, 1, 'idle', 0);
  egress.tick(0);
  assert.deepEqual(egress.report(), { error: 'broken' });
  await egress.stop();
  assert.equal(egress.stats.handlerErrors, 5);
});

test('local egress - a handler that will not start says so in one line', async () => {
  const { egress } = setUp({ start: () => Promise.reject(new Error('port 53 is taken')) });
  await assert.rejects(egress.start(), { code: 'bad-state', message: 'handler mine did not start: port 53 is taken' });
});

test('local egress - a handler says how busy it is; what cannot be is a fault of its own and counts for nothing', async () => {
  assert.equal(setUp({}).egress.load(), undefined);
  const said: unknown[] = [{ load: 0.5, latencyMs: 3, loss: 0, temperature: -4, more: 'x' }, {}, { loss: undefined }];
  const right = setUp({ load: () => said.shift() as object });
  assert.deepEqual(right.egress.load(), { load: 0.5, latencyMs: 3, loss: 0, temperature: -4 });
  assert.deepEqual([right.egress.load(), right.egress.load()], [{}, {}]);
  assert.equal(right.egress.stats.handlerErrors, 0);
  const wrong: (() => unknown)[] = [
    () => ({ load: -1 }),
    () => ({ load: 0.5, latencyMs: '3' }),
    () => ({ loss: 1.01 }),
    () => ({ temperature: Number.NaN }),
    () => undefined,
    () => 7,
    async () => ({ load: 1 }),
    () => Promise.reject(new Error('later')),
    () => {
      throw new Error('broken');
    },
  ];
  for (const [index, load] of wrong.entries()) {
    const { egress, log } = setUp({ load: load as ServerHandler['load'] & object });
    assert.equal(egress.load(), undefined, `${index}`);
    assert.equal(egress.stats.handlerErrors, 1, `${index}`);
    assert.match(log.lines[0] ?? '', /^handler mine: load failed: /);
  }
});

test('local egress - what a dead server may have had is marked and counted, and the next batch is not', () => {
  const marks: boolean[] = [];
  const { egress } = setUp({ onPackets: (batch) => void marks.push(batch.isRepeat) });
  for (const isRepeat of [false, true, undefined]) {
    egress.begin(bytes, 5, 't1', isRepeat);
    egress.add(0, 2, 1, 1, 0);
    egress.end();
  }
  assert.deepEqual([marks, egress.stats.repeats], [[false, true, false], 1]);
});

test('local egress - entries are handled when the promises of their batches have settled, kept or broken', async () => {
  const open: { resolve(): void; reject(error: Error): void }[] = [];
  const { egress } = setUp({
    onPackets: () => new Promise((resolve, reject) => open.push({ resolve: () => resolve(), reject })),
  });
  const hand = (position: number) => {
    egress.begin(bytes, 5, 't1');
    egress.add(0, 2, 1, 1, 0);
    egress.end();
    return egress.handled(position);
  };
  assert.equal(egress.handled(3), 3);
  assert.equal(hand(4), 3);
  assert.equal(hand(5), 3);
  open[0].resolve();
  await Promise.resolve();
  assert.ok(egress.handled(6) < 5);
  open[1].reject(new Error('no'));
  await new Promise<void>((resolve) => void setImmediate(resolve));
  assert.equal(egress.handled(7), 7);
});
