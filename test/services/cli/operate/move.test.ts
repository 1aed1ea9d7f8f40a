// Servers that go from one group to another under traffic, as processes over NATS, because an operator says so or by the load: each stays one process,
// and no flow of it moves. And what cannot be is refused in a line, with nothing changed.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { TrafficReport } from '../../../../services/loadgen/report.ts';
import type { GroupStatus, ServerStatus, StatusReport } from '../../../../services/ops/statusBoard.ts';
import { Fleet } from '../../../support/fleet.ts';
import { skipWithoutNatsServer } from '../../../support/natsServer.ts';
import type { Service } from '../../../support/processes.ts';

describe('move', { skip: skipWithoutNatsServer(), timeout: 300_000 }, () => {
  let fleet: Fleet;
  const start = (args: readonly string[]): Service => fleet.run(args);
  before(async () => {
    fleet = await Fleet.start();
  });
  after(() => fleet?.end());

  /** A cluster of its own, with a tier 1 and the tools of operators. */
  const clusterOf = (cluster: string, groups: number) => {
    const where = ['--bus', fleet.nats.url, '--cluster', cluster];
    // Only the clients' side is seen, so connections end by silence behind one FIN.
    const common = [...where, '--groups', String(groups), '--idle', 'tcp-half-closed=5s'];
    const dssl = async (name: string, group: string, ...more: readonly string[]): Promise<Service> => {
      const args = ['--server', name, '--member-of', group, '--receipts', '--drain-seconds', '2', '--json', ...more];
      const service = start(['dssl', ...common, ...args]);
      for (let seats = group.split(',').length; seats > 0; seats--) await service.says(/server is active/);
      return service;
    };
    const tool = async (...args: readonly string[]) => {
      const run = start([...args, ...where]);
      const exitCode = await run.ended();
      return { exitCode, text: run.stdout + run.messages.join('\n') };
    };
    const status = async () => JSON.parse((await tool('status', '--json')).text) as StatusReport;
    const groupsWhen = async (holds: (groups: readonly GroupStatus[]) => boolean): Promise<readonly GroupStatus[]> => {
      for (;;) {
        const report = await status();
        if (holds(report.groups)) return report.groups;
      }
    };
    const tier1 = () => start(['tier1', ...common, '--name', 't1', '--input', 'bus', '--json']);
    const traffic = (...flows: readonly string[]) =>
      start([
        'traffic',
        '--to',
        fleet.nats.url,
        '--cluster',
        cluster,
        '--seconds',
        '120',
        '--rate',
        '2000',
        '--json',
        ...flows,
      ]);
    return { dssl, tool, status, groupsWhen, tier1, traffic };
  };
  const at = (groups: readonly GroupStatus[], group: string, server: string): ServerStatus | undefined =>
    groups.find(({ id }) => id === group)?.servers.find(({ id }) => id === server);

  it('move - there and back under traffic: no flow moves, none is lost, and it is one process all the time', async () => {
    const { dssl, tool, groupsWhen, tier1, traffic } = clusterOf('moves', 2);
    const servers = await Promise.all(
      (['s1 g1', 's2 g1', 's3 g2'] as const).map((seat) => dssl(...(seat.split(' ') as [string, string]))),
    );
    await tier1().says(/taking packets from the bus/);
    const run = traffic('--protocols', 'tcp:100', '--flows', '300', '--packets-per-flow', '30-80', '--warm-up', '0');
    await Promise.all(['s1', 's2', 's3'].map((name) => run.says(new RegExp(`^receipts come from .*\\b${name}\\b`))));

    const sent = await tool('move', 's1', '--to', 'g2', '--wait', '--timeout', '60');
    assert.equal(sent.exitCode, 0, sent.text);
    assert.match(sent.text, /^s1 takes new flows in g2, and keeps those that it has in g1 to their end\.$/m);
    const under = await groupsWhen((groups) => (at(groups, 'g2', 's1')?.flows ?? 0) > 0);
    assert.deepEqual([at(under, 'g1', 's1')?.state, at(under, 'g1', 's1')?.movesTo], ['draining', 'g2']);
    assert.match((await tool('status')).text, /s1 is in g2 now, and keeps .* here to their end/);
    // It takes new flows in its old group again, and those of the other one stay with it too.
    const back = await tool('move', 's1', '--to', 'g1', '--wait', '--timeout', '60');
    assert.equal(back.exitCode, 0, back.text);
    const home = await groupsWhen((groups) => at(groups, 'g2', 's1') === undefined);
    assert.deepEqual([at(home, 'g1', 's1')?.state, at(home, 'g1', 's1')?.movesTo], ['active', null]);

    await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual(
      [report.problems, report.double, report.movedFlows, report.failedOver, report.nobody, report.lost],
      [[], 0, 0, 0, {}, 0],
      run.stdout,
    );
    assert.equal(report.acceptedOnce, report.sent);
    assert.equal(servers[0].messages.filter((message) => message === 'joined').length, 2, 'it has joined g2 once');
    assert.equal(await servers[0].end(), 0);
  });

  it('move - the process dies on its way: both groups go on, and its next life is where it took new flows', async () => {
    const { dssl, tool, groupsWhen, tier1, traffic } = clusterOf('dies', 2);
    const [s1] = await Promise.all([dssl('s1', 'g1'), dssl('s2', 'g1'), dssl('s3', 'g2')]);
    await tier1().says(/taking packets from the bus/);
    const run = traffic('--flows', '200', '--packets-per-flow', '2000', '--warm-up', '0');
    await run.says(/^receipts come from .*\bs1\b/);
    assert.equal((await tool('move', 's1', '--to', 'g2', '--wait')).exitCode, 0);
    await s1.end('SIGKILL');
    await groupsWhen((groups) => at(groups, 'g1', 's1') === undefined && at(groups, 'g2', 's1') === undefined);
    const again = await dssl('s1', 'g2');
    const groups = await groupsWhen((each) => at(each, 'g2', 's1')?.state === 'active');
    assert.equal(at(groups, 'g1', 's1'), undefined);
    await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], run.stdout);
    assert.equal(await again.end(), 0);
  });

  it('move - a server in two groups, as in Fig. 2: both place flows at it, and an operator says which one is meant', async () => {
    const { dssl, tool, groupsWhen, tier1, traffic } = clusterOf('overlap', 3);
    const s5 = await dssl('s5', 'g2,g3');
    await Promise.all([dssl('s1', 'g1'), dssl('s2', 'g2'), dssl('s3', 'g3')]);
    await tier1().says(/taking packets from the bus/);
    const run = traffic('--protocols', 'tcp:100', '--flows', '300', '--packets-per-flow', '20-60', '--warm-up', '0');
    await groupsWhen((groups) => ['g2', 'g3'].every((group) => (at(groups, group, 's5')?.flows ?? 0) > 0));
    const unsaid = await tool('weight', 's5', '50');
    assert.deepEqual(
      [unsaid.exitCode, /s5 is a server of g2 and g3: say which is meant, with --group/.test(unsaid.text)],
      [1, true],
    );
    assert.match((await tool('weight', 's5', '50', '--group', 'g3')).text, /^s5 has the weight 50 instead of 100/);
    assert.match(
      (await tool('weight', 's5', '50', '--group', 'g1')).text,
      /s5 is no server of g1: it is one of g2 and g3/,
    );
    assert.equal(await s5.end(), 0);
    await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], run.stdout);
  });

  it('move - rebalancing: a plan says who should go where, and the cluster does it by itself when it may', async () => {
    const { dssl, tool, groupsWhen, tier1, traffic } = clusterOf('balance', 2);
    await Promise.all([dssl('s1', 'g1'), ...['s2', 's3', 's4', 's5'].map((name) => dssl(name, 'g2'))]);
    await tier1().says(/taking packets from the bus/);
    const run = traffic('--protocols', 'tcp:100', '--flows', '300', '--packets-per-flow', '20-60', '--warm-up', '0');
    await groupsWhen((groups) =>
      groups.every(({ servers }) => servers.every(({ load }) => (load?.packets ?? 0) > 100)),
    );
    const by = ['rebalance.by=packets', 'rebalance.least=100', 'rebalance.forMs=2000'];
    assert.equal((await tool('settings', 'set', ...by)).exitCode, 0);
    const plan = await tool('rebalance', '--plan');
    assert.match(plan.text, /^group +servers +leaving +joining +packets +a server$/m);
    assert.match(
      plan.text,
      /^s[2-5] should go from g2 to g1: g1 has \S+ packets a server, g2 \S+, and \S+ after giving one\.$/m,
    );
    assert.match(plan.text, /^The cluster does nothing by itself: rebalance\.mode is off\.$/m);
    assert.equal((await tool('settings', 'set', 'rebalance.mode=auto')).exitCode, 0);
    const takingIn = (groups: readonly GroupStatus[]) =>
      groups.map(
        ({ servers }) => servers.filter(({ state, movesTo }) => state === 'active' && movesTo === null).length,
      );
    const groups = await groupsWhen((each) => takingIn(each).join() === '2,3');
    const [moved] = groups[0].servers.filter(({ id }) => id !== 's1');
    assert.match(moved.id, /^s[2-5]$/);
    const after = await tool('rebalance', '--json');
    assert.equal(JSON.parse(after.text).move, null, after.text);
    await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual(
      [report.problems, report.double, report.movedFlows, report.nobody, report.lost],
      [[], 0, 0, {}, 0],
      run.stdout,
    );
  });

  it('move - what cannot be is refused in one line, and nothing is changed', async () => {
    const { dssl, tool, status } = clusterOf('refused', 2);
    await Promise.all([dssl('s1', 'g1'), dssl('s2', 'g1'), dssl('s3', 'g2')]);
    const views = async () => (await status()).groups.map(({ view }) => view);
    const before = await views();
    for (const [args, exitCode, text] of [
      [['s1', '--to', 'g7'], 2, /there is no group g7 in this cluster: did you mean g[12]\?/],
      [['s9', '--to', 'g2'], 1, /there is no server s9 in cluster refused: did you mean s\d\?/],
      [['s3', '--to', 'g1'], 1, /s3 is the last server of g2 that takes flows: start another one there first/],
      [['s1', '--to', 'g1'], 0, /s1 is in g1 already/],
    ] as const) {
      const run = await tool('move', ...args);
      assert.deepEqual([run.exitCode, run.text.trim().split('\n').length], [exitCode, 1], run.text);
      assert.match(run.text, text);
    }
    assert.deepEqual(await views(), before);
  });
});
