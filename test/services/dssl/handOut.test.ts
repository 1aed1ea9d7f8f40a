// Effects on their way to the server: what the egress is called with, in which order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Egress } from '../../../services/dssl/egress/egress.ts';
import { handOut } from '../../../services/dssl/handOut.ts';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { fin, lifeOf, newReplica, TestLog, tcp, udp } from './replica/support.ts';

/** Writes down its calls; packets as the byte that fills them. */
class WrittenEgress implements Egress {
  readonly calls: string[] = [];
  #data: Uint8Array = new Uint8Array(0);

  begin(data: Uint8Array, timestampMs: number, tier1Id: string): void {
    this.#data = data;
    this.calls.push(`begin ${tier1Id} ${timestampMs}`);
  }

  add(offset: number, length: number, _hi: number, lo: number, flags: number): void {
    this.calls.push(
      `${lo}: ${this.#data[offset]} x ${length} ${flags & FrameFlags.LATER_FRAGMENT ? 'later' : ''}`.trim(),
    );
  }

  end(): void {
    this.calls.push('end');
  }

  flowStarted(_hi: number, lo: number, timestampMs: number): void {
    this.calls.push(`+${lo} ${timestampMs}`);
  }

  flowEnded(_hi: number, lo: number, reason: string, timestampMs: number): void {
    this.calls.push(`-${lo} ${reason} ${timestampMs}`);
  }
}

function loneServer() {
  const log = new TestLog();
  const replica = newReplica(lifeOf('a'));
  const egress = new WrittenEgress();
  const audited: string[] = [];
  const audit = {
    onFrame: (_frame: unknown, verdicts: Uint8Array) => void audited.push(`frame ${verdicts[0]}`),
    onLate: (tier1Id: string, number: number, row: number, verdict: number) =>
      void audited.push(`${tier1Id}/${number}/${row} ${verdict}`),
  };
  log.begin();
  log.join(lifeOf('a'));
  log.command(lifeOf('a'), { kind: 'activate' });
  const catchUp = () => {
    egress.calls.length = 0;
    while (replica.position < log.entries.length) handOut(replica.apply(log.entries[replica.position]), egress, audit);
    return [...egress.calls];
  };
  assert.deepEqual(catchUp(), []);
  return { log, replica, catchUp, audited };
}

test('hand out - a frame is a run of packets, starts before the first one', () => {
  const { log, catchUp } = loneServer();
  log.frame(
    [
      { flow: 1, flags: udp },
      { flow: 2, flags: udp, bytes: 3 },
      { flow: 1, flags: udp },
    ],
    { timestampMs: 7 },
  );
  assert.deepEqual(catchUp(), ['begin t1 7', '+1 7', '1: 1 x 10', '+2 7', '2: 2 x 3', '1: 1 x 10', 'end']);
});

test('hand out - a frame without a packet for the server opens a run all the same; one that is repeated does not', () => {
  const { log, catchUp } = loneServer();
  log.frame([{ flow: 1, flags: tcp }], { timestampMs: 7 });
  log.frame([{ flow: 1, flags: udp }], { timestampMs: 8, number: 1 });
  assert.deepEqual(catchUp(), ['begin t1 7', 'end']);
});

test('hand out - a fragment that waited is a run of its own, with its own time and tier 1, and the frame goes on behind it', () => {
  const { log, catchUp, audited } = loneServer();
  log.frame([{ flow: 5, hi: 3, flags: FrameFlags.LATER_FRAGMENT, bytes: 4 }], { tier1Id: 't9', timestampMs: 6 });
  const rows = [
    { flow: 5, hi: 3, flags: FrameFlags.DATAGRAM },
    { flow: 1, flags: udp },
    { flow: 1, flags: udp },
  ];
  log.frame(rows, { timestampMs: 7 });
  assert.deepEqual(catchUp(), [
    'begin t9 6',
    'end',
    'begin t1 7',
    '+1 7',
    '1: 1 x 10',
    'end',
    'begin t9 6',
    '1: 5 x 4 later',
    'end',
    'begin t1 7',
    '1: 1 x 10',
    'end',
  ]);
  assert.deepEqual(audited, ['frame 254', 't9/1/0 0', 'frame 255']);
});

test('hand out - flows that were idle for too long end, also when no frame comes', () => {
  const { log, catchUp } = loneServer();
  log.frame([{ flow: 1, flags: udp }], { timestampMs: 7 });
  log.frame([{ flow: 2, flags: tcp | FrameFlags.START }], { timestampMs: 8 });
  log.frame([{ flow: 2, flags: fin }], { timestampMs: 9 });
  log.frame([{ flow: 2, flags: fin | FrameFlags.SIDE }], { timestampMs: 9 });
  catchUp();
  for (let turn = 0; turn < 1_500; turn++) {
    log.nowMs += 100;
    log.command(lifeOf('a'), { kind: 'tick' });
  }
  assert.deepEqual(catchUp().sort(), ['-1 idle 9', '-2 closed 9']);
});
