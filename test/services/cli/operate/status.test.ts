// `flowherd status` and `flowherd groups`: what an operator sees of a cluster, from the store and from what members say.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { StatusReport } from '../../../../services/ops/statusBoard.ts';
import { encodeHello } from '../../../../shared/messages/hello.ts';
import { HandCluster, idle, stateOf } from '../../../support/cluster.ts';
import { NatsServer, skipWithoutNatsServer } from '../../../support/natsServer.ts';
import { Service } from '../../../support/processes.ts';

describe('status', { skip: skipWithoutNatsServer(), timeout: 120_000 }, () => {
  let nats: NatsServer;
  let cluster: HandCluster;
  const quiet: (() => void)[] = [];
  before(async () => {
    nats = await NatsServer.start();
    cluster = await HandCluster.make(nats.url, 'look', ['g1', 'g2', 'g3']);
    await cluster.add('g1', 'b', 'draining', 70);
    await cluster.add('g1', 'a');
    await cluster.add('g2', 'c');
    const { members } = await cluster.view('g1');
    const lifeOf = (server: string) => members.find((member) => member.server === server)?.incarnation ?? 0;
    const line = {
      state: 'following',
      epochNumber: 1,
      epoch: 'by-hand',
      position: 4_321,
      lag: 5,
      lagMs: 60,
      handled: 4_300,
    } as const;
    const load = { flows: 1_234, newFlows: 12.5, packets: 45_678, cpu: 0.42 };
    quiet.push(
      cluster.say('g1', [
        stateOf('a', lifeOf('a'), 'active', load, line),
        stateOf('a', 99, 'leaving', { flows: 7 }),
        { kind: 'suspect', from: 'a', server: 'b', incarnation: lifeOf('b'), isSure: false },
      ]),
      cluster.say('g2', [stateOf('c', 1, 'restarting')]),
    );
    const hello = { tier1: 't1-1', received: 500, faults: 0, dropped: { overload: 2, 'bus-down': 3 }, senders: [] };
    const timer = setInterval(() => {
      cluster.bus.publish(cluster.subjects.hello('t1-1'), encodeHello({ ...hello, state: 'ready' }));
      cluster.bus.publish(cluster.subjects.gossip('g1'), Buffer.from('garbage'));
    }, 20);
    quiet.push(() => clearInterval(timer));
  });
  after(async () => {
    for (const end of quiet) end();
    await cluster.close();
    await nats.stop();
  });

  test('status - what the store says and what members say of themselves are put together', async () => {
    const status = new Service(['status', ...cluster.options, '--json']);
    assert.equal(await status.ended(), 0, status.messages.join('\n'));
    const report = JSON.parse(status.stdout) as StatusReport;
    assert.equal(report.cluster, 'look');
    assert.deepEqual(report.map, { version: 1 });
    assert.deepEqual(
      report.groups.map(({ id, view, placement }) => [id, view, placement]),
      [
        ['g1', (await cluster.view('g1')).number, 'rendezvous'],
        ['g2', 2, 'rendezvous'],
        ['g3', 0, 'rendezvous'],
      ],
    );
    const [a, b] = report.groups[0].servers;
    assert.deepEqual([a.id, a.state, a.weight, a.base, a.flows], ['a', 'active', 100, 100, 1_234]);
    const known = { flows: 1_234, newFlows: 12.5, packets: 45_678, cpu: 0.42 };
    const { temperature: _, handler: __, latencyMs: ___, loss: ____, ...counted } = idle;
    assert.deepEqual(a.load, { ...counted, ...known }, 'of its present life, not of the other one');
    assert.deepEqual([a.liveState, a.silent, a.suspectedBy], ['active', false, []]);
    assert.ok(a.heardMsAgo !== null && a.heardMsAgo < 1_000);
    assert.deepEqual([b.id, b.state, b.weight, b.flows, b.load, b.heardMsAgo], ['b', 'draining', 70, null, null, null]);
    assert.deepEqual([b.liveState, b.silent, b.suspectedBy], [null, true, ['a']]);
    assert.deepEqual([a.line?.position, a.line?.lag, a.line?.lagMs, b.line], [4_321, 5, 60, null]);
    assert.deepEqual(report.groups[0].epoch, { number: 1, id: 'by-hand' });
    assert.deepEqual([report.groups[2].epoch?.number, report.groups[2].position], [1, 1]);
    const [c] = report.groups[1].servers;
    assert.deepEqual([c.id, c.load, c.liveState, c.silent], ['c', null, 'restarting', false]);
    assert.deepEqual(report.groups[2].servers, []);
    const [tier1] = report.tier1s;
    assert.deepEqual([tier1.id, tier1.state, tier1.received, tier1.dropped], ['t1-1', 'ready', 500, 5]);
    assert.ok(report.faults > 0);
  });

  test('status - for people it is a table of at most 80 columns, with what is remarkable below', async () => {
    const status = new Service(['status', ...cluster.options]);
    assert.equal(await status.ended(), 0, status.messages.join('\n'));
    assert.ok(status.stdout.split('\n').every((line) => line.length < 80));
    assert.match(status.stdout, /^Cluster look, map version 1, as it was made\.$/m);
    assert.match(status.stdout, /^g1: 1 active, 1 draining \(view \d+, rendezvous\)$/m);
    assert.match(status.stdout, /^a +active +100 +1\.2k +13 +45\.7k +42% +0\.\d s$/m);
    assert.match(status.stdout, /^b +draining +70 +- +- +- +- +-$/m);
    assert.match(status.stdout, /^a +following +1 +4,321 +5 +60 ms$/m);
    assert.match(status.stdout, /^ {2}! b is silent: nothing was heard of it$/m);
    assert.match(status.stdout, /^ {2}! b is suspected by a$/m);
    assert.match(status.stdout, /^ {2}! c says that it is restarting$/m);
    assert.match(status.stdout, /^g3: no server \(view 0\)$/m);
    assert.match(status.stdout, /^t1-1 +ready +\d\.\d s +500 +5$/m);
  });

  test('status - watched in a pipe it is a line of JSON each time, follows what changes, and ends in order on a signal', async () => {
    const status = new Service(['status', '--watch', ...cluster.options, '--json']);
    await status.prints(/"id":"c"/);
    await cluster.add('g3', 'late', 'joining');
    await status.prints(/"id":"late"/);
    assert.equal(await status.end('SIGINT'), 0);
    const lines = status.stdout.trimEnd().split('\n');
    const reports = lines.map((line) => JSON.parse(line) as StatusReport);
    assert.ok(reports.length >= 2);
    assert.equal(reports.at(-1)?.groups[2].servers[0].id, 'late');
    await cluster.remove('g3', 'late');
  });

  test('status - watched, it bears a NATS server that goes away, and says so', async () => {
    const lonely = await NatsServer.start();
    const own = await HandCluster.make(lonely.url, 'lonely', ['g1']);
    await own.add('g1', 'a');
    const status = new Service(['status', '--watch', ...own.options]);
    await status.prints(/^a +active/m);
    await lonely.kill();
    await status.prints(/As it was: the connection to .* is down/);
    const isBack = new Promise<void>((resolve) => own.bus.onStatus(({ kind }) => kind === 'reconnected' && resolve()));
    await lonely.start();
    await isBack;
    await own.add('g1', 'late');
    await status.prints(/^late +active/m);
    assert.equal(await status.end(), 0);
    await own.close();
    await lonely.stop();
  });

  test('groups - are listed with what they take and who is in them', async () => {
    const words = new Service(['groups', ...cluster.options]);
    assert.equal(await words.ended(), 0, words.messages.join('\n'));
    assert.match(words.stdout, /^g1 +both +rendezvous +100 +- +1 +0 +0 +1 +\d+$/m);
    assert.match(words.stdout, /^g3 +both +rendezvous +100 +- +0 +0 +0 +0 +\d+$/m);
    const json = new Service(['groups', ...cluster.options, '--json']);
    assert.equal(await json.ended(), 0);
    const { groups } = JSON.parse(json.stdout) as { groups: { id: string; serves: string; members: unknown[] }[] };
    assert.deepEqual(
      groups.map(({ id, serves, members }) => [id, serves, members.length]),
      [
        ['g1', 'both', 2],
        ['g2', 'both', 1],
        ['g3', 'both', 0],
      ],
    );
  });

  test('status - of a cluster of processes shows who serves', async () => {
    const common = ['--bus', nats.url, '--cluster', 'real'];
    const server = new Service(['dssl', ...common, '--groups', '1', '--server', 'a', '--drain-seconds', '0'], {
      FLOWHERD_WATCHING_STATE_MS: '200',
    });
    await server.says(/server is active/);
    const tier1 = new Service(['tier1', ...common, '--input', 'bus', '--name', 'entry']);
    await tier1.says(/taking packets from/);
    const status = new Service(['status', ...common, '--json']);
    assert.equal(await status.ended(), 0, status.messages.join('\n'));
    const { groups, tier1s } = JSON.parse(status.stdout) as StatusReport;
    assert.deepEqual(
      groups.map(({ id, servers }) => [id, servers.map((each) => [each.id, each.state, each.weight])]),
      [['g1', [['a', 'active', 100]]]],
    );
    assert.match(tier1s.map(({ id, state }) => `${id} ${state}`).join(), /^entry-[0-9a-f]{8} ready$/);
    assert.deepEqual([await tier1.end(), await server.end()], [0, 0]);
  });
});
