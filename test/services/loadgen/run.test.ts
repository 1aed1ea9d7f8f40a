// A run without its shell: packets that wait in a tier 1 because its logs stand still are not given up, others are in time.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { longestStandstillMs, Run } from '../../../services/loadgen/run.ts';
import { encodeHello } from '../../../shared/messages/hello.ts';
import { ReceiptRows } from '../../../shared/messages/receipt.ts';

const graceMs = 3_000;

/** A run with one tier 1 and one server; time passes in steps of 50 ms, and both say that they live. */
function start() {
  const run = new Run({ id: 7, capacity: 1_024, graceMs, publish: () => true });
  let nowMs = 0;
  let sequence = 0;
  const header = { server: 's1', group: 'g1', incarnation: 1, isLast: false, skippedEntries: 0, flows: 0 };
  const answer = (...ids: readonly number[]) => {
    const rows = new ReceiptRows();
    for (const id of ids) rows.add(id, id, 0, nowMs);
    run.onReceipt(rows.finish({ ...header, sequence: ++sequence, evicted: 0, expired: 0 }, nowMs), nowMs);
  };
  const pass = (ms: number) => {
    for (const untilMs = nowMs + ms; nowMs < untilMs; ) {
      nowMs += 50;
      run.onHello(
        encodeHello({ tier1: 't1', state: 'ready', received: 0, faults: 0, dropped: {}, senders: [] }),
        nowMs,
      );
      answer();
      run.tick(nowMs);
    }
  };
  const send = () => {
    const flow = run.ledger.sent;
    const key = () => ({ hi: 0, lo: flow, typeOne: true, starts: true });
    const id = run.send({ buffer: new Uint8Array(64), length: 64, flow, isReply: false, isLast: false, key }, nowMs);
    run.upstream.flush(nowMs, 0);
    return id;
  };
  pass(50);
  return { run, answer, pass, send };
}

describe('run', () => {
  it('run - nothing is given up while the logs stand still, and all is when they have for too long', () => {
    const { run, answer, pass, send } = start();
    answer(send());
    pass(100);
    const held = send();
    pass(longestStandstillMs - 1_000);
    assert.equal(run.ledger.underWay, 1);
    answer(held);
    pass(graceMs + 100);
    assert.deepEqual([run.ledger.acceptedOnce, run.ledger.late, run.ledger.underWay], [2, 0, 0]);
    send();
    pass(longestStandstillMs + graceMs + 1_000);
    assert.deepEqual([run.ledger.settled, run.ledger.unknown.get(0)?.get(0)], [3, 1]);
  });

  it('run - a packet without an answer is given up after the grace when later ones were answered', () => {
    const { run, answer, pass, send } = start();
    send();
    pass(50);
    answer(send());
    pass(graceMs + 100);
    assert.deepEqual([run.ledger.acceptedOnce, run.ledger.unknown.get(0)?.get(0)], [1, 1]);
  });
});
