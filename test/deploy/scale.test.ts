// A cluster of containers under generated traffic, while servers and tier 1s come, go and die, and NATS with them. Each time
// the generator accounts for every packet: none is accepted twice, no flow moves, and what is missing has a cause.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { TrafficReport } from '../../services/loadgen/report.ts';
import { skipWithoutDocker } from './support/docker.ts';
import type { Member } from './support/member.ts';
import { TestCluster } from './support/testCluster.ts';

/** Flows are over within a few seconds. The run is ended when the test has seen what it waits for. */
const flows = ['--protocols', 'tcp:70,udp:30', '--packets-per-flow', '5-40', '--flows', '500'];
const traffic = ['--rate', '5000', '--seconds', '120', ...flows];
/** Many times what a flow takes: a drain that ends early breaks flows, and on a slow machine all takes longer. */
const drainSeconds = 25;

describe('scale', { skip: skipWithoutDocker(), timeout: 300_000 }, () => {
  let cluster: TestCluster;
  const servers = new Map<string, Member>();
  const tier1s = new Map<string, Member>();

  const serve = async (number: number): Promise<Member> => {
    const group = `g${((number - 1) % 3) + 1}`;
    const options = ['--member-of', group, '--receipts', '--drain-seconds', String(drainSeconds)];
    const member = await cluster.startServer(`s${number}`, options);
    servers.set(member.name, member);
    await member.says(/server is active/);
    return member;
  };
  const startTier1 = async (name: string): Promise<Member> => {
    const member = await cluster.startTier1(name, ['--input', 'bus']);
    tier1s.set(name, member);
    await member.whenReady();
    return member;
  };
  /** Starts generated traffic; resolves when all servers of the moment get their part of it. */
  const startTraffic = async (name: string): Promise<Member> => {
    const run = await cluster.startTraffic(name, traffic);
    await Promise.all([...servers.keys()].map((server) => getsPackets(run, server)));
    return run;
  };
  const getsPackets = (run: Member, server: string) => run.says(new RegExp(`^receipts come from .*\\b${server}\\b`));
  /** Ends the run and checks what must hold of every one. */
  const outcomeOf = async (run: Member): Promise<TrafficReport> => {
    const exitCode = await run.stop(30);
    const report = (await run.printed()) as TrafficReport;
    const told = JSON.stringify(report, null, 1);
    assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], told);
    assert.equal(report.nobody.unexplained, undefined, told);
    const nobody = Object.values(report.nobody).reduce((sum, packets) => sum + packets, 0);
    assert.equal(report.sent, report.acceptedOnce + report.repeats + nobody + report.lost, told);
    assert.ok(report.acceptedOnce > 1_000, told);
    assert.equal(exitCode, 0);
    return report;
  };

  before(async () => {
    cluster = await TestCluster.start(['--groups', '3']);
    await Promise.all(numbers(1, 9).map(serve));
    await Promise.all(['t1', 't2'].map(startTier1));
  });
  after(() => cluster?.stop());

  it('scale - from nine servers to twelve and down to six under traffic: every packet is accepted once', async () => {
    const run = await startTraffic('scaling');
    await Promise.all(numbers(10, 12).map(serve));
    await Promise.all(numbers(10, 12).map((number) => getsPackets(run, `s${number}`)));
    const leavers = numbers(7, 12).map((number) => servers.get(`s${number}`) as Member);
    assert.deepEqual(await Promise.all(leavers.map((member) => member.stop(90))), [0, 0, 0, 0, 0, 0]);
    for (const { name } of leavers) servers.delete(name);
    const report = await outcomeOf(run);
    assert.deepEqual([report.nobody, report.failedOver], [{}, 0]);
    const states = Object.fromEntries(report.servers.map(({ id, state }) => [id, state]));
    for (const number of numbers(1, 12)) assert.equal(states[`s${number}`], number <= 6 ? 'there' : 'left');
    for (const { id, packets } of report.servers) assert.ok(packets > 0, id);
    assert.equal(report.tier1s.filter(({ packets }) => packets > 0).length, 2);
  });

  it('scale - a tier 1 that is killed loses what was on its way, and the others go on', async () => {
    const run = await startTraffic('tier1-killed');
    await tier1s.get('t2')?.kill();
    await startTier1('t3');
    const report = await outcomeOf(run);
    const killed = report.tier1s.find(({ id }) => id.startsWith('t2-'));
    assert.ok(killed !== undefined && killed.state === 'silent' && killed.packets > 0);
    assert.ok(report.lost > 0 && report.lost < killed.packets, JSON.stringify(report));
    assert.ok(report.servers.every(({ state }) => state === 'there'));
  });

  it('scale - a server that is killed is out, and joins again when it is started; its flows are accounted for', async () => {
    const run = await startTraffic('server-killed');
    await servers.get('s1')?.kill();
    await serve(1);
    const report = await outcomeOf(run);
    assert.deepEqual(
      report.servers
        .filter(({ id }) => id === 's1')
        .map(({ state }) => state)
        .sort(),
      ['gone', 'there'],
    );
    assert.ok((report.nobody.serverGone ?? 0) > 0, JSON.stringify(report.nobody));
  });

  it('scale - NATS that dies and comes back: the run goes on, and what was lost is counted', async () => {
    const run = await startTraffic('nats-killed');
    const nats = cluster.members.find(({ name }) => name === 'nats');
    await nats?.kill();
    await cluster.startNats();
    tier1s.delete('t2');
    for (const member of [...servers.values(), ...tier1s.values()]) {
      await member.says(/connected to NATS again/);
      await member.whenReady();
    }
    const report = await outcomeOf(run);
    assert.ok(report.lost > 0, JSON.stringify(report.nobody));
  });
});

function numbers(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
