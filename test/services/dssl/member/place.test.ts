// Servers that find their place by themselves, in one process under a virtual clock: many at once, names that live and names
// that are dead, and what a server that was killed at any moment of its life leaves behind.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ActorLog } from '../../../../services/dssl/actor.ts';
import type { Egress } from '../../../../services/dssl/egress/egress.ts';
import { removalOf, type TakenPlace, takePlace } from '../../../../services/dssl/member/place.ts';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import { isFlowherdError } from '../../../../shared/base/errors.ts';
import type { Bus, KeyValue } from '../../../../shared/bus/bus.ts';
import { MemoryHub } from '../../../../shared/bus/memory.ts';
import { subjectsOf } from '../../../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../../../shared/config/map.ts';
import { defaultSettings } from '../../../../shared/config/settings.ts';
import { changeView, readViews } from '../../../../shared/config/store.ts';
import { leave } from '../../../../shared/membership/transitions.ts';
import { defaultRules, type Member } from '../../../../shared/membership/view.ts';

const noServer: Egress = {
  begin: () => undefined,
  add: () => undefined,
  end: () => undefined,
  flowStarted: () => undefined,
  flowEnded: () => undefined,
};

interface Process {
  readonly bus: Bus;
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
    this.map = {
      version: 1,
      cluster: 'life',
      groupSelection: 'hash',
      groups: Array.from({ length: groups }, (_, index) => ({
        id: `g${index + 1}`,
        weight: 100,
        serves: 'both',
        vlan: 0,
      })),
      keys: {
        flow: 'five-tuple',
        group: 'address-pair',
        symmetric: true,
        tunnel: 'outer',
        subscriberNetworks: [],
        secretFingerprint: '0',
      },
      placement: 'rendezvous',
      rules: defaultRules,
      seed: 1,
      settings: defaultSettings,
    };
  }

  /** A process that looks for its place. */
  start(server: string, memberOf?: string): Process {
    const bus = this.#hub.connect(server);
    const stop = new AbortController();
    const log: string[] = [];
    const write = (fields: object, message: string) => void log.push(`${message} ${JSON.stringify(fields)}`);
    const actorLog: ActorLog = { info: write, warn: write };
    const place = takePlace({
      map: this.map,
      memberOf,
      stop: stop.signal,
      candidate: { server, incarnation: ++this.#incarnation, weight: 100 },
      maxFlows: 1_000,
      subjects: this.subjects,
      dataBus: bus,
      controlBus: bus,
      gossipBus: bus,
      clock: this.clock,
      log: actorLog,
    });
    place.catch(() => undefined);
    return { bus, stop, log, place };
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
    return { ...process, taken };
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

  async store(): Promise<KeyValue> {
    return this.within(100, this.#hub.connect('test').openKeyValue(this.subjects.bucket));
  }

  /** Members by group. */
  async members(): Promise<Record<string, Member[]>> {
    const ids = this.map.groups.map(({ id }) => id);
    const views = await this.within(100, readViews(await this.store(), ids));
    return Object.fromEntries(ids.map((id) => [id, [...(views.get(id)?.members ?? [])]]));
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
    const places = await world.within(2_000, Promise.all(processes.map(({ place }) => place)));
    for (const place of places) place?.serve(noServer);
    await world.within(2_000, Promise.all(places.map((place) => place?.actor.whenActive(2_000))));
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
    assert.equal(taken.actor.core.phase, 'joining');
    taken.serve(noServer);
    await world.within(100, taken.actor.whenActive(100));
  });

  test('place - a second server under the name of a living one is refused, and nothing changes', async () => {
    const world = new World(2);
    const first = await world.active('a');
    const before = JSON.stringify(await world.members());
    for (const memberOf of [undefined, 'g1', 'g2']) {
      const second = world.start('a', memberOf);
      await assert.rejects(world.within(3_000, second.place), refusal(/named a is running in group g1 already/));
    }
    assert.equal(JSON.stringify(await world.members()), before);
    assert.equal(first.taken.actor.core.phase, 'active');
    first.taken.actor.core.drain(Number.POSITIVE_INFINITY);
    await world.clock.advanceAsync(50);
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
      if (state === 'draining') life.actor.core.drain(Number.POSITIVE_INFINITY);
      await world.clock.advanceAsync(50);
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
      const outcomes = await world.within(10_000, Promise.allSettled(places));
      assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'], `${groups}`);
      assert.equal((await world.names()).length, 1, `${groups}`);
    }
  });

  test('place - of two successors of a dead server, one takes its place and the other is refused', async () => {
    const world = new World(2);
    await world.kill(await world.active('a', 'g1'));
    const outcomes = await world.within(10_000, Promise.allSettled([world.start('a').place, world.start('a').place]));
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.deepEqual(await world.names(), ['g1 a']);
  });

  test('place - one that was replaced, or removed, is told so', async () => {
    const world = new World(1);
    const paused = await world.active('a');
    // Silent, and still following the views: as a process that goes on after a pause.
    const { core } = paused.taken.actor;
    const { onControl } = core;
    core.onControl = () => undefined;
    const removed = paused.taken.actor.whenRemoved();
    const next = await world.active('a');
    await world.within(1_000, removed);
    assert.equal(core.phase, 'left');
    assert.match(removalOf(paused.taken.actor).message, /a was replaced in group g1/);
    core.onControl = onControl;
    await assert.rejects(world.within(3_000, world.start('a').place), refusal(/running/), 'only one life answers');

    const store = await world.store();
    await world.within(
      100,
      changeView(store, 'g1', (view) => view && leave(view, next.taken.actor.core.candidate)),
    );
    await world.within(1_000, next.taken.actor.whenRemoved());
    assert.match(removalOf(next.taken.actor).message, /a was removed from group g1/);
  });

  test('place - dead members are waited for once, all together, and the joiner says whom it waits for', async () => {
    const world = new World(1);
    const dead = [await world.active('a'), await world.active('b')];
    await world.active('c');
    for (const process of dead) await world.kill(process);
    const process = world.start('d');
    const taken = await world.joined(process);
    taken.serve(noServer);
    const startedMs = world.clock.monotonicMs();
    await world.within(12_000, taken.actor.whenActive(12_000));
    const tookMs = world.clock.monotonicMs() - startedMs;
    // All of them have just begun to listen, and judge nobody in the first three seconds.
    assert.ok(tookMs > 3_000 && tookMs < 6_000, `${tookMs} ms`);
    assert.equal(process.log.filter((line) => /waiting for members.*\["a","b"\]/.test(line)).length, 1);
    const view = taken.actor.core.views.newest?.view;
    assert.deepEqual(view?.members.map(({ server }) => server).sort(), ['c', 'd']);
  });

  test('place - joiners do not wait for each other', async () => {
    const world = new World(1);
    await world.active('a');
    await world.joined(world.start('b'));
    const startedMs = world.clock.monotonicMs();
    await world.active('c');
    assert.ok(world.clock.monotonicMs() - startedMs < 1_000, 'b never becomes active');
  });

  test('place - a joiner that is to end leaves at once, also while it waits for the dead', async () => {
    const world = new World(1);
    await world.kill(await world.active('dead'));
    const process = world.start('a');
    const taken = await world.joined(process);
    taken.serve(noServer);
    await world.clock.advanceAsync(1_000);
    assert.equal(taken.actor.core.phase, 'joining');
    await world.within(200, taken.actor.drain(30_000));
    assert.deepEqual(await world.names(), ['g1 dead']);
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
