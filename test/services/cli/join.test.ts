// Servers as processes that find their place by themselves at a real NATS server: many at once, names that live, processes
// that are killed, paused or cut off while another one of their name takes over.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Bus } from '../../../shared/bus/bus.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { readMirrors } from '../../../shared/config/store.ts';
import type { Member } from '../../../shared/membership/view.ts';
import { CuttableLine, NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';

const telling = fileURLToPath(new URL('../../support/tellingHandler.ts', import.meta.url));

describe('joining', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: NatsServer;
  let bus: Bus;
  before(async () => {
    nats = await NatsServer.start();
    bus = await connectNats({ url: nats.url, name: 'look' });
  });
  after(async () => {
    await Promise.all(started.map((service) => service.end('SIGKILL')));
    await bus.close();
    await nats.stop();
  });

  let clusters = 0;
  const started: Service[] = [];

  /** A cluster of its own: starts servers in it, and looks into its views. */
  function newCluster(groups: number) {
    const cluster = `join${++clusters}`;
    const ids = Array.from({ length: groups }, (_, index) => `g${index + 1}`);
    const common = ['dssl', '--cluster', cluster, '--groups', `${groups}`, '--drain-seconds', '0'];
    const start = (
      args: readonly string[],
      { url = nats.url, ...environment }: Record<string, string> = {},
    ): Service => {
      const service = new Service([...common, '--bus', url, ...args], environment);
      started.push(service);
      return service;
    };
    return {
      start,
      async active(args: readonly string[], environment?: Record<string, string>): Promise<Service> {
        const service = start(args, environment);
        await service.says(/server is active/);
        return service;
      },
      /** Members by group, as soon as the store shows that of which this holds: a mirror is a moment behind the log. */
      async membersWhen(holds: (members: Member[][]) => boolean): Promise<Member[][]> {
        const untilMs = performance.now() + 10_000;
        for (;;) {
          const members = await this.members();
          if (holds(members)) return members;
          assert.ok(performance.now() < untilMs, JSON.stringify(members));
        }
      },
      async members(): Promise<Member[][]> {
        const mirrors = await readMirrors(await bus.openKeyValue(subjectsOf(cluster).bucket), ids);
        return ids.map((id) => [...(mirrors.get(id)?.view.members ?? [])]);
      },
      bucket: subjectsOf(cluster).bucket,
    };
  }

  const namesIn = (members: readonly Member[][]): string[][] =>
    members.map((group) => group.map(({ server }) => server).sort());
  const allActive = (number: number) => (members: readonly Member[][]) =>
    members.flat().length === number && members.flat().every(({ state }) => state === 'active');
  const lineOf = (service: Service): string => {
    const lines = service.messages.filter((line) => line.startsWith('flowherd: '));
    assert.equal(lines.length, 1, service.messages.join('\n'));
    return lines[0];
  };

  test('joining - nine servers started at once are active within seconds, three in each of three groups', async (t) => {
    const cluster = newCluster(3);
    const services = Array.from({ length: 9 }, () => cluster.start([]));
    await Promise.race(services.map((service) => service.says(/server is joining/)));
    const firstMs = performance.now();
    await Promise.all(services.map((service) => service.says(/server is active/)));
    t.diagnostic(`from the first join to the last active one: ${Math.round(performance.now() - firstMs)} ms`);
    const members = await cluster.membersWhen(allActive(9));
    assert.deepEqual(
      members.map(({ length }) => length),
      [3, 3, 3],
    );
    assert.equal(new Set(namesIn(members).flat()).size, 9, 'each made a name of its own');
    assert.deepEqual(await Promise.all(services.map((service) => service.end())), new Array(9).fill(0));
    assert.deepEqual(await cluster.members(), [[], [], []], 'the last one of a group leaves word');
  });

  test('joining - the name comes from the environment too, and the command line goes before it', async () => {
    const cluster = newCluster(1);
    const services = [
      await cluster.active([], { FLOWHERD_SERVER: 'env-%h' }),
      await cluster.active(['--server', 'line'], { FLOWHERD_SERVER: 'env-%h' }),
      await cluster.active([], { FLOWHERD_SERVER: '' }),
    ];
    const [[one, other, third]] = await cluster.membersWhen(allActive(3));
    assert.match(one.server, /^env-[A-Za-z0-9_-]+$/);
    assert.equal(other.server, 'line');
    assert.match(third.server, /-[0-9a-f]{6}$/);
    await Promise.all(services.map((service) => service.end()));
  });

  test('joining - a killed server started again takes its own place, and waits for nobody', async () => {
    const cluster = newCluster(2);
    // The others do not take it for dead before its successor comes.
    const first = await cluster.active(['--server', 'a'], { FLOWHERD_WATCHING_SUSPECT_MS: '60000' });
    await cluster.active(['--server', 'b']);
    // A group lives as long as one of its members does.
    await cluster.active(['--server', 'c']);
    const [[former, peer]] = await cluster.membersWhen(allActive(3));
    assert.deepEqual([former.server, peer.server], ['a', 'c']);
    await first.end('SIGKILL');
    const startedMs = performance.now();
    const next = await cluster.active(['--server', 'a', '--handler', telling]);
    assert.ok(performance.now() - startedMs < 8_000, 'nobody is asked who is not there');
    assert.ok(next.messages.includes('takes the place of its former life'), next.messages.join('\n'));
    assert.ok(next.messages.includes('handler started for g1'));
    const members = await cluster.membersWhen(allActive(3));
    assert.deepEqual(namesIn(members), [['a', 'c'], ['b']]);
    assert.notEqual(members[0].find(({ server }) => server === 'a')?.incarnation, former.incarnation);
    assert.equal(await next.end(), 0);
    await cluster.membersWhen((shown) => !namesIn(shown).flat().includes('a'));
    const again = await cluster.active(['--server', 'a']);
    assert.ok(!again.messages.includes('takes the place of its former life'), 'one that has left leaves nothing');
    await again.end();
  });

  test('joining - a second server under a name that lives is refused in one line, and never was a member', async () => {
    const cluster = newCluster(2);
    const first = await cluster.active(['--server', 'a']);
    const before = await cluster.membersWhen(allActive(1));
    const second = cluster.start(['--server', 'a', '--member-of', 'g2', '--handler', telling]);
    assert.equal(await second.ended(), 1);
    assert.match(lineOf(second), /a server named a is running in group g1 already.*--server/);
    assert.ok(!second.messages.some((line) => /^handler|server is|joined/.test(line)), second.messages.join('\n'));
    assert.equal(second.stdout, '');
    assert.deepEqual(await cluster.members(), before);
    assert.equal(await first.end(), 0, 'the first one noticed nothing');
  });

  test('joining - a paused server that was replaced meanwhile, by a successor that began anew, ends with an error when it goes on', async () => {
    const cluster = newCluster(1);
    const paused = await cluster.active(['--server', 'a', '--handler', telling]);
    paused.signal('SIGSTOP');
    const next = await cluster.active(['--server', 'a']);
    paused.signal('SIGCONT');
    assert.equal(await paused.ended(), 1, paused.messages.join('\n'));
    assert.match(lineOf(paused), /server a was replaced in group g1/);
    assert.ok(paused.messages.includes('handler stopped'));
    assert.match(paused.stdout, /^a in g1: 0 packets/, 'what it did is told all the same');
    assert.equal(await next.end(), 0);
  });

  test('joining - a server that was cut off and replaced meanwhile ends when it can be told', async () => {
    const cluster = newCluster(1);
    const line = await CuttableLine.to(nats.port);
    try {
      const other = await cluster.active(['--server', 'other']);
      const cut = await cluster.active(['--server', 'a', '--handler', telling], { url: line.url });
      line.cut();
      await cut.says(/lost the NATS server/);
      const next = await cluster.active(['--server', 'a']);
      line.mend();
      assert.equal(await cut.ended(), 1, cut.messages.join('\n'));
      assert.match(lineOf(cut), /server a was replaced in group g1/);
      assert.ok(cut.messages.includes('handler stopped'));
      assert.deepEqual(await Promise.all([next.end(), other.end()]), [0, 0]);
    } finally {
      line.close();
    }
  });

  test('joining - a handler that will not start costs the place, in one line', async () => {
    const cluster = newCluster(1);
    const service = cluster.start(['--server', 'a', '--handler', telling, '--handler-option', 'fail=yes']);
    assert.equal(await service.ended(), 1);
    assert.match(lineOf(service), /did not start: not today/);
    assert.deepEqual(await cluster.members(), [[]]);
  });

  test('joining - a bucket whose maker was killed before it wrote the map is as good as a new one', async () => {
    const cluster = newCluster(1);
    await bus.openKeyValue(cluster.bucket);
    const service = await cluster.active(['--server', 'a']);
    assert.equal(await service.end(), 0);
  });
});
