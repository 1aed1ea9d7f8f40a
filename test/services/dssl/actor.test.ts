// The shell of an actor: lives that follow each other over the same connections, and what it tells whoever runs it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DsslActor } from '../../../services/dssl/actor.ts';
import type { Egress } from '../../../services/dssl/egress/egress.ts';
import { VirtualClock } from '../../../shared/base/clock.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { defaultSettings } from '../../../shared/config/settings.ts';
import { changeView } from '../../../shared/config/store.ts';
import { drain, type GroupBirth, leave } from '../../../shared/membership/transitions.ts';
import { defaultRules, type View } from '../../../shared/membership/view.ts';
import { heapBytes } from '../../support/heap.ts';

const birth: GroupBirth = { group: 'g1', cluster: 'c', placement: 'rendezvous', seed: 1, rules: defaultRules };
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
  const warnings: string[] = [];
  const log = {
    info: () => undefined,
    warn: (fields: object, message: string) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
  };
  let lives = 0;
  const begin = async (): Promise<DsslActor> => {
    const candidate = { server: 'a', incarnation: ++lives, weight: 100 };
    const buses = { dataBus: bus, controlBus: bus, gossipBus: bus };
    const options = { birth, candidate, maxFlows: 1_000, subjects, ...buses, settings: defaultSettings };
    const actor = new DsslActor({ ...options, egress: noServer, clock, log });
    const started = actor.start();
    await clock.advanceAsync(100);
    await started;
    return actor;
  };
  const change = async (step: (view: View) => View): Promise<void> => {
    const store = await bus.openKeyValue(subjects.bucket);
    const changed = changeView(store, 'g1', (view) => view && step(view));
    await clock.advanceAsync(100);
    await changed;
  };
  return { clock, begin, change, warnings };
}

test('actor - whoever waits is told when the server drains, and when it is no member any more', async () => {
  const { clock, begin, change } = setUp();
  const actor = await begin();
  const told: string[] = [];
  void actor.whenDraining().then(() => told.push('draining'));
  void actor.whenRemoved().then(() => told.push('removed'));
  await clock.advanceAsync(1_000);
  assert.equal(told.length, 0);
  const { candidate } = actor.core;
  await change((view) => drain(view, candidate));
  await clock.advanceAsync(100);
  assert.deepEqual(told, ['draining']);
  void actor.whenDraining().then(() => told.push('draining already'));
  await change((view) => leave(view, candidate));
  await clock.advanceAsync(100);
  assert.deepEqual(told.slice(-1), ['removed']);
  actor.stop();
});

test('actor - flows with two owners are told of, once in a while', async () => {
  const { clock, begin, warnings } = setUp();
  const actor = await begin();
  let found = 0;
  Object.defineProperty(actor.core.antiEntropy, 'counters', { get: () => ({ twoOwners: found, givenUp: 1 }) });
  const tellings: number[] = [];
  for (found = 1; found <= 300; found++) {
    await clock.advanceAsync(100);
    tellings.push(warnings.length);
  }
  assert.match(warnings[0], /two owners.*"twoOwners":1,"givenUp":1/);
  assert.deepEqual([tellings[0], tellings[98], tellings[110], tellings.at(-1)], [1, 1, 2, 3]);
  actor.stop();
});

test('actor - many lives over one connection leave nothing behind', async () => {
  const { clock, begin, change } = setUp();
  const live = async (): Promise<void> => {
    const actor = await begin();
    await change((view) => leave(view, actor.core.candidate));
    actor.stop();
    await clock.advanceAsync(100);
  };
  await live();
  const before = heapBytes();
  const lives = 40;
  for (let life = 0; life < lives; life++) await live();
  const kept = (heapBytes() - before) / lives;
  assert.ok(kept < 100_000, `${Math.round(kept)} bytes a life; its tables alone have more than a million`);
  assert.equal(clock.pending, 0);
});
