// What the death of a server costs where flows have backups, and where they have none: servers of a group are killed at random moments under 10,000
// packets a second and started again (field.ts), and what protection itself costs, in processor time and memory.

import { fileURLToPath } from 'node:url';
import { Prng } from '../../../../shared/base/prng.ts';
import type { NatsServer } from '../../../support/natsServer.ts';
import { columnsFor, timeDecide } from '../../local/decide.ts';
import { type Asked, type BenchmarkResult, type Figure, median, percentile, rounded } from '../../runner.ts';
import { withNatsServer } from '../nats.ts';
import { Field, type Kill, packetsPerSecond, pause, type Spent } from './field.ts';

const fast = fileURLToPath(new URL('../../../../deploy/examples/fast-failover.json', import.meta.url));
const names = ['s1', 's2', 's3', 's4', 's5'];
const seed = 1;
/** Between the start of a server and the next kill. */
const pauseMs = [500, 4_000] as const;
const steadySeconds = 8;
const flows = 1_000_000;
const rounds = 7;
/** In the log's time a million packets take so long, and that is what is remembered of them. */
const stepMs = 10_000;

/** A way to run a group, and how many of its servers are killed. */
interface Configuration {
  readonly key: string;
  readonly options: readonly string[];
  readonly kills: number;
  /** No packet may be lost, and flows may wait for so long. */
  readonly gapAtMostMs?: number;
  /** What servers have of their own, by name. */
  readonly servers?: Readonly<Record<string, readonly string[]>>;
}

const configurations: readonly Configuration[] = [
  { key: 'activeActive', options: ['--availability', 'active-active'], kills: 50, gapAtMostMs: 1_000 },
  {
    key: 'activeActiveFast',
    options: ['--availability', 'active-active', '--config', fast],
    kills: 20,
    gapAtMostMs: 300,
  },
  {
    key: 'activePassive',
    options: ['--availability', 'active-passive'],
    kills: 10,
    gapAtMostMs: 1_000,
    servers: { s3: ['--standby-for', 's1'], s4: ['--standby-for', 's2'], s5: ['--standby-for', 's1,s2'] },
  },
  {
    key: 'nPlusM',
    options: ['--availability', 'n-plus-m'],
    kills: 10,
    gapAtMostMs: 1_000,
    servers: { s4: ['--standby-for', 'all'], s5: ['--standby-for', 'all'] },
  },
  { key: 'unprotected', options: ['--availability', 'none'], kills: 5 },
];

export function run(say: (line: string) => void, asked: Asked): Promise<BenchmarkResult> {
  return withNatsServer(async (nats) => {
    const figures: Figure[] = [];
    const spent: Record<string, Spent> = {};
    for (const configuration of configurations) {
      const kills = asked.kills ?? configuration.kills;
      const outcome = await takeOver(say, nats, configuration, kills);
      spent[configuration.key] = outcome.spent;
      figures.push(outcome.figure);
    }
    figures.push(costOf(spent), await decideCost(say));
    return figures;
  });
}

async function takeOver(
  say: (line: string) => void,
  nats: NatsServer,
  { key, options, servers = {}, gapAtMostMs }: Configuration,
  kills: number,
): Promise<{ readonly figure: Figure; readonly spent: Spent }> {
  say(`takeover, ${key}: ${names.length} servers start`);
  const field = await Field.start({
    url: nats.url,
    cluster: `bench-takeover-${key}`,
    options,
    servers: new Map(names.map((name) => [name, servers[name] ?? []])),
  });
  try {
    const spent = await field.watch(steadySeconds);
    const prng = new Prng(seed);
    const done: Kill[] = [];
    const pausesMs: number[] = [];
    while (done.length < kills) {
      if (done.length % 5 === 0) say(`takeover, ${key}: ${done.length} of ${kills} killed`);
      pausesMs.push(pauseMs[0] + prng.below(pauseMs[1] - pauseMs[0]));
      await pause(pausesMs[pausesMs.length - 1]);
      done.push(await field.kill(prng.pick(names)));
    }
    await pause(pauseMs[0]);
    const { report, testimony } = await field.end();
    const { p50, p99, max } = report.gapMs ?? { p50: 0, p99: 0, max: 0 };
    const viewsMs = done.map(({ viewMs }) => viewMs);
    const uneven = done.flatMap(({ mostOverMean }) => mostOverMean ?? []);
    const isProtected = gapAtMostMs !== undefined;
    const figure: Figure = {
      key: `${key}Takeover`,
      value: {
        kills,
        lost: testimony.missing,
        movedThoughTheirsLived: report.movedFlows,
        repeatedPercent: (100 * testimony.repeated) / report.sent,
        repeatedPerKill: testimony.repeated / kills,
        unmarkedOrDisordered: testimony.doubled + testimony.disordered + testimony.crossed,
        gapP50: p50,
        gapP99: p99,
        gapMax: max,
        viewP50: percentile(viewsMs, 0.5),
        viewMax: Math.max(...viewsMs),
        ...(uneven.length === 0 ? {} : { survivorsMostOverMean: median(uneven) }),
      },
      unit: {
        lost: 'packets',
        movedThoughTheirsLived: 'flows',
        repeatedPercent: '%',
        repeatedPerKill: 'packets',
        unmarkedOrDisordered: 'packets',
        gapP50: 'ms',
        gapP99: 'ms',
        gapMax: 'ms',
        viewP50: 'ms',
        viewMax: 'ms',
      },
      target: {
        movedThoughTheirsLived: { atMost: 0 },
        ...(uneven.length === 0 ? {} : { survivorsMostOverMean: { atMost: 1.25 } }),
        ...(isProtected
          ? { lost: { atMost: 0 }, gapP99: { atMost: gapAtMostMs }, unmarkedOrDisordered: { atMost: 0 } }
          : {}),
      },
      explain: {
        about: 'servers killed with SIGKILL at random moments and started again; lost: no server wrote the packet down',
        options: options.map((option) => option.split('/').at(-1)),
        servers: names.length,
        packetsPerSecond,
        seed,
        sent: report.sent,
        acceptedOnce: report.acceptedOnce,
        repeats: report.repeats,
        replayed: report.replayed,
        nobody: report.nobody,
        lostOnTheWayOrTheirReceipts: report.lost,
        receipts: report.receipts,
        failedOver: report.failedOver,
        testimony,
        viewsMs: viewsMs.map(rounded),
        pausesMs,
        survivorsMostOverMean: uneven.map(rounded),
        falseRemovals: field.said(/rejoins as a new life/).length,
        unreplayed: field.said(/could not be replayed|does not remember all/),
        latencyMs: report.latencyMs,
      },
    };
    return { figure, spent };
  } finally {
    await field.stop();
  }
}

function costOf(spent: Readonly<Record<string, Spent>>): Figure {
  const { activeActive, unprotected } = spent;
  return {
    key: 'protectionOfAnActor',
    value: {
      processorTime: activeActive.cores / unprotected.cores,
      megabytesMore: activeActive.megabytes - unprotected.megabytes,
    },
    unit: { processorTime: 'times that without', megabytesMore: 'MB' },
    target: { processorTime: { atMost: 1.25 }, megabytesMore: { atMost: 32 } },
    explain: { about: `processes of actors under ${packetsPerSecond} packets/s, nothing happens`, spent },
  };
}

async function decideCost(say: (line: string) => void): Promise<Figure> {
  say('takeover: a replica with a million flows, with backups and without');
  const columns = columnsFor(flows);
  const without = await timeDecide(columns, rounds, 'none', stepMs);
  const protectedOnes = await timeDecide(columns, rounds, 'active-active', stepMs);
  return {
    key: 'protectionOfAReplica',
    value: {
      bytesPerFlow: protectedOnes.bytesPerFlow,
      nsPerPacket: protectedOnes.medianFrameNs,
      nsPerPacketWithout: without.medianFrameNs,
    },
    unit: { bytesPerFlow: 'bytes', nsPerPacket: 'ns', nsPerPacketWithout: 'ns' },
    target: { bytesPerFlow: { atMost: 24 } },
    explain: {
      about:
        'a replica applies frames, the middle one; what it remembers of the last ten seconds is 16 bytes a packet more',
      flows,
      bytesPerFlowWithout: rounded(without.bytesPerFlow),
      medianOfRoundsNs: { with: rounded(median(protectedOnes.applyNs)), without: rounded(median(without.applyNs)) },
    },
  };
}
