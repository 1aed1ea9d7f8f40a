// A whole cluster in one process, its log in memory: one tier 1, one group of three servers, and the auditor that checks
// every decision, as `flowherd replay` runs it. All of it shares one thread.

import { LocalCluster } from '../../../services/local/localCluster.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { embeddedUrl } from '../../../shared/bus/open.ts';
import { benchKeyer, benchMap, ethernet, packetBytes, udpPackets } from '../packets.ts';
import { ownCpuMs } from '../processes/clock.ts';
import { type BenchmarkResult, median, rounded } from '../runner.ts';

const flows = 100_000;
const servers = 3;
const rounds = 5;
const passes = 8;
/** The rate at which latency is measured: what waits there waits for frames to fill and for the thread, not in queues. */
const pacedRate = 50_000;
const pacedSeconds = 3;
const settleTimeoutMs = 3_000;

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  const packets = udpPackets(flows);
  const fast = await startCluster();
  const rates: number[] = [];
  const cpuNs: number[] = [];
  for (let round = -1; round < rounds; round++) {
    say(round < 0 ? 'embedded cluster, first round' : `embedded cluster, round ${round + 1} of ${rounds}`);
    const startedAtMs = performance.now();
    const cpuBefore = ownCpuMs();
    for (let pass = 0; pass < passes; pass++) await feedAll(fast, packets);
    await fast.settle(settleTimeoutMs);
    if (round < 0) continue;
    rates.push((1_000 * passes * flows) / (performance.now() - startedAtMs));
    cpuNs.push((1e6 * (ownCpuMs() - cpuBefore)) / (passes * flows));
  }
  fast.audit();
  await fast.stop();
  say(`embedded cluster, ${pacedRate} packets/s`);
  const paced = await startCluster();
  await feedPaced(paced, packets);
  await paced.settle(settleTimeoutMs);
  paced.audit();
  await paced.stop();
  const latency = ({ auditor }: LocalCluster) => ({
    p50: auditor.latencyMs.percentile(0.5),
    p99: auditor.latencyMs.percentile(0.99),
  });
  const atFullSpeed = latency(fast);
  return {
    figures: [
      {
        key: 'embeddedPacketsPerSecond',
        value: median(rates),
        unit: 'packets/s',
        explain: {
          flows,
          servers,
          audited: true,
          sent: fast.tier1.distributor.distributed,
          accepted: fast.auditor.accepted,
          double: fast.auditor.double,
          rates: rates.map(rounded),
          cpuNsPerPacket: rounded(median(cpuNs)),
        },
      },
      {
        key: 'latencyMs',
        value: latency(paced),
        unit: 'ms',
        explain: {
          about: 'from the moment a frame leaves tier 1 to the moment its packets are with their server',
          packetsPerSecond: pacedRate,
          sent: paced.tier1.distributor.distributed,
          accepted: paced.auditor.accepted,
          atFullSpeed: { p50: rounded(atFullSpeed.p50), p99: rounded(atFullSpeed.p99) },
        },
      },
    ],
  };
}

function startCluster(): Promise<LocalCluster> {
  const map = benchMap('bench');
  return LocalCluster.start({
    busUrl: embeddedUrl,
    map: { ...map, rules: { ...map.rules, maxFlows: 2 * flows } },
    keyer: benchKeyer(),
    serversPerGroup: servers,
    handler: 'counting',
    handlerOptions: {},
    packetTime: 'live',
    log: { info: () => undefined, warn: () => undefined },
  });
}

/** Every packet once, as fast as the bus takes them. */
async function feedAll(cluster: LocalCluster, packets: Uint8Array): Promise<void> {
  const { tier1 } = cluster;
  for (let at = 0; at < packets.length; ) {
    feedRun(cluster, packets, at, 4_096);
    at += 4_096 * packetBytes;
    tier1.fed();
    await new Promise<void>((resolve) => systemClock.defer(resolve));
    await tier1.ready();
    cluster.audit();
  }
}

/** At `pacedRate` for `pacedSeconds`, in runs of about a millisecond. */
async function feedPaced(cluster: LocalCluster, packets: Uint8Array): Promise<void> {
  const startedAtMs = performance.now();
  const total = pacedRate * pacedSeconds;
  for (let fed = 0; fed < total; ) {
    await new Promise<void>((resolve) => systemClock.setTimer(1, resolve));
    const due = Math.min(total, Math.floor(((performance.now() - startedAtMs) * pacedRate) / 1_000));
    for (; fed < due; fed++) feedRun(cluster, packets, (fed * packetBytes) % packets.length, 1);
    cluster.tier1.fed();
    cluster.audit();
  }
}

function feedRun(cluster: LocalCluster, packets: Uint8Array, from: number, count: number): void {
  const nowMs = systemClock.nowMs();
  const end = Math.min(packets.length, from + count * packetBytes);
  for (let at = from; at < end; at += packetBytes) {
    cluster.tier1.distributor.packet(packets, at, at + packetBytes, ethernet, 0, nowMs);
  }
}
