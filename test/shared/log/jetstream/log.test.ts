// The log over a real nats-server: how its stream is made and kept, who may do what, and which servers will do.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect as connectClient, headers, type NatsConnection } from 'nats';
import { errorCodes } from '../../../../shared/base/errors.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { connectNats, type NatsOptions } from '../../../../shared/bus/nats/nats.ts';
import { assertServerVersion } from '../../../../shared/log/jetstream/log.ts';
import { hasCode } from '../../../support/busInbox.ts';
import { Appends, EntryBox, realTime, testSettings } from '../../../support/logReaders.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';

const { until } = realTime;

describe('the log over NATS', { skip: skipWithoutNatsServer(), timeout: 60_000 }, () => {
  let server: NatsServer;
  let client: NatsConnection;
  const buses: Bus[] = [];
  const more: NatsServer[] = [];
  before(async () => {
    server = await NatsServer.start();
    client = await connectClient({ servers: server.url });
  });
  after(async () => {
    for (const bus of buses) await bus.close();
    await client?.close();
    for (const one of [server, ...more]) await one?.stop();
  });
  const connect = async (options: Partial<NatsOptions> = {}, url = server.url): Promise<Bus> => {
    const bus = await connectNats({ url, name: 'test', ...options });
    buses.push(bus);
    return bus;
  };
  const configOf = async (stream: string) => (await (await client.jetstreamManager()).streams.info(stream)).config;

  it('jetstream - the stream is as asked for, and who opens it with other settings changes what it keeps', async () => {
    const bus = await connect();
    await bus.openLog('c', 'one', { retention: { ageMs: 5_000, bytes: 1_000_000 }, storage: 'memory', replicas: 1 });
    const config = await configOf('fh_c_one');
    assert.deepEqual(config.subjects, ['fh.c.log.one.>']);
    const { retention, discard, max_age, max_bytes, storage, num_replicas, allow_direct, deny_delete } = config;
    assert.deepEqual(
      [retention, discard, max_age, max_bytes, storage, num_replicas, allow_direct, deny_delete],
      ['limits', 'old', 5e9, 1_000_000, 'memory', 1, true, true],
    );
    await bus.openLog('c', 'one');
    assert.equal((await configOf('fh_c_one')).max_age, 5e9);
    const log = await bus.openLog('c', 'one', {
      retention: { ageMs: 3_000, bytes: 2_000_000 },
      storage: 'file',
      replicas: 1,
    });
    const changed = await configOf('fh_c_one');
    assert.deepEqual([changed.max_age, changed.max_bytes, changed.storage], [3e9, 2_000_000, 'memory']);
    const appends = new Appends(log);
    appends.add('frame', 'still works');
    await until(() => appends.areKnown);
    assert.equal(appends.positionOf(0), 1);
  });

  it('jetstream - made by several at once: one has made it', async () => {
    const all = await Promise.all([connect(), connect(), connect(), connect()]);
    const logs = await Promise.all(all.map((bus) => bus.openLog('c', 'race')));
    const made = await Promise.all(logs.map((log) => log.make()));
    assert.deepEqual(made.filter((isMade) => isMade).length, 1);
  });

  it('jetstream - a stream of the same name for another cluster is refused, not used', async () => {
    const bus = await connect();
    await bus.openLog('a', 'b_c', testSettings);
    await assert.rejects(bus.openLog('a_b', 'c', testSettings), hasCode(errorCodes.badConfig));
    const log = await bus.openLog('a_b', 'c');
    await assert.rejects(log.bounds(), hasCode(errorCodes.badConfig));
    await assert.rejects(bus.openLog('a.b', 'c'), hasCode(errorCodes.badName));
    await assert.rejects(bus.openLog('a', ''), hasCode(errorCodes.badName));
  });

  it('jetstream - entries that others write: headers do no harm, an unknown kind is passed over and counted', async () => {
    const bus = await connect();
    const log = await bus.openLog('c', 'foreign', testSettings);
    const box = new EntryBox(log, { after: 0 });
    const fields = headers();
    fields.set('X', 'y');
    const stream = client.jetstream();
    await stream.publish('fh.c.log.foreign.frame', Buffer.from('a'), { headers: fields });
    await stream.publish('fh.c.log.foreign.what', Buffer.from('b'));
    await stream.publish('fh.c.log.foreign.command', Buffer.from('c'));
    await until(() => box.entries.length === 2);
    assert.deepEqual(
      box.entries.map(({ position, kind, data }) => `${position} ${kind} ${Buffer.from(data)}`),
      ['1 frame a', '3 command c'],
    );
    assert.deepEqual([box.reader.position, log.stats.handlerErrors, log.stats.readersRestarted], [3, 1, 0]);
  });

  it('jetstream - narrow permissions: one that appends, one that reads, one that may nothing', async () => {
    const config = join(tmpdir(), `flowherd-log-test-${process.pid}.conf`);
    writeFileSync(config, permissions);
    const guarded = await NatsServer.start({ config });
    more.push(guarded);
    const login = (user: string): Partial<NatsOptions> => ({
      auth: { user, password: 'p' },
      inboxPrefix: `_INBOX_${user}`,
    });
    const nobody = await (await connect(login('nobody'), guarded.url)).openLog('c', 'g', testSettings);
    await assert.rejects(nobody.make(), hasCode(errorCodes.busRefused));
    await assert.rejects(nobody.bounds(), hasCode(errorCodes.busRefused));
    const denied = new Appends(nobody);
    denied.add('frame', 'x');
    await until(() => denied.areKnown);
    assert.match(JSON.stringify(denied.outcomes[0]), /refused.*may not publish on fh\.c\.log\.g\.frame/);

    await (await connect(login('admin'), guarded.url)).openLog('c', 'g', testSettings);
    const box = new EntryBox(await (await connect(login('reader'), guarded.url)).openLog('c', 'g', testSettings), {
      after: 0,
    });
    const appends = new Appends(await (await connect(login('writer'), guarded.url)).openLog('c', 'g'));
    for (let at = 0; at < 3_000; at++) appends.add('frame', new Uint8Array(5_000));
    await until(() => appends.areKnown && box.entries.length === 3_000);
    assert.equal(appends.count('stored'), 3_000);
    box.check();
  });

  it('jetstream - a server without JetStream says so', async () => {
    const plain = await NatsServer.start({ jetStream: false });
    more.push(plain);
    const bus = await connect({}, plain.url);
    await assert.rejects(bus.openLog('c', 'g', testSettings), hasCode(errorCodes.storeUnavailable));
    const log = await bus.openLog('c', 'g');
    const appends = new Appends(log);
    appends.add('command', 'x');
    await until(() => appends.areKnown);
    assert.equal(appends.count('refused'), 1);
  });

  it('jetstream - a server that is too old is named, with the version that is needed', () => {
    for (const version of ['2.9.10', '1.4.0', '2.9', undefined, 'x']) {
      assert.throws(
        () => assertServerVersion(version),
        (error: Error) => {
          return hasCode(errorCodes.badState)(error) && /needs 2\.10 or newer/.test(error.message);
        },
      );
    }
    for (const version of ['2.10.0', '2.10.27', '2.15.1', '2.11.0-beta.1', '3.0.0']) assertServerVersion(version);
  });
});

const stream = 'fh_c_g';
const permissions = `
  accounts { A {
    jetstream: enabled
    users: [
      { user: admin, password: p }
      { user: nobody, password: p, permissions: { publish: ["nothing"], subscribe: ["_INBOX_nobody.>"] } }
      { user: writer, password: p, permissions: {
          publish: ["fh.c.log.g.frame", "fh.c.log.g.command"]
          subscribe: ["_INBOX_writer.>"]
      } }
      { user: reader, password: p, permissions: {
          publish: ["$JS.API.STREAM.INFO.${stream}", "$JS.API.STREAM.MSG.GET.${stream}", "$JS.API.CONSUMER.CREATE.${stream}", "$JS.FC.${stream}.>"]
          subscribe: ["_INBOX_reader.>"]
      } }
    ]
  } }
`;
