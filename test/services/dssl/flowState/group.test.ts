// Production actors on one log, with handlers whose state is every packet of a flow: servers die, drain and come, and no packet is counted twice or not at all.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StateWay } from '../../../../services/dssl/egress/handlers/handler.ts';
import type { LocalEgress } from '../../../../services/dssl/egress/local.ts';
import { defaultRules } from '../../../../shared/membership/view.ts';
import { type Actor, GroupOfActors, hashOf, type Packet } from '../../../support/groupOfActors.ts';
import { type Remembered, rememberingHandler, rememberingServer } from '../../../support/rememberingHandler.ts';

const fig7 = { availability: 'active-active' } as const;
const fig6 = { ...fig7, typeOneMethod: 'fig-6' } as const;
const idle = { ...defaultRules.idle, 'udp-established': 20, 'udp-opening': 20, 'tcp-closing': 10 };
const ways = ['shadow', 'checkpoint'] as const;
const flows = Array.from({ length: 40 }, (_, flow) => flow);

class Case {
  readonly group: GroupOfActors;
  readonly records: Remembered[] = [];
  readonly servers = new Map<string, LocalEgress>();
  readonly sent = new Map<number, number[]>();
  /** Servers whose records count for nothing: what a dead process writes reaches nobody. */
  readonly dead = new Set<string>();
  stuck = '';
  #nextId = 1;

  constructor(way: StateWay, rules: ConstructorParameters<typeof GroupOfActors>[0] = fig7) {
    this.group = new GroupOfActors({ idle, ...rules });
    const factory = rememberingHandler(way, this.records, (server) => server === this.stuck);
    this.group.serverOf = (server) => {
      const egress = rememberingServer(factory, server);
      this.servers.set(server, egress);
      return egress;
    };
  }

  async begin(...servers: readonly string[]): Promise<void> {
    for (const server of servers) {
      const { actor } = this.group.start(server);
      assert.ok(await this.group.until(() => actor.phase === 'active', 5_000));
    }
    await this.group.run(4_000);
  }

  /** A packet of each flow. */
  async send(kind: Partial<Packet> = {}, which: readonly number[] = flows): Promise<void> {
    const packets = which.map((flow) => ({ ...kind, id: this.#nextId++, flow }));
    for (const { id, flow } of packets) this.sent.set(flow, [...(this.sent.get(flow) ?? []), id]);
    await this.group.send(...packets);
    await this.group.run(20);
  }

  async traffic(ms: number, kind: Partial<Packet> = {}): Promise<void> {
    for (let spentMs = 0; spentMs < ms; spentMs += 100) {
      await this.send(kind);
      await this.group.run(80);
    }
  }

  actor(server: string): Actor {
    const found = this.group.actors.findLast((each) => each.server === server);
    assert.ok(found !== undefined);
    return found;
  }

  crash(server: string): void {
    this.actor(server).gate.pause();
    this.actor(server).stop();
    this.dead.add(server);
  }

  isOut(server: string): boolean {
    return this.living().every(({ actor }) => !actor.view.members.some((member) => member.server === server));
  }

  /** Under traffic, unless told otherwise. */
  async untilOut(server: string, kind: Partial<Packet> | 'silent' = {}): Promise<void> {
    for (let spentMs = 0; !this.isOut(server); spentMs += 100) {
      assert.ok(spentMs < 20_000, `${server} is still in`);
      if (kind === 'silent') await this.group.run(100);
      else await this.traffic(100, kind);
    }
  }

  living(): Actor[] {
    return this.group.actors.filter(({ isStopped, actor }) => !isStopped && actor.phase !== 'left');
  }

  /** All flows end; and then each has one record, with all of its packets in order. */
  async settle(isUdp = false): Promise<void> {
    if (!isUdp) {
      await this.send({ end: true });
      await this.send({ end: true, isBack: true });
    }
    await this.group.run(60_000);
    const told = this.records.filter(({ server }) => !this.dead.has(server));
    for (const [flow, ids] of this.sent) {
      const records = told.filter(({ lo }) => lo === hashOf(flow, 2));
      assert.deepEqual(
        records.map((record) => record.ids.join(' ')),
        [ids.join(' ')],
        `flow ${flow}: ${JSON.stringify(records.map(({ server, end }) => [server, end]))}`,
      );
    }
    for (const { actor } of this.living()) {
      const { behind } = actor.failover.states ?? {};
      assert.deepEqual([behind?.size, behind?.coldFlows], [0, 0], 'nothing is kept of flows that are over');
    }
    this.group.stop();
  }

  counters() {
    const sums = { warm: 0, cold: 0, stale: 0 };
    for (const { actor } of this.living()) {
      const { counters } = actor.failover.states ?? {};
      for (const name of ['warm', 'cold', 'stale'] as const) sums[name] += counters?.[name] ?? 0;
    }
    return sums;
  }
}

for (const [name, way, rules] of [
  ['shadow', 'shadow', fig7],
  ['checkpoint', 'checkpoint', fig7],
  ['shadow, by Fig. 6', 'shadow', fig6],
] as const) {
  test(`flow state - ${name}: an owner dies under traffic, and each flow has one record with every packet`, async () => {
    const one = new Case(way, rules);
    await one.begin('a', 'b', 'c');
    await one.send({ start: true });
    await one.traffic(3_000);
    one.crash('c');
    await one.untilOut('c');
    await one.traffic(500);
    const { warm, cold, stale } = one.counters();
    assert.ok(warm > 5, `${warm}`);
    assert.deepEqual([cold, stale], [0, 0]);
    await one.settle();
  });
}

test('flow state - shadow: answers take a while, under traffic: what comes meanwhile waits, and counts once', async () => {
  const one = new Case('shadow');
  await one.begin('a', 'b', 'c', 'd');
  await one.send({ start: true });
  await one.traffic(1_000);
  for (const { gate } of one.group.actors) gate.peerDelayMs = 120;
  for (const gone of ['d', 'c', 'b']) {
    one.crash(gone);
    for (let turn = 0; turn < 150 || !one.isOut(gone); turn++) await one.send();
  }
  assert.deepEqual([one.counters().cold, one.counters().stale], [0, 0]);
  await one.settle();
});

test('flow state - shadow: a question gets lost, and is asked again', async () => {
  const one = new Case('shadow');
  await one.begin('a', 'b');
  await one.send({ start: true });
  await one.traffic(500);
  // Nobody stands behind the flows of the one that is left, and who comes asks it.
  one.crash('b');
  await one.untilOut('b');
  const left = one.actor('a');
  const { actor } = one.group.start('c');
  left.gate.peerDelayMs = 700;
  while (actor.phase !== 'active') await one.traffic(100);
  await one.traffic(2_000);
  left.gate.peerDelayMs = 0;
  await one.traffic(2_000);
  one.crash('a');
  await one.untilOut('a');
  assert.deepEqual([one.counters().cold, one.counters().stale], [0, 0]);
  await one.settle();
});

for (const way of ways) {
  test(`flow state - ${way}: one server after the other dies, each the heir of the one before`, async () => {
    const one = new Case(way);
    await one.begin('a', 'b', 'c', 'd');
    await one.send({ start: true });
    await one.traffic(3_000);
    for (const gone of ['d', 'c', 'b']) {
      one.crash(gone);
      await one.untilOut(gone);
      await one.traffic(1_500);
    }
    const { cold, stale } = one.counters();
    assert.deepEqual([cold, stale], [0, 0]);
    await one.settle();
  });

  test(`flow state - ${way}: servers come and drain, and flows go on with their state`, async () => {
    const one = new Case(way);
    await one.begin('a', 'b');
    await one.send({ start: true });
    await one.traffic(2_000);
    await one.begin('c');
    await one.traffic(1_500);
    for (const server of ['a', 'b']) {
      const { actor } = one.actor(server);
      let hasLeft = false;
      void actor.drain(1_000).then(() => {
        hasLeft = true;
      });
      while (!hasLeft) await one.traffic(100);
      await one.traffic(1_500);
    }
    assert.deepEqual([one.counters().cold, one.counters().stale], [0, 0]);
    await one.settle();
  });

  test(`flow state - ${way}: flows that were silent for long before their server died have their record, and lack nothing`, async () => {
    const one = new Case(way);
    await one.begin('a', 'b', 'c');
    await one.traffic(2_000, { isUdp: true });
    await one.group.run(13_000);
    one.crash('c');
    await one.untilOut('c', 'silent');
    assert.equal(one.records.length, 0);
    await one.group.run(30_000);
    const { warm, cold, stale } = one.counters();
    assert.ok(warm > 5, `${warm}`);
    assert.deepEqual([cold, stale], [0, 0]);
    await one.settle(true);
  });

  test(`flow state - ${way}: one server after the other dies while flows are silent, and their state goes from hand to hand`, async () => {
    const one = new Case(way, { ...fig7, idle: { ...idle, 'udp-established': 60 } });
    await one.begin('a', 'b', 'c', 'd');
    await one.traffic(1_000, { isUdp: true });
    for (const gone of ['d', 'c', 'b']) {
      await one.group.run(2_000);
      one.crash(gone);
      await one.untilOut(gone, 'silent');
      await one.group.run(5_000);
    }
    assert.equal(one.records.length, 0);
    await one.send({ isUdp: true });
    const { cold, stale } = one.counters();
    assert.deepEqual([cold, stale], [0, 0]);
    await one.group.run(30_000);
    await one.settle(true);
  });

  test(`flow state - ${way}: a server is back under its name before anybody misses it, and its flows go on elsewhere with their state`, async () => {
    const one = new Case(way);
    await one.begin('a', 'b', 'c');
    await one.send({ start: true });
    await one.traffic(2_500);
    one.actor('c').gate.pause();
    one.actor('c').stop();
    const { actor } = one.group.start('c');
    while (actor.phase !== 'active') await one.traffic(100);
    await one.traffic(1_500);
    const { warm, cold, stale } = one.counters();
    assert.ok(warm > 5, `${warm}`);
    assert.deepEqual([cold, stale], [0, 0]);
    await one.settle();
  });

  test(`flow state - ${way}: what a dead server has said that it was done with nobody does again`, async () => {
    const one = new Case(way);
    await one.begin('a', 'b', 'c');
    await one.traffic(2_000, { isUdp: true });
    await one.group.run(30_000);
    assert.equal(one.records.length, flows.length);
    one.crash('c');
    await one.untilOut('c', 'silent');
    await one.group.run(5_000);
    assert.equal(one.records.length, flows.length);
    one.group.stop();
  });

  test(`flow state - ${way}: an owner dies before it has said that it was done with the ends of flows`, async () => {
    const one = new Case(way);
    await one.begin('a', 'b', 'c');
    await one.traffic(2_500, { isUdp: true });
    one.stuck = 'c';
    await one.group.run(24_000);
    assert.ok(one.records.length > 0 && one.records.every(({ server }) => server !== 'c'));
    one.crash('c');
    await one.untilOut('c', 'silent');
    const finished = one.living().map(({ actor }) => actor.failover.states?.counters.finished ?? 0);
    assert.ok(finished.reduce((sum, each) => sum + each) > 5, `${finished}`);
    await one.settle(true);
  });
}
