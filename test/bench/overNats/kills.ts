// What the death of a server costs: a NATS server, five servers in one group, a tier 1 and `flowherd traffic`, each a process
// of its own. Servers are killed one after the other, and started again in between; the views in the key-value store tell
// when the group went on without each, and the generator accounts for every packet.

import { Prng } from '../../../shared/base/prng.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import type { View } from '../../../shared/membership/view.ts';
import type { NatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';
import { ViewWatch } from '../../support/viewWatch.ts';
import { type BenchmarkResult, type Figure, percentile, rounded } from '../runner.ts';
import { withNatsServer } from './nats.ts';
import { checkedReport } from './trafficReport.ts';

const cluster = 'bench-kills';
const group = 'g1';
const names = ['s1', 's2', 's3', 's4', 's5'];
const kills = 20;
const packetsPerSecond = 5_000;
const flows = 1_000;
/** The run is ended when the last kill is over; by itself it would end here, and that is a failure. */
const mostSeconds = 300;
const giveUpMs = 15_000;
/** Who has just begun to listen judges nobody for three seconds, and the dead are found later by those that are left. */
const settledMs = 3_000;

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNatsServer((nats) => measure(say, nats));
}

async function measure(say: (line: string) => void, nats: NatsServer): Promise<readonly Figure[]> {
  const bus = await connectNats({ url: nats.url, name: 'bench' });
  const services = new Map<string, Service>();
  const common = ['--bus', nats.url, '--cluster', cluster, '--groups', '1'];
  const start = async (name: string, args: readonly string[], ready: RegExp): Promise<Service> => {
    const service = new Service(args);
    services.set(name, service);
    await service.says(ready);
    return service;
  };
  const startServer = (name: string) =>
    start(name, ['dssl', ...common, '--server', name, '--receipts', '--drain-seconds', '0'], /server is active/);
  let views: ViewWatch | undefined;
  try {
    say(`killed: ${names.length} servers start`);
    await Promise.all(names.map(startServer));
    views = await ViewWatch.of(bus, subjectsOf(cluster), group);
    await start('tier1', ['tier1', ...common, '--input', 'bus', '--json'], /taking packets from the bus/);
    // Flows of UDP go on at another server. A connection ends with its server, and how many packets of it come in vain after
    // that says more of its client than of the group.
    const packets = [
      '--mix',
      'bench-udp',
      '--rate',
      `${packetsPerSecond}`,
      '--flows',
      `${flows}`,
      '--packets-per-flow',
      '10-100',
    ];
    const to = ['traffic', '--to', nats.url, '--cluster', cluster, '--warm-up', '0', '--seconds', `${mostSeconds}`];
    const traffic = await start('traffic', [...to, ...packets, '--json'], /^receipts come from/);
    for (const name of names) await traffic.says(new RegExp(`^receipts come from .*\\b${name}\\b`));

    const prng = new Prng(1);
    const tookMs: number[] = [];
    const backMs: number[] = [];
    const startedAtMs = performance.now();
    for (let kill = 1; kill <= kills; kill++) {
      const name = prng.pick(names);
      if (kill % 5 === 1) say(`killed: ${kill} of ${kills}`);
      // Anywhere between two beats.
      await new Promise((resolve) => setTimeout(resolve, settledMs + prng.below(200)));
      const server = services.get(name) as Service;
      const out = views.when((view) => !isMember(view, name), `${name} is still a member`, giveUpMs);
      const killedAtMs = performance.now();
      server.signal('SIGKILL');
      tookMs.push((await out).atMs - killedAtMs);
      await server.ended();
      const active = views.when((view) => isActive(view, name), `${name} does not become active`, giveUpMs);
      const startAtMs = performance.now();
      await startServer(name);
      backMs.push((await active).atMs - startAtMs);
    }
    const seconds = (performance.now() - startedAtMs) / 1_000;
    const exitCode = await traffic.end('SIGINT');
    const report = checkedReport(traffic, exitCode);
    if (!report.interrupted) throw new Error('flowherd traffic ended before the last kill was over');
    const lostPackets = report.lost + sum(report.nobody);
    return [
      {
        key: 'killToViewMs',
        value: { p50: percentile(tookMs, 0.5), p99: percentile(tookMs, 0.99), max: Math.max(...tookMs), kills },
        unit: { p50: 'ms', p99: 'ms', max: 'ms' },
        target: { p99: { atMost: 1_000 } },
        explain: {
          about: 'from SIGKILL of a server to the view without it in the key-value store, both seen by a third process',
          servers: names.length,
          tookMs: tookMs.map(rounded),
          processStartToActiveMs: { p50: rounded(percentile(backMs, 0.5)), max: rounded(Math.max(...backMs)) },
        },
      },
      {
        key: 'packetsLostPerKill',
        value: lostPackets / kills,
        unit: 'packets',
        explain: {
          about:
            'packets that no server got, and lost ones: those of the dead server until the view without it is known',
          packetsPerSecond: report.packetsPerSecond,
          seconds: rounded(seconds),
          sent: report.sent,
          acceptedOnce: report.acceptedOnce,
          nobody: report.nobody,
          lost: report.lost,
          double: report.double,
          movedFlows: report.movedFlows,
          failedOver: report.failedOver,
          latencyMs: report.latencyMs,
        },
      },
    ];
  } finally {
    views?.stop();
    await Promise.all([...services.values()].map((service) => service.end('SIGKILL')));
    await bus.close();
  }
}

function isMember(view: View, name: string): boolean {
  return view.members.some(({ server }) => server === name);
}

function isActive(view: View, name: string): boolean {
  return view.members.some(({ server, state }) => server === name && state === 'active');
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, each) => total + each, 0);
}
