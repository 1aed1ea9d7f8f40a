// A server on other hardware: both ends of the way to it, on the embedded bus under a virtual clock, with losses.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Egress } from '../../../../../services/dssl/egress/egress.ts';
import type { FlowEndReason } from '../../../../../services/dssl/egress/handlers/handler.ts';
import { LocalEgress } from '../../../../../services/dssl/egress/local.ts';
import { BusEgress } from '../../../../../services/dssl/egress/remote/bus.ts';
import { mostIdleSeconds } from '../../../../../shared/membership/idleLimits.ts';
import { encodeAck } from '../../../../../shared/messages/delivery.ts';
import { Ends, telling } from '../../../../support/egressEnds.ts';

/** One packet of a flow in a frame of its own. */
function packet(egress: Egress, flow: number, { starts = false, timeMs = 5_000 } = {}): void {
  egress.begin(Uint8Array.of(9, flow, 9), timeMs, 't1');
  if (starts) egress.flowStarted(0, flow, timeMs);
  egress.add(1, 1, 0, flow, 0x2000);
  egress.end();
}

const numberOf = (report: Record<string, unknown>, name: string): unknown => report[name];

test('bus egress - a handler elsewhere is told what one in the process would be told, in the same order', async () => {
  const flow = fc.nat(5);
  const reasons = fc.constantFrom<FlowEndReason>('closed', 'idle', 'evicted', 'moved');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), flow, size: fc.nat(6) }),
    fc.record({ kind: fc.constant('start' as const), flow }),
    fc.record({ kind: fc.constant('end' as const), flow, reason: reasons }),
  );
  const run = fc.record({ timeMs: fc.nat(3).map((n) => 5_000.25 + n), steps: fc.array(step, { maxLength: 12 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(run, { maxLength: 6 }), async (runs) => {
      const ends = new Ends();
      const { near, far } = await ends.both();
      const events: string[] = [];
      const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
      const direct = new LocalEgress({ handler: telling(events), log, nowMs: () => 0 });
      for (const egress of [near, direct]) {
        const open = new Set<number>();
        for (const { timeMs, steps } of runs) {
          const data = Uint8Array.from({ length: 10 }, (_, at) => at);
          egress.begin(data, timeMs, 't1');
          for (const each of steps) {
            // As an actor does: a flow starts before its first packet, and ends once.
            if (each.kind === 'end') {
              if (open.delete(each.flow)) egress.flowEnded(0, each.flow, each.reason, timeMs);
              continue;
            }
            if (!open.has(each.flow)) egress.flowStarted(0, each.flow, timeMs);
            open.add(each.flow);
            if (each.kind === 'add') egress.add(1, each.size, 0, each.flow, 0x2000);
          }
          egress.end();
          data.fill(0xee);
        }
      }
      await ends.clock.advanceAsync(10);
      assert.deepEqual(far.events, events);
      await ends.done(near.stop());
      assert.equal(near.stats.packetsLost, 0);
      assert.equal(far.local.stats.packets, near.stats.packets);
      await ends.done(far.remote.stop());
    }),
    { numRuns: 100 },
  );
});

test('bus egress - an actor waits for its server, whichever comes first', async () => {
  const ends = new Ends();
  const near = ends.near();
  let started = false;
  const start = near.start().then(() => (started = true));
  await ends.clock.advanceAsync(10_000);
  assert.equal(started, false);
  assert.match(ends.lines[0], /waiting for the server: npx flowherd server --of s1/);
  await ends.far();
  await ends.done(start);
});

test('bus egress - an actor that gives up waiting for its server sends nothing more', async () => {
  const ends = new Ends();
  const near = ends.near();
  const start = near.start();
  await ends.clock.advanceAsync(1_000);
  await ends.done(near.stop());
  await ends.done(start);
  const { deliveries } = near.report();
  await ends.clock.advanceAsync(10_000);
  assert.equal(near.report().deliveries, deliveries);
  assert.equal(ends.clock.pending, 0);
  assert.ok(!ends.lines.includes('the server listens'));
});

test('bus egress - the load tells what share did not leave, and that all is lost while nobody listens', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  assert.deepEqual(near.load(), { loss: undefined });
  packet(near, 1, { starts: true });
  await ends.clock.advanceAsync(10);
  assert.deepEqual(near.load(), { loss: 0 });
  await ends.done(far.remote.stop());
  await ends.clock.advanceAsync(10);
  assert.deepEqual(near.load(), { loss: 1 });
  await ends.done(near.stop());
});

test('bus egress - more than one delivery holds is more deliveries, and packets of all sizes arrive', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  const sizes = [65_535, 0, 30_000, 1, ...Array.from({ length: 5_000 }, (_, i) => i % 40)];
  const data = randomBytes(65_535);
  near.begin(data, 1, 't1');
  near.flowStarted(0, 1, 1);
  for (const size of sizes) near.add(0, size, 0, 1, 0);
  near.end();
  await ends.done(near.stop());
  assert.equal(far.local.stats.packets, sizes.length);
  assert.equal(
    far.local.stats.bytes,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  assert.equal(far.events.filter((line) => line.startsWith('+')).length, 1);
  assert.equal(near.stats.packetsLost, 0);
});

test('bus egress - what the bus loses is counted at both ends, and the handler is told of flows all the same', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  const deliver = async (flow: number, starts: boolean) => {
    packet(near, flow, { starts });
    await ends.clock.advanceAsync(1);
  };
  await deliver(1, true);
  ends.lose = () => true;
  await deliver(2, true);
  await deliver(1, false);
  near.flowEnded(0, 1, 'closed', 5_000);
  await ends.clock.advanceAsync(1);
  ends.lose = () => false;
  await deliver(2, false);
  await deliver(1, true);
  near.flowEnded(0, 3, 'idle', 5_000);
  await ends.done(near.stop());
  assert.deepEqual(far.events, [
    '+1 5000 new',
    '1: 1 5000 8192',
    '+2 5000 promoted',
    '2: 2 5000 8192',
    '-1 5000 closed',
    '+1 5000 new',
    '1: 1 5000 8192',
    '-1 5000 moved',
    '-2 5000 moved',
  ]);
  assert.equal(numberOf(far.remote.report(), 'lostDeliveries'), 3);
  assert.equal(numberOf(far.remote.report(), 'flowsOpenedLate'), 1);
  assert.deepEqual([near.stats.packets, near.stats.packetsLost], [5, 2]);
});

test('bus egress - a loss at the end shows, although nothing is sent after it', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  ends.lose = () => true;
  packet(near, 1, { starts: true });
  await ends.clock.advanceAsync(1);
  ends.lose = () => false;
  await ends.seconds(near, 2);
  assert.equal(numberOf(far.remote.report(), 'lostDeliveries'), 1);
  assert.equal(numberOf(near.report(), 'listening'), true);
});

test('bus egress - a server that dies is missed, and one that takes over gets the rest', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  packet(near, 1, { starts: true });
  await ends.seconds(near, 1);
  await ends.done(far.bus.close());
  packet(near, 1);
  await ends.seconds(near, 4);
  assert.equal(ends.lines.filter((line) => /no server listens/.test(line)).length, 1);
  assert.equal(numberOf(near.report(), 'listening'), false);
  assert.equal(near.stats.packetsLost, 1);
  const other = await ends.far();
  packet(near, 1);
  await ends.done(near.stop());
  assert.ok(ends.lines.includes('another process took the server over'));
  assert.ok(ends.lines.includes('the server listens again'));
  assert.deepEqual(other.events, ['+1 5000 promoted', '1: 1 5000 8192', '-1 5000 moved']);
  assert.deepEqual([near.stats.packets, near.stats.packetsLost], [3, 1]);
});

test('bus egress - a server that ends says so at once; the actor does not wait for it at its own end', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  packet(near, 1, { starts: true });
  await ends.seconds(near, 1);
  await ends.done(far.remote.stop());
  assert.equal(far.events.at(-1), '-1 5000 moved');
  await ends.clock.advanceAsync(1);
  assert.equal(near.isHeard, false);
  packet(near, 1);
  await ends.clock.advanceAsync(1);
  const before = ends.clock.monotonicMs();
  await ends.done(near.stop());
  assert.ok(ends.clock.monotonicMs() - before < 50);
  assert.equal(near.stats.packetsLost, 1);
});

test('bus egress - another life of the actor: the flows of the former have moved, and what it says late is not taken', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  packet(near, 1, { starts: true });
  await ends.clock.advanceAsync(1);
  const next = ends.near();
  await ends.done(next.start());
  packet(next, 2, { starts: true });
  await ends.clock.advanceAsync(1);
  packet(near, 1);
  await ends.done(next.stop());
  assert.deepEqual(far.events, [
    '+1 5000 new',
    '1: 1 5000 8192',
    '-1 5000 moved',
    '+2 5000 new',
    '2: 2 5000 8192',
    '-2 5000 moved',
  ]);
  assert.equal(numberOf(far.remote.report(), 'staleDeliveries'), 1);
  assert.equal(next.stats.packetsLost, 0);
});

test('bus egress - two processes that take one server are noticed', async () => {
  const ends = new Ends();
  const { near } = await ends.both();
  await ends.far();
  await ends.seconds(near, 2);
  assert.equal(ends.lines.filter((line) => /two processes run as server s1/.test(line)).length, 1);
});

test('bus egress - garbage at either end is counted, and both go on', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  const stranger = ends.hub.connect('stranger');
  const ack = { server: 's1', serverLife: 1, life: 1, sequence: 1, packets: 1, isLeaving: false };
  for (let sent = 0; sent < 50; sent++) {
    stranger.publish(ends.subjects.out('s1'), randomBytes(2 + sent).fill(0xc1, 0, 1));
    stranger.publish(ends.subjects.ack('s1'), randomBytes(2 + sent).fill(0xc1, 0, 1));
  }
  stranger.publish(ends.subjects.ack('s1'), encodeAck({ ...ack, server: 'other' }));
  packet(near, 1, { starts: true });
  await ends.done(near.stop());
  assert.deepEqual(numberOf(far.remote.report(), 'badMessages'), { encoding: 50 });
  assert.equal(numberOf(near.report(), 'badMessages'), 51);
  assert.equal(near.stats.packetsLost, 0);
});

test('bus egress - a flow whose end was lost is ended when no idle limit allows it any more', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  packet(near, 1, { starts: true });
  packet(near, 2, { starts: true });
  await ends.clock.advanceAsync(1);
  ends.lose = () => true;
  near.flowEnded(0, 1, 'closed', 5_000);
  await ends.clock.advanceAsync(1);
  ends.lose = () => false;
  packet(near, 2, { timeMs: 5_001 + 1_000 * mostIdleSeconds });
  await ends.seconds(near, 2);
  assert.equal(far.events.at(-1), `-1 ${5_001 + 1_000 * mostIdleSeconds} idle`);
  assert.equal(numberOf(far.remote.report(), 'flowsEndedUnheard'), 1);
});

test('bus egress - while the bus is down packets are lost and counted, and nothing throws', async () => {
  const ends = new Ends();
  const far = await ends.far();
  const bus = ends.hub.connect('actor');
  const { clock, subjects } = ends;
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const near = new BusEgress({ server: 's1', life: 77, bus, subjects, clock, log });
  await ends.done(near.start());
  packet(near, 1, { starts: true });
  await ends.clock.advanceAsync(1);
  await ends.done(bus.close());
  packet(near, 1);
  await ends.seconds(near, 3);
  await ends.done(near.stop());
  assert.equal(far.local.stats.packets, 1);
  const { dropped, packets } = near.stats;
  assert.deepEqual([packets, dropped['bus-down'] + dropped.overload], [2, 1]);
});

test('bus egress - entries are handled when the server has acknowledged them, and repeats stay marked on the way', async () => {
  const ends = new Ends();
  const { near, far } = await ends.both();
  const data = Uint8Array.of(1, 2, 3);
  const hand = (isRepeat: boolean) => {
    near.begin(data, 7, 't1', isRepeat);
    near.add(0, 3, 0, 1, 0);
    near.end();
  };
  await ends.seconds(near, 1);
  assert.equal(near.handled(10), 10);
  hand(false);
  assert.equal(near.handled(11), 10);
  hand(true);
  assert.equal(near.handled(12), 10);
  await ends.seconds(near, 1);
  near.handled(12);
  await ends.seconds(near, 1);
  assert.equal(near.handled(12), 12);
  assert.deepEqual([far.local.stats.packets, far.local.stats.repeats], [2, 1]);
  ends.lose = () => true;
  hand(false);
  near.handled(13);
  await ends.seconds(near, 2);
  assert.equal(near.handled(14), 12, 'nobody has got it');
  near.stop();
});
