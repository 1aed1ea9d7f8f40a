// A server that was asleep, with production actors on one log: what it hands out when it wakes up, and what it would without its lease.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lease } from '../../../../services/dssl/failover/lease.ts';
import { encodeCommand } from '../../../../shared/log/records/command.ts';
import type { Actor } from '../../../support/groupOfActors.ts';
import { Case } from './support.ts';

/** A lease of its own, and what it asks for. */
class Look {
  readonly did: string[] = [];
  isCurrent = true;
  readonly lease = new Lease({ server: 'a', incarnation: 1 }, 350, {
    hold: () => this.did.push('hold'),
    release: () => this.did.push('release'),
    lookAhead: () => this.did.push('look'),
    stopLooking: () => this.did.push('stop'),
    isCurrent: () => this.isCurrent,
    tell: () => undefined,
  });
}

/** Who is no member removes nobody. */
async function removeInVain(one: Case, { actor }: Actor): Promise<void> {
  const log = await one.group.openLog();
  const epoch = actor.replica?.epoch?.id ?? '';
  const author = { server: 'z', incarnation: 9 };
  log.append('command', encodeCommand({ kind: 'remove', author, epoch, life: actor.candidate, handled: 0 }));
}

/**
 * Server c sleeps while packets come, until the others have removed it, and wakes up; the ids of what came meanwhile. `isVain`: there is a command
 * before that which takes no effect.
 */
async function sleep(one: Case, isVain = false): Promise<number[]> {
  await one.begin('a', 'b', 'c');
  await one.send({ start: true });
  await one.group.run(2_000);
  const c = one.actor('c');
  c.gate.pause();
  const ids = await one.send();
  if (isVain) await removeInVain(one, c);
  ids.push(...(await one.send()));
  const { actor: a } = one.actor('a');
  assert.ok(await one.group.until(() => !a.view.members.some(({ server }) => server === 'c'), 10_000));
  await one.group.run(2_000);
  c.gate.release();
  assert.ok(await one.group.until(() => c.actor.phase === 'left', 10_000));
  return ids;
}

/** The two have got these between them, each once and without a mark, and the one that slept all of its own in order. */
function assertOnce(ids: readonly number[], asleep: Actor, other: Actor): void {
  const ascending = (some: readonly number[]) => some.toSorted((x, y) => x - y);
  assert.deepEqual(ascending([...asleep.got, ...other.got].filter((id) => ids.includes(id))), ids);
  assert.deepEqual(asleep.got, ascending(asleep.got));
  assert.deepEqual([...asleep.replayed, ...other.replayed], []);
}

test('lease - a server that was removed while it slept hands out nothing of that time, and its heirs have handed out all', async () => {
  const one = new Case();
  const ids = await sleep(one);
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
  t.mock.method(Lease.prototype, 'holds', () => true);
  const one = new Case();
  const ids = await sleep(one);
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
  assertOnce(ids, a, b);
  one.group.stop();
});

test('lease - what was kept back because of a command that takes no effect is handed out behind it, in order', async () => {
  const one = new Case();
  await one.begin('a', 'b');
  await one.send({ start: true });
  const [a, b] = ['a', 'b'].map((server) => one.actor(server));
  a.gate.pause();
  const ids = await one.send();
  await removeInVain(one, a);
  ids.push(...(await one.send()));
  await one.group.run(500);
  a.gate.release();
  assert.ok(await one.group.until(() => !a.actor.failover.replay.isRunning && a.actor.lag.entries === 0, 5_000));
  await one.group.run(1_000);
  assert.ok(a.actor.failover.lease.counters.fencedRows > 5);
  assert.equal(a.actor.phase, 'active');
  assertOnce(ids, a, b);
  one.group.stop();
});

test('lease - behind a command that takes no effect it looks for another one, which may', async () => {
  const one = new Case();
  const ids = await sleep(one, true);
  const c = one.actor('c');
  const own = [...c.got, ...c.replayed];
  assert.deepEqual(
    ids.filter((id) => own.includes(id)),
    [],
  );
  assert.equal(c.actor.failover.lease.counters.looks, 2);
  one.group.stop();
});

test('lease - who falls asleep while it looks ahead looks anew: what it has seen is of before', () => {
  const { lease, did } = new Look();
  lease.renew({ position: 7, mark: 1 }, 1_000);
  lease.tick(4_000);
  assert.deepEqual(did.splice(0), ['hold', 'look', 'stop', 'look']);
  assert.equal(lease.holds(3_000, 4_000), false);
  lease.tick(4_050);
  assert.deepEqual(did, ['stop', 'release']);
  assert.deepEqual([lease.holds(3_000, 4_349), lease.holds(3_000, 4_350)], [true, false]);
});

test('lease - what a look ahead has seen is as old as its question: one that takes too long is made anew', () => {
  const look = new Look();
  const { lease, did } = look;
  look.isCurrent = false;
  lease.renew({ position: 7, mark: 1 }, 1_000);
  for (let nowMs = 1_050; nowMs < 1_400; nowMs += 50) lease.tick(nowMs);
  look.isCurrent = true;
  lease.tick(1_400);
  assert.deepEqual(did.splice(0), ['hold', 'look', 'stop', 'look']);
  assert.equal(lease.isHeld(1_400), false);
  lease.tick(1_450);
  assert.deepEqual(did, ['stop', 'release']);
  assert.deepEqual([lease.isHeld(1_749), lease.isHeld(1_750)], [true, false]);
});

test('lease - what is read again may be handed out for half the time of giving up behind the newest entry, or behind a look ahead', () => {
  const { lease } = new Look();
  assert.equal(lease.isHeld(1_000), false);
  assert.ok(lease.holds(100, 1_000));
  assert.deepEqual([lease.isHeld(1_250), lease.isHeld(1_251)], [true, false]);
  lease.renew({ position: 7, mark: 1 }, 1_300);
  assert.equal(lease.isHeld(1_100), false);
  lease.tick(1_350);
  assert.deepEqual([lease.isHeld(1_649), lease.isHeld(1_650)], [true, false]);
});
