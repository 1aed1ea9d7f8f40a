// A cluster of processes on a real NATS server that nobody looks after, under generated traffic: servers are killed and stay
// dead, stand still for a moment or for long, and NATS is started again. Each time the generator accounts for every packet.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TrafficReport } from '../../../services/loadgen/report.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf, viewKey } from '../../../shared/bus/subjects.ts';
import { decodeView, type View } from '../../../shared/membership/view.ts';
import { NatsServer, skipWithoutNatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';

const cluster = 'alone';
const names = ['s1', 's2', 's3', 's4', 's5'];

describe('membership', { skip: skipWithoutNatsServer(), timeout: 180_000 }, () => {
  let nats: NatsServer;
  let bus: Bus;
  let tier1: Service;
  const servers = new Map<string, Service>();
  const views: View[] = [];
  let waiting: { readonly holds: (view: View) => boolean; readonly resolve: (view: View) => void }[] = [];

  const common = () => ['--bus', nats.url, '--cluster', cluster, '--groups', '1'];
  const startServer = async (name: string): Promise<void> => {
    const service = new Service(['dssl', ...common(), '--server', name, '--receipts', '--drain-seconds', '1']);
    servers.set(name, service);
    await service.says(/server is active/);
  };
  const server = (name: string): Service => servers.get(name) as Service;
  /** The first view from now on of which that holds. */
  const whenView = (holds: (view: View) => boolean): Promise<View> =>
    new Promise((resolve) => waiting.push({ holds, resolve }));
  const activeIn = (view: View) =>
    view.members
      .filter(({ state }) => state === 'active')
      .map(({ server: name }) => name)
      .sort();
  const beatsOf = (name: string, many: number): Promise<void> =>
    new Promise((resolve) => {
      let left = many;
      const subscription = bus.subscribe(subjectsOf(cluster).beat(name), () => {
        if (--left > 0) return;
        subscription.unsubscribe();
        resolve();
      });
    });
  const startTraffic = async (): Promise<Service> => {
    const flows = ['--flows', '300', '--packets-per-flow', '5-20', '--rate', '3000', '--warm-up', '0'];
    const run = new Service(['traffic', '--to', nats.url, '--cluster', cluster, ...flows, '--seconds', '60', '--json']);
    const present = views.at(-1);
    assert.ok(present !== undefined);
    for (const name of activeIn(present)) await run.says(new RegExp(`^receipts come from .*\\b${name}\\b`));
    return run;
  };
  /** Ends the run and checks what must hold of every one. */
  const outcomeOf = async (run: Service): Promise<TrafficReport> => {
    const exitCode = await run.end('SIGINT');
    const report = JSON.parse(run.stdout) as TrafficReport;
    assert.deepEqual([report.problems, report.double, report.movedFlows], [[], 0, 0], run.stdout);
    assert.equal(exitCode, 0);
    return report;
  };

  before(async () => {
    nats = await NatsServer.start();
    bus = await connectNats({ url: nats.url, name: 'test' });
    const store = await bus.openKeyValue(subjectsOf(cluster).bucket);
    await store.watch(viewKey('g1'), ({ value }) => {
      const view = decodeView(value);
      if (view === undefined) return;
      views.push(view);
      waiting = waiting.filter(({ holds, resolve }) => {
        if (!holds(view)) return true;
        resolve(view);
        return false;
      });
    });
    await Promise.all(names.map(startServer));
    tier1 = new Service(['tier1', ...common(), '--name', 't1', '--input', 'bus', '--json']);
    await tier1.says(/taking packets from the bus/);
  });
  after(async () => {
    await Promise.all([...servers.values(), tier1].map((service) => service?.end('SIGKILL')));
    await bus?.close();
    await nats?.stop();
  });

  test('membership - a server is killed and stays dead: the group goes on without it', async () => {
    const run = await startTraffic();
    const out = whenView((view) => !view.members.some(({ server: name }) => name === 's5'));
    await server('s5').end('SIGKILL');
    servers.delete('s5');
    assert.deepEqual(activeIn(await out), ['s1', 's2', 's3', 's4']);
    const report = await outcomeOf(run);
    assert.equal(report.servers.find(({ id }) => id === 's5')?.state, 'gone');
    assert.ok((report.nobody.serverGone ?? 0) > 0, run.stdout);
    assert.equal(report.nobody.unexplained, undefined);
  });

  test('membership - a server stands still for a moment: it keeps its place and its flows', async () => {
    const run = await startTraffic();
    const { number } = views.at(-1) as View;
    for (const name of ['s1', 's2', 's3']) {
      server(name).signal('SIGSTOP');
      // Half of what costs a place, by the beats of another one.
      await beatsOf('s4', 4);
      server(name).signal('SIGCONT');
      await run.says(/^receipts come/);
    }
    const report = await outcomeOf(run);
    assert.equal(views.at(-1)?.number, number, 'no new view');
    assert.deepEqual([report.nobody, report.failedOver], [{}, 0], run.stdout);
  });

  test('membership - a server stands still for long: it is removed, finds out, and comes back as another life', async () => {
    const run = await startTraffic();
    const before = views.at(-1)?.members.find(({ server: name }) => name === 's2')?.incarnation;
    const out = whenView((view) => !view.members.some(({ server: name }) => name === 's2'));
    server('s2').signal('SIGSTOP');
    await out;
    server('s2').signal('SIGCONT');
    await server('s2').says(/removed from its group: rejoins/);
    const back = await whenView((view) => activeIn(view).includes('s2'));
    assert.notEqual(back.members.find(({ server: name }) => name === 's2')?.incarnation, before);
    await outcomeOf(run);
  });

  test('membership - NATS dies and comes back: nobody is removed', async () => {
    const run = await startTraffic();
    const { number } = views.at(-1) as View;
    await nats.kill();
    await nats.start();
    for (const service of [...servers.values(), tier1]) await service.says(/connected to NATS again/);
    // The dead are found again afterwards; until then nobody was taken for dead.
    const out = whenView((view) => !view.members.some(({ server: name }) => name === 's4'));
    await server('s4').end('SIGKILL');
    servers.delete('s4');
    assert.equal((await out).number, number + 1);
    const report = await outcomeOf(run);
    assert.ok(report.lost > 0, run.stdout);
  });

  test('membership - servers come and drain at once while one is killed', async () => {
    const run = await startTraffic();
    const joined = Promise.all(['s6', 's7', 's8'].map(startServer));
    const drained = server('s1').end('SIGTERM');
    const out = whenView((view) => !view.members.some(({ server: name }) => name === 's3'));
    await server('s3').end('SIGKILL');
    servers.delete('s3');
    await out;
    await joined;
    assert.equal(await drained, 0);
    servers.delete('s1');
    await outcomeOf(run);
    assert.deepEqual(activeIn(views.at(-1) as View), ['s2', 's6', 's7', 's8']);
  });
});
