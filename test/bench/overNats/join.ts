// How long a server takes to join a group that holds a million flows, and what that costs the members meanwhile: two members hold
// half of the flows each, tier 1 goes on sending packets of them, and a third server joins, in a process of its own. In the end all
// replicas have to be equal at one position of the log, or the benchmark fails.

import type { LogSettings } from '../../../shared/log/log.ts';
import type { ActorCounts } from '../processes/roles.ts';
import { type BenchmarkResult, median, rounded } from '../runner.ts';
import { ProcessGroup, pause, within, withNatsServer } from './nats.ts';

const flows = 1_000_000;
const members = 2;
const rounds = 3;
const livePacketsPerSecond = 20_000;
const controlSeconds = 1;
const patienceMs = 60_000;
const lookEveryMs = 100;
const log: LogSettings = { retention: { ageMs: 10_000, bytes: 256 * 1024 * 1024 }, storage: 'file', replicas: 1 };

export function run(say: (line: string) => void): Promise<BenchmarkResult> {
  return withNatsServer(async (server) => {
    say(`joining: two members get ${flows} flows`);
    const group = await ProcessGroup.start({ url: server.url, cluster: 'bench-join', log, flows }, members);
    try {
      // The first packets open the flows, the second ones make them established.
      for (let time = 0; time < 2; time++) await catchUp(group, (await group.tier1.call('send', flows)).end);
      await group.tier1.call('pace', livePacketsPerSecond);
      const joinMs: number[] = [];
      const peerPauseMs: number[] = [];
      const joinerPauseMs: number[] = [];
      const controlPauseMs: number[] = [];
      let known = 0;
      for (let round = 1; round <= rounds; round++) {
        say(`joining, round ${round} of ${rounds}`);
        const peers = [...group.actors.values()];
        const name = `s${members + round}`;
        const joiner = await group.add(name);
        // The same without a joiner: pauses that are the machine's.
        await group.all((actor) => actor.call('watch'));
        await pause(controlSeconds * 1_000);
        controlPauseMs.push(...(await Promise.all(peers.map((peer) => peer.call('pauseMs')))));
        await group.all((actor) => actor.call('watch'));
        joinMs.push(await joiner.call('join'));
        peerPauseMs.push(...(await Promise.all(peers.map((peer) => peer.call('pauseMs')))));
        joinerPauseMs.push(await joiner.call('pauseMs'));
        known = await assertEqual(group);
        // Each round begins with the same two members: the joiner is dead to them, and has to be found out first.
        await group.kill(name);
        const isOut = ({ members }: ActorCounts) => members[name] === undefined;
        await within(patienceMs, `${name} is out of the view`, untilAll(group, isOut));
      }
      await group.tier1.call('pace', 0);
      const { received, stored } = await group.tier1.call('counts');
      return [
        {
          key: 'joinMs',
          value: median(joinMs),
          unit: 'ms',
          target: { atMost: 1_000 },
          explain: {
            about: 'from the start of an actor that is connected until new flows may be placed at it',
            flows,
            flowsKnown: known,
            livePacketsPerSecond,
            livePackets: received - 2 * flows,
            notStored: received - stored,
            rounds: joinMs.map(rounded),
          },
        },
        {
          key: 'joinPauseMsMax',
          value: { peer: Math.max(...peerPauseMs), control: Math.max(...controlPauseMs) },
          unit: 'ms',
          target: { peer: { atMost: 10 } },
          explain: {
            about: 'longest pause of the event loop of a member meanwhile; control: in as long a time before',
            rounds: peerPauseMs.map(rounded),
            control: controlPauseMs.map(rounded),
            joiner: joinerPauseMs.map(rounded),
          },
        },
      ];
    } finally {
      await group.stop();
    }
  });
}

async function catchUp(group: ProcessGroup, position: number): Promise<void> {
  const reached = group.all((actor) => actor.call('reach', position));
  await within(patienceMs, `all members come to position ${position}`, reached);
}

async function untilAll(group: ProcessGroup, holds: (counts: ActorCounts) => boolean): Promise<void> {
  while (!(await group.all((actor) => actor.call('counts'))).every(holds)) await pause(lookEveryMs);
}

/** Stops the traffic until the members stand at one position, and compares their states; the number of flows they know. */
async function assertEqual(group: ProcessGroup): Promise<number> {
  await group.tier1.call('pace', 0);
  try {
    return await within(patienceMs, 'all members stand at one position', equalFlows(group));
  } finally {
    await group.tier1.call('pace', livePacketsPerSecond);
  }
}

async function equalFlows(group: ProcessGroup): Promise<number> {
  for (;;) {
    const states = await group.all((actor) => actor.call('fingerprint'));
    const [first] = states;
    if (states.every(({ position }) => position === first.position)) {
      if (states.some(({ sums }) => sums !== first.sums))
        throw new Error(`states differ at ${first.position}: ${states.map((each) => each.flows).join(', ')} flows`);
      return first.flows;
    }
    await pause(lookEveryMs);
  }
}
