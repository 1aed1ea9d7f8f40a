// What a DSSL process came to: the counts of its lives, added up, when it ends.

import type { Logger } from 'pino';
import type { DsslActor } from '../../../dssl/actor.ts';
import type { ReceiptEgress } from '../../../dssl/egress/remote/receipts.ts';
import { count } from '../../../ops/words.ts';
import type { OpenedEgress } from '../../process/egress.ts';
import type { LogTarget } from '../../process/environment.ts';
import { tellReport } from '../../process/log.ts';

/** Numbers by name, in any depth. */
interface Counts {
  readonly [name: string]: number | Counts;
}

/** Counts of one life, or of several. */
export interface LifeCounts {
  readonly counts: Counts & {
    readonly packets: number;
    readonly flows: number;
    readonly flowsLeft: number;
    readonly frames: { readonly lost: number };
  };
  /** What the server said of itself at the end of its last life, and under which name. */
  readonly part: OpenedEgress['part'];
  readonly report: Record<string, unknown>;
}

/** The egress must be stopped. `flowsMoved`: held when the life was removed from its group. */
export function countsOf(
  { core }: DsslActor,
  { egress, part }: OpenedEgress,
  receipts: ReceiptEgress | undefined,
  flowsMoved: number,
): LifeCounts {
  const { packets, bytes, flowsStarted, packetsLost, handlerErrors = 0 } = egress.stats;
  const { lostFrames, repeatedFrames } = core.streams;
  const counts = {
    packets,
    bytes,
    flows: flowsStarted,
    flowsLeft: core.ownFlows,
    flowsMoved,
    handlerErrors,
    packetsLost,
    verdicts: { ...core.verdicts },
    frames: { ...core.counters, faults: { ...core.counters.faults }, lost: lostFrames, repeated: repeatedFrames },
    tables: { ...core.antiEntropy.counters },
    ...(receipts === undefined ? {} : { receipts: { rows: receipts.rows, unanswered: receipts.unanswered } }),
  };
  return { counts, part, report: egress.report() };
}

/** The counts of both; of the later one what cannot be added up. */
export function addCounts(former: LifeCounts | undefined, later: LifeCounts): LifeCounts {
  if (former === undefined) return later;
  return { ...later, counts: sumOf(former.counts, later.counts) as LifeCounts['counts'] };
}

export function tellCounts(
  { server, lives, asJson }: { readonly server: string; readonly lives: number; readonly asJson: boolean },
  { counts, part, report }: LifeCounts,
  log: Logger,
  logTo: LogTarget | undefined,
): void {
  const { packets, flows, flowsLeft } = counts;
  const lostFrames = counts.frames.lost;
  log.info({ packets, flows, flowsLeft, lostFrames }, 'left');
  const inLives = lives === 1 ? '' : ` in ${lives} lives`;
  tellReport(
    log,
    logTo,
    asJson,
    { server, lives, ...counts, [part]: report },
    () =>
      `${server}: ${count(packets)} packets of ${count(flows)} flows${inLives}, ${count(flowsLeft)} flows left behind, ${count(lostFrames)} frames lost on the bus.\n`,
  );
}

function sumOf(one: Counts, other: Counts): Counts {
  const sum: Record<string, number | Counts> = { ...one };
  for (const [name, value] of Object.entries(other)) {
    const former = sum[name];
    if (typeof value === 'number') sum[name] = value + (typeof former === 'number' ? former : 0);
    else sum[name] = typeof former === 'object' ? sumOf(former, value) : value;
  }
  return sum;
}
