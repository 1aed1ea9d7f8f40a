// What every bus promises (shared/bus/bus.ts), as tests that run over any adapter. An adapter's own test file calls
// busContract() with a way to make connections that hear one another.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { errorCodes } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { Bus, BusStatus, KeyValue, KeyValueEntry } from '../../../shared/bus/bus.ts';
import { hasCode, Inbox, Waiter } from '../../support/busInbox.ts';

/** One network of the kind under test. */
export interface BusNetwork {
  connect(options?: { windowBytes?: number }): Promise<Bus>;
  close(): Promise<void>;
}

export function busContract(kind: string, makeNetwork: () => Promise<BusNetwork>, skip: string | false = false): void {
  describe(`bus contract over ${kind}`, { skip, timeout: 60_000 }, () => {
    let network: BusNetwork;
    const open: Bus[] = [];
    let names = 0;

    before(async () => {
      network = await makeNetwork();
    });
    after(async () => {
      for (const bus of open) await bus.close();
      await network?.close();
    });

    const connect = async (options?: { windowBytes?: number }): Promise<Bus> => {
      const bus = await network.connect(options);
      open.push(bus);
      return bus;
    };
    /** A name no other test uses, so that tests cannot hear each other. */
    const unique = (what: string): string => `${what}${++names}`;

    describe('messages', () => messageContract(connect, unique));
    describe('pressure and closing', () => pressureContract(connect, unique));
    describe('key-value store', () => keyValueContract(connect, unique));
  });
}

type Connect = (options?: { windowBytes?: number }) => Promise<Bus>;
type Unique = (what: string) => string;

function messageContract(connect: Connect, unique: Unique): void {
  it('bus - every subscriber gets every message, the publisher too', async () => {
    const [publisher, one, two] = [await connect(), await connect(), await connect()];
    const subject = unique('all');
    const inboxes = [publisher, one, one, two].map((bus) => new Inbox(bus, subject));
    await Promise.all([publisher.flush(), one.flush(), two.flush()]);
    for (let at = 0; at < 10; at++) assert.equal(publisher.publish(subject, Uint8Array.of(at)), true);
    for (const inbox of inboxes) {
      await inbox.count(10);
      assert.deepEqual(inbox.firstBytes(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
  });

  it('bus - messages of one publisher keep their order, also across subjects and subscriptions', async () => {
    const [publisher, subscriber] = [await connect(), await connect()];
    const root = unique('order');
    const wild = new Inbox(subscriber, `${root}.>`);
    const exact: number[] = [];
    for (let at = 0; at < 3; at++) subscriber.subscribe(`${root}.${at}`, (data) => exact.push(numberOf(data)));
    await subscriber.flush();
    const sent = Array.from({ length: 3_000 }, (_, at) => at);
    for (const at of sent) publisher.publish(`${root}.${at % 3}`, bytesOf(at));
    await wild.count(sent.length);
    assert.deepEqual(wild.messages.map(numberOf), sent);
    // The wildcard and the exact subscription of one message may be served in either order, so the last may be missing.
    assert.deepEqual(exact, sent.slice(0, exact.length));
    assert.ok(exact.length >= sent.length - 1);
  });

  it('bus - delivery is later, never inside publish', async () => {
    const bus = await connect();
    const inbox = new Inbox(bus, unique('later'));
    await bus.flush();
    bus.publish(inbox.subject, Uint8Array.of(1));
    assert.equal(inbox.messages.length, 0);
    await inbox.count(1);
  });

  it('bus - a subscriber that scribbles on its data harms nobody', async () => {
    const [publisher, subscriber] = [await connect(), await connect()];
    const subject = unique('scribble');
    const scribble = (data: Uint8Array): unknown => data.fill(0xee);
    publisher.subscribe(subject, scribble);
    subscriber.subscribe(subject, scribble);
    const inboxes = [new Inbox(publisher, subject), new Inbox(subscriber, subject)];
    subscriber.subscribe(subject, scribble);
    await Promise.all([publisher.flush(), subscriber.flush()]);
    const data = Uint8Array.of(1, 2, 3);
    publisher.publish(subject, data);
    for (const inbox of inboxes) assert.deepEqual([...(await inbox.count(1))[0]], [1, 2, 3]);
    assert.deepEqual([...data], [1, 2, 3]);
  });

  it('bus - wildcards: one token, the rest, and nothing else', async () => {
    const bus = await connect();
    const root = unique('wild');
    const one = new Inbox(bus, `${root}.data.*`);
    const rest = new Inbox(bus, `${root}.>`);
    const end = new Inbox(bus, `${root}.end`);
    await bus.flush();
    const subjects = [`${root}.data.a`, `${root}.data.b`, `${root}.data.a.b`, `${root}.data`, root, `${root}x.data.a`];
    for (const subject of [...subjects, `${root}.end`]) bus.publish(subject, new Uint8Array(1));
    await end.count(1);
    assert.deepEqual(one.subjects, [`${root}.data.a`, `${root}.data.b`]);
    assert.deepEqual(rest.subjects.slice(0, 4), [
      `${root}.data.a`,
      `${root}.data.b`,
      `${root}.data.a.b`,
      `${root}.data`,
    ]);
    assert.ok(!rest.subjects.includes(root) && !rest.subjects.includes(`${root}x.data.a`));
  });

  it('bus - a subject that the line cannot carry is refused', async () => {
    const bus = await connect();
    for (const subject of ['', 'a b', 'a..b', '.a', 'a.', 'a.>.b', 'a*', 'a\r\nb']) {
      assert.throws(
        () => bus.subscribe(subject, () => undefined),
        hasCode(errorCodes.badName),
        JSON.stringify(subject),
      );
    }
  });

  it('bus - a handler that throws costs that message alone, and is reported', async () => {
    const [publisher, subscriber] = [await connect(), await connect()];
    const subject = unique('throws');
    const statuses: BusStatus[] = [];
    subscriber.onStatus((status) => statuses.push(status));
    subscriber.onStatus(() => {
      throw new Error('a status handler that throws');
    });
    let calls = 0;
    subscriber.subscribe(subject, () => {
      calls++;
      throw new Error('boom');
    });
    const inbox = new Inbox(subscriber, subject);
    await subscriber.flush();
    for (let at = 0; at < 3; at++) publisher.publish(subject, Uint8Array.of(at));
    await inbox.count(3);
    assert.equal(calls, 3);
    assert.ok(subscriber.stats.handlerErrors >= 3);
    assert.equal(statuses.filter((status) => status.kind === 'handlerFailed' && status.subject === subject).length, 3);
  });

  it('bus - subscribing, unsubscribing and publishing inside a handler', async () => {
    const [publisher, subscriber] = [await connect(), await connect()];
    const subject = unique('inside');
    const late: number[] = [];
    const once: number[] = [];
    const answers = new Inbox(subscriber, `${subject}.answer`);
    const subscription = subscriber.subscribe(subject, (data) => {
      once.push(data[0]);
      subscription.unsubscribe();
      subscription.unsubscribe();
      subscriber.subscribe(subject, (again) => late.push(again[0]));
      subscriber.publish(`${subject}.answer`, Uint8Array.of(data[0]));
    });
    await subscriber.flush();
    publisher.publish(subject, Uint8Array.of(1));
    await answers.count(1);
    await subscriber.flush();
    const inbox = new Inbox(subscriber, subject);
    await subscriber.flush();
    publisher.publish(subject, Uint8Array.of(2));
    await inbox.count(1);
    assert.deepEqual(once, [1]);
    assert.deepEqual(late, [2]);
  });

  it('bus - a subscription gets nothing that was published before it', async () => {
    const bus = await connect();
    const subject = unique('before');
    bus.publish(subject, Uint8Array.of(1));
    const inbox = new Inbox(bus, subject);
    bus.publish(subject, Uint8Array.of(2));
    await inbox.count(1);
    assert.deepEqual(inbox.firstBytes(), [2]);
  });

  it('bus - messages at the limit pass, above it publish throws', async () => {
    const bus = await connect();
    const inbox = new Inbox(bus, unique('big'));
    await bus.flush();
    assert.ok(bus.maxMessageBytes >= limits.frameMaxBytes);
    const big = new Uint8Array(bus.maxMessageBytes);
    big[big.length - 1] = 7;
    bus.publish(inbox.subject, big);
    bus.publish(inbox.subject, new Uint8Array(0));
    assert.throws(() => bus.publish(inbox.subject, new Uint8Array(big.length + 1)), hasCode(errorCodes.messageTooBig));
    const [received, empty] = await inbox.count(2);
    assert.equal(received.length, big.length);
    assert.equal(received[big.length - 1], 7);
    assert.equal(empty.length, 0);
  });
}

function pressureContract(connect: Connect, unique: Unique): void {
  it('bus - a publisher that honours writable keeps the window bounded, and gets everything through', async () => {
    const windowBytes = 64 * 1024;
    const [publisher, subscriber] = [await connect({ windowBytes }), await connect()];
    const inbox = new Inbox(subscriber, unique('window'));
    await subscriber.flush();
    const data = new Uint8Array(8 * 1024);
    let sent = 0;
    while (sent < 200) {
      let burst = 0;
      while (publisher.writable && sent < 200) {
        publisher.publish(inbox.subject, data);
        sent++;
        burst++;
      }
      // Nothing can be confirmed within one turn, so a turn is bounded by the window.
      assert.ok(burst <= windowBytes / data.length, `burst of ${burst}`);
      await publisher.whenWritable();
    }
    await inbox.count(200);
    assert.equal(publisher.stats.publishedMessages, 200);
    assert.equal(publisher.stats.publishedBytes, 200 * data.length);
    assert.equal(publisher.stats.lostMessages, 0);
  });

  it('bus - publishing beyond the window is allowed and loses nothing', async () => {
    const [publisher, subscriber] = [await connect({ windowBytes: 1_024 }), await connect()];
    const inbox = new Inbox(subscriber, unique('beyond'));
    await subscriber.flush();
    for (let at = 0; at < 100; at++) publisher.publish(inbox.subject, new Uint8Array(512));
    assert.equal(publisher.writable, false);
    await inbox.count(100);
    await publisher.flush();
    assert.equal(publisher.writable, true);
  });

  it('bus - closing delivers what was published, and is final', async () => {
    const [publisher, subscriber] = [await connect({ windowBytes: 1 }), await connect()];
    const inbox = new Inbox(subscriber, unique('close'));
    await subscriber.flush();
    const statuses: BusStatus[] = [];
    publisher.onStatus((status) => statuses.push(status));
    for (let at = 0; at < 10; at++) publisher.publish(inbox.subject, Uint8Array.of(at));
    const waiting = publisher.whenWritable();
    const refused = assert.rejects(waiting, hasCode(errorCodes.busClosed));
    await Promise.all([publisher.close(), publisher.close()]);
    await publisher.close();
    await refused;
    await inbox.count(10);
    assert.equal(publisher.writable, false);
    assert.equal(publisher.publish(inbox.subject, new Uint8Array(5)), false);
    assert.equal(publisher.stats.lostMessages, 1);
    assert.equal(publisher.stats.lostBytes, 5);
    assert.throws(() => publisher.subscribe('a', () => undefined), hasCode(errorCodes.busClosed));
    await assert.rejects(publisher.flush(), hasCode(errorCodes.busClosed));
    await assert.rejects(publisher.whenWritable(), hasCode(errorCodes.busClosed));
    await assert.rejects(publisher.openKeyValue('closed'), hasCode(errorCodes.busClosed));
    assert.deepEqual(
      statuses.map((status) => status.kind),
      ['closed'],
    );
  });

  it('bus - closing inside a handler ends delivery at once', async () => {
    const [publisher, subscriber, witness] = [await connect(), await connect(), await connect()];
    const subject = unique('closing');
    let calls = 0;
    let closed: Promise<void> | undefined;
    subscriber.subscribe(subject, () => {
      calls++;
      closed = subscriber.close();
    });
    const inbox = new Inbox(witness, subject);
    await Promise.all([subscriber.flush(), witness.flush()]);
    for (let at = 0; at < 5; at++) publisher.publish(subject, Uint8Array.of(at));
    await inbox.count(5);
    while (closed === undefined) await publisher.flush();
    await closed;
    assert.equal(calls, 1);
  });
}

function keyValueContract(connect: Connect, unique: Unique): void {
  const openStore = async (): Promise<KeyValue> => (await connect()).openKeyValue(unique('fh_bucket'));

  it('key-value - create and update compare and set', async () => {
    const store = await openStore();
    assert.equal(await store.get('map'), undefined);
    assert.deepEqual(await store.history('map'), []);
    const first = await store.create('map', Uint8Array.of(1));
    assert.ok(first !== undefined && first > 0);
    assert.equal(await store.create('map', Uint8Array.of(2)), undefined);
    const second = await store.update('map', Uint8Array.of(3), first);
    assert.ok(second !== undefined && second > first);
    assert.equal(await store.update('map', Uint8Array.of(4), first), undefined);
    assert.equal(await store.update('other', Uint8Array.of(4), first), undefined);
    const entry = await store.get('map');
    assert.deepEqual(entry && plain(entry), ['map', [3], second]);
    assert.deepEqual(Object.keys(entry ?? {}).sort(), ['key', 'revision', 'value']);
  });

  it('key-value - effects come later than the call, of a copy of the value', async () => {
    const store = await openStore();
    const value = Uint8Array.of(1, 2);
    const created = store.create('map', value);
    await created;
    value.fill(9);
    const entry = await store.get('map');
    entry?.value.fill(8);
    assert.deepEqual([...((await store.get('map'))?.value ?? [])], [1, 2]);
  });

  it('key-value - a bucket says whether it was made now, and how it is kept', async () => {
    const bucket = unique('fh_info');
    const one = await (await connect()).openKeyValue(bucket);
    const two = await (await connect()).openKeyValue(bucket);
    assert.deepEqual([one.bucket.created, two.bucket.created], [true, false]);
    assert.equal(one.bucket.storage, two.bucket.storage);
    assert.equal(one.bucket.replicas, 1);
  });

  it('key-value - two connections share one bucket', async () => {
    const bucket = unique('fh_shared');
    const [one, two] = [await (await connect()).openKeyValue(bucket), await (await connect()).openKeyValue(bucket)];
    const revision = await one.create('view.a', Uint8Array.of(1));
    assert.equal((await two.get('view.a'))?.revision, revision);
    assert.equal(await two.create('view.a', Uint8Array.of(2)), undefined);
  });

  it('key-value - twenty proposers never fork', async () => {
    const bucket = unique('fh_race');
    const connections = await Promise.all([connect(), connect(), connect(), connect()]);
    const stores = await Promise.all(connections.map((bus) => bus.openKeyValue(bucket)));
    const winners = await Promise.all(
      Array.from({ length: 20 }, (_, at) => stores[at % 4].create('view.a', Uint8Array.of(0, at))),
    );
    assert.equal(winners.filter((revision) => revision !== undefined).length, 1);
    const propose = async (store: KeyValue, who: number): Promise<number[]> => {
      const won: number[] = [];
      while (won.length < 3) {
        const entry = await store.get('view.a');
        assert.ok(entry !== undefined);
        const revision = await store.update('view.a', Uint8Array.of(entry.value[0] + 1, who), entry.revision);
        if (revision !== undefined) won.push(entry.value[0] + 1);
      }
      return won;
    };
    const numbers = await Promise.all(Array.from({ length: 20 }, (_, at) => propose(stores[at % 4], at)));
    const sorted = numbers.flat().sort((one, other) => one - other);
    assert.deepEqual(
      sorted,
      Array.from({ length: 60 }, (_, at) => at + 1),
    );
    assert.equal((await stores[0].get('view.a'))?.value[0], 60);
  });

  it('key-value - history is ordered and bounded', async () => {
    const store = await openStore();
    const total = limits.viewHistory + 6;
    let revision = await store.create('view.a', Uint8Array.of(0));
    await store.create('view.b', Uint8Array.of(200));
    for (let at = 1; at < total; at++) revision = await store.update('view.a', Uint8Array.of(at), revision ?? 0);
    const history = await store.history('view.a');
    assert.deepEqual(
      history.map((entry) => entry.value[0]),
      Array.from({ length: limits.viewHistory }, (_, at) => at + 6),
    );
    assert.ok(history.every((entry, at) => at === 0 || entry.revision > history[at - 1].revision));
    assert.equal(history.at(-1)?.revision, revision);
  });

  it('key-value - a watch brings the present entries, then every change in order, until it is stopped', async () => {
    const store = await openStore();
    const first = await store.create('view.a', Uint8Array.of(1));
    await store.create('map', Uint8Array.of(50));
    await store.create('view.b', Uint8Array.of(2));
    const seen: unknown[] = [];
    const all = new Waiter<KeyValueEntry>();
    const stop = await store.watch('view.*', (entry) => seen.push(plain(entry)[0], entry.value[0]));
    assert.deepEqual(seen, ['view.a', 1, 'view.b', 2]);
    const stopAll = await store.watch('>', (entry) => all.add(entry));
    let revision = first;
    for (let at = 3; at < 10; at++) revision = await store.update('view.a', Uint8Array.of(at), revision ?? 0);
    await store.create('view.c', Uint8Array.of(10));
    await all.count(3 + 8);
    const revisions = all.items.map((entry) => entry.revision);
    assert.deepEqual(
      revisions,
      revisions.toSorted((one, other) => one - other),
    );
    stop();
    stop();
    await store.create('view.d', Uint8Array.of(11));
    await all.count(3 + 9);
    const changes = Array.from({ length: 7 }, (_, at) => ['view.a', at + 3]).flat();
    assert.deepEqual(seen, ['view.a', 1, 'view.b', 2, ...changes, 'view.c', 10]);
    stopAll();
  });

  it('key-value - a watch stopped inside its handler says no more', async () => {
    const store = await openStore();
    const [seen, all] = [new Waiter<number>(), new Waiter<number>()];
    const stop = await store.watch('map', (entry) => {
      seen.add(entry.value[0]);
      stop();
    });
    await store.watch('map', (entry) => all.add(entry.value[0]));
    // Written without waiting in between, so that several are on their way when the first one stops the watch.
    const writes = [store.create('map', Uint8Array.of(0))];
    for (let at = 1; at < 10; at++) writes.push(store.update('map', Uint8Array.of(at), at));
    await Promise.all(writes);
    // Two watches have no order between them.
    await all.count(10);
    await seen.count(1);
    assert.deepEqual(seen.items, [0]);
  });

  it('key-value - a watch of an empty bucket begins, and a handler that throws does not end it', async () => {
    const bus = await connect();
    const store = await bus.openKeyValue(unique('fh_empty'));
    const seen = new Waiter<number>();
    await store.watch('map', (entry) => {
      seen.add(entry.value[0]);
      throw new Error('boom');
    });
    const revision = await store.create('map', Uint8Array.of(1));
    await store.update('map', Uint8Array.of(2), revision ?? 0);
    assert.deepEqual(await seen.count(2), [1, 2]);
    await store.get('map');
    assert.equal(bus.stats.handlerErrors, 2);
  });

  it('key-value - bad keys, revisions and values are refused', async () => {
    const bus = await connect();
    const store = await bus.openKeyValue(unique('fh_bad'));
    await assert.rejects(bus.openKeyValue('a.b'), hasCode(errorCodes.badName));
    for (const key of ['', '.a', 'a.', 'a..b', 'a b', '*', 'a.>']) {
      await assert.rejects(store.get(key), hasCode(errorCodes.badName), key);
      await assert.rejects(store.create(key, new Uint8Array(1)), hasCode(errorCodes.badName), key);
    }
    await assert.rejects(
      store.watch('a b', () => undefined),
      hasCode(errorCodes.badName),
    );
    await assert.rejects(store.update('map', new Uint8Array(1), 0), hasCode(errorCodes.badState));
    const tooBig = new Uint8Array(bus.maxMessageBytes + 1);
    await assert.rejects(store.create('map', tooBig), hasCode(errorCodes.messageTooBig));
  });

  it('key-value - a destroyed bucket is gone for everybody, and can be made again', async () => {
    const [bus, other] = [await connect(), await connect()];
    const bucket = unique('gone');
    const mine = await bus.openKeyValue(bucket);
    await mine.create('map', bytesOf(1));
    await mine.destroy();
    await mine.destroy();
    const again = await other.openKeyValue(bucket);
    assert.equal(await again.get('map'), undefined);
    assert.notEqual(await again.create('map', bytesOf(2)), undefined);
    await again.destroy();
  });
}

function plain(entry: KeyValueEntry): [string, number[], number] {
  return [entry.key, [...entry.value], entry.revision];
}

function bytesOf(value: number): Uint8Array {
  return Uint8Array.of(value & 255, value >> 8);
}

function numberOf(data: Uint8Array): number {
  return data[0] | (data[1] << 8);
}
