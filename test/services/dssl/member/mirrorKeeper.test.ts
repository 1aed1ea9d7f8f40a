// The mirror in the store: who writes it, when, and what becomes of it when the store fails, forgets, or somebody is ahead.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MirrorKeeper } from '../../../../services/dssl/member/mirrorKeeper.ts';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import type { Bus, KeyValue } from '../../../../shared/bus/bus.ts';
import { MemoryHub } from '../../../../shared/bus/memory.ts';
import { viewKey } from '../../../../shared/bus/subjects.ts';
import { decodeMirror, encodeMirror, type Mirror } from '../../../../shared/membership/mirror.ts';
import { defaultRules, emptyView, type View } from '../../../../shared/membership/view.ts';

const key = viewKey('g1');
const views = Array.from(
  { length: 10 },
  (_, number): View => ({
    ...emptyView({ group: 'g1', placement: 'rendezvous', seed: 1, rules: defaultRules }),
    number,
  }),
);
const mirrorOf = (view: number, position = 100 + view, epoch = 1): Mirror => ({
  epoch: { number: epoch, id: `e${epoch}` },
  position,
  view: views[view],
});

/** A store that several keepers share, and that fails when it is told to. */
class Store {
  readonly clock = new VirtualClock();
  readonly bus: Bus = new MemoryHub({ clock: this.clock }).connect();
  fails = false;
  writes = 0;
  #store: KeyValue | undefined;

  async open(): Promise<KeyValue> {
    const store = await this.#inner();
    const guard =
      <A extends unknown[], T>(act: (...args: A) => Promise<T>) =>
      (...args: A): Promise<T> => {
        this.writes++;
        return this.fails ? Promise.reject(new Error('the store is down')) : act(...args);
      };
    return {
      ...{ bucket: store.bucket, history: store.history.bind(store), destroy: store.destroy.bind(store) },
      ...{ get: store.get.bind(store), watch: store.watch.bind(store) },
      create: guard(store.create.bind(store)),
      update: guard(store.update.bind(store)),
    };
  }

  async keeper() {
    const heard: Mirror[] = [];
    const problems: string[] = [];
    const keeper = new MirrorKeeper({
      group: 'g1',
      openStore: () => this.open(),
      onMirror: (mirror) => heard.push(mirror),
      onProblem: (reason) => problems.push(reason),
    });
    const found = await this.settled(keeper.start());
    return { keeper, heard, problems, found };
  }

  /** Lets time pass in steps; a keeper is told each of them. */
  async pass(ms: number, keeper?: MirrorKeeper, mirror = mirrorOf(1), isFirst = true): Promise<void> {
    for (const untilMs = this.clock.monotonicMs() + ms; this.clock.monotonicMs() < untilMs; ) {
      await this.clock.advanceAsync(20);
      keeper?.tick(mirror, () => isFirst, this.clock.monotonicMs());
    }
    await this.clock.advanceAsync(1);
  }

  async stored(): Promise<Mirror | undefined> {
    const entry = await this.settled((await this.#inner()).get(key));
    return entry && decodeMirror(entry.value);
  }

  /** Somebody else writes. */
  async write(bytes: Uint8Array): Promise<void> {
    const store = await this.#inner();
    const entry = await this.settled(store.get(key));
    await this.settled(entry === undefined ? store.create(key, bytes) : store.update(key, bytes, entry.revision));
    await this.pass(1);
  }

  async settled<T>(promise: Promise<T>): Promise<T> {
    let isDone = false;
    promise.finally(() => (isDone = true)).catch(() => undefined);
    for (let steps = 0; !isDone && steps < 100; steps++) await this.clock.advanceAsync(1);
    return promise;
  }

  async #inner(): Promise<KeyValue> {
    this.#store ??= await this.settled(this.bus.openKeyValue('bucket'));
    return this.#store;
  }
}

test('mirror keeper - it begins with what the store has, and hears of what others write', async () => {
  const store = new Store();
  assert.equal((await store.keeper()).found, undefined);
  await store.write(encodeMirror(mirrorOf(3)));
  const { found, heard } = await store.keeper();
  assert.deepEqual(found, mirrorOf(3));
  await store.write(encodeMirror(mirrorOf(4)));
  await store.write(Buffer.from('nothing'));
  assert.deepEqual(heard, [mirrorOf(3), mirrorOf(4)]);
});

test('mirror keeper - the first member writes at once, the others only when it has not for a while', async () => {
  const store = new Store();
  const first = await store.keeper();
  await store.pass(40, first.keeper, mirrorOf(1), true);
  assert.deepEqual(await store.stored(), mirrorOf(1));
  assert.ok(first.keeper.hasStored(mirrorOf(1)));

  const alone = new Store();
  const { keeper } = await alone.keeper();
  await alone.pass(1_400, keeper, mirrorOf(1), false);
  assert.equal(await alone.stored(), undefined);
  await alone.pass(200, keeper, mirrorOf(1), false);
  assert.deepEqual(await alone.stored(), mirrorOf(1));
});

test('mirror keeper - what is stored is not written again, whatever the position; the next view is', async () => {
  const store = new Store();
  const { keeper } = await store.keeper();
  await store.pass(100, keeper, mirrorOf(1));
  assert.equal(store.writes, 1);
  await store.pass(4_000, keeper, mirrorOf(1, 5_000));
  assert.equal(store.writes, 1);
  await store.pass(100, keeper, mirrorOf(2));
  assert.deepEqual([store.writes, await store.stored()], [2, mirrorOf(2)]);
});

test('mirror keeper - it goes forwards: who is behind does not write over what a later one has written', async () => {
  const store = new Store();
  const { keeper } = await store.keeper();
  await store.write(encodeMirror(mirrorOf(5)));
  await store.pass(10_000, keeper, mirrorOf(4));
  assert.deepEqual(await store.stored(), mirrorOf(5));
  await store.pass(100, keeper, mirrorOf(1, 7, 2));
  assert.deepEqual(await store.stored(), mirrorOf(1, 7, 2), 'a line that began anew is later');
});

test('mirror keeper - a store that fails is tried once a second, and told of', async () => {
  const store = new Store();
  const { keeper, problems } = await store.keeper();
  store.fails = true;
  await store.pass(3_500, keeper);
  assert.equal(store.writes, 4);
  assert.deepEqual([...new Set(problems)], ['the store is down']);
  assert.equal(keeper.hasStored(mirrorOf(1)), false);
  store.fails = false;
  await store.pass(1_000, keeper);
  assert.deepEqual(await store.stored(), mirrorOf(1));
});

test('mirror keeper - a store that was emptied gets it again: at once after a reconnect, else in seconds', async () => {
  for (const isTold of [true, false]) {
    const store = new Store();
    const { keeper } = await store.keeper();
    await store.pass(100, keeper);
    await store.write(Buffer.from('nothing'));
    if (isTold) keeper.lookAgain();
    await store.pass(isTold ? 100 : 5_000, keeper);
    assert.deepEqual(await store.stored(), mirrorOf(1), `${isTold}`);
  }
});

test('mirror keeper - one that was stopped neither writes nor hears', async () => {
  const store = new Store();
  const { keeper, heard } = await store.keeper();
  keeper.stop();
  await store.write(encodeMirror(mirrorOf(3)));
  await store.pass(3_000, keeper, mirrorOf(4));
  assert.deepEqual([heard.length, await store.stored()], [0, mirrorOf(3)]);
});
