// The bus over a real nats-server: the contract that every bus keeps, and servers that die, freeze and come back.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { errorCodes, FlowherdError } from '../../../../shared/base/errors.ts';
import type { Bus, BusStatus } from '../../../../shared/bus/bus.ts';
import { connectNats, type NatsOptions } from '../../../../shared/bus/nats/nats.ts';
import { openBus } from '../../../../shared/bus/open.ts';
import { hasCode, Inbox, Waiter } from '../../../support/busInbox.ts';
import { CuttableLine, freePort, NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { busContract } from '../bus.contract.ts';

const skip = skipWithoutNatsServer();

busContract(
  'NATS',
  async () => {
    const server = await NatsServer.start();
    return {
      connect: (options = {}) => connectNats({ url: server.url, name: 'contract', ...options }),
      close: () => server.stop(),
    };
  },
  skip,
);

describe('NATS connections', { skip, timeout: 60_000 }, () => {
  const servers: NatsServer[] = [];
  const buses: Bus[] = [];
  after(async () => {
    for (const bus of buses) await bus.close();
    for (const server of servers) await server.stop();
  });
  const start = async (options?: Parameters<typeof NatsServer.start>[0]): Promise<NatsServer> => {
    const server = await NatsServer.start(options);
    servers.push(server);
    return server;
  };
  const connect = async (url: string, options: Partial<NatsOptions> = {}): Promise<Bus> => {
    const bus = await connectNats({ url, name: 'test', ...options });
    buses.push(bus);
    return bus;
  };

  it('nats - a server that is killed and comes back: statuses, counted losses, subscriptions, stored keys, watches', async () => {
    const server = await start();
    const [bus, other] = [await connect(server.url), await connect(server.url)];
    const statuses = statusesOf(bus);
    const otherStatuses = statusesOf(other);
    const inbox = new Inbox(bus, 'a.*');
    const store = await bus.openKeyValue('fh_x');
    const otherStore = await other.openKeyValue('fh_x');
    const seen = new Waiter<number>();
    await store.watch('view.*', (entry) => seen.add(entry.value[0]));
    const first = await store.create('view.a', Uint8Array.of(1));
    await seen.count(1);
    bus.publish('a.1', Uint8Array.of(1));
    await inbox.count(1);

    bus.publish('a.nobody-confirms', new Uint8Array(100));
    await server.kill();
    await Promise.all([statuses.wait('disconnected'), otherStatuses.wait('disconnected')]);
    assert.equal(bus.writable, false);
    assert.equal(bus.publish('a.2', new Uint8Array(10)), false);
    assert.equal(bus.publish('a.2', new Uint8Array(10)), false);
    assert.equal(bus.stats.lostMessages, 2);
    assert.equal(bus.stats.lostBytes, 20);
    assert.ok(bus.stats.unconfirmedMessages >= 1 && bus.stats.unconfirmedMessages <= 2);
    assert.ok(bus.stats.unconfirmedBytes >= 100 && bus.stats.unconfirmedBytes <= 101);
    await assert.rejects(bus.flush(), hasCode(errorCodes.busDisconnected));
    await assert.rejects(store.get('view.a'), hasCode(errorCodes.busDisconnected));
    await assert.rejects(store.create('view.b', new Uint8Array(1)), hasCode(errorCodes.busDisconnected));
    const late = new Inbox(bus, 'late');

    await server.start();
    await Promise.all([statuses.wait('reconnected'), bus.whenWritable(), otherStatuses.wait('reconnected')]);
    assert.equal(bus.stats.reconnects, 1);
    await bus.flush();
    other.publish('a.3', Uint8Array.of(3));
    other.publish('late', Uint8Array.of(4));
    assert.deepEqual([(await late.count(1))[0][0], inbox.firstBytes().at(-1)], [4, 3]);
    assert.equal((await store.get('view.a'))?.revision, first);
    const second = await otherStore.update('view.a', Uint8Array.of(2), first ?? 0);
    assert.ok(second !== undefined && second > (first ?? 0));
    assert.deepEqual(await seen.count(2), [1, 2]);
    assert.ok(!statuses.kinds.includes('storeReset'));
  });

  it('nats - a watch that was cut off misses no change that was made meanwhile', async () => {
    const server = await start();
    const line = await CuttableLine.to(server.port);
    const [watcher, writer] = [await connect(line.url), await connect(server.url)];
    const statuses = statusesOf(watcher);
    const seen = new Waiter<number>();
    await (await watcher.openKeyValue('fh_x')).watch('view.a', (entry) => seen.add(entry.value[0]));
    const store = await writer.openKeyValue('fh_x');
    let revision = await store.create('view.a', Uint8Array.of(0));
    await seen.count(1);
    line.cut();
    await statuses.wait('disconnected');
    for (let at = 1; at < 20; at++) revision = await store.update('view.a', Uint8Array.of(at), revision ?? 0);
    line.mend();
    assert.deepEqual(
      await seen.count(20),
      Array.from({ length: 20 }, (_, at) => at),
    );
    line.close();
  });

  it('nats - a server that comes back empty is reported, and the store works again from revision 1', async () => {
    const server = await start();
    const bus = await connect(server.url, { storage: 'memory' });
    const statuses = statusesOf(bus);
    const store = await bus.openKeyValue('fh_x');
    const seen = new Waiter<number>();
    await store.watch('view.*', (entry) => seen.add(entry.value[0]));
    const before = await store.create('view.a', Uint8Array.of(1));
    await store.update('view.a', Uint8Array.of(2), before ?? 0);
    await seen.count(2);
    await server.kill();
    await statuses.wait('disconnected');
    await server.start();
    await statuses.wait('storeReset');
    assert.equal(await store.get('view.a'), undefined);
    assert.equal(await store.create('view.a', Uint8Array.of(3)), 1);
    assert.deepEqual(await seen.count(3), [1, 2, 3]);
    assert.equal(statuses.kinds.filter((kind) => kind === 'storeReset').length, 1);
  });

  it('nats - a server that freezes under load is noticed, and used again when it thaws', async () => {
    const server = await start();
    // More than the kernel's buffers take, so that the client's own output cannot drain.
    const bus = await connect(server.url, { pingIntervalMs: 100, windowBytes: 32 * 1024 * 1024 });
    const statuses = statusesOf(bus);
    const store = await bus.openKeyValue('fh_x');
    await server.freeze();
    // What waits for an answer is told as soon as the line is given up, not when its own time is over.
    const unanswered = assert.rejects(store.get('map'), hasCode(errorCodes.busDisconnected));
    while (bus.writable) bus.publish('a', new Uint8Array(256 * 1024));
    await statuses.wait('disconnected');
    await unanswered;
    assert.equal(bus.stats.unconfirmedMessages, bus.stats.publishedMessages);
    server.thaw();
    await bus.whenWritable();
    await bus.flush();
  });

  it('nats - no server: a clear error in bounded time, and the retries are told', async () => {
    const url = `nats://127.0.0.1:${await freePort()}`;
    const retries: number[] = [];
    const first = { attempts: 3, onRetry: (retry: { attempt: number }) => retries.push(retry.attempt) };
    await assert.rejects(openBus(url, { name: 'x', first }), (error) => {
      assert.ok(error instanceof FlowherdError && error.code === errorCodes.busUnreachable);
      assert.match(
        error.message,
        /^no NATS server at nats:\/\/127\.0\.0\.1:\d+ \(connection refused, 3 tries in .*nats-server -js/,
      );
      return !error.message.includes('\n');
    });
    assert.deepEqual(retries, [1, 2]);
    await assert.rejects(openBus(url, { name: 'x', first: { timeoutMs: 150 } }), hasCode(errorCodes.busUnreachable));
  });

  it('nats - a server that appears while connecting is found', async () => {
    const server = await start();
    await server.kill();
    let started: Promise<void> | undefined;
    const onRetry = (): void => {
      started ??= server.start();
    };
    buses.push(await connectNats({ url: server.url, name: 'early' }, { onRetry }));
    await started;
  });

  it('nats - something that listens and is no NATS server: a clear error in bounded time', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    assert.ok(address !== null && typeof address !== 'string');
    const url = `nats://127.0.0.1:${address.port}`;
    const first = { timeoutMs: 300 };
    await assert.rejects(connectNats({ url, name: 'x' }, first), hasCode(errorCodes.busUnreachable));
    for (const socket of sockets) socket.destroy();
    silent.close();
  });

  it('nats - a server without JetStream: messages pass, the key-value store says what is missing', async () => {
    const server = await start({ jetStream: false });
    const bus = await connect(server.url);
    await assert.rejects(bus.openKeyValue('fh_x'), hasCode(errorCodes.storeUnavailable));
    const inbox = new Inbox(bus, 'a');
    bus.publish('a', Uint8Array.of(1));
    await inbox.count(1);
  });

  it('nats - a bucket that this connection may not create is missing until somebody else creates it', async () => {
    const server = await start();
    const [reader, owner] = [await connect(server.url, { createBuckets: false }), await connect(server.url)];
    await assert.rejects(reader.openKeyValue('fh_x'), hasCode(errorCodes.storeMissing));
    const revision = await (await owner.openKeyValue('fh_x')).create('map', Uint8Array.of(1));
    assert.equal((await (await reader.openKeyValue('fh_x')).get('map'))?.revision, revision);
  });

  it('nats - logins and permissions: refused at once, denied subjects are reported, roles can be narrow', async () => {
    const config = join(tmpdir(), `flowherd-test-${process.pid}.conf`);
    writeFileSync(config, permissionsConfig);
    const server = await start({ config });
    const login = (user: string): Partial<NatsOptions> => ({
      auth: { user, password: 'p' },
      inboxPrefix: `_INBOX_${user}`,
    });
    const wrong = { user: 'reader', password: 'wrong' };
    await assert.rejects(connect(server.url, { auth: wrong }), hasCode(errorCodes.busRefused));
    await assert.rejects(connect(server.url), hasCode(errorCodes.busRefused));

    const store = await (await connect(server.url, login('admin'))).openKeyValue('fh_x');
    const revision = await store.create('view.a', Uint8Array.of(1));
    const reader = await connect(server.url, { ...login('reader'), createBuckets: false });
    const statuses = statusesOf(reader);
    const readOnly = await reader.openKeyValue('fh_x');
    const seen = new Waiter<number>();
    await readOnly.watch('view.*', (entry) => seen.add(entry.value[0]));
    assert.equal((await readOnly.get('view.a'))?.revision, revision);
    assert.equal((await readOnly.history('view.a')).length, 1);
    await assert.rejects(readOnly.create('view.b', Uint8Array.of(2)), hasCode(errorCodes.busRefused));
    await statuses.wait('denied');
    reader.subscribe('fh.x.data.g', () => undefined);
    const denied = await statuses.wait('denied', 2);
    assert.match(denied.kind === 'denied' ? denied.reason : '', /subscription on fh\.x\.data\.g/);
    await store.update('view.a', Uint8Array.of(3), revision ?? 0);
    assert.deepEqual(await seen.count(2), [1, 3]);
  });

  it('nats - who may write one key cannot wipe out the others: roll-ups are refused', async () => {
    const server = await start();
    const store = await (await connect(server.url)).openKeyValue('fh_x');
    await store.create('map', Uint8Array.of(1));
    const answer = await rawRequest(server.port, '$KV.fh_x.view.a', 'NATS/1.0\r\nNats-Rollup: all\r\n\r\n');
    assert.match(answer, /rollup not permitted/);
    assert.ok((await store.get('map')) !== undefined);
  });
});

/** Sends one message with headers, which the bus has none of, and resolves to what the server answers to it. */
function rawRequest(port: number, subject: string, head: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1');
    let heard = '';
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
      const answer = /^MSG answer \d+ \d+\r\n(.*)\r\n/m.exec(heard);
      if (answer === null) return;
      socket.destroy();
      resolve(answer[1]);
    });
    socket.write('CONNECT {"headers":true,"verbose":false}\r\nSUB answer 1\r\n');
    socket.write(`HPUB ${subject} answer ${head.length} ${head.length + 1}\r\n${head}x\r\n`);
  });
}

const permissionsConfig = `
  accounts { A {
    jetstream: enabled
    users: [
      { user: admin, password: p }
      { user: reader, password: p, permissions: {
          publish: ["$JS.API.STREAM.INFO.KV_fh_x", "$JS.API.STREAM.MSG.GET.KV_fh_x", "$JS.API.CONSUMER.CREATE.KV_fh_x.>", "$JS.API.CONSUMER.CREATE.KV_fh_x"]
          subscribe: ["_INBOX_reader.>"]
      } }
    ]
  } }
`;

interface Statuses {
  readonly kinds: string[];
  /** Resolves to the nth status of that kind. */
  wait(kind: BusStatus['kind'], nth?: number): Promise<BusStatus>;
}

function statusesOf(bus: Bus): Statuses {
  const all: BusStatus[] = [];
  let changed: () => void = () => undefined;
  bus.onStatus((status) => {
    all.push(status);
    changed();
  });
  return {
    get kinds() {
      return all.map((status) => status.kind);
    },
    async wait(kind, nth = 1) {
      for (;;) {
        const found = all.filter((status) => status.kind === kind)[nth - 1];
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => {
          const before = changed;
          changed = () => {
            before();
            resolve();
          };
        });
      }
    },
  };
}
