// What a DSSL process came to: the counts of its lives, added up, when it ends.

import type { Logger } from 'pino';
import type { DsslActor } from '../../../dssl/actor.ts';
import type { ReceiptEgress } from '../../../dssl/egress/remote/receipts.ts';
import type { ReplayCounters } from '../../../dssl/failover/replay.ts';
import { count, counted } from '../../../ops/numbers.ts';
import type { OpenedEgress } from '../../process/egress.ts';
import type { LogTarget } from '../../process/environment.ts';
import { tellReport } from '../../process/log.ts';
import { addNumbers, type Numbers, type ReplicaTally } from './tally.ts';

/** Counts of one life, or of several. */
export interface LifeCounts {
  readonly counts: Numbers & {
    readonly packets: number;
    readonly flows: number;
    readonly flowsLeft: number;
    /** What it has taken over from servers that died. */
    readonly failover: Numbers & ReplayCounters & { readonly promoted: number; readonly fencedRows: number };
    /** What became of its replica: states fetched, slices restored, entries that it passed over. */
    readonly recovery: { readonly skippedEntries: number };
  };
  /** What the server said of itself at the end of its last life, and under which name. */
  readonly part: OpenedEgress['part'];
  readonly report: Record<string, unknown>;
}

/** What a life leaves behind when it is over. */
export interface LifeEnding {
  readonly actor: DsslActor;
  readonly tally: ReplicaTally;
  /** Stopped. */
  readonly opened: OpenedEgress;
  readonly receipts: ReceiptEgress | undefined;
  /** Flows that went on elsewhere when the life ended without leaving, and those that it held at its end. */
  readonly flowsMoved: number;
  readonly flowsLeft: number;
}

export function countsOf({ actor, tally, opened, receipts, flowsMoved, flowsLeft }: LifeEnding): LifeCounts {
  const { egress, part } = opened;
  const { packets, bytes, flowsStarted, packetsLost, handlerErrors = 0 } = egress.stats;
  const counts = {
    packets,
    bytes,
    flows: flowsStarted,
    flowsLeft,
    flowsMoved,
    handlerErrors,
    packetsLost,
    ...tally.sum(),
    failover: { ...failoverOf(actor), ...actor.failover.states?.report() },
    recovery: { ...actor.recovery.counters, broken: { ...actor.recovery.counters.broken } },
    ...(receipts === undefined ? {} : { receipts: { rows: receipts.rows, unanswered: receipts.unanswered } }),
  };
  return { counts, part, report: egress.report() };
}

/** What it has taken over, and, where flows have backups, how many that had not ended it held at its end, and how many of them without one. */
function failoverOf({ failover }: DsslActor): LifeCounts['counts']['failover'] {
  const protection = failover.protection();
  const { fencedRows } = failover.lease.counters;
  const taken = { ...failover.replay.counters, promoted: protection?.promoted ?? 0, fencedRows };
  if (protection === undefined) return taken;
  return { ...taken, openFlows: protection.flows, unprotectedFlows: protection.unprotected };
}

/** The counts of both; of the later one what cannot be added up. */
export function addCounts(former: LifeCounts | undefined, later: LifeCounts): LifeCounts {
  if (former === undefined) return later;
  return { ...later, counts: addNumbers(former.counts, later.counts) as LifeCounts['counts'] };
}

/** A membership of a process that has ended. */
export interface SeatRun {
  readonly server: string;
  readonly group: string | undefined;
  readonly lives: number;
  readonly asJson: boolean;
}

export function tellCounts(
  { server, group, lives, asJson }: SeatRun,
  { counts, part, report }: LifeCounts,
  log: Logger,
  logTo: LogTarget | undefined,
): void {
  const { packets, flows, flowsLeft } = counts;
  const { skippedEntries } = counts.recovery;
  log.info({ packets, flows, flowsLeft, skippedEntries }, 'left');
  const inLives = lives === 1 ? '' : ` in ${lives} lives`;
  tellReport(
    log,
    logTo,
    asJson,
    { server, group, lives, ...counts, [part]: report },
    () =>
      `${server}${group === undefined ? '' : ` in ${group}`}: ${counted(packets, 'packet')} of ${counted(flows, 'flow')}${inLives}, ${counted(flowsLeft, 'flow')} left behind, ${counted(skippedEntries, 'entry', 'entries')} of the log passed over.\n${failoverWords(counts)}${answerWords(report)}`,
  );
}

/** What it has taken over from servers that died; nothing where that was nothing. */
function failoverWords({ failover }: LifeCounts['counts']): string {
  const { promoted, replays, replayedRows, unreplayed } = failover;
  if (promoted + replays === 0) return '';
  const took = `took over ${counted(promoted, 'flow')}, replayed ${counted(replayedRows, 'packet')} of ${counted(replays, 'server')}`;
  return `  ${took}${unreplayed > 0 ? `, could not replay ${count(unreplayed)}` : ''}\n`;
}

/** What became of a backend's answers that no client got; nothing where all of them went back. */
function answerWords({ answersDropped }: LifeCounts['report']): string {
  const dropped = Object.entries((answersDropped ?? {}) as Record<string, number>);
  if (dropped.length === 0) return '';
  const sum = dropped.reduce((total, [, answers]) => total + answers, 0);
  const causes = dropped.map(([cause, answers]) => `${cause} ${count(answers)}`);
  return `  ${counted(sum, 'answer')} of the backend not passed to clients: ${causes.join(', ')}\n`;
}
