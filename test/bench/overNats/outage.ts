// What the death of a NATS server costs: a group under a steady load of a live input, which nothing can ask to wait. Every packet
// has a number. In the end each was either accepted by exactly one server, or tier 1 counts it as one that the log did not take.

import type { NatsServer } from '../../support/natsServer.ts';
import { machineMs } from '../processes/clock.ts';
import { tally } from '../processes/marks.ts';
import { rounded } from '../runner.ts';
import { type ProcessGroup, pause, within } from './nats.ts';

export const packetsPerSecond = 10_000;
const warmUpMs = 2_000;
const patienceMs = 60_000;
const lookEveryMs = 20;
/** Packets must flow for so long before an outage counts as over. */
const steadyMs = 1_500;

export interface Outage {
  /** From the kill until the last of the actors had a packet again. */
  readonly packetsAgainMs: number;
  /** From the kill until the log has stored a frame again. */
  readonly appendsAgainMs: number;
}

export interface Balance {
  readonly received: number;
  readonly accepted: number;
  /** Packets that no server got. */
  readonly lost: number;
  /** Packets that tier 1 says the log did not take. */
  readonly dropped: number;
  /** Lost ones that tier 1 does not know of. */
  readonly unaccounted: number;
  readonly double: number;
  readonly removed: number;
}

/** Kills a server under load, sees to it that `revive` is done, and waits until packets flow again. */
export async function breakDown(group: ProcessGroup, server: NatsServer, revive: () => Promise<void>): Promise<Outage> {
  await group.tier1.call('pace', packetsPerSecond);
  await pause(warmUpMs);
  await Promise.all([group.tier1.call('watch'), group.all((actor) => actor.call('watch'))]);
  const killedMs = machineMs();
  await server.kill();
  await revive();
  await within(patienceMs, 'packets flow again', untilFlowing(group, killedMs));
  await pause(steadyMs);
  const pauses = (await group.all((actor) => actor.call('marks'))).map((marks) => marks.pause);
  const { pause: ofAppends } = await group.tier1.call('counts');
  await group.tier1.call('pace', 0);
  return {
    packetsAgainMs: Math.max(...pauses.map(({ toMs }) => toMs - killedMs)),
    appendsAgainMs: ofAppends.toMs - killedMs,
  };
}

/** To be asked when nothing is under way any more. */
export async function balanceOf(group: ProcessGroup, members: number): Promise<Balance> {
  const { received, dropped: drops, end, uncertain, underWay } = await group.tier1.call('counts');
  const reached = group.all((actor) => actor.call('reach', end));
  await within(patienceMs, 'all members come to the end of the log', reached);
  const { got, double } = tally(await group.all((actor) => actor.call('marks')));
  const dropped = Object.values(drops).reduce((sum, each) => sum + each, 0);
  const counts = await group.all((actor) => actor.call('counts'));
  const stayed = Math.min(...counts.map(({ members }) => Object.keys(members).length));
  const lost = received - got;
  if (underWay > 0) throw new Error(`${underWay} packets are still under way`);
  // Of uncertain ones nobody can know, so some may have been accepted all the same.
  if (lost < dropped - uncertain) throw new Error(`${lost} packets are lost, and ${dropped} were dropped`);
  return {
    received,
    accepted: got,
    lost,
    dropped,
    unaccounted: Math.max(0, lost - dropped),
    double,
    removed: members - stayed,
  };
}

export function describe(outages: readonly Outage[]): object {
  return {
    packetsAgainMs: outages.map(({ packetsAgainMs }) => rounded(packetsAgainMs)),
    appendsAgainMs: outages.map(({ appendsAgainMs }) => rounded(appendsAgainMs)),
  };
}

/** Every actor has a packet from later than that. */
async function untilFlowing(group: ProcessGroup, afterMs: number): Promise<void> {
  const before = await packetsOf(group);
  for (;;) {
    await pause(lookEveryMs);
    const now = await packetsOf(group);
    if (machineMs() > afterMs && now.every((packets, index) => packets > before[index])) return;
  }
}

async function packetsOf(group: ProcessGroup): Promise<number[]> {
  return (await group.all((actor) => actor.call('counts'))).map(({ packets }) => packets);
}
