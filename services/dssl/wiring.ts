// What the pure parts of an actor ask of the world, in terms of the bus, the log and the clock: the ports of recovery and of the steward.

import type { Bus, Subscription } from '../../shared/bus/bus.ts';
import type { Command } from '../../shared/log/records/command.ts';
import { isLifeOf } from '../../shared/membership/transitions.ts';
import type { ActorLog, DsslActor, DsslActorOptions } from './actor.ts';
import type { Failover } from './failover/failover.ts';
import type { HeldFlows } from './failover/heldFlows.ts';
import type { LogLine } from './logLine.ts';
import type { Balancer, BalancerPorts } from './member/balancer.ts';
import type { Beats } from './member/beats.ts';
import type { Proposals } from './member/proposals.ts';
import type { StewardPorts } from './member/steward.ts';
import { encodePeer, type PeerMessage } from './recovery/messages.ts';
import type { Recovery, RecoveryPorts } from './recovery/recovery.ts';

export interface RecoveryParts {
  /** The log, once it is open. */
  line(): LogLine | undefined;
  readonly held: HeldFlows;
  onLost(reason: string): void;
}

export function recoveryPorts(options: DsslActorOptions, { line, held, onLost }: RecoveryParts): RecoveryPorts {
  const { birth, controlBus, subjects, egress, clock, log } = options;
  return {
    read: (after, expect) => line()?.read(after, expect),
    stopReading: () => line()?.stopReading(),
    scout: (after) => line()?.scout(after),
    stopScouting: () => line()?.stopScouting(),
    isScoutCurrent: () => line()?.isScoutCurrent === true,
    lookAtLog: () => line()?.look(),
    makeLog: () => line()?.make(),
    toPeer: (server, message) => void controlBus.publish(subjects.peer(birth.group, server), encodePeer(message)),
    toGroup: (message) => void controlBus.publish(subjects.control(birth.group), encodePeer(message)),
    append: (command) => line()?.append(command),
    onFlow: (kind, hi, lo) => {
      const timestampMs = clock.nowMs();
      if (kind === 'moved') egress.flowEnded(hi, lo, 'moved', timestampMs);
      else if (!held.goesOn(hi, lo)) egress.flowStarted(hi, lo, timestampMs);
    },
    onLost,
    tell: (kind, fields, message) => log[kind](fields, message),
  };
}

export function balancerPorts(
  { birth, candidate, gossipBus, subjects, clock, log }: DsslActorOptions,
  actor: Pick<DsslActor, 'balancer' | 'recovery'>,
  proposals: Proposals,
): BalancerPorts {
  const { server, incarnation } = candidate;
  let heard: Subscription | undefined;
  return {
    summary: (message) => void gossipBus.publish(subjects.summary(birth.group), message),
    listen: (isOn) => {
      heard?.unsubscribe();
      const onSummary = (data: Uint8Array) => actor.balancer.onSummary(data, clock.monotonicMs());
      heard = isOn ? gossipBus.subscribe(subjects.every('summary'), onSummary) : undefined;
    },
    move: (life, to) => {
      const { isWhole, replica } = actor.recovery;
      const author = { server, incarnation };
      const command = { kind: 'move', author, epoch: replica?.epoch?.id ?? '', life, to } as const;
      if (isWhole) proposals.propose(`move ${life.server}`, command, clock.monotonicMs());
    },
    tell: (kind, fields, message) => log[kind](fields, message),
  };
}

export interface StewardParts {
  readonly proposals: Proposals;
  readonly recovery: Recovery;
  readonly failover: Failover;
  readonly beats: Beats;
  readonly balancer: Balancer;
  /** Entries that wait in the log, and their age. */
  lag(): { readonly entries: number; readonly ms: number };
}

export function stewardPorts(
  options: DsslActorOptions,
  { proposals, recovery, failover, beats, balancer, lag }: StewardParts,
): StewardPorts {
  const { birth, candidate, gossipBus, controlBus, subjects, clock, log, load } = options;
  const gossipSubject = subjects.gossip(birth.group);
  const beatSubject = subjects.beat(birth.group, candidate.server);
  const common = () => ({
    author: { server: candidate.server, incarnation: candidate.incarnation },
    epoch: recovery.replica?.epoch?.id ?? '',
  });
  // Only who follows the line may speak in it: what another one appends would pass for a sign that somebody does.
  const propose = (name: string, command: Command) => {
    if (recovery.isWhole) proposals.propose(name, command, clock.monotonicMs());
  };
  // A member whose gossip cannot get out lives all the same.
  const say = (subject: string, message: Uint8Array) =>
    void (gossipBus.publish(subject, message) || controlBus.publish(subject, message));
  return {
    beat: (message) => say(beatSubject, message),
    gossip: (message) => say(gossipSubject, message),
    watch: (servers) => beats.watch(servers),
    remove: (life, handled) => propose(`remove ${life.server}`, { kind: 'remove', ...common(), life, handled }),
    weigh: (weights) => propose('weigh', { kind: 'weigh', ...common(), weights }),
    load: () => load?.(clock.monotonicMs()),
    line: () => recovery.report(lag().entries, lag().ms, (epoch) => failover.handledOf(epoch)),
    lineState: () => recovery.state,
    protection: () => failover.protection(),
    digests: () => recovery.book.takeUnsaid(),
    onState: (message, nowMs) => {
      recovery.onGossip(message, nowMs);
      balancer.onState(message);
      failover.states?.onGossip(message);
    },
    onDead: ({ server }, silentMs) =>
      log.warn({ server, silentMs: Math.round(silentMs) }, 'member has fallen silent; proposing to remove it'),
  };
}

/** Somebody asks whether this life is alive. */
export function answerProbe(
  { birth, candidate, controlBus, subjects }: DsslActorOptions,
  { server, nonce, asked }: PeerMessage & { readonly kind: 'probe' },
): void {
  if (!isLifeOf(asked, candidate)) return;
  const { incarnation } = candidate;
  controlBus.publish(
    subjects.peer(birth.group, server),
    encodePeer({ kind: 'alive', server: candidate.server, incarnation, nonce }),
  );
}

/** The log was missing, and was made, or why it could not be. */
export function tellMade(log: ActorLog, group: string, problem: string | undefined): void {
  if (problem === undefined) log.info({ group }, 'made the log of the group, which was missing');
  else log.warn({ group, reason: problem }, 'the log of the group is missing, and could not be made');
}

/**
 * Calls `fn` whenever the connection is back, until the returned function is called. A bus keeps its listeners as long as it
 * lives, and outlives actors: what it keeps of one that has stopped is this and nothing behind it.
 */
export function onReconnected(bus: Bus, fn: () => void): () => void {
  let listener: (() => void) | undefined = fn;
  bus.onStatus(({ kind }) => {
    if (kind === 'reconnected') listener?.();
  });
  return () => {
    listener = undefined;
  };
}
