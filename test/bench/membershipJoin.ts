// How long a server takes to join a group that holds a million flows, and what that costs the members meanwhile: two members
// hold half of the flows each, a tier 1 goes on sending packets of them, and a third server joins. In the end it has to
// know every flow and its owner, or the benchmark fails. First in one process on the embedded bus, where all share one
// event loop, then with a process for each server over NATS.

import type { Bus } from '../../shared/bus/bus.ts';
import { MemoryHub } from '../../shared/bus/memory.ts';
import { connectNats } from '../../shared/bus/nats/nats.ts';
import { subjectsOf } from '../../shared/bus/subjects.ts';
import type { View } from '../../shared/membership/view.ts';
import type { NatsServer } from '../support/natsServer.ts';
import { ViewWatch } from '../support/viewWatch.ts';
import { type Columns, columnsFor } from './decide.ts';
import { flows, frameOf, type JoinMember, LocalMember } from './joinMember.ts';
import { RemoteMember } from './joinRole.ts';
import { benchGroup as group } from './packets.ts';
import { type BenchmarkResult, median, rounded } from './runner.ts';

const rounds = 3;
/** Frames that the tier 1 sends again and again, and the pause between two of them. */
const liveFrames = 500;
const liveEveryMs = 20;
/** A member that has stopped is to be out of the view after so long. */
const outWithinMs = 15_000;

interface Joined {
  readonly joinMs: number[];
  /** Longest pauses of a member, of those that it joins, and of the joiner itself. */
  readonly peerPauseMs: number[];
  readonly joinerPauseMs: number[];
  readonly packetsPerSecond: number;
  readonly owners: Readonly<Record<string, number>>;
}

/** `nats`: undefined where there is no server; then the embedded bus is measured alone. */
export async function run(say: (line: string) => void, nats: NatsServer | undefined): Promise<BenchmarkResult> {
  const cluster = 'bench-join';
  const hub = new MemoryHub();
  const results: Record<string, Joined> = {};
  const connect = async () => hub.connect();
  results.embedded = await measure(say, 'embedded', hub.connect(), cluster, (name) =>
    LocalMember.connect(name, cluster, connect),
  );
  if (nats !== undefined) {
    const bus = await connectNats({ url: nats.url, name: 'bench', storage: 'memory' });
    results.nats = await measure(say, 'NATS', bus, cluster, (name) => RemoteMember.connect(name, cluster, nats.url));
  }
  const each = <T>(value: (joined: Joined) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(results).map(([name, joined]) => [name, value(joined)]));
  return {
    figures: [
      {
        key: 'joinMs',
        value: each(({ joinMs }) => median(joinMs)),
        unit: 'ms',
        explain: {
          about: 'from the start of an actor that is connected until new flows may be placed at it',
          flows,
          rounds: each(({ joinMs }) => joinMs.map(rounded)),
          livePacketsPerSecond: each(({ packetsPerSecond }) => rounded(packetsPerSecond)),
          joinerKnows: each(({ owners }) => owners),
        },
      },
      {
        key: 'joinPauseMsMax',
        value: each(({ peerPauseMs }) => Math.max(...peerPauseMs)),
        unit: 'ms',
        explain: {
          about: 'longest pause of the event loop of a member meanwhile; embedded: of the one loop that all share',
          rounds: each(({ peerPauseMs }) => peerPauseMs.map(rounded)),
          joiner: each(({ joinerPauseMs }) => rounded(Math.max(...joinerPauseMs))),
        },
      },
    ],
  };
}

async function measure(
  say: (line: string) => void,
  way: string,
  bus: Bus,
  cluster: string,
  connect: (name: string) => Promise<JoinMember>,
): Promise<Joined> {
  say(`joining over ${way}: two members get ${flows} flows`);
  const views = await ViewWatch.of(bus, subjectsOf(cluster), group);
  const members: JoinMember[] = [];
  let live: LiveTier1 | undefined;
  try {
    for (const name of ['s1', 's2']) {
      const member = await connect(name);
      members.push(member);
      await member.join();
    }
    const viewNumber = () => views.newest?.number ?? 0;
    const [sequence] = await Promise.all(members.map((member) => member.fill(viewNumber())));
    const known = await members[0].owners();
    assertSame(known, await members[1].owners(), 'the two members');
    live = new LiveTier1(bus, cluster, sequence, viewNumber);

    const joinMs: number[] = [];
    const peerPauseMs: number[] = [];
    const joinerPauseMs: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      say(`joining over ${way}, round ${round} of ${rounds}`);
      const name = `s${2 + round}`;
      const joiner = await connect(name);
      try {
        await Promise.all([...members, joiner].map((member) => member.watch()));
        joinMs.push(await joiner.join());
        peerPauseMs.push(...(await Promise.all(members.map((member) => member.pauseMs()))));
        joinerPauseMs.push(await joiner.pauseMs());
        assertSame(await joiner.owners(), known, `the members and ${name}, which joined`);
      } finally {
        await joiner.stop();
      }
      // Each round begins with the same two members: the joiner is dead to them, and has to be found out first.
      const isOut = (view: View) => !view.members.some(({ server }) => server === name);
      await views.when(isOut, `${name} is still a member`, outWithinMs);
    }
    return { joinMs, peerPauseMs, joinerPauseMs, packetsPerSecond: live.packetsPerSecond, owners: known };
  } finally {
    live?.stop();
    views.stop();
    await Promise.all(members.map((member) => member.stop()));
    await bus.close();
  }
}

/** All flows, each with its owner, or an error. Flows of nobody else are known, so equal counts are equal flows. */
export function assertSame(
  known: Readonly<Record<string, number>>,
  other: Readonly<Record<string, number>>,
  whose: string,
): void {
  const count = Object.values(known).reduce((sum, each) => sum + each, 0);
  const names = new Set([...Object.keys(known), ...Object.keys(other)]);
  if (count === flows && [...names].every((name) => known[name] === other[name])) return;
  throw new Error(`${whose} do not know the same ${flows} flows: ${JSON.stringify(known)}, ${JSON.stringify(other)}`);
}

/** Goes on where the frames that filled the tables ended. */
class LiveTier1 {
  #packets = 0;
  readonly #startedAtMs = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor(bus: Bus, cluster: string, afterSequence: number, viewNumber: () => number) {
    const columns: readonly Columns[] = columnsFor(flows).slice(0, liveFrames);
    const subject = subjectsOf(cluster).data(group);
    let sequence = afterSequence;
    this.#timer = setInterval(() => {
      const each = columns[sequence % columns.length];
      this.#packets += each.count;
      bus.publish(subject, frameOf(each, ++sequence, viewNumber(), Date.now()));
    }, liveEveryMs);
  }

  get packetsPerSecond(): number {
    return (1_000 * this.#packets) / (performance.now() - this.#startedAtMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
