// How busy a server is, put together: what its actor has counted, what the machine says (services/cli/process/machineLoad.ts) and what
// the server says of itself become the one `Load` that the group is told.
//
// Nothing is counted here for a packet. Actor and egress keep running totals anyway; a sample about once a second and the
// difference over the last few seconds give the rates. A span, and no running mean: it forgets a burst as soon as it is
// over, and policies smooth for themselves.

import type { Load } from '../../../shared/membership/load.ts';

/** What the machine says about the actor's process. */
export interface MachineLoad {
  /** Mean delay of the event loop since it was read last, in milliseconds. */
  readonly loopDelayMs: number;
  /** Processor time for wall time since it was read last: 1 is one core, wholly busy. */
  readonly cpu: number;
  readonly memoryBytes: number;
  /** Degrees Celsius. */
  readonly temperature: number | undefined;
}

/** What the server says of itself; see `Load`. */
export interface HandlerLoad {
  readonly handler: number | undefined;
  readonly latencyMs: number | undefined;
  readonly loss: number | undefined;
}

export interface LoadSample {
  readonly flows: number;
  /** Totals since the start. One that has become smaller belongs to another life: rates begin anew. */
  readonly acceptedPackets: number;
  readonly acceptedBytes: number;
  readonly newFlows: number;
  /** 0 to 1. */
  readonly tableFill: number;
  readonly machine: MachineLoad;
  readonly handler: HandlerLoad;
}

interface Totals {
  readonly atMs: number;
  readonly packets: number;
  readonly bytes: number;
  readonly newFlows: number;
}

/** Rates are those of about so long. */
const spanMs = 5_000;
/** Samples closer together than this share a place, so that whoever asks often does not shorten the span. */
const apartMs = 500;
/** Loads travel as thousandths in whole numbers. */
const most = Math.floor(Number.MAX_SAFE_INTEGER / 1_000);

export class LoadMeter {
  /** Totals at moments of the last `spanMs`, and the one before: the base of the rates comes first. */
  #totals: Totals[] = [];

  /** Takes a sample; the answer is the load at `nowMs`. Rates are 0 until there are two samples. */
  sample(sample: LoadSample, nowMs: number): Load {
    const totals = {
      atMs: nowMs,
      packets: sample.acceptedPackets,
      bytes: sample.acceptedBytes,
      newFlows: sample.newFlows,
    };
    const base = this.#note(totals);
    const seconds = (nowMs - base.atMs) / 1_000;
    const rate = (name: 'packets' | 'bytes' | 'newFlows') => (seconds > 0 ? (totals[name] - base[name]) / seconds : 0);
    const { machine, handler } = sample;
    return {
      flows: number(sample.flows),
      newFlows: number(rate('newFlows')),
      packets: number(rate('packets')),
      bytes: number(rate('bytes')),
      loopDelayMs: number(machine.loopDelayMs),
      cpu: number(machine.cpu),
      memoryBytes: number(machine.memoryBytes),
      tableFill: number(sample.tableFill),
      temperature: Number.isFinite(machine.temperature) ? machine.temperature : undefined,
      handler: orMissing(handler.handler),
      latencyMs: orMissing(handler.latencyMs),
      loss: orMissing(handler.loss),
    };
  }

  /** Keeps the totals; returns those that they are to be compared with. */
  #note(totals: Totals): Totals {
    const newest = this.#totals.at(-1);
    if (newest !== undefined && !follows(totals, newest)) this.#totals = [];
    while (this.#totals.length > 1 && totals.atMs - this.#totals[1].atMs >= spanMs) this.#totals.shift();
    const base = this.#totals[0] ?? totals;
    const before = this.#totals.at(-1);
    if (before === undefined || totals.atMs - before.atMs >= apartMs) this.#totals.push(totals);
    return base;
  }
}

/** The same life, and a clock that was not set back. */
function follows(totals: Totals, former: Totals): boolean {
  if (totals.atMs < former.atMs || totals.packets < former.packets) return false;
  return totals.bytes >= former.bytes && totals.newFlows >= former.newFlows;
}

/** What a message can carry. */
function number(value: number): number {
  return Number.isFinite(value) ? Math.min(Math.max(value, 0), most) : 0;
}

function orMissing(value: number | undefined): number | undefined {
  return value === undefined || !Number.isFinite(value) ? undefined : number(value);
}
