// A cluster as `docker compose` runs it, end to end, each box a process of its own on this machine: a NATS server with the logs on
// file, two tier 1s that take packets from the bus, three groups of three actors, and `flowherd traffic` in front.
//
//   traffic ──► nats-server ──► 2 tier 1s ──► nats-server, 3 logs ──► 3 × 3 actors ──► nats-server ──► traffic
//              in.<tier1>                     log.<group>.frame                        receipt.<run>
//
// Six streams of frames share the packets, so that a frame after a fixed time would hold three of them. Frames that grow with the
// load are what keeps latency low here.

import type { TrafficReport } from '../../../services/loadgen/report.ts';
import type { Bus } from '../../../shared/bus/bus.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import type { NatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';
import { cpuMsOf } from '../processes/clock.ts';
import { type BenchmarkResult, type Figure, rounded } from '../runner.ts';
import { withNatsServer } from './nats.ts';
import { checkedReport } from './trafficReport.ts';

const cluster = 'bench-compose';
const groups = ['g1', 'g2', 'g3'];
const actors = 9;
const tier1s = 2;
const packetsPerSecond = 20_000;
const seconds = 20;
const warmUpSeconds = 5;

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNatsServer((nats) => measure(say, nats));
}

async function measure(say: (line: string) => void, nats: NatsServer): Promise<readonly Figure[]> {
  const common = ['--bus', nats.url, '--cluster', cluster];
  const services: Service[] = [];
  const bus = await connectNats({ url: nats.url, name: 'bench' });
  try {
    say(`compose: ${actors} actors and ${tier1s} tier 1s start`);
    const init = new Service(['init', ...common, '--groups', `${groups.length}`]);
    if ((await init.ended()) !== 0) throw new Error(`flowherd init failed:\n${init.messages.join('\n')}`);
    for (let index = 1; index <= actors; index++) {
      const actor = new Service(['dssl', ...common, '--server', `s${index}`, '--receipts', '--drain-seconds', '0']);
      services.push(actor);
      await actor.says(/server is active/);
    }
    for (let index = 1; index <= tier1s; index++) {
      const tier1 = new Service(['tier1', ...common, '--name', `t${index}`, '--input', 'bus']);
      services.push(tier1);
      await tier1.says(/taking packets from the bus/);
    }
    say(`compose: ${packetsPerSecond} packets/s for ${warmUpSeconds + seconds} s`);
    const pids = {
      nats: [nats.pid],
      actors: pidsOf(services.slice(0, actors)),
      tier1s: pidsOf(services.slice(actors)),
    };
    const entriesBefore = await entriesIn(bus);
    const cpuBefore = mapValues(pids, cpuMsOf);
    const report = await traffic(nats, services);
    const cpuMs = mapValues(pids, (of, who) => cpuMsOf(of) - cpuBefore[who]);
    const entries = (await entriesIn(bus)) - entriesBefore;
    const packetsPerFrame = report.sent / entries;
    const { latencyMs, behind } = report;
    return [
      {
        key: 'composeLatencyMs',
        value: latencyMs,
        unit: 'ms',
        target: { p50: { atMost: 5 }, p99: { atMost: 50 } },
        explain: {
          about: 'from the moment a packet was due to its server, and the way back of the receipt',
          packetsPerSecond: rounded(report.packetsPerSecond),
          actors,
          tier1s,
          groups: groups.length,
          sent: report.sent,
          acceptedOnce: report.acceptedOnce,
          double: report.double,
          movedFlows: report.movedFlows,
          nobody: report.nobody,
          lost: report.lost,
          cpuMs,
          coresWithoutGenerator: rounded(
            (cpuMs.nats + cpuMs.tier1s + cpuMs.actors) / (1_000 * (warmUpSeconds + seconds)),
          ),
        },
      },
      {
        key: 'composeBehind',
        value: { ms: behind.mostMs, packets: behind.packets },
        unit: { ms: 'ms', packets: 'packets' },
        target: { packets: { atMost: 0 } },
        explain: { about: 'how far the generator fell behind its schedule, and packets that it did not send' },
      },
      {
        key: 'composePacketsPerFrame',
        value: packetsPerFrame,
        unit: 'packets',
        target: { atLeast: 10 },
        explain: { entries, about: 'packets sent, over the entries that the logs took meanwhile' },
      },
    ];
  } finally {
    await Promise.all(services.map((service) => service.end('SIGKILL')));
    await bus.close();
  }
}

async function traffic(nats: NatsServer, services: Service[]): Promise<TrafficReport> {
  const pace = ['--rate', `${packetsPerSecond}`, '--seconds', `${warmUpSeconds + seconds}`];
  const to = ['--to', nats.url, '--cluster', cluster, '--warm-up', `${warmUpSeconds}`, '--json'];
  const generator = new Service(['traffic', ...to, ...pace]);
  services.push(generator);
  return checkedReport(generator, await generator.ended());
}

/** Entries that the logs have taken so far. */
async function entriesIn(bus: Bus): Promise<number> {
  const logs = await Promise.all(groups.map((group) => bus.openLog(cluster, group)));
  const bounds = await Promise.all(logs.map((log) => log.bounds()));
  return bounds.reduce((sum, { last }) => sum + last, 0);
}

function pidsOf(services: readonly Service[]): number[] {
  return services.map(({ pid }) => pid);
}

function mapValues<K extends string, T, U>(
  record: Readonly<Record<K, T>>,
  change: (value: T, key: K) => U,
): Record<K, U> {
  const entries = Object.entries(record) as [K, T][];
  return Object.fromEntries(entries.map(([key, value]) => [key, change(value, key)])) as Record<K, U>;
}
