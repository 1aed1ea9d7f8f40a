// What servers that follow the load come to: three groups of three servers, each a process, and a workload whose hot group changes every minute. Once
// the servers stay where they are, once they may move. Loads are what the groups say of themselves.

import type { TrafficReport } from '../../../services/loadgen/report.ts';
import { connectNats } from '../../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { decodeSummary, type GroupSummary } from '../../../shared/membership/rebalance/summary.ts';
import type { NatsServer } from '../../support/natsServer.ts';
import { Service } from '../../support/processes.ts';
import { type BenchmarkResult, type Figure, median } from '../runner.ts';
import { withNatsServer } from './nats.ts';
import { checkedReport } from './trafficReport.ts';

const groups = ['g1', 'g2', 'g3'];
const serversPerGroup = 3;
const packetsPerSecond = 1_500;
const minuteS = 60;
/** Connections over IPv4 are all of one group, and those over IPv6 of another one. */
const ipv6Percent = [0, 100, 0];
/** Only the clients' side of a connection is seen, so it ends by silence behind one FIN. */
const birth = ['--groups', `${groups.length}`, '--idle', 'tcp-half-closed=5s'];
/** All of one client and one target, and so of one group. */
const hot = [
  '--clients',
  '1',
  '--targets',
  '1',
  '--protocols',
  'tcp:100',
  '--packets-per-flow',
  '20-60',
  '--flows',
  '300',
];
const settings = ['by=packets', 'least=20', 'forMs=3000', 'everyMs=5000'].map((each) => `rebalance.${each}`);
const sampleMs = 1_000;
/** A minute's load is what it is when the servers have had time to follow. */
const settledS = 40;

interface Outcome {
  /** Load a server of the busiest group over that of all servers: over whole minutes, and at their ends. */
  readonly mostOverMean: number;
  readonly mostOverMeanSettled: number;
  readonly moves: number;
  readonly reports: readonly TrafficReport[];
}

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNatsServer(async (nats) => {
    const figures: Figure[] = [];
    for (const mode of ['off', 'auto'] as const) {
      say(`rebalance, ${mode}: ${groups.length * serversPerGroup} servers, ${ipv6Percent.length} minutes`);
      const { mostOverMean, mostOverMeanSettled, moves, reports } = await measure(nats, mode);
      const sum = (of: (report: TrafficReport) => number) => reports.reduce((total, report) => total + of(report), 0);
      figures.push({
        key: `rebalance${mode === 'off' ? 'Off' : 'Auto'}`,
        value: {
          mostOverMean,
          mostOverMeanSettled,
          moves,
          movedFlows: sum(({ movedFlows }) => movedFlows),
          nobody: sum(({ nobody }) => Object.values(nobody).reduce((total, packets) => total + packets, 0)),
        },
        unit: { mostOverMean: '', mostOverMeanSettled: '', moves: 'moves', movedFlows: 'flows', nobody: 'packets' },
        target: { movedFlows: { atMost: 0 }, nobody: { atMost: 0 } },
        explain: { settings, packetsPerSecond, sent: sum(({ sent }) => sent) },
      });
    }
    return figures;
  });
}

async function measure(nats: NatsServer, mode: 'off' | 'auto'): Promise<Outcome> {
  const cluster = `bench-rebalance-${mode}`;
  const where = ['--bus', nats.url, '--cluster', cluster];
  const services: Service[] = [];
  const start = (args: readonly string[]): Service => {
    const service = new Service(args);
    services.push(service);
    return service;
  };
  const tool = async (...args: readonly string[]): Promise<void> => {
    const service = start([...args, ...where]);
    if ((await service.ended()) !== 0) throw new Error(`flowherd ${args[0]} failed:\n${service.messages.join('\n')}`);
  };
  const bus = await connectNats({ url: nats.url, name: 'bench' });
  const newest = new Map<string, GroupSummary>();
  let moves = 0;
  bus.subscribe(subjectsOf(cluster).every('summary'), (bytes) => {
    const summary = decodeSummary(bytes);
    if (summary === undefined) return;
    const before = newest.get(summary.group)?.moving ?? 0;
    moves += Math.max(0, summary.moving - before);
    newest.set(summary.group, summary);
  });
  try {
    await tool('init', ...birth);
    await tool('settings', 'set', ...settings, `rebalance.mode=${mode}`);
    const names = groups.flatMap((group) =>
      Array.from({ length: serversPerGroup }, (_, at) => [`${group}-s${at + 1}`, group]),
    );
    const options = ['--receipts', '--drain-seconds', '1', '--json'];
    await Promise.all(
      names.map(([name, group]) =>
        start(['dssl', ...where, '--server', name, '--member-of', group, ...options]).says(/server is active/),
      ),
    );
    await start(['tier1', ...where, '--input', 'bus', '--json']).says(/taking packets from the bus/);
    const reports: TrafficReport[] = [];
    const ratios: number[] = [];
    const settled: number[] = [];
    for (const [minute, percent] of ipv6Percent.entries()) {
      const mix = ['--ipv6-percent', `${percent}`, '--seed', `${minute + 1}`];
      const pace = ['--rate', `${packetsPerSecond}`, '--seconds', `${minuteS}`, '--warm-up', '0', ...mix];
      const traffic = start(['traffic', '--to', nats.url, '--cluster', cluster, '--json', ...hot, ...pace]);
      await traffic.says(/^receipts come from/);
      const beganMs = performance.now();
      for (let second = 1; second < minuteS - 1; second++) {
        await new Promise((resolve) => setTimeout(resolve, beganMs + second * sampleMs - performance.now()));
        const ratio = mostOverMean([...newest.values()]);
        if (ratio === undefined) continue;
        ratios.push(ratio);
        if (second >= settledS) settled.push(ratio);
      }
      reports.push(checkedReport(traffic, await traffic.ended()));
    }
    const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
    return { mostOverMean: mean, mostOverMeanSettled: median(settled), moves, reports };
  } finally {
    await Promise.all(services.map((service) => service.end('SIGKILL')));
    await bus.close();
  }
}

/** Undefined while there is no load. */
function mostOverMean(summaries: readonly GroupSummary[]): number | undefined {
  const loads = summaries.map(({ servers, leaving, loads: { packets } }) => ({
    servers: servers + leaving,
    packets: packets.sum,
  }));
  const servers = loads.reduce((sum, each) => sum + each.servers, 0);
  const packets = loads.reduce((sum, each) => sum + each.packets, 0);
  if (packets < packetsPerSecond / 2 || servers === 0) return undefined;
  return Math.max(...loads.map((each) => each.packets / Math.max(1, each.servers))) / (packets / servers);
}
