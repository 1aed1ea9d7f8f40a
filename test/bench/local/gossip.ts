// What groups of stewards do in virtual time: nothing here depends on the machine, and one seed gives the same figures
// every time. Time passes in steps of 10 ms, and messages take up to that.

import { Prng } from '../../../shared/base/prng.ts';
import { defaultSettings } from '../../../shared/config/settings.ts';
import type { Load } from '../../../shared/membership/load.ts';
import { StewardGroup } from '../../support/stewards.ts';
import { type BenchmarkResult, percentile, rounded } from '../runner.ts';

const members = 12;
const seed = 1;
const pausedSeconds = 3_600;
const steadySeconds = 600;
const kills = 500;
/** Shorter than what costs a place: silence for `suspectMs` and then `confirmMs`. */
const pauseMsMost = 500;
const sizes = [10, 100, 1_000] as const;
/** In the largest group each member says where it stands every ten seconds: in so long a time, once. */
const gossipSeconds = 10;
/** Nobody is judged in the first moments. */
const quietMs = 4_000;
const giveUpMs = 30_000;

export function run(say: (line: string) => void): BenchmarkResult {
  say(`simulated: an hour of ${members} members with pauses`);
  const paused = pausedGroup(pausedSeconds, pauseMsMost);
  say('simulated: nothing happens');
  const steady = new StewardGroup({ members, seed });
  steady.run(1_000 * steadySeconds);
  say(`simulated: ${kills} kills`);
  const tookMs = detectMs(kills);
  const bytes: Record<string, number> = {};
  const messages: Record<string, number> = {};
  for (const size of sizes) {
    say(`simulated: gossip of ${size} members`);
    const { sent, heard, messagesHeard } = gossipOf(size, gossipSeconds);
    bytes[`sentAt${size}`] = sent;
    bytes[`heardAt${size}`] = heard;
    messages[`heardAt${size}`] = rounded(messagesHeard);
  }
  const { watching } = defaultSettings;
  return {
    figures: [
      {
        key: 'falseRemovals',
        value: paused.removals,
        unit: 'members/h',
        target: { atMost: 0 },
        explain: { about: 'an hour of virtual time', members, seed, ...paused },
      },
      {
        key: 'viewChangesPerMinute',
        value: steady.changes.length / (steadySeconds / 60),
        unit: '1/min',
        target: { atMost: 0 },
        explain: { about: 'nobody comes, leaves, dies or pauses', members, virtualSeconds: steadySeconds },
      },
      {
        key: 'detectMs',
        value: { p50: percentile(tookMs, 0.5), p99: percentile(tookMs, 0.99) },
        unit: 'ms',
        explain: {
          about: 'from the death of a member to the view without it, in virtual time in steps of 10 ms',
          members,
          kills,
          max: Math.max(...tookMs),
          watching,
        },
      },
      {
        key: 'gossipBytesPerSecond',
        value: bytes,
        unit: 'bytes/s',
        explain: {
          about: 'of one member, its own beats that come back included; messages without what NATS puts around them',
          virtualSeconds: gossipSeconds,
          messagesPerSecond: messages,
        },
      },
    ],
  };
}

export interface PausedGroup {
  readonly removals: number;
  readonly pauses: number;
  readonly suspicions: number;
  readonly refutations: number;
}

/**
 * A group whose members stand still again and again, each by itself: for 10 ms to `pauseMsMax`, and between two pauses for
 * 100 ms to three seconds not.
 */
export function pausedGroup(seconds: number, pauseMsMax: number): PausedGroup {
  const group = new StewardGroup({ members, seed });
  const prng = new Prng(seed).fork('pauses');
  const gapMs = () => prng.between(100, 3_000);
  const nextMs = group.members.map(() => quietMs + gapMs());
  let pauses = 0;
  group.run(1_000 * seconds, (nowMs) => {
    for (const [index, member] of group.members.entries()) {
      if (nowMs < nextMs[index]) continue;
      pauses++;
      member.pausedUntilMs = nowMs + prng.between(10, pauseMsMax);
      nextMs[index] = member.pausedUntilMs + gapMs();
    }
  });
  const sum = (key: 'suspicions' | 'refutations') =>
    group.members.reduce((total, { steward }) => total + steward.counters[key], 0);
  const removals = members - group.view.members.length;
  return { removals, pauses, suspicions: sum('suspicions'), refutations: sum('refutations') };
}

/** Times from a death to the view without the dead, one for each of so many groups. */
export function detectMs(count: number): number[] {
  const prng = new Prng(seed).fork('kills');
  return Array.from({ length: count }, (_, index) => {
    const group = new StewardGroup({ members, seed: index + 1 });
    group.run(quietMs + prng.below(1_000));
    const victim = prng.pick(group.members);
    const killedAtMs = group.nowMs;
    victim.isAlive = false;
    while (group.present.includes(victim.name)) {
      if (group.nowMs - killedAtMs > giveUpMs)
        throw new Error(`${victim.name} is still a member ${giveUpMs} ms after its death (seed ${index + 1})`);
      group.run(10);
    }
    if (group.present.length !== members - 1) throw new Error(`another one was removed too (seed ${index + 1})`);
    return group.nowMs - killedAtMs;
  });
}

/** What a member of a group of this size sends and hears in a second, on average, from the moment that all begin. */
export function gossipOf(size: number, seconds: number): { sent: number; heard: number; messagesHeard: number } {
  const group = new StewardGroup({ members: size, seed });
  for (const member of group.members) member.load = usualLoad;
  group.run(1_000 * seconds);
  const perSecond = (total: number) => total / (size * seconds);
  const sum = (key: 'bytesSent' | 'bytesHeard') =>
    group.members.reduce((total, { steward }) => total + steward.counters[key], 0);
  return {
    sent: perSecond(sum('bytesSent')),
    heard: perSecond(sum('bytesHeard')),
    messagesHeard: perSecond(group.deliveries),
  };
}

/** A server at work: numbers of usual length. */
const usualLoad: Load = {
  flows: 41_873,
  newFlows: 1_204.3,
  packets: 48_211.7,
  bytes: 30_518_006.1,
  loopDelayMs: 1.3,
  cpu: 0.412,
  memoryBytes: 187_420_672,
  tableFill: 0.12,
  temperature: 54,
  handler: 0.35,
  latencyMs: 4.2,
  loss: 0.001,
};
