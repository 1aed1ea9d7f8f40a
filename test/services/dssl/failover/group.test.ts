// Production actors on one log: servers die, and their heirs get what they had not handled.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Actor, GroupOfActors, type Packet } from '../../../support/groupOfActors.ts';

const rules = { availability: 'active-active' } as const;
const flows = Array.from({ length: 30 }, (_, flow) => flow);

class Case {
  readonly group: GroupOfActors;
  readonly told: string[] = [];
  #nextId = 1;

  constructor(retention: ConstructorParameters<typeof GroupOfActors>[1] = {}) {
    this.group = new GroupOfActors(rules, retention);
    this.group.onFlow = (server, what, hi, lo) => this.told.push(`${server} ${what} ${hi} ${lo}`);
  }

  async begin(...servers: readonly string[]): Promise<void> {
    for (const server of servers) {
      const { actor } = this.group.start(server);
      assert.ok(await this.group.until(() => actor.phase === 'active', 5_000));
    }
    // Who has just begun to listen judges nobody.
    await this.group.run(4_000);
  }

  /** A packet of each flow; their ids. */
  async send(kind: Partial<Packet> = {}): Promise<number[]> {
    const packets = flows.map((flow) => ({ ...kind, id: this.#nextId++, flow }));
    await this.group.send(...packets);
    await this.group.run(20);
    return packets.map(({ id }) => id);
  }

  actor(server: string): Actor {
    const found = this.group.actors.find((each) => each.server === server);
    assert.ok(found !== undefined);
    return found;
  }

  crash(...servers: readonly string[]): void {
    for (const server of servers) {
      this.actor(server).gate.pause();
      this.actor(server).stop();
    }
  }

  async untilOut(...servers: readonly string[]): Promise<void> {
    const isOut = () =>
      this.group.actors
        .filter(({ isStopped }) => !isStopped)
        .every(({ actor }) => !actor.view.members.some(({ server }) => servers.includes(server)));
    assert.ok(await this.group.until(isOut, 10_000));
    await this.group.run(100);
  }

  /** Packets that some living server has. */
  served(): Set<number> {
    return new Set(
      this.group.actors.filter(({ isStopped }) => !isStopped).flatMap(({ got, replayed }) => [...got, ...replayed]),
    );
  }

  counters() {
    const sums = { replays: 0, replayedRows: 0, unreplayed: 0, partialReplays: 0 };
    for (const { isStopped, actor } of this.group.actors) {
      if (isStopped) continue;
      for (const name of ['replays', 'replayedRows', 'unreplayed', 'partialReplays'] as const)
        sums[name] += actor.failover.replay.counters[name];
    }
    return sums;
  }
}

test('failover - an heir hears of each flow once, and of the end of those that are over', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.group.run(3_000);
  one.crash('c');
  one.told.length = 0;
  const ids = [...(await one.send()), ...(await one.send())];
  await one.untilOut('c');
  const served = one.served();
  assert.ok(ids.every((id) => served.has(id)));
  const promoted = one.told.filter((line) => / promoted /.test(line));
  assert.ok(promoted.length > 5);
  await one.send();
  await one.send({ end: true });
  await one.send({ end: true, isBack: true });
  await one.group.run(3_000);
  assert.deepEqual(
    one.told.filter((line) => / promoted /.test(line)),
    promoted,
    'once',
  );
  assert.equal(new Set(promoted).size, promoted.length);
  one.group.stop();
});

test('failover - flows that do not go on at an heir end there', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  one.crash('c');
  one.told.length = 0;
  await one.send({ start: true });
  await one.untilOut('c');
  const promoted = one.told.filter((line) => / promoted /.test(line));
  assert.ok(promoted.length > 5);
  // Of a connection of which only the start came, the group knows nothing any more after four minutes.
  await one.group.run(250_000);
  for (const line of promoted) assert.ok(one.told.includes(line.replace('promoted', 'idle')), line);
  for (const { actor, isStopped } of one.group.actors) assert.equal(isStopped ? 0 : actor.failover.held.size, 0);
  one.group.stop();
});

test('failover - two servers die at once, one of them the heir of the other: nothing is lost, and connections go on', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c', 'd');
  await one.send({ start: true });
  await one.group.run(2_000);
  one.crash('c', 'd');
  const ids: number[] = [];
  for (let turn = 0; turn < 10; turn++) ids.push(...(await one.send()));
  await one.untilOut('c', 'd');
  ids.push(...(await one.send()));
  const served = one.served();
  assert.deepEqual(
    ids.filter((id) => !served.has(id)),
    [],
  );
  assert.equal(one.counters().unreplayed, 0);
  one.group.stop();
});

test('failover - what a server has said that it is done with is not replayed', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.send();
  await one.group.run(3_000);
  one.crash('c');
  await one.untilOut('c');
  assert.deepEqual(one.counters(), { replays: 0, replayedRows: 0, unreplayed: 0, partialReplays: 0 });
  one.group.stop();
});

test('failover - what the log has trimmed is counted and said, and the group goes on', async () => {
  const one = new Case({ bytes: 3_000 });
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.group.run(2_000);
  one.crash('c');
  const ids: number[] = [];
  for (let turn = 0; turn < 12; turn++) ids.push(...(await one.send()));
  await one.untilOut('c');
  const { unreplayed, replayedRows } = one.counters();
  assert.ok(unreplayed > 0 && replayedRows > 0, `${unreplayed} ${replayedRows}`);
  const served = one.served();
  assert.equal(ids.filter((id) => !served.has(id)).length, unreplayed);
  assert.ok(one.group.actors.some(({ lines }) => lines.some((line) => /could not be replayed/.test(line))));
  const later = await one.send();
  assert.ok(later.every((id) => one.served().has(id)));
  one.group.stop();
});

test('failover - the log is lost while an heir replays: the group goes on, and says what is missing', async () => {
  const one = new Case();
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.group.run(2_000);
  one.crash('c');
  await one.send();
  const { group } = one;
  let isLost = false;
  const log = await group.openLog();
  group.onApplied = (_, replica, { heritage }) => {
    if (heritage === undefined || isLost) return;
    isLost = true;
    void log.destroy();
    assert.equal(replica.view.members.length, 2);
  };
  assert.ok(await group.until(() => isLost, 10_000));
  group.onApplied = () => undefined;
  const living = () => group.actors.filter(({ isStopped }) => !isStopped);
  assert.ok(
    await group.until(
      () => living().every(({ actor }) => actor.recovery.isWhole && (actor.replica?.epoch?.number ?? 0) > 1),
      60_000,
    ),
  );
  assert.ok(await group.until(() => living().every(({ actor }) => !actor.failover.replay.isRunning), 20_000));
  const { replays, replayedRows, unreplayed } = one.counters();
  assert.ok(replays > 0 && replayedRows + unreplayed > 0);
  const later = await one.send();
  assert.ok(later.every((id) => one.served().has(id)));
  group.stop();
});
