// Flowherd over a real NATS server, beside what plain NATS does with the same frames on the same machine, and beside
// Flowherd with a frame for each packet.
//
//   tier 1 ──► nats-server ──► 3 actors           publisher ──► nats-server ──► 3 subscribers
//
// Every box is a process of its own. The two kinds of runs take turns, so that whatever else the machine does meets both
// alike; of the ratio of each pair the median counts. A run ends when the last process has taken the last packet.

import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { findNatsServer, NatsServer } from '../support/natsServer.ts';
import type { Answer, Order, Role } from './busRole.ts';
import { packetBytes } from './packets.ts';
import { type BenchmarkResult, median, rounded } from './runner.ts';

const flows = 100_000;
const pairs = 7;
/** Pairs that have an unbatched run too. */
const singlePairs = 3;
const members = 3;
const runSeconds = 2;
/** What a run without progress is given before it counts as ended; frames were lost then. */
const patienceMs = 2_000;

type Counts = Extract<Answer, { kind: 'counts' }>;
type Sent = Extract<Answer, { kind: 'sent' }>;

interface RunResult {
  readonly packetsPerSecond: number;
  readonly sent: number;
  readonly accepted: number;
  readonly lostFrames: number;
  /** Processor time of the sender and of all receivers. */
  readonly senderCpuMs: number;
  readonly receiverCpuMs: number;
}

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  const binary = findNatsServer();
  if (binary === undefined) {
    const how = 'run .ci/install-nats-server, or name one in FLOWHERD_NATS_SERVER';
    return { figures: [], skipped: `there is no nats-server: ${how}` };
  }
  const natsServer = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
  const server = await NatsServer.start();
  const cast: Cast[] = [];
  try {
    const start = async (...args: ConstructorParameters<typeof Cast>) => {
      const one = new Cast(...args);
      cast.push(one);
      await one.start();
      return one;
    };
    const flowherd = await start(server.url, 'bench-a', 'tier1', 'actor', false);
    const plain = await start(server.url, 'bench-b', 'publisher', 'subscriber', false);
    const single = await start(server.url, 'bench-c', 'tier1', 'actor', true);
    // First runs open the flows, let engines compile, and say how many packets fill the time.
    await flowherd.run(200_000);
    await plain.run(200_000);
    await single.run(20_000);
    const packets = packetsFor(await flowherd.run(500_000));
    const plainPackets = packetsFor(await plain.run(500_000));
    const singlePackets = packetsFor(await single.run(50_000));
    const ours: RunResult[] = [];
    const theirs: RunResult[] = [];
    const singles: RunResult[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      say(`over NATS, pair ${pair + 1} of ${pairs}`);
      // The order within a pair changes, so that neither profits from coming second.
      if (pair % 2 === 0) ours.push(await flowherd.run(packets));
      theirs.push(await plain.run(plainPackets));
      if (pair % 2 === 1) ours.push(await flowherd.run(packets));
      if (pair < singlePairs) singles.push(await single.run(singlePackets));
    }
    const ratios = ours.map((each, pair) => each.packetsPerSecond / theirs[pair].packetsPerSecond);
    const gains = singles.map((each, pair) => ours[pair].packetsPerSecond / each.packetsPerSecond);
    return {
      figures: [
        {
          key: 'busRatio',
          value: median(ratios),
          unit: '',
          target: { atLeast: 0.65 },
          explain: {
            natsServer,
            flows,
            packetBytes,
            actors: members,
            packetsPerSecond: rounded(medianRate(ours)),
            plainPacketsPerSecond: rounded(medianRate(theirs)),
            sent: sum(ours, 'sent'),
            accepted: sum(ours, 'accepted'),
            lostFrames: sum(ours, 'lostFrames'),
            plainLostFrames: sum(theirs, 'lostFrames'),
            everyPacketAcceptedOnce: sum(ours, 'sent') === sum(ours, 'accepted'),
            cpuNsPerPacket: cpuNs(ours),
            plainCpuNsPerPacket: cpuNs(theirs),
            ratios: ratios.map(rounded),
          },
        },
        {
          key: 'batchingGain',
          value: median(gains),
          unit: '',
          target: { atLeast: 5 },
          explain: {
            unbatchedPacketsPerSecond: rounded(medianRate(singles)),
            sent: sum(singles, 'sent'),
            accepted: sum(singles, 'accepted'),
            lostFrames: sum(singles, 'lostFrames'),
          },
        },
        { key: 'natsPacketsPerSecond', value: medianRate(ours), unit: 'packets/s' },
      ],
    };
  } finally {
    for (const one of cast) one.stop();
    await server.stop();
  }
}

/** One sender and the receivers of its group. */
class Cast {
  readonly #url: string;
  readonly #cluster: string;
  readonly #unbatched: boolean;
  readonly #sender: Process;
  readonly #receivers: Process[];
  #before: Counts[] = [];

  constructor(url: string, cluster: string, sender: Role, receiver: Role, unbatched: boolean) {
    this.#url = url;
    this.#cluster = cluster;
    this.#unbatched = unbatched;
    this.#sender = new Process(sender);
    this.#receivers = Array.from({ length: members }, () => new Process(receiver));
  }

  async start(): Promise<void> {
    const be = { kind: 'be' as const, url: this.#url, cluster: this.#cluster, flows, unbatched: this.#unbatched };
    for (const [index, receiver] of this.#receivers.entries()) {
      await receiver.ask({ ...be, role: receiver.role, name: `s${index + 1}` });
    }
    await this.#sender.ask({ ...be, role: this.#sender.role, name: 'sender' });
    this.#before = await this.#counts();
  }

  /** Sends so many packets and waits until every receiver has got all of them, or nothing more comes. */
  async run(packets: number): Promise<RunResult> {
    const before = this.#before;
    const startMs = performance.now();
    const sent = (await this.#sender.ask({ kind: 'send', packets })) as Sent;
    let after = await this.#counts();
    let endMs = performance.now();
    let progress = 0;
    while (!after.every((counts, index) => counts.frames - before[index].frames >= sent.frames)) {
      const sum = after.reduce((total, { frames }) => total + frames, 0);
      if (sum !== progress) endMs = performance.now();
      else if (performance.now() - endMs > patienceMs) break;
      progress = sum;
      await new Promise((resolve) => setTimeout(resolve, 2));
      after = await this.#counts();
      if (after.every((counts, index) => counts.frames - before[index].frames >= sent.frames))
        endMs = performance.now();
    }
    this.#before = after;
    const grown = (key: 'packets' | 'lostFrames' | 'cpuMs') =>
      after.reduce((total, counts, index) => total + counts[key] - before[index][key], 0);
    const isPlain = this.#sender.role === 'publisher';
    return {
      packetsPerSecond: (1_000 * sent.packets) / (endMs - startMs),
      sent: sent.packets,
      accepted: isPlain ? sent.packets : grown('packets'),
      lostFrames: grown('lostFrames') + missing(before, after, sent),
      senderCpuMs: sent.cpuMs,
      receiverCpuMs: grown('cpuMs'),
    };
  }

  stop(): void {
    for (const process of [this.#sender, ...this.#receivers]) process.stop();
  }

  #counts(): Promise<Counts[]> {
    return Promise.all(this.#receivers.map(async (receiver) => (await receiver.ask({ kind: 'count' })) as Counts));
  }
}

/** Frames that some receiver never got, the ones at the end included. */
function missing(before: readonly Counts[], after: readonly Counts[], sent: Sent): number {
  return after.reduce(
    (total, { frames }, index) => total + Math.max(0, sent.frames - (frames - before[index].frames)),
    0,
  );
}

/** A child process that answers one order at a time. */
class Process {
  readonly role: Role;
  readonly #child: ChildProcess;
  #settle: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;

  constructor(role: Role) {
    this.role = role;
    this.#child = fork(new URL('./busRole.ts', import.meta.url), { execArgv: [], stdio: ['ignore', 2, 2, 'ipc'] });
    this.#child.on('message', (answer: Answer) => this.#settle?.resolve(answer));
    this.#child.on('exit', (code, signal) => {
      this.#settle?.reject(new Error(`the process of ${role} ended with ${code ?? signal}`));
    });
  }

  ask(order: Order): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#child.send(order);
    });
  }

  stop(): void {
    this.#settle = undefined;
    if (this.#child.connected) this.#child.disconnect();
  }
}

function packetsFor(trial: RunResult): number {
  return Math.ceil((trial.packetsPerSecond * runSeconds) / flows) * flows;
}

function medianRate(results: readonly RunResult[]): number {
  return median(results.map(({ packetsPerSecond }) => packetsPerSecond));
}

/** Processor time a packet in nanoseconds: of the sender, and of one receiver. */
function cpuNs(results: readonly RunResult[]): { sender: number; receiver: number } {
  const packets = sum(results, 'sent');
  return {
    sender: rounded((1e6 * sum(results, 'senderCpuMs')) / packets),
    receiver: rounded((1e6 * sum(results, 'receiverCpuMs')) / packets / members),
  };
}

function sum(
  results: readonly RunResult[],
  key: 'sent' | 'accepted' | 'lostFrames' | 'senderCpuMs' | 'receiverCpuMs',
): number {
  return results.reduce((total, result) => total + result[key], 0);
}
