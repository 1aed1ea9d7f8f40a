// Who sends the next packet, and when. There are two ways to say how much traffic there is:
//
//   by packets   `ratePps` packets a second, and always as many open flows as there are slots: a flow that ends is
//                followed by another one. Each packet is some flow's, chosen by its class's share of packets. The rate of
//                new flows follows: packets a second / packets of a flow.
//   by flows     `flowsPerSecond` new flows a second. Every flow sends at an even pace, so that the number of open flows
//                follows: flows a second * packets of a flow / pace (Little's law), and so does the packet rate.
//
// They describe one and the same traffic, seen from two sides: in both, a class has its share of packets and (on average)
// its share of open flows. For that the pace of a class is its share of packets over its share of flows, times the mean
// pace `flowPps`; and new flows are of a class by its share of packets over the packets of its flows.
//
// By flows, no queue needs to be sorted: all flows of a class have the same pace, so whoever sent longest ago is next in
// its class, and the next packet is that of the class whose next one is due first.
//
// Times are virtual, counted in milliseconds from the start that the options name.

import type { Prng } from '../../../shared/base/prng.ts';
import type { ClassState, Flows } from './flows.ts';
import { check, commonDivisor } from './populations.ts';

export interface Schedule {
  /** The slot whose flow sends next, with a flow in it, and when. Valid after ready() has returned true. */
  readonly slot: number;
  readonly dueMs: number;
  /** Chooses who is next, unless that has been done; false when there is nobody left. */
  ready(): boolean;
  /** That packet has been written: `last` when its flow is over. */
  sent(last: boolean): void;
}

/** Moments at even distances from the start on, or at random ones. */
export class Arrivals {
  /** A number from the beginning: a field that was once undefined puts every later fraction on the heap. */
  dueMs = 0;
  readonly #startMs: number;
  readonly #gapMs: number;
  readonly #prng: Prng | undefined;
  #count = 0;

  /** With a Prng, gaps are exponentially distributed and so is the one before the first moment. */
  constructor(startMs: number, perSecond: number, prng: Prng | undefined) {
    this.#startMs = startMs;
    this.#gapMs = 1_000 / perSecond;
    this.#prng = prng;
    this.dueMs = prng === undefined ? startMs : startMs + prng.exponential(this.#gapMs);
  }

  next(): void {
    this.#count++;
    // By count, that rounding does not add up.
    if (this.#prng === undefined) this.dueMs = this.#startMs + this.#count * this.#gapMs;
    else this.dueMs += this.#prng.exponential(this.#gapMs);
  }
}

/** By packets. */
export class PacketSchedule implements Schedule {
  slot = -1;
  readonly #flows: Flows;
  readonly #prng: Prng;
  readonly #arrivals: Arrivals;
  readonly #lanes: Lane[];
  #drawShares = 0;
  #lane: Lane;
  #burstLeft = 0;
  /** Which slots the places of the lanes stand for; each its own until the first one is closed. */
  #order: Int32Array | undefined;

  constructor(flows: Flows, startMs: number, ratePps: number, isPoisson: boolean, prng: Prng) {
    check(ratePps > 0, `ratePps: ${ratePps} is not above 0`);
    this.#flows = flows;
    this.#prng = prng;
    this.#arrivals = new Arrivals(startMs, ratePps, isPoisson ? prng : undefined);
    // A draw gives as many packets as a burst has, so classes with long bursts are drawn less often.
    const bursts = flows.classes.reduce((product, { burst }) => leastCommonMultiple(product, burst), 1);
    this.#lanes = flows.classes.map((state) => ({
      state,
      share: (state.flowClass.packetShare * bursts) / state.burst,
      isInTurn: state.flowClass.order === 'in-turn',
      active: state.slots,
      cursor: 0,
    }));
    for (const { share } of this.#lanes) this.#drawShares += share;
    check(this.#drawShares <= 2 ** 32, 'packetShare: shares and bursts have too large a common multiple');
    this.#lane = this.#lanes[0]!;
  }

  get dueMs(): number {
    return this.#arrivals.dueMs;
  }

  ready(): boolean {
    // The rest of a burst whose flow ended is another flow's of that class, so that shares of packets are kept.
    return this.slot >= 0 || this.#choose();
  }

  sent(last: boolean): void {
    this.#burstLeft--;
    if (last || this.#burstLeft === 0) this.slot = -1;
    this.#arrivals.next();
  }

  #choose(): boolean {
    while (this.#drawShares > 0) {
      if (this.#burstLeft === 0 || this.#lane.active === 0) {
        this.#lane = this.#drawLane();
        this.#burstLeft = this.#lane.state.burst;
      }
      const lane = this.#lane;
      if (lane.cursor >= lane.active) lane.cursor = 0;
      const index = lane.isInTurn ? lane.cursor++ : this.#prng.below(lane.active);
      const place = lane.state.first + index;
      const slot = this.#order === undefined ? place : this.#order[place]!;
      if (this.#flows.isOpen(slot) || this.#flows.begin(slot)) {
        this.slot = slot;
        return true;
      }
      this.#close(index, lane);
    }
    return false;
  }

  #drawLane(): Lane {
    const lanes = this.#lanes;
    if (lanes.length === 1) return lanes[0]!;
    let left = this.#prng.below(this.#drawShares);
    for (let i = 0; ; i++) {
      const lane = lanes[i]!;
      if (lane.active === 0) continue;
      if (left < lane.share) return lane;
      left -= lane.share;
    }
  }

  /** Takes a slot that will have no more flows out of its lane, and the lane out of the draw with its last slot. */
  #close(index: number, lane: Lane): void {
    const slots = this.#lanes.reduce((sum, { state }) => sum + state.slots, 0);
    this.#order ??= Int32Array.from({ length: slots }, (_, slot) => slot);
    lane.active--;
    const at = lane.state.first + index;
    const end = lane.state.first + lane.active;
    const slot = this.#order[at]!;
    this.#order[at] = this.#order[end]!;
    this.#order[end] = slot;
    if (lane.active === 0) this.#drawShares -= lane.share;
  }
}

/** A class in the draw: those of its slots that still have flows stand at the first `active` of its places. */
interface Lane {
  readonly state: ClassState;
  readonly share: number;
  readonly isInTurn: boolean;
  active: number;
  cursor: number;
}

function leastCommonMultiple(a: number, b: number): number {
  return (a / commonDivisor(a, b)) * b;
}
