// A cluster over NATS beside what plain clients of NATS do with the same frames on the same machine, and beside itself with a
// frame for each packet.
//
//   Flowherd   tier 1 ────► nats-server, log of the group ────► 3 actors
//   log        publisher ─► nats-server, a stream ────────────► 3 readers       the same, for which there is an order and a replay
//   bus        publisher ─► nats-server ──────────────────────► 3 subscribers   at most once
//
// Every box is a process of its own. The kinds of runs take turns, so that whatever else the machine does meets all alike; of the
// ratios of each turn the median counts. A run ends when the last process has taken the last packet.

import type { LogSettings } from '../../../shared/log/log.ts';
import type { NatsServer } from '../../support/natsServer.ts';
import { packetBytes } from '../packets.ts';
import { cpuMsOf, machineMs } from '../processes/clock.ts';
import { Remote } from '../processes/remote.ts';
import { type BenchmarkResult, type Figure, median, rounded } from '../runner.ts';
import { ProcessGroup, within, withNatsServer } from './nats.ts';

const flows = 100_000;
const turns = 5;
/** Turns that have an unbatched run too. */
const singleTurns = 2;
const members = 3;
const runSeconds = 1.5;
const patienceMs = 60_000;
/** Enough that no reader falls out of a log, whose server nothing holds back. */
const retention: LogSettings['retention'] = { ageMs: 10_000, bytes: 2 ** 30 };
const storages = ['memory', 'file'] as const;

interface RunResult {
  readonly packetsPerSecond: number;
  readonly sent: number;
  readonly accepted: number;
  readonly frames: number;
  readonly cpuMs: Readonly<Record<'sender' | 'server' | 'receiver', number>>;
}

/** A sender and its receivers. */
interface Runner {
  run(packets: number): Promise<RunResult>;
  stop(): Promise<void>;
}

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNatsServer(async (server) => {
    const ratios: Record<string, number> = {};
    const explain: Record<string, unknown> = { flows, packetBytes, actors: members };
    const figures: Figure[] = [];
    for (const storage of storages) {
      const measured = await measure(server, storage, say);
      ratios[storage] = median(measured.logRatios);
      explain[storage] = measured.explain;
      if (storage !== 'memory') continue;
      figures.push(
        { key: 'busRatio', value: median(measured.busRatios), unit: '', explain: { ratios: measured.busRatios } },
        {
          key: 'batchingGain',
          value: median(measured.gains),
          unit: '',
          target: { atLeast: 5 },
          explain: { about: 'frames against single packets, both through the log', gains: measured.gains },
        },
        { key: 'natsPacketsPerSecond', value: measured.packetsPerSecond, unit: 'packets/s' },
      );
    }
    const target = { memory: { atLeast: 0.7 }, file: { atLeast: 0.7 } };
    return [{ key: 'logRatio', value: ratios, unit: '', target, explain }, ...figures];
  });
}

async function measure(server: NatsServer, storage: 'memory' | 'file', say: (line: string) => void) {
  const log: LogSettings = { retention, storage, replicas: 1 };
  const options = { url: server.url, log, flows };
  const runners: Runner[] = [];
  const start = async (runner: Promise<Runner>): Promise<Runner> => {
    runners.push(await runner);
    return runners.at(-1) as Runner;
  };
  try {
    say(`${storage}: processes start`);
    const flowherd = await start(flowherdRunner(server, { ...options, cluster: `bench-${storage}` }));
    const plainLog = await start(plainRunner(server, { ...options, cluster: `l-${storage}`, stream: `L_${storage}` }));
    const plainBus = storage === 'memory' ? await start(plainRunner(server, { ...options, cluster: 'b' })) : undefined;
    const single =
      storage === 'memory'
        ? await start(flowherdRunner(server, { ...options, cluster: 'single', unbatched: true }))
        : undefined;
    // First runs open the flows, let engines compile, and say how many packets fill the time.
    const sizeOf = async (runner: Runner | undefined, first: number): Promise<number> => {
      if (runner === undefined) return 0;
      await runner.run(first);
      const { packetsPerSecond } = await runner.run(2 * first);
      return Math.ceil((packetsPerSecond * runSeconds) / 10_000) * 10_000;
    };
    const packets = await sizeOf(flowherd, 200_000);
    const plainPackets = await sizeOf(plainLog, 200_000);
    const busPackets = await sizeOf(plainBus, 200_000);
    const singlePackets = await sizeOf(single, 10_000);
    const ours: RunResult[] = [];
    const theirs: RunResult[] = [];
    const theirBus: RunResult[] = [];
    const singles: RunResult[] = [];
    for (let turn = 0; turn < turns; turn++) {
      say(`${storage}, turn ${turn + 1} of ${turns}`);
      // The order within a turn changes, so that neither profits from coming second.
      if (turn % 2 === 0) ours.push(await flowherd.run(packets));
      theirs.push(await plainLog.run(plainPackets));
      if (plainBus !== undefined) theirBus.push(await plainBus.run(busPackets));
      if (turn % 2 === 1) ours.push(await flowherd.run(packets));
      if (single !== undefined && turn < singleTurns) singles.push(await single.run(singlePackets));
    }
    const over = (one: readonly RunResult[], other: readonly RunResult[]) =>
      other.map((each, turn) => rounded(one[turn].packetsPerSecond / each.packetsPerSecond));
    return {
      logRatios: over(ours, theirs),
      busRatios: over(ours, theirBus),
      gains: over(ours, singles),
      packetsPerSecond: medianRate(ours),
      explain: {
        ratios: over(ours, theirs),
        // Of the processor time of all processes; other work on the machine disturbs it less than rates.
        cpuRatio: rounded(cpuNsOf(theirs) / cpuNsOf(ours)),
        flowherd: described(ours),
        plainLog: described(theirs),
        ...(plainBus === undefined ? {} : { plainBus: described(theirBus) }),
        ...(single === undefined ? {} : { unbatched: described(singles) }),
      },
    };
  } finally {
    for (const runner of runners) await runner.stop();
  }
}

type Options = Parameters<typeof ProcessGroup.start>[0];

async function flowherdRunner(server: NatsServer, options: Options): Promise<Runner> {
  const group = await ProcessGroup.start(options, members);
  const counts = () => group.all((actor) => actor.call('counts'));
  return {
    run: async (packets) => {
      const before = await counts();
      const serverBefore = cpuMsOf([server.pid]);
      const startMs = machineMs();
      const sent = await group.tier1.call('send', packets);
      const reached = group.all((actor) => actor.call('reach', sent.end));
      const endMs = Math.max(...(await within(patienceMs, 'all actors come to the end', reached)));
      const after = await counts();
      const grown = (key: 'packets' | 'cpuMs') =>
        after.reduce((sum, each, index) => sum + each[key] - before[index][key], 0);
      const accepted = grown('packets');
      if (accepted !== sent.packets) throw new Error(`${sent.packets} packets sent, ${accepted} accepted`);
      return {
        packetsPerSecond: (1_000 * accepted) / (endMs - startMs),
        sent: sent.packets,
        accepted,
        frames: sent.frames,
        cpuMs: {
          sender: sent.cpuMs,
          server: cpuMsOf([server.pid]) - serverBefore,
          receiver: grown('cpuMs') / members,
        },
      };
    },
    stop: () => group.stop(),
  };
}

async function plainRunner(server: NatsServer, options: Options): Promise<Runner> {
  // The publisher makes the stream.
  const publisher = await Remote.start('publisher', { ...options, name: 'publisher' });
  const readers = await Promise.all(
    Array.from({ length: members }, (_, index) => Remote.start('reader', { ...options, name: `reader ${index + 1}` })),
  );
  const cpu = async () => (await Promise.all(readers.map((reader) => reader.call('cpuMs')))).reduce((a, b) => a + b);
  return {
    run: async (packets) => {
      const before = await cpu();
      const serverBefore = cpuMsOf([server.pid]);
      const startMs = machineMs();
      const sent = await publisher.call('send', packets);
      const reached = Promise.all(readers.map((reader) => reader.call('reach', sent.end)));
      const endMs = Math.max(...(await within(patienceMs, 'all readers come to the end', reached)));
      return {
        packetsPerSecond: (1_000 * sent.packets) / (endMs - startMs),
        sent: sent.packets,
        accepted: sent.packets,
        frames: sent.frames,
        cpuMs: {
          sender: sent.cpuMs,
          server: cpuMsOf([server.pid]) - serverBefore,
          receiver: ((await cpu()) - before) / members,
        },
      };
    },
    stop: async () => {
      await Promise.all([publisher, ...readers].map((process) => process.stop()));
    },
  };
}

function described(results: readonly RunResult[]): object {
  const total = (value: (result: RunResult) => number) => results.reduce((sum, result) => sum + value(result), 0);
  const packets = total(({ sent }) => sent);
  const ns = (who: keyof RunResult['cpuMs']) => rounded((1e6 * total(({ cpuMs }) => cpuMs[who])) / packets);
  return {
    packetsPerSecond: rounded(medianRate(results)),
    packetsPerFrame: rounded(packets / total(({ frames }) => frames)),
    sent: packets,
    acceptedOnce: total(({ accepted }) => accepted),
    cpuNsPerPacket: { sender: ns('sender'), server: ns('server'), receiver: ns('receiver') },
  };
}

/** Processor time of all processes together, for a packet. */
function cpuNsOf(results: readonly RunResult[]): number {
  const packets = results.reduce((sum, { sent }) => sum + sent, 0);
  const ms = results.reduce((sum, { cpuMs }) => sum + cpuMs.sender + cpuMs.server + members * cpuMs.receiver, 0);
  return (1e6 * ms) / packets;
}

function medianRate(results: readonly RunResult[]): number {
  return median(results.map(({ packetsPerSecond }) => packetsPerSecond));
}
