// A server that was asleep, with production actors on one log: what it hands out when it wakes up, and what it would without its lease.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lease } from '../../../../services/dssl/failover/lease.ts';
import { encodeCommand } from '../../../../shared/log/records/command.ts';
import { type Actor, GroupOfActors, type Packet } from '../../../support/groupOfActors.ts';

const flows = Array.from({ length: 30 }, (_, flow) => flow);

class Case {
  readonly group = new GroupOfActors({ availability: 'active-active' });
  #nextId = 1;

  async begin(...servers: readonly string[]): Promise<void> {
    for (const server of servers) {
      const { actor } = this.group.start(server);
      assert.ok(await this.group.until(() => actor.phase === 'active', 5_000));
    }
    // Who has just begun to listen judges nobody.
    await this.group.run(4_000);
  }

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

  /** Server c sleeps while packets come, until the others have removed it, and wakes up; the ids of what came meanwhile. */
  async sleep(): Promise<number[]> {
    await this.begin('a', 'b', 'c');
    await this.send({ start: true });
    await this.group.run(2_000);
    const c = this.actor('c');
    c.gate.pause();
    const ids = [...(await this.send()), ...(await this.send())];
    const { actor: a } = this.actor('a');
    assert.ok(await this.group.until(() => !a.view.members.some(({ server }) => server === 'c'), 10_000));
    await this.group.run(2_000);
    c.gate.release();
    assert.ok(await this.group.until(() => c.actor.phase === 'left', 10_000));
    return ids;
  }
}

test('lease - a server that was removed while it slept hands out nothing of that time, and its heirs have handed out all', async () => {
  const one = new Case();
  const ids = await one.sleep();
  const [a, b, c] = ['a', 'b', 'c'].map((server) => one.actor(server));
  assert.deepEqual(
    ids.filter((id) => c.got.includes(id)),
    [],
  );
  const heirs = [...a.got, ...b.got, ...a.replayed, ...b.replayed];
  assert.deepEqual(
    ids.filter((id) => !heirs.includes(id)),
    [],
  );
  const { looks, fencedRows } = c.actor.failover.lease.counters;
  assert.deepEqual([looks, fencedRows], [1, a.replayed.length + b.replayed.length]);
  assert.ok(fencedRows > 5);
  one.group.stop();
});

test('lease - without it the server hands out what its heirs have handed out before', async (t) => {
  t.mock.method(Lease.prototype, 'admits', () => true);
  const one = new Case();
  const ids = await one.sleep();
  const [a, b, c] = ['a', 'b', 'c'].map((server) => one.actor(server));
  const twice = ids.filter((id) => c.got.includes(id) && [...a.replayed, ...b.replayed].includes(id));
  assert.ok(twice.length > 5);
  one.group.stop();
});

test('lease - a server that slept and was not removed hands out all that came meanwhile, in order and once', async () => {
  const one = new Case();
  await one.begin('a', 'b');
  await one.send({ start: true });
  const a = one.actor('a');
  a.gate.pause();
  const ids = [...(await one.send()), ...(await one.send())];
  await one.group.run(500);
  a.gate.release();
  await one.group.run(1_000);
  const b = one.actor('b');
  assert.ok(a.actor.failover.lease.counters.looks > 0);
  assert.deepEqual(
    [...a.got, ...b.got].filter((id) => ids.includes(id)).sort((x, y) => x - y),
    ids,
  );
  assert.deepEqual(
    a.got,
    [...a.got].sort((x, y) => x - y),
  );
  assert.deepEqual([...a.replayed, ...b.replayed], []);
  one.group.stop();
});

test('lease - what was kept back because of a command that takes no effect is handed out behind it, in order', async () => {
  const one = new Case();
  await one.begin('a', 'b');
  await one.send({ start: true });
  const [a, b] = ['a', 'b'].map((server) => one.actor(server));
  a.gate.pause();
  const ids = await one.send();
  const log = await one.group.openLog();
  const epoch = a.actor.replica?.epoch?.id ?? '';
  // Who is no member removes nobody.
  const remove = {
    kind: 'remove',
    author: { server: 'z', incarnation: 9 },
    epoch,
    life: a.actor.candidate,
    handled: 0,
  } as const;
  log.append('command', encodeCommand(remove));
  ids.push(...(await one.send()));
  await one.group.run(500);
  a.gate.release();
  assert.ok(await one.group.until(() => !a.actor.failover.replay.isRunning && a.actor.lag.entries === 0, 5_000));
  await one.group.run(1_000);
  assert.ok(a.actor.failover.lease.counters.fencedRows > 5);
  assert.equal(a.actor.phase, 'active');
  assert.deepEqual(
    [...a.got, ...b.got].filter((id) => ids.includes(id)).sort((x, y) => x - y),
    ids,
  );
  assert.deepEqual(
    a.got,
    [...a.got].sort((x, y) => x - y),
  );
  assert.deepEqual([...a.replayed, ...b.replayed], []);
  one.group.stop();
});
