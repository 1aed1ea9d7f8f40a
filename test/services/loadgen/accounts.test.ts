// Servers and tier 1s of a run, and the reasons they give for packets that nobody got: exact ones first, evidence last, and
// nothing is explained that nothing speaks for.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { accountFor } from '../../../services/loadgen/accounts.ts';
import { FlowBook } from '../../../services/loadgen/flowBook.ts';
import { Ledger } from '../../../services/loadgen/ledger.ts';
import { Newcomers } from '../../../services/loadgen/newcomers.ts';
import { Servers, silentMs } from '../../../services/loadgen/servers.ts';
import { Tier1s } from '../../../services/loadgen/tier1s.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { Hello } from '../../../shared/messages/hello.ts';
import { Receipt, type ReceiptHeader, ReceiptRows } from '../../../shared/messages/receipt.ts';

function receipt(header: Partial<ReceiptHeader> = {}): Receipt {
  const plain = { server: 's1', group: 'g1', incarnation: 1, sequence: 1, isLast: false, skippedEntries: 0, flows: 0 };
  const one = new Receipt();
  assert.ok(one.decode(new ReceiptRows().finish({ ...plain, evicted: 0, expired: 0, ...header }, 0)));
  return one;
}

function hello(changes: Partial<Hello> = {}): Hello {
  return { tier1: 't1', state: 'ready', received: 0, faults: 0, dropped: {}, senders: [], ...changes };
}

/** What tier 1 says about the sender `me`. */
function mine(received: number, dropped: Record<string, number> = {}) {
  return [
    { name: 'another', received: 7, lostFrames: 0, dropped: { overload: 7 } },
    { name: 'me', received, lostFrames: 0, dropped },
  ];
}

/** A run in which no receipt came for `packets` packets: of a flow that server `server` has, or of new ones (0). */
function start(packets: number, server = 0) {
  const ledger = new Ledger({ capacity: 1_024, graceMs: 1, onMove: () => undefined });
  const servers = new Servers();
  const tier1s = new Tier1s('me');
  for (let sent = 0; sent < packets; sent++) {
    const flow = server === 0 ? sent : 0;
    const row = ledger.flows.sends(flow, 0, false, () => ({ hi: 0, lo: flow, typeOne: true, starts: true }));
    if (server > 0) ledger.flows.server[row] = server;
    ledger.add(row, 0, server === 0, false);
  }
  ledger.settleAll();
  const account = ({ disconnected = false, nowMs = 0 } = {}) => {
    const { nobody, lost } = accountFor({ ledger, servers, tier1s, disconnected, nowMs });
    return { ...nobody, ...(lost > 0 ? { lost } : {}) };
  };
  return { ledger, servers, tier1s, account };
}

/** A flow of the first server that went on elsewhere, after 700 ms. */
const flow = { from: 1, gapMs: 700, isAgain: false };

describe('servers', () => {
  it('servers - a move counts when its server speaks again later, not when it has left or is silent', () => {
    const speaks = new Servers();
    speaks.heard(receipt(), 0);
    speaks.moved(flow, 1_000);
    speaks.heard(receipt({ sequence: 2 }), 2_000);
    assert.deepEqual([speaks.movedFlows, speaks.hasOpenMoves(2_000)], [0, true]);
    speaks.heard(receipt({ sequence: 3 }), 4_001);
    assert.deepEqual([speaks.movedFlows, speaks.failedOver, speaks.openMoves], [1, 0, 0]);

    const left = new Servers();
    left.heard(receipt(), 0);
    left.moved(flow, 1_000);
    left.heard(receipt({ sequence: 2, isLast: true }), 2_500);
    left.moved(flow, 2_600);
    assert.deepEqual([left.movedFlows, left.failedOver], [0, 2]);

    const silent = new Servers();
    silent.heard(receipt(), 0);
    silent.moved(flow, 100);
    assert.equal(silent.hasOpenMoves(silentMs), true);
    assert.equal(silent.hasOpenMoves(silentMs + 1), false);
    silent.finish(silentMs + 1);
    assert.deepEqual([silent.movedFlows, silent.failedOver], [0, 1]);

    const early = new Servers();
    early.heard(receipt(), 0);
    early.moved(flow, 100);
    early.finish(200);
    assert.deepEqual([early.movedFlows, early.failedOver], [1, 0], 'it lives as far as anybody knows');
  });

  it('servers - a flow counts once when servers have gone, each time when none has; waiting counts when one has', () => {
    const servers = new Servers();
    servers.heard(receipt(), 0);
    for (const gapMs of [700, undefined, 900]) servers.moved({ ...flow, gapMs }, 100);
    servers.moved({ ...flow, gapMs: 800, isAgain: true }, 110);
    assert.equal(servers.openMoves, 4);
    assert.equal(servers.gaps.summary(), undefined, 'it may live');
    servers.finish(silentMs + 1);
    assert.deepEqual([servers.movedFlows, servers.failedOver], [0, 3]);
    assert.deepEqual(servers.gaps.summary(), { p50: 800, p99: 900, max: 900 });

    const alive = new Servers();
    alive.heard(receipt(), 0);
    alive.moved(flow, 100);
    alive.moved({ ...flow, isAgain: true }, 1_000);
    alive.heard(receipt({ sequence: 2 }), 5_000);
    assert.deepEqual([alive.movedFlows, alive.failedOver, alive.gaps.summary()], [2, 0, undefined]);
  });

  it('servers - lives of one server, and servers of one name in two groups, are told apart', () => {
    const servers = new Servers();
    const numbers = [receipt(), receipt({ incarnation: 2 }), receipt({ group: 'g2' }), receipt({ sequence: 2 })].map(
      (one) => servers.heard(one, 0)?.number,
    );
    assert.deepEqual(numbers, [1, 2, 3, 1]);
  });

  it('servers - holes in the numbering count as receipts lost, from the first message on; repeats are not read', () => {
    const servers = new Servers();
    servers.heard(receipt({ sequence: 3 }), 0);
    servers.heard(receipt({ sequence: 5, skippedEntries: 4 }), 0);
    assert.equal(servers.heard(receipt({ sequence: 5 }), 0), undefined);
    assert.deepEqual([servers.all[1]?.lostReceipts, servers.all[1]?.skippedEntries, servers.ignored], [3, 4, 1]);
  });

  it('servers - names that somebody makes up do not use up the memory', () => {
    const servers = new Servers();
    for (let life = 0; life < 5_000; life++) servers.heard(receipt({ incarnation: life }), 0);
    assert.equal(servers.all.length, 4_097);
    assert.equal(servers.ignored, 5_000 - 4_096);
  });
});

describe('newcomers', () => {
  it('newcomers - servers are named once, in few lines', () => {
    const servers = new Servers();
    const newcomers = new Newcomers();
    assert.equal(newcomers.in(servers, 0), undefined);
    servers.heard(receipt(), 0);
    assert.equal(newcomers.in(servers, 0), 's1');
    for (let number = 2; number < 30; number++) servers.heard(receipt({ server: `s${number}` }), 0);
    assert.equal(newcomers.in(servers, 100), undefined);
    assert.match(newcomers.in(servers, 300) ?? '', /^s2, .*, s17 and 12 more$/);
    assert.equal(newcomers.in(servers, 600), undefined);
  });
});

describe('tier 1s', () => {
  it('tier 1s - a flow keeps its tier 1 while that takes packets, and new flows are spread over all', () => {
    const tier1s = new Tier1s('me');
    const flows = new FlowBook();
    const route = (flow: number) =>
      tier1s.route(
        flows,
        flows.sends(flow, 0, false, () => ({ hi: 0, lo: flow, typeOne: true, starts: true })),
      )?.name;
    assert.equal(route(0), undefined);
    tier1s.heard(hello({ tier1: 'a' }), 0);
    const first = Array.from({ length: 50 }, (_, flow) => route(flow));
    assert.deepEqual(new Set(first), new Set(['a']));
    tier1s.heard(hello({ tier1: 'b' }), 0);
    assert.deepEqual(
      Array.from({ length: 50 }, (_, flow) => route(flow)),
      first,
    );
    const later = Array.from({ length: 1_000 }, (_, flow) => route(100 + flow));
    const share = later.filter((name) => name === 'a').length / later.length;
    assert.ok(share > 0.4 && share < 0.6, `${share}`);
    tier1s.heard(hello({ tier1: 'a', state: 'leaving' }), 0);
    assert.deepEqual(new Set(Array.from({ length: 50 }, (_, flow) => route(flow))), new Set(['b']));
  });

  it('tier 1s - one that is silent for too long gets nothing more, until it speaks again', () => {
    const tier1s = new Tier1s('me');
    tier1s.heard(hello(), 0);
    assert.equal(tier1s.expire(limits.helloSilentMs), false);
    assert.equal(tier1s.ready.length, 1);
    assert.equal(tier1s.expire(limits.helloSilentMs + 1), true);
    assert.equal(tier1s.ready.length, 0);
    tier1s.heard(hello(), 5_000);
    assert.equal(tier1s.ready.length, 1);
    tier1s.heard(hello({ state: 'ended' }), 5_000);
    tier1s.heard(hello(), 5_100);
    assert.equal(tier1s.ready.length, 0, 'an end is an end');
    assert.equal(tier1s.expire(9_000), false);
  });

  it('tier 1s - one that waits for servers is known and gets nothing', () => {
    const tier1s = new Tier1s('me');
    tier1s.heard(hello({ state: 'waiting' }), 0);
    assert.deepEqual([tier1s.all.length, tier1s.ready.length], [1, 0]);
  });
});

describe('accounts', () => {
  it('accounts - what nothing speaks for is unexplained', () => {
    const { servers, tier1s, account } = start(10);
    tier1s.heard(hello({ senders: mine(10) }), 0);
    tier1s.all[0].sent = 10;
    servers.heard(receipt(), 0);
    assert.deepEqual(account(), { unexplained: 10 });
  });

  it('accounts - tier 1 says what it dropped of this sender, and what never came to it', () => {
    const { tier1s, account } = start(10);
    tier1s.heard(hello({ dropped: { 'log-down': 4, 'log-full': 1 } }), 0);
    tier1s.all[0].sent = 10;
    tier1s.heard(
      hello({
        dropped: { 'log-down': 4, 'log-full': 2, overload: 99 },
        senders: mine(8, { overload: 3, 'no-server': 2 }),
      }),
      0,
    );
    assert.deepEqual(account(), { overload: 3, noServer: 2, logFull: 1, lost: 2, unexplained: 2 });
  });

  it('accounts - what went to a tier 1 that fell silent is lost, and only that', () => {
    const { ledger, tier1s, account } = start(10);
    ledger.unknown.set(1, new Map([[0, 4]]));
    for (const tier1 of ['t1', 't2']) tier1s.heard(hello({ tier1, senders: mine(100) }), 0);
    for (const record of tier1s.all) record.sent = 100;
    tier1s.heard(hello({ tier1: 't2', senders: mine(100) }), 900);
    tier1s.expire(limits.helloSilentMs + 1);
    assert.deepEqual(account(), { lost: 10, unexplained: 4 });
  });

  it('accounts - a server that is gone: its flows, and new ones that may have been placed there', () => {
    for (const server of [0, 1]) {
      const { servers, account } = start(10, server);
      servers.heard(receipt(), 0);
      assert.deepEqual(account({ nowMs: silentMs + 1 }), { serverGone: 10 });
    }
    const { servers, account } = start(10, 2);
    servers.heard(receipt(), 0);
    servers.heard(receipt({ server: 's2' }), 900);
    assert.deepEqual(account({ nowMs: silentMs + 1 }), { unexplained: 10 }, 'of flows that a living server has');
  });

  it('accounts - a server that was killed before it spoke explains as much as one that had spoken', () => {
    const { servers, account } = start(10);
    servers.heard(receipt({ incarnation: 2 }), 0);
    servers.ended({ server: 's1', group: 'g1', incarnation: 2 });
    assert.deepEqual(account(), { unexplained: 10 }, 'it speaks');
    servers.ended({ server: 's1', group: 'g1', incarnation: 1 });
    assert.deepEqual(account(), { serverGone: 10 });
  });

  it('accounts - a server that left flows behind, or forgot some, answers for as many flows as it says', () => {
    const left = start(10, 1);
    left.servers.heard(receipt({ isLast: true, flows: 1 }), 0);
    assert.deepEqual(left.account(), { serverLeft: 10 });
    const clean = start(10, 1);
    clean.servers.heard(receipt({ isLast: true }), 0);
    assert.deepEqual(clean.account(), { unexplained: 10 });
    const full = start(10, 1);
    full.ledger.missingFlows.set(1, 5);
    full.servers.heard(receipt({ evicted: 3, expired: 1 }), 0);
    assert.deepEqual(full.account(), { evicted: 6, expired: 2, unexplained: 2 });
  });

  it('accounts - evidence explains what it can stand for', () => {
    for (const server of [0, 1]) {
      const entries = start(limits.frameRows + 6, server);
      entries.servers.heard(receipt({ skippedEntries: 1 }), 0);
      assert.deepEqual(entries.account(), { skipped: limits.frameRows, unexplained: 6 });
    }
    const others = start(10, 2);
    others.servers.heard(receipt({ skippedEntries: 1 }), 0);
    assert.deepEqual(others.account(), { unexplained: 10 }, 'of flows that another server has');
    const receipts = start(1_020);
    receipts.servers.heard(receipt({ sequence: 2 }), 0);
    assert.deepEqual(receipts.account(), { lost: limits.receiptRows, unexplained: 20 });
    assert.deepEqual(start(10).account({ disconnected: true }), { lost: 10 });
    const late = start(10);
    late.ledger.late = 4;
    assert.deepEqual(late.account(), { lost: 4, unexplained: 6 });
  });

  it('accounts - whatever is said: every packet is accounted for once', () => {
    const counts = fc.record({
      packets: fc.nat(300),
      server: fc.nat(2),
      received: fc.nat(400),
      overload: fc.nat(200),
      logDown: fc.nat(50),
      evicted: fc.nat(5),
      flows: fc.nat(5),
      skippedEntries: fc.nat(1),
      isLast: fc.boolean(),
      nowMs: fc.constantFrom(0, silentMs + 1),
      disconnected: fc.boolean(),
    });
    const property = fc.property(counts, (one) => {
      const { servers, tier1s, account } = start(one.packets, one.server);
      tier1s.heard(hello(), 0);
      tier1s.all[0].sent = one.packets;
      const senders = mine(one.received, { overload: one.overload });
      tier1s.heard(hello({ senders, dropped: { 'log-down': one.logDown } }), 0);
      const { evicted, flows, skippedEntries, isLast } = one;
      servers.heard(receipt({ evicted, flows, skippedEntries, isLast }), 0);
      const accounts = account({ nowMs: one.nowMs, disconnected: one.disconnected });
      const sum = Object.values(accounts).reduce((total, each) => total + each, 0);
      assert.equal(sum, one.packets);
      for (const each of Object.values(accounts)) assert.ok(each > 0);
    });
    fc.assert(property);
  });
});
