// A cluster as people run it, end to end: a NATS server, a tier 1 that takes packets from the bus, three actors, and
// `flowherd traffic` in front, each a process of its own, all on this machine.
//
//   traffic ──► nats-server ──► tier 1 ──► nats-server ──► 3 actors ──► nats-server ──► traffic
//              in.<tier1>             log.<group>.frame               receipt.<run>
//
// So a packet crosses the NATS server twice, and its receipt once more; the generator's own work is part of it. First as
// fast as a closed loop gets answers, then at half of that, where latency is that of the way and not of queues.

import type { TrafficReport } from '../../../services/loadgen/report.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import type { NatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';
import { packetBytes } from '../packets.ts';
import { cpuMsOf } from '../processes/clock.ts';
import { type BenchmarkResult, type Figure, rounded } from '../runner.ts';
import { withNatsServer } from './nats.ts';
import { checkedReport } from './trafficReport.ts';

const cluster = 'bench';
const actors = 3;
const flows = 10_000;
/** Enough that no process waits for another one, and few enough that queues stay short. */
const concurrency = 10_000;
const seconds = 6;
const halfSeconds = 5;

/** Processor time of the roles in milliseconds. */
type CpuMs = Readonly<Record<'generator' | 'nats' | 'tier1' | 'actors', number>>;

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNatsServer((nats) => measure(say, nats));
}

async function measure(say: (line: string) => void, nats: NatsServer): Promise<readonly Figure[]> {
  const common = ['--bus', nats.url, '--cluster', cluster, '--groups', '1', '--json'];
  const services: Service[] = [];
  try {
    for (let index = 1; index <= actors; index++) {
      const actor = new Service(['dssl', ...common, '--server', `s${index}`, '--receipts', '--drain-seconds', '0']);
      services.push(actor);
      await actor.says(/server is active/);
    }
    const tier1 = new Service(['tier1', ...common, '--input', 'bus']);
    services.push(tier1);
    await tier1.says(/taking packets from the bus/);
    const roles = { nats: [nats.pid], tier1: [tier1.pid], actors: services.slice(0, actors).map(({ pid }) => pid) };

    say('end to end, first run');
    await traffic(nats, roles, ['--seconds', '2', '--concurrency', `${concurrency}`]);
    say('end to end, as fast as it goes');
    const full = await traffic(nats, roles, ['--seconds', `${seconds}`, '--concurrency', `${concurrency}`]);
    const rate = Math.round(full.report.packetsPerSecond / 2);
    say(`end to end, ${rate} packets/s`);
    const half = await traffic(nats, roles, ['--seconds', `${halfSeconds}`, '--rate', `${rate}`]);

    await tier1.end();
    await Promise.all(services.slice(0, actors).map((actor) => actor.end()));
    const distributed: number = JSON.parse(tier1.stdout).packets.distributed;
    const copies = services.slice(0, actors).reduce((sum, { stdout }) => sum + verdictsIn(stdout), 0);
    const explain = (one: TrafficReport) => ({
      sent: one.sent,
      acceptedOnce: one.acceptedOnce,
      double: one.double,
      movedFlows: one.movedFlows,
      lost: one.lost,
      problems: one.problems,
    });
    return [
      {
        key: 'trafficPacketsPerSecond',
        value: full.report.packetsPerSecond,
        unit: 'packets/s',
        explain: {
          actors,
          flows,
          packetBytes,
          concurrency,
          ...explain(full.report),
          latencyMs: full.report.latencyMs,
        },
      },
      {
        key: 'trafficLatencyMs',
        value: half.report.latencyMs,
        unit: 'ms',
        explain: {
          about: 'from handing a packet to the bus to the server, through tier 1, and the way back of the receipt',
          packetsPerSecond: rate,
          ...explain(half.report),
        },
      },
      ...cpuFigures(full),
      {
        key: 'trafficCopiesPerPacket',
        value: copies / distributed,
        unit: '',
        explain: { about: 'packets that actors decided, for each packet that tier 1 sent', distributed, copies },
      },
    ];
  } finally {
    for (const service of services) await service.end('SIGKILL');
  }
}

function cpuFigures({ report, cpuMs }: { report: TrafficReport; cpuMs: CpuMs | undefined }): readonly Figure[] {
  if (cpuMs === undefined) return [];
  const { generator, nats, tier1, actors: all } = cpuMs;
  const ns = (ms: number) => (1e6 * ms) / report.sent;
  const value = { generator: ns(generator), nats: ns(nats), tier1: ns(tier1), actor: ns(all) / actors };
  return [
    {
      key: 'trafficCpuNsPerPacket',
      value,
      unit: 'ns',
      explain: {
        about: 'processor time a packet of the processes of each role; actor: of one of them',
        whole: rounded(ns(generator + nats + tier1 + all)),
      },
    },
  ];
}

/** One run, and what it cost from its first packet on. */
async function traffic(
  nats: NatsServer,
  roles: Readonly<Record<'nats' | 'tier1' | 'actors', readonly number[]>>,
  args: readonly string[],
): Promise<{ report: TrafficReport; cpuMs: CpuMs | undefined }> {
  const begun = await firstPacket(nats);
  const packets = ['--mix', 'bench-udp', '--flows', `${flows}`, '--ipv6-percent', '0', '--json'];
  const service = new Service(['traffic', '--to', nats.url, '--cluster', cluster, ...packets, ...args]);
  await Promise.race([begun.happened, service.ended()]);
  await begun.close();
  const read = (): CpuMs => ({
    generator: cpuMsOf([service.pid]),
    nats: cpuMsOf(roles.nats),
    tier1: cpuMsOf(roles.tier1),
    actors: cpuMsOf(roles.actors),
  });
  const before = process.platform === 'linux' ? read() : undefined;
  let after = before;
  // A process that has ended tells no times any more.
  const timer = setInterval(() => {
    const now = before && read();
    if (now !== undefined && now.generator > 0) after = now;
  }, 50);
  const code = await service.ended();
  clearInterval(timer);
  const report = checkedReport(service, code);
  if (before === undefined || after === undefined) return { report, cpuMs: undefined };
  const { generator, nats: server, tier1, actors: all } = after;
  return {
    report,
    cpuMs: {
      generator: generator - before.generator,
      nats: server - before.nats,
      tier1: tier1 - before.tier1,
      actors: all - before.actors,
    },
  };
}

/** Tells when the next packet goes to a tier 1. */
async function firstPacket(nats: NatsServer): Promise<{ happened: Promise<void>; close(): Promise<void> }> {
  const bus = await connectNats({ url: nats.url, name: 'bench' });
  const happened = new Promise<void>((resolve) => void bus.subscribe(subjectsOf(cluster).every('in'), () => resolve()));
  await bus.flush();
  return { happened, close: () => bus.close() };
}

function verdictsIn(stdout: string): number {
  const { verdicts } = JSON.parse(stdout) as { verdicts: Record<string, number> };
  return Object.values(verdicts).reduce((sum, each) => sum + each, 0);
}
