// Servers that find their place by themselves, in one process under a virtual clock: many at once, names that live and names
// that are dead, and what a server that was killed at any moment of its life leaves behind.

import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { type ActorLog, DsslActor } from '../../../../services/dssl/actor.ts';
import type { Egress } from '../../../../services/dssl/egress/egress.ts';
import { removalOf, type TakenPlace, takePlace } from '../../../../services/dssl/member/place.ts';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import { isFlowherdError } from '../../../../shared/base/errors.ts';
import type { Bus, KeyValue } from '../../../../shared/bus/bus.ts';
import { MemoryHub } from '../../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../../../shared/config/map.ts';
import { defaultSettings } from '../../../../shared/config/settings.ts';
import { readMirrors } from '../../../../shared/config/store.ts';
import { ProtocolClass, protocolClassShift } from '../../../../shared/flow/frameFlags.ts';
import { encodeCommand } from '../../../../shared/log/records/command.ts';
import { FrameBuilder } from '../../../../shared/log/records/frame.ts';
import type { JoinTerms } from '../../../../shared/membership/transitions.ts';
import type { Member } from '../../../../shared/membership/view.ts';
import { mapByHand } from '../../../support/cluster.ts';

const noServer: Egress = {
  begin: () => undefined,
  add: () => undefined,
  end: () => undefined,
  flowStarted: () => undefined,
  flowEnded: () => undefined,
};

interface Process {
  readonly bus: Bus;
  /** Nothing that others ask of it reaches it. */
  deaf: boolean;
  readonly stop: AbortController;
  readonly log: string[];
  readonly place: Promise<TakenPlace | undefined>;
}

class World {
  readonly clock = new VirtualClock(1_000_000);
  readonly subjects = subjectsOf('c');
  readonly map: ClusterMap;
  readonly #hub = new MemoryHub({ clock: this.clock });
  #incarnation = 0;

  constructor(groups: number) {
    const ids = Array.from({ length: groups }, (_, index) => `g${index + 1}`);
    this.map = { ...mapByHand(ids), settings: defaultSettings };
  }

  /** A process that looks for its place. */
  start(server: string, memberOf?: string): Process {
    const bus = this.#hub.connect(server);
    const process = { bus, deaf: false };
    const subscribe = bus.subscribe.bind(bus);
    bus.subscribe = (subject, handler) =>
      subscribe(subject, (data, on) => {
        if (!process.deaf || !/\.(?:peer|ctl)\./.test(subject)) handler(data, on);
      });
    const stop = new AbortController();
    const log: string[] = [];
    const write = (fields: object, message: string) => void log.push(`${message} ${JSON.stringify(fields)}`);
    const actorLog: ActorLog = { info: write, warn: write };
    const place = takePlace({
      map: this.map,
      own: new Set(),
      memberOf,
      stop: stop.signal,
      candidate: { server, incarnation: ++this.#incarnation, weight: 100 },
      logSettings: this.map.log,
      subjects: this.subjects,
      dataBus: bus,
      controlBus: bus,
      gossipBus: bus,
      clock: this.clock,
      log: actorLog,
    });
    place.catch(() => undefined);
    return Object.assign(process, { stop, log, place });
  }

  /** Lets time pass until the promise is settled; at most `ms`. */
  async within<T>(ms: number, promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => void (settled = true);
    promise.then(mark, mark);
    const untilMs = this.clock.monotonicMs() + ms;
    while (!settled && this.clock.monotonicMs() < untilMs) await this.clock.advanceAsync(5);
    assert.ok(settled, `not done within ${ms} ms`);
    return promise;
  }

  /** A server that has its place and is active. */
  async active(server: string, memberOf?: string): Promise<Process & { readonly taken: TakenPlace }> {
    const process = this.start(server, memberOf);
    const taken = await this.joined(process);
    taken.serve(noServer);
    await this.within(12_000, taken.actor.whenActive(12_000));
    return Object.assign(process, { taken });
  }

  async joined(process: Process): Promise<TakenPlace> {
    const taken = await this.within(3_000, process.place);
    assert.ok(taken);
    return taken;
  }

  /** Ends it as SIGKILL does: nothing is said or written any more. */
  async kill(process: Process): Promise<void> {
    await this.within(100, process.bus.close());
    const taken = await this.within(
      3_000,
      process.place.catch(() => undefined),
    );
    taken?.actor.stop();
  }

  /** Flows of a group, enough for each of its servers to get some. */
  async flows(group: string): Promise<void> {
    const builder = new FrameBuilder();
    const udp = ProtocolClass.UDP << protocolClassShift;
    for (let flow = 0; flow < 64; flow++) builder.add(Uint8Array.of(flow), 0, 1, flow << 24, flow, udp);
    const header = { tier1Id: 't1', number: 1, follows: 0, mapVersion: 1, timestampMs: 0 };
    const log = await this.within(100, this.#hub.connect('t1').openLog('c', group));
    log.append('frame', Uint8Array.from(builder.finish(header)));
    await this.clock.advanceAsync(20);
  }

  async store(): Promise<KeyValue> {
    return this.within(100, this.#hub.connect('test').openKeyValue(this.subjects.bucket));
  }

  /** Members by group. */
  async members(): Promise<Record<string, Member[]>> {
    const ids = this.map.groups.map(({ id }) => id);
    const mirrors = await this.within(100, readMirrors(await this.store(), ids));
    return Object.fromEntries(ids.map((id) => [id, [...(mirrors.get(id)?.view.members ?? [])]]));
  }

  /** Lets time pass until that holds. */
  async until(holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) await new Promise<void>((resolve) => this.clock.setTimer(10, resolve));
  }

  /** Lets time pass until the store has what all members have agreed on. */
  async mirrored(): Promise<void> {
    for (let passed = 0; passed < 2_000; passed += 5) await this.clock.advanceAsync(5);
  }

  async names(): Promise<string[]> {
    const members = await this.members();
    return Object.entries(members).flatMap(([group, list]) => list.map(({ server }) => `${group} ${server}`));
  }
}

const refusal = (pattern: RegExp) => (error: unknown) => {
  assert.ok(isFlowherdError(error, 'bad-state'));
  assert.match(error.message, pattern);
  return true;
};

describe('place', () => {
  test('place - nine servers that start at once spread over three groups, and all become active', async () => {
    const world = new World(3);
    const processes = Array.from({ length: 9 }, (_, index) => world.start(`s${index}`));
    for (const { place } of processes) void place.then((taken) => taken?.serve(noServer));
    const places = await world.within(2_000, Promise.all(processes.map(({ place }) => place)));
    await world.within(2_000, Promise.all(places.map((place) => place?.actor.whenActive(2_000))));
    await world.mirrored();
    const members = await world.members();
    assert.deepEqual(
      Object.values(members).map((list) => list.length),
      [3, 3, 3],
    );
    assert.ok(Object.values(members).every((list) => list.every(({ state }) => state === 'active')));
  });

  test('place - a server is not active before it is served, and is served without a gap afterwards', async () => {
    const world = new World(1);
    const taken = await world.joined(world.start('a'));
    await world.clock.advanceAsync(5_000);
    assert.equal(taken.actor.phase, 'joining');
    taken.serve(noServer);
    await world.within(100, taken.actor.whenActive(100));
  });

  test('place - a second server under the name of a living one is refused, and nothing changes', async () => {
    const world = new World(2);
    const first = await world.active('a');
    await world.mirrored();
    const before = JSON.stringify(await world.members());
    for (const memberOf of [undefined, 'g1', 'g2']) {
      const second = world.start('a', memberOf);
      await assert.rejects(world.within(3_000, second.place), refusal(/named a is running in group g1 already/));
    }
    assert.equal(JSON.stringify(await world.members()), before);
    assert.equal(first.taken.actor.phase, 'active');
    await world.flows('g1');
    void first.taken.actor.drain(Number.POSITIVE_INFINITY);
    await world.mirrored();
    await assert.rejects(world.within(3_000, world.start('a').place), refusal(/still draining in group g1/));
  });

  test('place - what is dead is replaced in its own group at once, in whatever state it died', async () => {
    for (const state of ['joining', 'active', 'draining'] as const) {
      const world = new World(2);
      await world.active('other', 'g1');
      const former = world.start('a', 'g1');
      const life = await world.joined(former);
      if (state !== 'joining') {
        life.serve(noServer);
        await world.within(1_000, life.actor.whenActive(1_000));
      }
      await world.flows('g1');
      if (state === 'draining') void life.actor.drain(Number.POSITIVE_INFINITY);
      await world.mirrored();
      await world.kill(former);
      assert.equal((await world.members()).g1[1].state, state);
      const startedMs = world.clock.monotonicMs();
      const next = await world.active('a');
      assert.equal(next.taken.group, 'g1', 'although g2 is empty');
      assert.ok(world.clock.monotonicMs() - startedMs < 2_000, `${state}: it does not wait for its own former life`);
      assert.deepEqual(await world.names(), ['g1 other', 'g1 a']);
    }
  });

  test('place - one that was killed before it joined, or has left, leaves nothing to be replaced', async () => {
    const world = new World(2);
    await world.kill(world.start('a'));
    assert.deepEqual(await world.names(), []);
    const first = await world.active('a');
    await world.within(1_000, first.taken.actor.drain(0));
    await world.kill(first);
    assert.deepEqual(await world.names(), []);
    const startedMs = world.clock.monotonicMs();
    await world.active('a');
    assert.ok(world.clock.monotonicMs() - startedMs < 500, 'nobody is asked');
  });

  test('place - a successor that is told another group takes its former life out of the old one', async () => {
    const world = new World(2);
    await world.active('other', 'g1');
    await world.kill(await world.active('a', 'g1'));
    await world.active('a', 'g2');
    assert.deepEqual(await world.names(), ['g1 other', 'g2 a']);
  });

  test('place - of two servers that start under one name at once, one gets in and the other is refused', async () => {
    for (const groups of [
      [undefined, undefined],
      ['g1', 'g1'],
      ['g1', 'g2'],
    ] as const) {
      const world = new World(2);
      const places = groups.map((memberOf) => world.start('a', memberOf).place);
      const outcomes = await world.within(60_000, Promise.allSettled(places));
      assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'], `${groups}`);
      assert.equal((await world.names()).length, 1, `${groups}`);
    }
  });

  test('place - two servers of one name that met in groups that live take their joins back, and one gets in again', async () => {
    const world = new World(2);
    for (const group of ['g1', 'g2']) await world.active(`other-${group}`, group);
    const places = ['g1', 'g2'].map((memberOf) => world.start('a', memberOf).place);
    const outcomes = await world.within(60_000, Promise.allSettled(places));
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    await world.mirrored();
    assert.equal((await world.names()).filter((name) => name.endsWith(' a')).length, 1);
  });

  test('place - of two successors of a dead server, one takes its place and the other is refused', async () => {
    const world = new World(2);
    await world.kill(await world.active('a', 'g1'));
    const outcomes = await world.within(20_000, Promise.allSettled([world.start('a').place, world.start('a').place]));
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.deepEqual(await world.names(), ['g1 a']);
  });

  test('place - one that was replaced, or removed, is told so', async () => {
    const world = new World(1);
    const paused = await world.active('a');
    await world.active('other');
    // It hears nothing that it is asked, and goes on reading the log: as a process that goes on after a pause.
    paused.deaf = true;
    const removed = paused.taken.actor.whenRemoved();
    const next = await world.active('a');
    await world.within(1_000, removed);
    assert.equal(paused.taken.actor.phase, 'left');
    assert.match(removalOf(paused.taken.actor).message, /a was replaced in group g1/);
    paused.deaf = false;
    await assert.rejects(world.within(3_000, world.start('a').place), refusal(/running/), 'only one life answers');

    const { candidate } = next.taken.actor;
    const log = await world.within(100, paused.bus.openLog('c', 'g1'));
    log.append('command', encodeCommand({ kind: 'leave', author: candidate, epoch: '', life: candidate }));
    await world.within(1_000, next.taken.actor.whenRemoved());
    assert.match(removalOf(next.taken.actor).message, /a was removed from group g1/);
  });

  test('place - nobody waits for the dead: the group is there as long as one member is', async () => {
    const world = new World(1);
    const dead = [await world.active('a'), await world.active('b')];
    await world.active('c');
    for (const process of dead) await world.kill(process);
    const startedMs = world.clock.monotonicMs();
    const { taken } = await world.active('d');
    assert.ok(world.clock.monotonicMs() - startedMs < 3_000);
    assert.equal(taken.actor.view.members.length, 4, 'they are removed later, by those that watch them');
  });

  test('place - a group whose members are all dead is asked for ten seconds before it begins anew', async () => {
    const world = new World(1);
    for (const process of [await world.active('a'), await world.active('b')]) await world.kill(process);
    const startedMs = world.clock.monotonicMs();
    const next = world.start('c');
    const taken = await world.within(20_000, next.place);
    const tookMs = world.clock.monotonicMs() - startedMs;
    assert.ok(tookMs > 9_000 && tookMs < 14_000, `${tookMs} ms`);
    assert.ok(next.log.some((line) => line.startsWith('a new log: the group begins empty')));
    assert.deepEqual(
      taken?.actor.view.members.map(({ server }) => server),
      ['c'],
    );
  });

  test('place - a life that is lost before it has joined is followed by another one', async () => {
    const world = new World(1);
    await world.active('a');
    const { join } = DsslActor.prototype;
    const lives: number[] = [];
    const losing = mock.method(DsslActor.prototype, 'join', function (this: DsslActor, terms: JoinTerms) {
      lives.push(this.candidate.incarnation);
      if (lives.length > 1) return join.call(this, terms);
      Object.defineProperty(this, 'lostBecause', { value: 'it was removed, unseen' });
      return Promise.resolve(false);
    });
    const taken = await world.joined(world.start('b'));
    losing.mock.restore();
    assert.equal(lives.length, 2);
    assert.notEqual(lives[1], lives[0]);
    assert.equal(taken.actor.candidate.incarnation, lives[1]);
  });

  test('place - joiners do not wait for each other', async () => {
    const world = new World(1);
    await world.active('a');
    await world.joined(world.start('b'));
    const startedMs = world.clock.monotonicMs();
    await world.active('c');
    assert.ok(world.clock.monotonicMs() - startedMs < 1_000, 'b never becomes active');
  });

  test('place - a joiner that is to end leaves at once', async () => {
    const world = new World(1);
    await world.active('other');
    const taken = await world.joined(world.start('a'));
    await world.clock.advanceAsync(1_000);
    assert.equal(taken.actor.phase, 'joining', 'its server is not there');
    await world.within(200, taken.actor.drain(30_000));
    await world.within(
      2_000,
      world.until(async () => (await world.names()).join() === 'g1 other'),
    );
  });

  test('place - a server that will not start gives its place back, and one that is to end takes none', async () => {
    const world = new World(1);
    const taken = await world.joined(world.start('a'));
    assert.deepEqual(await world.names(), ['g1 a']);
    await world.within(100, taken.giveBack());
    assert.deepEqual(await world.names(), []);
    const process = world.start('b');
    process.stop.abort();
    assert.equal(await world.within(1_000, process.place), undefined);
    assert.deepEqual(await world.names(), []);
  });

  test('place - a place that is served is not given back: its flows would be lost', async () => {
    const world = new World(1);
    const { taken } = await world.active('a');
    await world.within(100, taken.giveBack());
    assert.deepEqual(await world.names(), ['g1 a']);
  });
});
