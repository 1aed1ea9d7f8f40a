// Receipts: every stamped packet that goes to the server is answered once, the server gets what it would get without, and
// nobody can make an actor answer without bounds.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Egress } from '../../../../../services/dssl/egress/egress.ts';
import { ReceiptEgress } from '../../../../../services/dssl/egress/remote/receipts.ts';
import { noPacket, V, waiting } from '../../../../../services/dssl/replica/verdict.ts';
import { VirtualClock } from '../../../../../shared/base/clock.ts';
import { limits } from '../../../../../shared/base/limits.ts';
import { Frame, FrameBuilder } from '../../../../../shared/log/records/frame.ts';
import { Receipt, receiptVerdicts } from '../../../../../shared/messages/receipt.ts';
import { stampBytes, writeStamp } from '../../../../../shared/packet/stamp.ts';

interface Said {
  readonly run: string;
  readonly sequence: number;
  readonly isLast: boolean;
  readonly skippedEntries: number;
  readonly evicted: number;
  readonly expired: number;
  readonly rows: readonly { id: number; flow: number; verdict: string; waitedMs: number }[];
}

function start() {
  const clock = new VirtualClock();
  const said: Said[] = [];
  const calls: unknown[][] = [];
  const inner = Object.fromEntries(
    ['begin', 'add', 'end', 'flowStarted', 'flowEnded', 'tick'].map((name) => [
      name,
      (...args: unknown[]) => calls.push([name, ...args]),
    ]),
  ) as unknown as Egress;
  const state = { skippedEntries: 0, flows: 3, isServing: true };
  const receipt = new Receipt();
  const egress = new ReceiptEgress({
    inner,
    server: 's1',
    group: 'g1',
    incarnation: 9,
    clock,
    publish: (run, message) => {
      assert.ok(receipt.decode(message));
      assert.deepEqual([receipt.server, receipt.group, receipt.incarnation, receipt.flows], ['s1', 'g1', 9, 3]);
      const { sequence, isLast, skippedEntries, evicted, expired } = receipt;
      const rows = Array.from({ length: receipt.count }, (_, row) => ({
        id: receipt.id(row),
        flow: receipt.flow(row),
        verdict: receiptVerdicts[receipt.verdict(row)],
        waitedMs: receipt.waitedMs(row),
      }));
      said.push({ run, sequence, isLast, skippedEntries, evicted, expired, rows });
    },
    state: () => state,
  });
  /** One accepted packet in a run of its own. */
  const accept = (run: number, id: number, flow = id) => {
    const packet = stamped(run, id, flow);
    egress.begin(packet, 0, 't1');
    egress.add(0, packet.length, 1, 2, 3);
    egress.end();
  };
  return { clock, said, calls, state, egress, accept };
}

function stamped(run: number, id: number, flow: number): Uint8Array {
  const packet = new Uint8Array(30 + stampBytes);
  writeStamp(packet, 30, run, id, flow);
  return packet;
}

function frameOf(...packets: readonly Uint8Array[]): Frame {
  const builder = new FrameBuilder();
  for (const packet of packets) builder.add(packet, 0, packet.length, 1, 2, 0);
  const frame = new Frame();
  assert.equal(
    frame.decode(
      Uint8Array.from(builder.finish({ tier1Id: 't', number: 1, follows: 0, mapVersion: 1, timestampMs: 0 })),
    ),
    'none',
  );
  return frame;
}

describe('receipts', () => {
  it('receipts - accepted packets are answered together, within the linger time, and say how long they waited', () => {
    const { clock, said, accept } = start();
    accept(5, 100, 10);
    clock.advance(1);
    accept(5, 101, 11);
    assert.equal(said.length, 0);
    clock.advance(limits.receiptLingerMs - 1);
    assert.equal(said.length, 1);
    assert.deepEqual(said[0], {
      run: '00000005',
      sequence: 1,
      isLast: false,
      skippedEntries: 0,
      evicted: 0,
      expired: 0,
      rows: [
        { id: 100, flow: 10, verdict: 'accepted', waitedMs: 2 },
        { id: 101, flow: 11, verdict: 'accepted', waitedMs: 1 },
      ],
    });
  });

  it('receipts - a full message leaves at once; every row is in exactly one', () => {
    const { clock, said, accept } = start();
    const packets = 2 * limits.receiptRows + 5;
    for (let id = 0; id < packets; id++) accept(1, id);
    assert.equal(said.length, 2);
    clock.advance(limits.receiptLingerMs);
    assert.deepEqual(
      said.flatMap(({ rows }) => rows.map(({ id }) => id)),
      Array.from({ length: packets }, (_, id) => id),
    );
    assert.deepEqual(
      said.map(({ sequence }) => sequence),
      [1, 2, 3],
    );
  });

  it('receipts - the egress behind gets every call as it came', () => {
    const { calls, egress } = start();
    const packet = stamped(1, 2, 3);
    egress.begin(packet, 50, 't1');
    egress.flowStarted(1, 2, 50);
    egress.add(0, packet.length, 1, 2, 3, 7, false);
    egress.add(0, 10, 4, 5, 6, 8, true);
    egress.end();
    egress.flowEnded(1, 2, 'closed', 60);
    egress.tick(70);
    assert.deepEqual(calls, [
      ['begin', packet, 50, 't1'],
      ['flowStarted', 1, 2, 50],
      ['add', 0, packet.length, 1, 2, 3, 7, false],
      ['add', 0, 10, 4, 5, 6, 8, true],
      ['end'],
      ['flowEnded', 1, 2, 'closed', 60],
      ['tick', 70],
    ]);
  });

  it('receipts - packets without a stamp are not answered', () => {
    const { clock, said, egress } = start();
    egress.begin(new Uint8Array(100), 0, 't1');
    egress.add(0, 100, 1, 2, 3);
    egress.add(0, 5, 1, 2, 3);
    egress.end();
    egress.audit.onFrame(frameOf(new Uint8Array(100)), Uint8Array.of(V.dropTableFull));
    clock.advance(2_000);
    assert.equal(said.length, 0);
  });

  it('receipts - what only an actor knows is answered with its cause; what others see is not', () => {
    const { clock, said, egress } = start();
    const verdicts = [V.dropTableFull, V.ignoreAbsent, V.dropNoOwner, V.dropFragment, V.ignoreElsewhere, V.acceptNew];
    const packets = verdicts.map((_, id) => stamped(1, id, id));
    egress.audit.onFrame(frameOf(...packets, ...packets), Uint8Array.of(...verdicts, ...verdicts.map(() => noPacket)));
    egress.audit.onFrame(frameOf(stamped(1, 99, 0)), Uint8Array.of(waiting));
    clock.advance(limits.receiptLingerMs);
    assert.deepEqual(
      said.flatMap(({ rows }) => rows.map(({ id, verdict }) => [id, verdict])),
      [
        [0, 'tableFull'],
        [1, 'absent'],
        [2, 'noServer'],
        [3, 'fragment'],
      ],
    );
  });

  it('receipts - an actor that joins does not answer for the flows that it does not hold yet', () => {
    const { clock, said, state, egress } = start();
    state.isServing = false;
    egress.audit.onFrame(frameOf(stamped(1, 5, 5)), Uint8Array.of(V.ignoreAbsent));
    clock.advance(1_000);
    assert.deepEqual(
      said.flatMap(({ rows }) => rows),
      [],
    );
  });

  it('receipts - an actor that accepts nothing says that it is there, as long as the run goes on', () => {
    const { clock, said, egress } = start();
    egress.audit.onFrame(
      frameOf(new Uint8Array(99), stamped(1, 0, 0)),
      Uint8Array.of(V.ignoreElsewhere, V.ignoreMidFlow),
    );
    clock.advance(1_000);
    const early = said.length;
    assert.ok(early >= 3 && early <= 5, `${early} messages in a second`);
    clock.advance(limits.receiptRunMs);
    const all = said.length;
    clock.advance(60_000);
    assert.equal(said.length, all, 'a run that is over is forgotten');
    assert.equal(clock.pending, 0);
  });

  it('receipts - losses count from just before the first frame of the run, flows forgotten likewise', () => {
    const { clock, said, state, egress, accept } = start();
    state.skippedEntries = 7;
    egress.audit.onFrame(frameOf(new Uint8Array(60)), Uint8Array.of(V.acceptNew));
    egress.flowEnded(1, 1, 'evicted', 0);
    egress.audit.onFrame(frameOf(new Uint8Array(60)), Uint8Array.of(V.acceptNew));
    // What was passed over lies right before the frame with the run's first packet: it may have held others of that run.
    state.skippedEntries += 2;
    accept(1, 0);
    egress.audit.onFrame(frameOf(stamped(1, 0, 0)), Uint8Array.of(V.acceptNew));
    egress.flowEnded(1, 1, 'idle', 0);
    egress.flowEnded(1, 1, 'evicted', 0);
    egress.flowEnded(1, 1, 'closed', 0);
    clock.advance(limits.receiptLingerMs);
    const { skippedEntries, evicted, expired } = said[0];
    assert.deepEqual({ skippedEntries, evicted, expired }, { skippedEntries: 2, evicted: 1, expired: 1 });
  });

  it('receipts - only so many runs are answered at once; one that falls silent makes room', () => {
    const { clock, said, egress, accept } = start();
    for (let run = 0; run < limits.receiptRuns + 10; run++) accept(run, 0);
    clock.advance(limits.receiptLingerMs);
    assert.equal(new Set(said.map(({ run }) => run)).size, limits.receiptRuns);
    assert.equal(egress.unanswered, 10);
    clock.advance(limits.receiptRunMs + 1_000);
    said.length = 0;
    accept(999, 0);
    clock.advance(limits.receiptLingerMs);
    assert.equal(said.length, 1);
  });

  it('receipts - the end is said to every run, with what was left, and nothing after it', () => {
    const { clock, said, egress, accept } = start();
    accept(1, 5);
    accept(2, 6);
    egress.leave();
    assert.deepEqual(
      said.map(({ run, isLast, rows }) => [run, isLast, rows.length]),
      [
        ['00000001', true, 1],
        ['00000002', true, 1],
      ],
    );
    accept(1, 7);
    clock.advance(10_000);
    assert.equal(said.length, 2);
  });

  it("receipts - a repeat is told from the server's own, and an entry is handled when its receipts are out", () => {
    const { clock, said, egress, accept } = start();
    assert.equal(egress.handled(7), 7);
    accept(1, 5);
    assert.equal(egress.handled(8), 7);
    const packet = stamped(1, 6, 6);
    egress.begin(packet, 0, 't1', true);
    egress.add(0, packet.length, 1, 2, 3);
    egress.end();
    assert.equal(egress.handled(9), 7);
    clock.advance(limits.receiptLingerMs);
    egress.handled(9);
    assert.equal(egress.handled(10), 10);
    assert.deepEqual(
      said.flatMap(({ rows }) => rows.map(({ id, verdict }) => `${id} ${verdict}`)),
      ['5 accepted', '6 repeated'],
    );
  });
});
