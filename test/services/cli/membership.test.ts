// A cluster of processes on a real NATS server that nobody looks after, under generated traffic: servers are killed and stay
// dead, stand still for a moment or for long, and NATS is killed and started again. Each time the generator accounts for every packet.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TrafficReport } from '../../../services/loadgen/report.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import type { View } from '../../../shared/membership/view.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';
import { ViewWatch } from '../../support/viewWatch.ts';

const cluster = 'alone';
const names = ['s1', 's2', 's3', 's4', 's5'];

describe('membership', { skip: skipWithoutNatsServer(), timeout: 300_000 }, () => {
  let nats: NatsServer;
  let bus: Bus;
  let tier1: Service;
  let views: ViewWatch;
  const servers = new Map<string, Service>();

  const common = () => ['--bus', nats.url, '--cluster', cluster, '--groups', '1'];
  const startServer = async (name: string): Promise<void> => {
    const service = new Service(['dssl', ...common(), '--server', name, '--receipts', '--drain-seconds', '5']);
    servers.set(name, service);
    await service.says(/server is active/);
  };
  const server = (name: string): Service => servers.get(name) as Service;
  const present = (): View => {
    assert.ok(views.newest !== undefined);
    return views.newest;
  };
  const activeIn = (view: View) =>
    view.members
      .filter(({ state }) => state === 'active')
      .map(({ server: name }) => name)
      .sort();
  /** The first view without that server. */
  const whenOut = async (name: string): Promise<View> => {
    const isOut = (view: View) => !view.members.some((member) => member.server === name);
    return (await views.when(isOut, `${name} is out`, 30_000)).view;
  };
  const kill = async (name: string): Promise<void> => {
    await server(name).end('SIGKILL');
    servers.delete(name);
  };
  const beatsOf = (name: string, many: number): Promise<void> =>
    new Promise((resolve) => {
      let left = many;
      const subscription = bus.subscribe(subjectsOf(cluster).beat('g1', name), () => {
        if (--left > 0) return;
        subscription.unsubscribe();
        resolve();
      });
    });
  const startTraffic = async (): Promise<Service> => {
    const flows = ['--flows', '300', '--packets-per-flow', '5-20', '--rate', '3000', '--warm-up', '0'];
    const run = new Service([
      'traffic',
      '--to',
      nats.url,
      '--cluster',
      cluster,
      ...flows,
      '--seconds',
      '120',
      '--json',
    ]);
    for (const name of servers.keys()) await getsPackets(run, name);
    return run;
  };
  const getsPackets = (run: Service, name: string) => run.says(new RegExp(`^receipts come from .*\\b${name}\\b`));
  /** Ends the run and checks what must hold of every one. */
  const outcomeOf = async (run: Service): Promise<TrafficReport> => {
    const exitCode = await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], run.stdout);
    assert.equal(report.nobody.unexplained, undefined, run.stdout);
    assert.equal(exitCode, 0);
    return report;
  };

  before(async () => {
    nats = await NatsServer.start();
    bus = await connectNats({ url: nats.url, name: 'test' });
    views = await ViewWatch.of(bus, subjectsOf(cluster), 'g1');
    await Promise.all(names.map(startServer));
    tier1 = new Service(['tier1', ...common(), '--name', 't1', '--input', 'bus', '--json']);
    await tier1.says(/taking packets from the bus/);
  });
  after(async () => {
    await Promise.all([...servers.values(), tier1].map((service) => service?.end('SIGKILL')));
    views?.stop();
    await bus?.close();
    await nats?.stop();
  });

  test('membership - a server is killed and stays dead: the group goes on without it', async () => {
    const run = await startTraffic();
    const out = whenOut('s5');
    await kill('s5');
    assert.deepEqual(activeIn(await out), ['s1', 's2', 's3', 's4']);
    const report = await outcomeOf(run);
    assert.equal(report.servers.find(({ id }) => id === 's5')?.state, 'gone');
    assert.ok((report.nobody.serverGone ?? 0) > 0, run.stdout);
  });

  test('membership - a server stands still for a moment: it keeps its place and its flows', async () => {
    const run = await startTraffic();
    const { number } = present();
    for (const name of ['s1', 's2', 's3']) {
      server(name).signal('SIGSTOP');
      // Half of what costs a place, by the beats of another one.
      await beatsOf('s4', 4);
      server(name).signal('SIGCONT');
      await run.says(/^receipts come/);
    }
    const report = await outcomeOf(run);
    assert.equal(present().number, number, 'no new view');
    assert.deepEqual([report.nobody, report.failedOver], [{}, 0], run.stdout);
  });

  test('membership - a server stands still for long: it is removed, finds out, and comes back as another life', async () => {
    const run = await startTraffic();
    const before = present().members.find(({ server: name }) => name === 's2')?.incarnation;
    const out = whenOut('s2');
    server('s2').signal('SIGSTOP');
    await out;
    server('s2').signal('SIGCONT');
    await server('s2').says(/removed from its group: rejoins/);
    const isBack = (view: View) => activeIn(view).includes('s2');
    const back = (await views.when(isBack, 's2 is back', 30_000)).view;
    assert.notEqual(back.members.find(({ server: name }) => name === 's2')?.incarnation, before);
    await outcomeOf(run);
  });

  test('membership - NATS is killed and comes back: nobody is removed', async () => {
    const run = await startTraffic();
    const { number } = present();
    await nats.kill();
    await nats.start();
    for (const service of [...servers.values(), tier1]) await service.says(/connected to NATS again/);
    // The dead are found again afterwards; until then nobody was taken for dead.
    const out = whenOut('s4');
    await kill('s4');
    assert.equal((await out).number, number + 1);
    const report = await outcomeOf(run);
    assert.ok(report.lost > 0, `of what the generator sent to tier 1: ${run.stdout}`);
  });

  test('membership - servers come and drain at once while one is killed', async () => {
    const run = await startTraffic();
    const joined = Promise.all(['s6', 's7', 's8'].map(startServer));
    const drained = server('s1').end('SIGTERM');
    const out = whenOut('s3');
    await kill('s3');
    await out;
    await joined;
    assert.equal(await drained, 0);
    servers.delete('s1');
    await outcomeOf(run);
    const isSettled = (view: View) => activeIn(view).join() === 's2,s6,s7,s8';
    if (!isSettled(present())) await views.when(isSettled, 'four servers are left', 10_000);
  });

  test('membership - one run survives all of it: NATS killed, a server paused, one killed, one added, one drained', async (t) => {
    const run = await startTraffic();
    await nats.kill();
    await nats.start();
    for (const service of [...servers.values(), tier1]) await service.says(/connected to NATS again/, 2);
    await run.says(/^receipts come/);

    const paused = whenOut('s2');
    server('s2').signal('SIGSTOP');
    // Three seconds, by the beats of another one: ten each second.
    await beatsOf('s6', 30);
    await paused;
    server('s2').signal('SIGCONT');

    const out = whenOut('s7');
    await kill('s7');
    await out;
    await startServer('s9');
    await getsPackets(run, 's9');
    assert.equal(await server('s6').end('SIGTERM'), 0);
    servers.delete('s6');
    await server('s2').says(/server is active/, 3);

    const report = await outcomeOf(run);
    const nobody = Object.values(report.nobody).reduce((sum, packets) => sum + packets, 0);
    assert.equal(report.sent, report.acceptedOnce + report.repeats + nobody + report.lost, run.stdout);
    // What the killed and the paused one had, and flows whose start was lost with NATS, or came to the paused one too late.
    for (const cause of Object.keys(report.nobody)) assert.match(cause, /^(?:serverGone|serverLeft|midFlow)$/);
    assert.ok(report.acceptedOnce > report.sent / 2, run.stdout);
    assert.ok(
      report.servers.every(({ skippedEntries }) => skippedEntries === 0),
      run.stdout,
    );
    const { sent, acceptedOnce, lost, failedOver } = report;
    t.diagnostic(JSON.stringify({ sent, acceptedOnce, lost, nobody: report.nobody, failedOver }));
  });
});
