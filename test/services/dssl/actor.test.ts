// The shell of an actor: lives that follow each other over the same connections, and what it tells whoever runs it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DsslActor } from '../../../services/dssl/actor.ts';
import type { Egress } from '../../../services/dssl/egress/egress.ts';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { isFlowherdError } from '../../../shared/base/errors.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { defaultSettings } from '../../../shared/config/settings.ts';
import type { LogSettings } from '../../../shared/log/log.ts';
import { type Command, encodeCommand, operatorAuthor } from '../../../shared/log/records/command.ts';
import { defaultRules, type GroupBirth } from '../../../shared/membership/view.ts';
import { GroupOfActors } from '../../support/groupOfActors.ts';
import { heapBytes } from '../../support/heap.ts';

const birth: GroupBirth = { group: 'g1', placement: 'rendezvous', seed: 1, rules: defaultRules };
const logSettings: LogSettings = { retention: { ageMs: 10_000, bytes: 2 ** 20 }, storage: 'memory', replicas: 1 };
const noServer: Egress = {
  begin: () => undefined,
  add: () => undefined,
  end: () => undefined,
  flowStarted: () => undefined,
  flowEnded: () => undefined,
};

/** A bus that many lives share. */
function setUp() {
  const clock = new VirtualClock(1_000_000);
  const subjects = subjectsOf('c');
  const bus = new MemoryHub({ clock }).connect();
  const log = { info: () => undefined, warn: () => undefined };
  let lives = 0;
  /** Lets time pass until the promise is settled. */
  const within = async (ms: number, promise: Promise<void>): Promise<void> => {
    let isSettled = false;
    void promise.then(() => (isSettled = true));
    for (const untilMs = clock.monotonicMs() + ms; !isSettled && clock.monotonicMs() < untilMs; ) {
      await clock.advanceAsync(10);
    }
    assert.ok(isSettled, `not done within ${ms} ms`);
  };
  const begin = async (egress = noServer): Promise<DsslActor> => {
    const candidate = { server: 'a', incarnation: ++lives, weight: 100 };
    const buses = { dataBus: bus, controlBus: bus, gossipBus: bus };
    const options = { birth, candidate, subjects, ...buses, logSettings, settings: defaultSettings };
    const actor = new DsslActor({ ...options, egress, clock, log });
    await within(5_000, actor.start());
    await clock.advanceAsync(500);
    return actor;
  };
  /** An operator appends a command. */
  const append = async (command: Pick<Command & { kind: 'drain' | 'leave' }, 'kind' | 'life'>): Promise<void> => {
    const opened = bus.openLog('c', 'g1');
    await clock.advanceAsync(1);
    (await opened).append('command', encodeCommand({ ...command, author: operatorAuthor, epoch: '' }));
    await clock.advanceAsync(100);
  };
  return { clock, bus, begin, append, within };
}

async function send(bus: Bus, clock: VirtualClock, frame: Uint8Array): Promise<void> {
  const opened = bus.openLog('c', 'g1');
  await clock.advanceAsync(1);
  (await opened).append('frame', frame);
  await clock.advanceAsync(100);
}

test('actor - whoever waits is told when the server drains, and when it is no member any more', async () => {
  const { clock, bus, begin, append } = setUp();
  const actor = await begin();
  const told: string[] = [];
  void actor.whenDraining().then(() => told.push('draining'));
  void actor.whenRemoved().then(() => told.push('removed'));
  await send(bus, clock, new GroupOfActors().frame({ id: 1, flow: 1, start: true }));
  await clock.advanceAsync(1_000);
  assert.deepEqual([actor.phase, actor.ownFlows, told.length], ['active', 1, 0]);
  await append({ kind: 'drain', life: actor.candidate });
  assert.deepEqual(told, ['draining'], 'it keeps the flow that it has');
  void actor.whenDraining().then(() => told.push('draining already'));
  await clock.advanceAsync(1_000);
  assert.equal(told.at(-1), 'draining already');
  await append({ kind: 'leave', life: actor.candidate });
  assert.equal(actor.phase, 'left');
  assert.equal(told.at(-1), 'removed');
  actor.stop();
});

test('actor - one that never becomes active says so, to whoever waits for that', async () => {
  const { clock, begin } = setUp();
  const actor = await begin();
  actor.standing.mayActivate = false;
  const failed: unknown[] = [];
  actor.standing.phase = 'joining';
  actor.whenActive(500).catch((error) => failed.push(error));
  await clock.advanceAsync(600);
  assert.ok(isFlowherdError(failed[0], 'bus-timeout'));
  assert.match(failed[0].message, /a is still joining in group g1 after 500 ms/);
  actor.stop();
});

test('actor - a server that throws costs the life that was handing out: nobody knows how much of the entry it got', async () => {
  const { clock, bus, begin } = setUp();
  let calls = 0;
  const actor = await begin({
    ...noServer,
    begin: () => {
      calls++;
      throw new Error('the server is broken');
    },
  });
  assert.equal(actor.phase, 'active');
  const group = new GroupOfActors();
  for (const id of [1, 2]) await send(bus, clock, group.frame({ id, flow: id, start: true }));
  assert.equal(actor.phase, 'left');
  assert.match(actor.lostBecause ?? '', /applying entry \d+ failed: .*the server is broken/);
  assert.equal(calls, 1, 'it gets nothing any more');
  actor.stop();
});

test('actor - peer messages that are none are counted, and change nothing', async () => {
  const { clock, bus, begin } = setUp();
  const actor = await begin();
  const subjects = subjectsOf('c');
  for (const subject of [subjects.peer('g1', 'a'), subjects.control('g1')])
    bus.publish(subject, Buffer.from('nothing'));
  await clock.advanceAsync(100);
  assert.deepEqual([actor.counters.badPeerMessages, actor.phase], [2, 'active']);
  actor.stop();
});

test('actor - many lives over one connection leave nothing behind', async () => {
  const { clock, begin, within } = setUp();
  const live = async (): Promise<void> => {
    const actor = await begin();
    await within(5_000, actor.drain(100));
    actor.stop();
    await clock.advanceAsync(3_000);
  };
  await live();
  const before = heapBytes();
  const lives = 40;
  for (let life = 0; life < lives; life++) await live();
  const kept = (heapBytes() - before) / lives;
  assert.ok(kept < 20_000, `${Math.round(kept)} bytes a life; its tables alone have more`);
  assert.equal(clock.pending, 0);
});
