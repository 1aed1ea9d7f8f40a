// Tier 1 and the DSSL actors as processes of their own against a real NATS server.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { decodeHello, type Hello } from '../../../shared/messages/hello.ts';
import { buildPacket } from '../../../shared/packet/encode/build.ts';
import { freePort, NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { packetFrame } from '../../support/packetFrames.ts';
import { Service } from '../../support/processes.ts';

const town = fileURLToPath(new URL('../../captures/town.pcap', import.meta.url));

interface Run {
  readonly tier1: { read: number; distributed: number; dropped: Record<string, number> };
  readonly servers: {
    readonly packets: number;
    readonly entries: { readonly badFrames: Record<string, number>; readonly badCommands: number };
    readonly recovery: { readonly skippedEntries: number };
  }[];
}

describe('services', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: NatsServer;
  before(async () => {
    nats = await NatsServer.start();
  });
  after(() => nats.stop());

  let clusters = 0;

  /** Three servers in one group and a tier 1 that reads a capture; `during` runs once the traffic is on its way. */
  async function runCluster(
    speed: string,
    during: (cluster: string, services: readonly Service[]) => Promise<void>,
  ): Promise<Run> {
    const cluster = `c${++clusters}`;
    const common = ['--bus', nats.url, '--cluster', cluster, '--groups', '1', '--mid-flow', 'adopt', '--json'];
    const servers = ['a', 'b', 'c'].map(
      (name) => new Service(['dssl', ...common, '--server', name, '--drain-seconds', '0']),
    );
    await Promise.all(servers.map((server) => server.says(/server is active/)));
    const tier1 = new Service(['tier1', ...common, '--input', town, '--speed', speed]);
    await tier1.says(/waiting for a server/);
    await during(cluster, [tier1, ...servers]);
    assert.equal(await tier1.ended(), 0, tier1.messages.join('\n'));
    assert.deepEqual(await Promise.all(servers.map((server) => server.end())), [0, 0, 0]);
    return { tier1: JSON.parse(tier1.stdout).packets, servers: servers.map(({ stdout }) => JSON.parse(stdout)) };
  }

  /** Resolves when frames are in the log. */
  async function firstFrame(cluster: string): Promise<void> {
    const bus = await connectNats({ url: nats.url, name: 'watcher' });
    const log = await bus.openLog(cluster, 'g1');
    await new Promise<void>((resolve, reject) => {
      const handlers = { onEntry: () => resolve(), onBroken: (reason: string) => reject(new Error(reason)) };
      log.read({ after: 0, kinds: ['frame'] }, handlers);
    });
    await bus.close();
  }

  const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);

  test('services - every packet that tier 1 sent is handed to one of three servers', async () => {
    const { tier1, servers } = await runCluster('max', async () => undefined);
    assert.equal(tier1.read, tier1.distributed);
    assert.equal(sum(servers.map(({ packets }) => packets)), tier1.distributed);
    for (const { packets } of servers) assert.ok(packets > 0);
  });

  test('services - garbage on the subjects is counted, and the servers go on', async () => {
    const garbage = 200;
    const { tier1, servers } = await runCluster('40', async (cluster) => {
      const bus = await connectNats({ url: nats.url, name: 'garbage' });
      const subjects = subjectsOf(cluster);
      for (let sent = 0; sent < garbage; sent++) {
        for (const kind of ['frame', 'command'] as const) {
          bus.publish(subjects.log('g1', kind), Buffer.concat([Buffer.of(0xc1), randomBytes(sent)]));
        }
        for (const subject of [subjects.control('g1'), subjects.peer('g1', 'a'), subjects.gossip('g1')]) {
          bus.publish(subject, randomBytes(sent));
        }
      }
      await bus.close();
    });
    assert.equal(sum(servers.map(({ packets }) => packets)), tier1.distributed);
    for (const { entries } of servers) {
      assert.deepEqual([sum(Object.values(entries.badFrames)), entries.badCommands], [garbage, garbage]);
    }
  });

  test('services - a NATS server that is killed and comes back: said, survived, and no packet is lost', async () => {
    const { tier1, servers } = await runCluster('2', async (cluster, services) => {
      await firstFrame(cluster);
      await nats.kill();
      await Promise.all(services.map((service) => service.says(/lost the NATS server/)));
      await nats.start();
      await Promise.all(services.map((service) => service.says(/connected to NATS again/)));
    });
    assert.deepEqual([tier1.dropped, tier1.distributed], [{}, tier1.read]);
    assert.equal(sum(servers.map(({ packets }) => packets)), tier1.distributed);
    for (const { recovery } of servers) assert.equal(recovery.skippedEntries, 0);
  });

  test('services - a group whose last server leaves: its packets go to the other group, which is said and counted', async () => {
    const common = ['--bus', nats.url, '--cluster', 'emptied', '--groups', '2', '--json'];
    const [a, b] = ['g1', 'g2'].map(
      (group) =>
        new Service(['dssl', ...common, '--server', `of-${group}`, '--member-of', group, '--drain-seconds', '0']),
    );
    const tier1 = new Service(['tier1', ...common, '--input', 'bus']);
    const bus = await connectNats({ url: nats.url, name: 'router' });
    const subjects = subjectsOf('emptied');
    const hello = (isIt: (hello: Hello) => boolean) =>
      new Promise<string>((resolve) => {
        bus.subscribe(subjects.every('hello'), (message) => {
          const said = decodeHello(message);
          if (said !== undefined && isIt(said)) resolve(said.tier1);
        });
      });
    const id = await hello(({ state }) => state === 'ready');
    assert.equal(await a.end(), 0);
    assert.match(
      await tier1.says(/mapped out/),
      /^group g1 is mapped out, it has no server any more; its flows go to g2/,
    );
    const packets = Array.from({ length: 50 }, (_, client) =>
      buildPacket({ source: `10.0.0.${client}`, target: '192.0.2.1', udp: { sourcePort: 1, targetPort: 2 } }),
    );
    bus.publish(subjects.in(id), packetFrame('router', 1, packets));
    await hello(({ received }) => received === 50);
    await bus.close();
    assert.deepEqual([await tier1.end(), await b.end()], [0, 0]);
    const { packets: counts, groups } = JSON.parse(tier1.stdout);
    assert.deepEqual([counts.read, counts.distributed, counts.dropped], [50, 50, {}]);
    assert.ok(counts.diverted > 10 && counts.diverted < 40, `${counts.diverted}`);
    assert.deepEqual(groups, { timesMappedOut: 1, mappedOut: ['g1'], gossipFaults: 0, mirrorFaults: 0 });
    assert.equal(JSON.parse(b.stdout).packets, 50);
  });

  test('services - readiness says what is missing, until it is there', async () => {
    const common = ['--cluster', 'ready', '--groups', '1', '--http', '0'];
    const environment = { FLOWHERD_BUS: nats.url, FLOWHERD_CLUSTER: 'not-this-one' };
    const readiness = async (service: Service): Promise<[number, Record<string, string>]> => {
      const url = /http:\S+/.exec(await service.says(/answering/))?.[0];
      const response = await fetch(`${url}/readyz`);
      return [response.status, ((await response.json()) as { failing: Record<string, string> }).failing];
    };
    const tier1 = new Service(['tier1', ...common, '--input', town, '--speed', '0.001'], environment);
    await tier1.says(/waiting for a server/);
    assert.deepEqual(await readiness(tier1), [503, { served: 'no server in g1' }]);
    const server = new Service(['dssl', ...common, '--server', 'a', '--drain-seconds', '0'], environment);
    await server.says(/server is active/);
    assert.deepEqual(await readiness(server), [200, {}]);
    await firstFrame('ready');
    assert.deepEqual(await readiness(tier1), [200, {}]);
    assert.deepEqual([await server.end(), await tier1.end()], [0, 0]);
  });

  test('services - with the log on standard output there is nothing but lines of JSON, and the report is one of them', async () => {
    const common = ['--bus', nats.url, '--cluster', 'stdout', '--groups', '2'];
    const environment = { FLOWHERD_LOG_TO: 'stdout' };
    const init = new Service(['init', ...common], environment);
    assert.equal(await init.ended(), 0);
    assert.equal(JSON.parse(init.stdout).report.map.created, true);
    const server = new Service(['dssl', ...common, '--server', 'a', '--drain-seconds', '0', '--json'], environment);
    await server.prints(/server is active/);
    assert.equal(await server.end(), 0);
    const lines = server.stdout.trimEnd().split('\n');
    const records = lines.map((line) => JSON.parse(line) as { level: number; report?: { server: string } });
    assert.equal(records.at(-1)?.report?.server, 'a');
    for (const { level } of records) assert.equal(level, 30);
  });

  test('services - what a process was asked for and the cluster has otherwise is warned of, and nothing else', async () => {
    const common = ['--bus', nats.url, '--cluster', 'other', '--drain-seconds', '0'];
    const init = new Service(['init', '--bus', nats.url, '--cluster', 'other', '--groups', '2', '--method', 'fig-6']);
    assert.equal(await init.ended(), 0);
    const silent = new Service(['dssl', ...common, '--server', 'a', '--groups', '2']);
    await silent.says(/server is active/);
    assert.ok(!silent.messages.some((message) => /other settings/.test(message)));
    const asking = new Service(['dssl', ...common, '--server', 'b'], { FLOWHERD_GROUPS: '5' });
    await asking.says(/other settings/);
    await asking.says(/joined/);
    assert.deepEqual([await silent.end(), await asking.end()], [0, 0]);
  });

  test('services - a signal ends a process that has no cluster yet', async () => {
    const service = new Service(['dssl', '--bus', `nats://127.0.0.1:${await freePort()}`]);
    await service.says(/no NATS server yet/);
    assert.equal(await service.end(), 143);
    assert.match(service.messages.at(-1) ?? '', /ended before it was part of the cluster/);
  });

  test('services - a server that cannot say that it leaves ends all the same', async () => {
    const lonely = await NatsServer.start();
    const server = new Service(['dssl', '--bus', lonely.url, '--server', 'a', '--drain-seconds', '0']);
    await server.says(/server is active/);
    await lonely.stop();
    await server.says(/lost the NATS server/);
    assert.equal(await server.end(), 1);
    assert.ok(server.messages.some((message) => /could not write that the server leaves/.test(message)));
  });

  test('services - what cannot be is said in one line, with the right exit code', async () => {
    const common = ['--bus', nats.url, '--cluster', 'mistakes', '--groups', '1'];
    const cases = [
      { args: ['tier1', ...common, '--input', 'nowhere.pcap'], setUp: true, code: 1, says: /nowhere\.pcap/ },
      { args: ['dssl', ...common, '--member-of', 'g9'], code: 2, says: /no group g9.*g1/ },
      { args: ['dssl', ...common, '--handler', './nothing.ts'], code: 1, says: /nothing\.ts/ },
      { args: ['dssl', ...common], environment: { FLOWHERD_SECRET: 'another' }, code: 2, says: /secret/ },
      { args: ['dssl', ...common], environment: { FLOWHERD_SECRET: '' }, code: 2, says: /FLOWHERD_SECRET/ },
      { args: ['tier1', ...common, '--input', town], environment: { NATS_USER: 'x' }, code: 2, says: /NATS_PASSWORD/ },
      { args: ['dssl', '--bus', 'http://127.0.0.1', '--cluster', 'mistakes'], code: 2, says: /nats:\/\// },
      { args: ['dssl', ...common, '--http', '192.0.2.1:80'], code: 2, says: /--http 192\.0\.2\.1:80.*no address/ },
      {
        args: ['dssl', ...common],
        environment: { NATS_CA_FILE: 'nowhere.pem' },
        code: 2,
        says: /NATS_CA_FILE.*nowhere/,
      },
      { args: ['init', '--bus', nats.url, '--cluster', 'three', '--replicas', '3'], code: 1, says: /replicas/ },
    ];
    const server = new Service(['dssl', ...common, '--server', 'a', '--drain-seconds', '0']);
    await server.says(/server is active/);
    for (const { args, code, says, environment } of cases) {
      const service = new Service(args, environment);
      assert.equal(await service.ended(), code, args.join(' '));
      const lines = service.messages.filter((line) => line.startsWith('flowherd: '));
      assert.equal(lines.length, 1, service.messages.join('\n'));
      assert.match(lines[0], says);
    }
    assert.equal(await server.end(), 0);
  });
});
