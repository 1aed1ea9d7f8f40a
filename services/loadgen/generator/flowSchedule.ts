// Who sends the next packet when traffic is given by flows a second: see generatorSchedule.ts.
//
// A class waits in a ring: whoever has sent goes to its end, and is due again when the class's gap is over. A flow that
// would begin while all slots of its class are taken is put off until one is free, and counted.

import type { Prng } from '../../../shared/base/prng.ts';
import type { ClassState, Flows } from './flows.ts';
import type { GeneratorStats } from './generator.ts';
import { check } from './populations.ts';
import { Arrivals, type Schedule } from './schedule.ts';

export interface FlowScheduleOptions {
  readonly startMs: number;
  readonly flowsPerSecond: number;
  readonly flowPps: number;
  readonly isPoisson: boolean;
}

export class FlowSchedule implements Schedule {
  slot = -1;
  dueMs = 0;
  readonly #flows: Flows;
  readonly #stats: GeneratorStats;
  readonly #prng: Prng;
  readonly #arrivals: Arrivals;
  readonly #lanes: readonly Lane[];
  readonly #shares: readonly number[];
  #lane: Lane;
  #burstLeft = 0;

  constructor(flows: Flows, options: FlowScheduleOptions, prng: Prng, stats: GeneratorStats) {
    const { startMs, flowsPerSecond, flowPps, isPoisson } = options;
    check(flowsPerSecond > 0, `flowsPerSecond: ${flowsPerSecond} is not above 0`);
    check(flowPps > 0, `flowPps: ${flowPps} is not above 0`);
    for (const { flowClass, meanPackets } of flows.classes)
      check(Number.isFinite(meanPackets), `flowsPerSecond: flows of ${flowClass.name} have no end`);
    this.dueMs = startMs;
    this.#flows = flows;
    this.#stats = stats;
    this.#prng = prng;
    this.#arrivals = new Arrivals(startMs, flowsPerSecond, isPoisson ? prng : undefined);
    const sum = (share: (state: ClassState) => number) => flows.classes.reduce((all, state) => all + share(state), 0);
    const flowShares = sum(({ flowClass }) => flowClass.flowShare);
    const packetShares = sum(({ flowClass }) => flowClass.packetShare);
    this.#lanes = flows.classes.map((state) => {
      const { flowShare, packetShare } = state.flowClass;
      return new Lane(state, (1_000 * packetShares * flowShare) / (flowPps * packetShare * flowShares));
    });
    this.#lane = this.#lanes[0]!;
    const begins = ({ flowClass, meanPackets }: ClassState) => flowClass.packetShare / meanPackets;
    const all = sum(begins);
    this.#shares = flows.classes.map((state) => Math.max(1, Math.round((begins(state) / all) * 2 ** 24)));
  }

  ready(): boolean {
    while (this.slot < 0) {
      let first: Lane | undefined;
      let dueMs = Number.POSITIVE_INFINITY;
      for (const lane of this.#lanes) {
        if (lane.dueMs >= dueMs) continue;
        first = lane;
        dueMs = lane.dueMs;
      }
      if (this.#flows.mayBegin && this.#arrivals.dueMs <= dueMs) this.#begin();
      else if (first === undefined) return false;
      else {
        this.dueMs = dueMs;
        this.#goOn(first, first.take());
      }
    }
    return true;
  }

  sent(last: boolean): void {
    const { slot } = this;
    const lane = this.#lane;
    this.#burstLeft--;
    if (!last) {
      if (this.#burstLeft > 0) return;
      lane.put(slot, this.dueMs);
    } else if (lane.putOff > 0 && this.#flows.begin(slot)) {
      lane.putOff--;
      this.#goOn(lane, slot);
      return;
    } else {
      lane.release(slot);
    }
    this.slot = -1;
  }

  /** Begins the flow that is due, in a free slot of its class. */
  #begin(): void {
    this.dueMs = this.#arrivals.dueMs;
    this.#arrivals.next();
    const lane = this.#lanes[this.#prng.pickWeighted(this.#shares)]!;
    const slot = lane.takeFree();
    if (slot < 0) {
      lane.putOff++;
      this.#stats.flowsDeferred++;
      return;
    }
    this.#flows.begin(slot);
    this.#goOn(lane, slot);
  }

  #goOn(lane: Lane, slot: number): void {
    this.#lane = lane;
    this.#burstLeft = lane.burst;
    this.slot = slot;
  }
}

/** The slots of a class: those that wait for their turn, in its order, and those that are free, longest free first. */
class Lane {
  /** When the first one is due; Infinity when nobody waits. */
  dueMs = Number.POSITIVE_INFINITY;
  putOff = 0;
  readonly burst: number;
  readonly #gapMs: number;
  readonly #waiting: Int32Array;
  readonly #due: Float64Array;
  readonly #free: Int32Array;
  #waitingHead = 0;
  #waitingCount = 0;
  #freeHead = 0;
  #freeCount: number;

  /** `gapMs` is the mean time between two packets of a flow; bursts are as much further apart. */
  constructor(state: ClassState, gapMs: number) {
    this.burst = state.burst;
    this.#gapMs = gapMs * state.burst;
    this.#waiting = new Int32Array(state.slots);
    this.#due = new Float64Array(state.slots);
    this.#free = Int32Array.from({ length: state.slots }, (_, index) => state.first + index);
    this.#freeCount = state.slots;
  }

  /** The slot that is due first. There must be one. */
  take(): number {
    const slot = this.#waiting[this.#waitingHead]!;
    this.#waitingHead = (this.#waitingHead + 1) % this.#waiting.length;
    this.#waitingCount--;
    this.dueMs = this.#waitingCount > 0 ? this.#due[this.#waitingHead]! : Number.POSITIVE_INFINITY;
    return slot;
  }

  /** Lets a slot that has sent at `nowMs` wait for its next turn. */
  put(slot: number, nowMs: number): void {
    const at = (this.#waitingHead + this.#waitingCount) % this.#waiting.length;
    this.#waiting[at] = slot;
    this.#due[at] = nowMs + this.#gapMs;
    if (this.#waitingCount++ === 0) this.dueMs = this.#due[at]!;
  }

  /** A free slot, or -1. */
  takeFree(): number {
    if (this.#freeCount === 0) return -1;
    const slot = this.#free[this.#freeHead]!;
    this.#freeHead = (this.#freeHead + 1) % this.#free.length;
    this.#freeCount--;
    return slot;
  }

  release(slot: number): void {
    this.#free[(this.#freeHead + this.#freeCount) % this.#free.length] = slot;
    this.#freeCount++;
  }
}
