// What each role's key may do and what not, with a real NATS server and the configuration that is shipped. A denial counts only
// when the server says that it denies; that nothing arrives proves little.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { errorCodes } from '../../shared/base/errors.ts';
import type { Bus, BusStatus, KeyValue } from '../../shared/bus/bus.ts';
import { connectNats } from '../../shared/bus/nats/nats.ts';
import { channels, mapKey, parseSubject, type Role, roles, subjectsOf } from '../../shared/bus/subjects.ts';
import type { AppendOutcome, EntryKind, GroupLog, LogReader } from '../../shared/log/log.ts';
import { hasCode, Inbox, Waiter } from '../support/busInbox.ts';
import { skipWithoutNatsServer } from '../support/natsServer.ts';
import { Service } from '../support/processes.ts';
import { natsFolder, SecureNats } from './support/secureNats.ts';

const town = fileURLToPath(new URL('../captures/town.pcap', import.meta.url));
const subjects = subjectsOf('default');
const bytes = Uint8Array.of(1);
/** A group that has no member: what the tests put into its log confuses nobody. */
const logGroup = 'g7';
const settings = { retention: { ageMs: 60_000, bytes: 64 * 1024 * 1024 }, storage: 'memory', replicas: 1 } as const;

function append(log: GroupLog, kind: EntryKind, data: Uint8Array = bytes): Promise<AppendOutcome> {
  return new Promise((resolve) => log.append(kind, data, resolve));
}

describe('permissions', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: SecureNats;
  const buses: Bus[] = [];
  const connect = async (role: Role): Promise<{ bus: Bus; denials: Denials }> => {
    const bus = await connectNats({ url: nats.url, name: `test ${role}`, ...nats.login(role) });
    buses.push(bus);
    return { bus, denials: new Denials(bus) };
  };

  before(async () => {
    nats = await SecureNats.start();
    await (await connect('admin')).bus.openLog('default', logGroup, settings);
  });
  after(async () => {
    for (const bus of buses) await bus.close();
    await nats.stop();
  });

  /** The server says that it does not permit this to be published. */
  async function denied(role: Role, subject: string): Promise<void> {
    const { bus, denials } = await connect(role);
    bus.publish(subject, bytes);
    await denials.of(`publish on ${subject}`);
  }

  async function notHeard(role: Role, subject: string): Promise<void> {
    const { bus, denials } = await connect(role);
    bus.subscribe(subject, () => undefined);
    await denials.of(`subscription on ${subject}`);
  }

  async function cannotWrite(store: KeyValue, key: string, denials: Denials): Promise<void> {
    await assert.rejects(store.create(`${key}`, bytes), hasCode(errorCodes.busRefused));
    await denials.of(`publish on $KV.${subjects.bucket}.${key}`);
  }

  it('permissions - a service waits for the cluster until the administrator has made it, and nobody else can', async () => {
    const early = new Service(['dssl', '--server', 'early', '--drain-seconds', '0'], nats.environment('dssl'));
    await early.says(/waiting for the cluster to be made/);
    for (const role of ['tier1', 'dssl', 'cli'] as const) {
      const init = new Service(['init'], nats.environment(role));
      assert.equal(await init.ended(), 1);
      assert.match(init.messages.join('\n'), /flowherd: making a cluster takes the administrator's login/);
    }
    const init = new Service(['init', '--groups', '1', '--mid-flow', 'adopt', '--json'], nats.environment('admin'));
    assert.equal(await init.ended(), 0, init.messages.join('\n'));
    assert.equal(JSON.parse(init.stdout).map.created, true);
    await early.says(/server is active/);
    assert.equal(await early.end(), 0);
  });

  it('permissions - a whole cluster works with the keys of its roles, and nothing that it does is denied', async () => {
    const servers = ['a', 'b'].map(
      (name) => new Service(['dssl', '--server', name, '--drain-seconds', '0', '--json'], nats.environment('dssl')),
    );
    await Promise.all(servers.map((server) => server.says(/server is active/)));
    const tier1 = new Service(['tier1', '--input', town, '--json'], nats.environment('tier1'));
    assert.equal(await tier1.ended(), 0, tier1.messages.join('\n'));
    assert.deepEqual(await Promise.all(servers.map((server) => server.end())), [0, 0]);
    const { read, distributed } = JSON.parse(tier1.stdout).packets;
    const packets = servers.map(({ stdout }) => JSON.parse(stdout).packets as number);
    assert.ok(read > 1_000 && read === distributed, tier1.stdout);
    assert.equal(packets[0] + packets[1], distributed);
    for (const service of [tier1, ...servers]) {
      assert.deepEqual(
        service.messages.filter((message) => /denied|permit/.test(message)),
        [],
      );
    }
  });

  it("permissions - an operator looks with the key of tools, changes with the administrator's, and is told which it takes", async () => {
    const servers = ['a', 'b'].map(
      (name) => new Service(['dssl', '--server', name, '--drain-seconds', '0'], nats.environment('dssl')),
    );
    await Promise.all(servers.map((server) => server.says(/server is active/)));
    const run = async (role: Role, ...args: string[]): Promise<[code: number, said: string]> => {
      const service = new Service(args, nats.environment(role));
      return [await service.ended(), service.messages.join('\n')];
    };
    for (const look of [['status'], ['groups'], ['settings'], ['settings', 'history']]) {
      assert.deepEqual(await run('cli', ...look), [0, ''], look.join(' '));
    }
    const changes = [
      ['settings', 'set', 'watching.beatMs=50'],
      ['weight', 'a', '50'],
      ['drain', 'a'],
    ];
    for (const change of changes) {
      const [code, said] = await run('cli', ...change);
      assert.equal(code, 1);
      assert.match(
        said,
        /^flowherd: this takes the administrator's login .*(?:\$KV\.fh_default\.map|log\.g1\.command)$/,
      );
      assert.deepEqual(await run('admin', ...change), [0, ''], change.join(' '));
    }
    await servers[1].says(/settings changed/);
    await servers[0].says(/server is draining/);
    for (const role of ['dssl', 'tier1'] as const) {
      const [code, said] = await run(role, 'status');
      assert.equal(code, 1);
      assert.match(said, /^flowherd: looking at a cluster takes the login of "cli" or "admin" .*permit/);
    }
    await Promise.all(servers.map((server) => server.end()));
    for (const { messages } of servers) assert.ok(!messages.some((message) => /denied|permit/.test(message)));
  });

  it('permissions - without a key nobody gets in, nor with a key that the server does not know', async () => {
    await assert.rejects(connectNats({ url: nats.url, name: 'x' }), hasCode(errorCodes.busRefused));
    const stranger = await SecureNats.start();
    const login = stranger.login('admin');
    await stranger.stop();
    await assert.rejects(connectNats({ url: nats.url, name: 'x', ...login }), hasCode(errorCodes.busRefused));
  });

  it('permissions - tier 1 reads and watches the bucket, and writes neither views nor the map', async () => {
    const { bus, denials } = await connect('tier1');
    const store = await bus.openKeyValue(subjects.bucket);
    const before = await store.get(mapKey);
    assert.ok(before !== undefined);
    const seen = new Waiter<string>();
    await store.watch('view.*', ({ key }) => seen.add(key));
    await seen.count(1);
    await cannotWrite(store, 'view.g9', denials);
    await cannotWrite(store, mapKey, denials);
    await assert.rejects(store.destroy(), hasCode(errorCodes.busRefused));
    assert.equal((await store.get(mapKey))?.revision, before.revision);
    assert.equal(await store.get('view.g9'), undefined);
  });

  it('permissions - a server writes mirrors of views, and not the map', async () => {
    const { bus, denials } = await connect('dssl');
    const store = await bus.openKeyValue(subjects.bucket);
    assert.ok((await store.create('view.g8', bytes)) !== undefined);
    await cannotWrite(store, mapKey, denials);
    await cannotWrite(store, 'other', denials);
    await assert.rejects(store.destroy(), hasCode(errorCodes.busRefused));
    await denied('dssl', subjects.in('t1'));
    await notHeard('dssl', subjects.every('in'));
    await notHeard('dssl', '_INBOX_admin.>');
  });

  it('permissions - tier 1 appends frames, members append commands and read, the administrator does all, and others nothing', async () => {
    const may: Record<Role, { readonly append: readonly EntryKind[]; readonly reads: boolean }> = {
      tier1: { append: ['frame'], reads: false },
      dssl: { append: ['command'], reads: true },
      server: { append: [], reads: false },
      cli: { append: [], reads: false },
      admin: { append: ['frame', 'command'], reads: true },
    };
    for (const role of roles) {
      const { bus, denials } = await connect(role);
      const log = await bus.openLog('default', logGroup);
      for (const kind of ['frame', 'command'] as const) {
        const outcome = await append(log, kind);
        const isPermitted = may[role].append.includes(kind);
        assert.equal(outcome.kind, isPermitted ? 'stored' : 'refused', `${role} ${kind}`);
        if (!isPermitted) await denials.of(`publish on ${subjects.log(logGroup, kind)}`);
      }
      const stream = subjects.logStream(logGroup);
      if (may[role].reads) continue;
      await assert.rejects(log.bounds(), hasCode(errorCodes.busRefused));
      await assert.rejects(log.get(1), hasCode(errorCodes.busRefused));
      await denied(role, `$JS.API.CONSUMER.CREATE.${stream}`);
      await denied(role, `$JS.FC.${stream}.x.y`);
    }
  });

  it('permissions - a member reads a log from any position, as fast as it can and no faster', async () => {
    const admin = await (await connect('admin')).bus.openLog('default', logGroup);
    const { last } = await admin.bounds();
    const large = new Uint8Array(200_000);
    for (let number = 0; number < 100; number++) await append(admin, 'frame', large);
    const { bus } = await connect('dssl');
    const log = await bus.openLog('default', logGroup);
    const positions = await new Promise<number[]>((resolve, reject) => {
      const read: number[] = [];
      const reader: LogReader = log.read(
        { after: last },
        {
          onEntry: ({ position }) => {
            read.push(position);
            if (reader.pending > 0) return;
            reader.stop();
            resolve(read);
          },
          onBroken: (reason) => reject(new Error(reason)),
        },
      );
    });
    assert.deepEqual(
      positions,
      Array.from({ length: 100 }, (_, number) => last + 1 + number),
    );
    assert.equal((await log.get(last + 1))?.data.length, large.length);
    assert.equal((await log.bounds()).last, last + 100);
  });

  it('permissions - nobody but the administrator makes, changes or removes a stream, or what is in one', async () => {
    const streams = [subjects.logStream(logGroup), `KV_${subjects.bucket}`, 'another'];
    const actions = ['CREATE', 'UPDATE', 'DELETE', 'PURGE', 'MSG.DELETE', 'SNAPSHOT', 'RESTORE'];
    for (const role of ['tier1', 'dssl', 'server', 'cli'] as const) {
      for (const stream of streams)
        for (const action of actions) await denied(role, `$JS.API.STREAM.${action}.${stream}`);
      const log = await (await connect(role)).bus.openLog('default', 'g9', settings);
      await assert.rejects(log.make(), hasCode(errorCodes.busRefused));
      await assert.rejects(log.destroy(), hasCode(errorCodes.busRefused));
    }
    const { bus } = await connect('admin');
    const log = await bus.openLog('default', 'g9', settings);
    assert.equal((await log.bounds()).last, 0);
    await log.destroy();
  });

  it('permissions - nobody gets what is appended to a log past its reader: that would hide a log that is missing', async () => {
    for (const role of ['tier1', 'dssl', 'server', 'cli'] as const) {
      await notHeard(role, subjects.every('log'));
      await notHeard(role, subjects.log('g1', 'frame'));
    }
  });

  it('permissions - a tool gives packets to tier 1, and neither frames to servers nor views to anybody', async () => {
    const { bus, denials } = await connect('cli');
    const tier1 = new Inbox((await connect('tier1')).bus, subjects.in('t1'));
    await buses.at(-1)?.flush();
    bus.publish(subjects.in('t1'), bytes);
    await tier1.count(1);
    const store = await bus.openKeyValue(subjects.bucket);
    assert.ok((await store.get(mapKey)) !== undefined);
    await cannotWrite(store, 'view.g9', denials);
    await cannotWrite(store, mapKey, denials);
    await assert.rejects(store.destroy(), hasCode(errorCodes.busRefused));
    for (const channel of ['ctl', 'peer', 'gossip', 'beat', 'hello', 'return', 'out', 'receipt'] as const) {
      const isOfMembers = channel === 'peer' || channel === 'beat';
      await denied('cli', `fh.default.${channel}.x${isOfMembers ? '.y' : ''}`);
    }
    for (const channel of ['ctl', 'peer', 'beat', 'in', 'return', 'out'] as const) {
      await notHeard('cli', subjects.every(channel));
    }
  });

  it('permissions - nobody but the administrator reaches another cluster on the same server, or the server itself', async () => {
    for (const role of ['tier1', 'dssl', 'cli'] as const) {
      for (const channel of ['log.g1.frame', 'log.g1.command', 'ctl.g1', 'in.t1'])
        await denied(role, `fh.other.${channel}`);
      await denied(role, '$JS.API.STREAM.LIST');
      await denied(role, '$SYS.REQ.SERVER.PING');
      await notHeard(role, '>');
    }
    const { bus } = await connect('admin');
    const other = await bus.openKeyValue('fh_other');
    assert.ok(other.bucket.created);
    await other.destroy();
  });
});

describe('permissions, logs in memory', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  it('permissions - a log that went with its server is made again by the administrator, and the members go on', async () => {
    const nats = await SecureNats.start();
    try {
      const init = async (...args: string[]) => {
        const service = new Service(['init', '--groups', '1', '--json', ...args], nats.environment('admin'));
        assert.equal(await service.ended(), 0, service.messages.join('\n'));
        return JSON.parse(service.stdout).logs.created;
      };
      assert.deepEqual(await init('--log-storage', 'memory'), ['g1']);
      const servers = ['a', 'b'].map(
        (name) => new Service(['dssl', '--server', name, '--drain-seconds', '0', '--json'], nats.environment('dssl')),
      );
      await Promise.all(servers.map((server) => server.says(/server is active/)));
      await nats.server.kill();
      await nats.server.start();
      await Promise.all(servers.map((server) => server.says(/the log of the group is missing, and could not be made/)));
      assert.deepEqual(await init(), ['g1']);
      await Promise.any(servers.map((server) => server.says(/goes on with the state of this replica/)));
      assert.deepEqual(await Promise.all(servers.map((server) => server.end())), [0, 0]);
      for (const { stdout } of servers) assert.equal(JSON.parse(stdout).lives, 1, stdout);
    } finally {
      await nats.stop();
    }
  });
});

describe('permissions file', () => {
  const text = readFileSync(join(natsFolder, 'permissions.conf'), 'utf8').replace(/#.*/g, '');

  it('permissions file - names only subjects that there are, of every channel, and every role', () => {
    const named = [...text.matchAll(/"(fh\.[^"]+)"/g)].map(([, subject]) => subject.replaceAll('*', 'x'));
    for (const subject of named) assert.equal(parseSubject(subject)?.cluster, 'default', subject);
    assert.deepEqual([...new Set(named.map((subject) => parseSubject(subject)?.channel))].sort(), [...channels].sort());
    for (const [, stream] of text.matchAll(/"\$JS\.API\.[A-Z.]+\.([\w*]+)"/g))
      assert.ok(stream === `KV_${subjects.bucket}` || stream === '*', stream);
    for (const role of roles) assert.ok(text.includes(`nkey: $${role.toUpperCase()}_KEY`), role);
  });
});

/** What the server has said that it does not permit. */
class Denials {
  readonly #reasons = new Set<string>();
  #changed: () => void = () => undefined;

  constructor(bus: Bus) {
    bus.onStatus((status: BusStatus) => {
      if (status.kind !== 'denied') return;
      this.#reasons.add(status.reason);
      this.#changed();
    });
  }

  /** Resolves when the server has denied that. */
  async of(what: string): Promise<void> {
    while (![...this.#reasons].some((reason) => reason.endsWith(what))) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}
