// How far a drain has come, for people: how many flows are left, how long the most silent one has been silent, and when the
// last one may be expected to have ended.
//
// Flows of a draining server end because their protocols say so, at the pace at which the clients finish, or by silence, at
// their idle limit. While some end, the pace of the last seconds tells when all will have. Where all are silent the table
// itself tells: the last one ends when its limit is over. Flows of which packets come and none ends lately may go on
// for ever, and then nothing is expected but the deadline.
//
// The table is looked through in slices, so that a drain of millions of flows holds nothing up; what is said of it is as old
// as one such pass.

import { limits } from '../../../shared/base/limits.ts';
import { idleIndexOf, ownerOf } from '../replica/flows/entry.ts';
import type { FlowTable } from '../replica/flows/table.ts';
import { msPerTick } from '../replica/ticks.ts';

export interface DrainProgressOptions {
  /** Server number of the draining server. */
  readonly self: number;
  /** As the table has them. */
  readonly idleTicks: ArrayLike<number>;
  /** When the server leaves in any case. All times here are of one clock that is never set back. */
  readonly deadlineMs: number;
}

/** Whole seconds. */
export interface DrainState {
  readonly flowsLeft: number;
  /** Packet time since the last packet of the own flow that has been silent longest; undefined until all were looked at. */
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
const sliceSlots = 65_536;

export class DrainProgress {
  readonly #options: DrainProgressOptions;
  readonly #samples: Sample[] = [];
  #cursor = 0;
  #pass = newPass();
  #whole: Pass | undefined;

  constructor(options: DrainProgressOptions) {
    this.#options = options;
  }

  /** Looks at some more of the table, `tick` being the packets' time now. To be called several times a second. */
  look(table: Pick<FlowTable, 'scan'>, tick: number, nowMs: number): void {
    const { self, idleTicks } = this.#options;
    const pass = this.#pass;
    this.#cursor = table.scan(this.#cursor, sliceSlots, (_hi, _lo, lastSeen, info) => {
      if (ownerOf(info) !== self) return;
      const age = Math.max(0, (tick - lastSeen) | 0);
      pass.flows++;
      pass.oldest = Math.max(pass.oldest, age);
      pass.youngest = Math.min(pass.youngest, age);
      pass.left = Math.max(pass.left, idleTicks[idleIndexOf(info)] - age);
    });
    if (this.#cursor >= 0) return;
    pass.endedAtMs = nowMs;
    this.#whole = pass;
    this.#pass = newPass();
    this.#cursor = 0;
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
    return Math.max(0, whole.left * msPerTick - sinceMs) + limits.clockErrorMs;
  }
}

function newPass(): Pass {
  return { flows: 0, oldest: 0, youngest: Number.POSITIVE_INFINITY, left: 0, endedAtMs: 0 };
}

function secondsOf(ms: number): number {
  return Math.round(ms / 1_000);
}
