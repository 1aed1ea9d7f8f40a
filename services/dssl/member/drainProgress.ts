// How far a drain has come, for people: how many flows are left, how long the most silent one has been silent, and when the
// last one may be expected to have ended.
//
// Flows of a draining server end because their protocols say so, at the pace at which the clients finish, or by silence, at
// their idle limit. While some end, the pace of the last seconds tells when all will have. Where all are silent the table
// itself tells: the last one ends when its limit is over. Flows of which packets come and none ends lately may go on
// for ever, and then nothing is expected but the deadline.
//
// The table is looked through a few slices at a time, so that a drain of millions of flows holds nothing up; what is said of it
// is as old as one such pass.

import { hasEnded } from '../replica/flowLife.ts';
import { sliceCount } from '../replica/flows/directory.ts';
import { idleIndexOf, ownerOf, stateOf } from '../replica/flows/entry.ts';
import type { FlowTable } from '../replica/flows/table.ts';
import { msPerTick } from '../replica/ticks.ts';
import { lingerMs } from './standing.ts';

/** What is looked through, of a replica. */
export interface DrainTables {
  /** Server number of the draining server. */
  readonly selfNumber: number;
  readonly table: Pick<FlowTable, 'scanSlice'>;
  /** By Fig. 6. */
  readonly ownTable?: Pick<FlowTable, 'scanSlice'> | undefined;
}

export interface DrainProgressOptions {
  /** As the table has them. */
  readonly idleTicks: ArrayLike<number>;
  /** When the server leaves in any case. All times here are of one clock that is never set back. */
  readonly deadlineMs: number;
}

/** Whole seconds. */
export interface DrainState {
  readonly flowsLeft: number;
  /** The log's time since the last packet of the own flow that has been silent longest; undefined until all were looked at. */
  readonly oldestSeconds: number | undefined;
  /** Until the last flow has ended, at the latest the deadline; undefined while nothing tells. */
  readonly expectedEndSeconds: number | undefined;
  readonly deadlineSeconds: number;
}

/** What one pass over the table has found, in ticks. */
interface Pass {
  flows: number;
  /** Of the flow silent longest, and of the one heard last. */
  oldest: number;
  youngest: number;
  /** Until the last of them ends by silence. */
  left: number;
  endedAtMs: number;
}

interface Sample {
  readonly flowsLeft: number;
  readonly atMs: number;
}

/** The pace is that of about so long. */
const paceMs = 15_000;
/** Nothing is said of a pace that was watched for less. */
const paceLeastMs = 1_000;
/** All flows are silent when none had a packet for so long. */
const silentTicks = 10_000 / msPerTick;
/** Entries after which a look is over: the next one goes on behind them. */
const lookEntries = 65_536;
/** A replica sweeps one slice a tick, so an entry that is over goes within so long. */
const sweptWithinMs = sliceCount * msPerTick;

export class DrainProgress {
  readonly #options: DrainProgressOptions;
  readonly #samples: Sample[] = [];
  #slice = 0;
  #pass = newPass();
  #whole: Pass | undefined;

  constructor(options: DrainProgressOptions) {
    this.#options = options;
  }

  /** Looks at some more of the tables, `tick` being the line's time now. To be called several times a second. */
  look({ selfNumber, table, ownTable }: DrainTables, tick: number, nowMs: number): void {
    const { idleTicks } = this.#options;
    const pass = this.#pass;
    let looked = 0;
    const visit = (_hi: number, _lo: number, lastSeen: number, info: number): void => {
      looked++;
      if (ownerOf(info) !== selfNumber) return;
      const age = Math.max(0, (tick - lastSeen) | 0);
      pass.flows++;
      pass.oldest = Math.max(pass.oldest, age);
      pass.youngest = Math.min(pass.youngest, age);
      // A server does not wait longer for what has ended.
      const limit = hasEnded(stateOf(info)) ? lingerMs / msPerTick : idleTicks[idleIndexOf(info)];
      pass.left = Math.max(pass.left, limit - age);
    };
    for (; this.#slice < sliceCount && looked < lookEntries; this.#slice++) {
      table.scanSlice(this.#slice, visit);
      ownTable?.scanSlice(this.#slice, visit);
    }
    if (this.#slice < sliceCount) return;
    pass.endedAtMs = nowMs;
    this.#whole = pass;
    this.#pass = newPass();
    this.#slice = 0;
  }

  /** Flows that are left. To be called about once a second. */
  sample(flowsLeft: number, nowMs: number): void {
    this.#samples.push({ flowsLeft, atMs: nowMs });
    while (this.#samples.length > 2 && nowMs - this.#samples[1].atMs >= paceMs) this.#samples.shift();
  }

  /** As of the newest sample. */
  state(nowMs: number): DrainState {
    const flowsLeft = this.#samples.at(-1)?.flowsLeft ?? 0;
    const leftMs = Math.max(0, this.#options.deadlineMs - nowMs);
    const endMs = flowsLeft === 0 ? 0 : this.#endMs(flowsLeft, nowMs);
    const whole = this.#whole;
    return {
      flowsLeft,
      oldestSeconds: whole === undefined || whole.flows === 0 ? undefined : secondsOf(whole.oldest * msPerTick),
      expectedEndSeconds: endMs === undefined ? undefined : secondsOf(Math.min(endMs, leftMs)),
      deadlineSeconds: secondsOf(leftMs),
    };
  }

  #endMs(flowsLeft: number, nowMs: number): number | undefined {
    const byPace = this.#endByPaceMs(flowsLeft);
    const bySilence = this.#endBySilenceMs(nowMs);
    if (byPace === undefined || bySilence === undefined) return byPace ?? bySilence;
    return Math.min(byPace, bySilence);
  }

  #endByPaceMs(flowsLeft: number): number | undefined {
    const first = this.#samples[0];
    const spanMs = (this.#samples.at(-1)?.atMs ?? 0) - (first?.atMs ?? 0);
    if (first === undefined || spanMs < paceLeastMs || first.flowsLeft <= flowsLeft) return undefined;
    return (flowsLeft * spanMs) / (first.flowsLeft - flowsLeft);
  }

  /** When all are silent: entries are swept a little after their limit. */
  #endBySilenceMs(nowMs: number): number | undefined {
    const whole = this.#whole;
    if (whole === undefined || whole.flows === 0 || whole.youngest < silentTicks) return undefined;
    const sinceMs = nowMs - whole.endedAtMs;
    return Math.max(0, whole.left * msPerTick - sinceMs) + sweptWithinMs;
  }
}

function newPass(): Pass {
  return { flows: 0, oldest: 0, youngest: Number.POSITIVE_INFINITY, left: 0, endedAtMs: 0 };
}

function secondsOf(ms: number): number {
  return Math.round(ms / 1_000);
}
