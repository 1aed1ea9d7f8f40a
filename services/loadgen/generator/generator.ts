// The traffic generator: packets of many concurrent flows, the same ones for the same seed.
//
// How much traffic there is can be said in packets or in flows a second (generatorSchedule.ts). For every packet, the
// schedule says which open flow sends and when, and the flow's next packet is written (generatorFlows.ts): TCP from SYN
// to FIN or RST, SCTP from INIT to SHUTDOWN COMPLETE, GTP-C from the creation of a session to its deletion, UDP, ICMP
// echoes and GTP-U tunnels with neither. What flows there are is a mix (generatorMixes.ts); who has them, populations of
// clients (generatorPopulations.ts). A flood of SYNs may come beside it (generatorFlood.ts).
//
// Time is virtual: `timeMs` says when a packet is due, and whoever sends it may wait for that moment or not. There is no
// clock in here, so a closed loop needs nothing of it: call next() when a packet may be sent and leave `timeMs` alone.
// Nothing is allocated per packet, and memory is bounded by the concurrent flows.

import { Prng, type Seed } from '../../../shared/base/prng.ts';
import { stampBytes, writeStamp } from '../../../shared/packet/stamp.ts';
import { Flood, type FloodOptions, firstFloodFlow } from './flood.ts';
import { FlowSchedule } from './flowSchedule.ts';
import { Flows } from './flows.ts';
import { defaultPopulations, type FlowClass, type MixName, mixes, type Population } from './mixes.ts';
import { check, isWithin } from './populations.ts';
import { PacketSchedule, type Schedule } from './schedule.ts';
import type { Sizes } from './sizes.ts';

export interface GeneratorOptions {
  readonly seed: Seed;
  /** Concurrent flows, 1 to 16,777,216; 64 bytes each. With `flowsPerSecond` the most there may be. */
  readonly flows: number;
  /** A named mix, or classes of your own. */
  readonly mix: MixName | readonly FlowClass[];
  /** In place of what the mix says, for all its classes. */
  readonly packetBytes?: Sizes;
  readonly packetsPerFlow?: Sizes;
  /** In place of packetsPerFlow: a flow gets as many packets as make up so many bytes on average. */
  readonly bytesPerFlow?: Sizes;
  /** Packets a second of virtual time; default 100,000. Not with `flowsPerSecond`. */
  readonly ratePps?: number;
  /**
   * New flows a second of virtual time, and packets a second that an open one sends on average (default 10): the number
   * of open flows follows. At `flows` of them new ones are put off until one ends, and counted.
   */
  readonly flowsPerSecond?: number;
  readonly flowPps?: number;
  /** `even` gaps between packets or new flows (default), or `poisson`: independent arrivals at that mean rate. */
  readonly arrivals?: 'even' | 'poisson';
  /** Virtual time of the first packet in milliseconds; default 0. */
  readonly startMs?: number;
  /** Clients and target addresses of the default populations (65,536 and 4); how many of 100 flows are IPv6 (20). */
  readonly clients?: number;
  readonly targets?: number;
  readonly ipv6Percent?: number;
  /** In place of the default populations. */
  readonly populations?: readonly Population[];
  /**
   * The other side's packets too, in turn with the client's; default false, as behind a router that returns directly.
   */
  readonly replies?: boolean;
  /** Begin no more flows than this; next() returns 0 when the last has ended. Default: no end. */
  readonly totalFlows?: number;
  /**
   * The first flow of each slot is shortened at random, so that flows of one size do not end together; default true.
   * With `flowsPerSecond` no flow is.
   */
  readonly stagger?: boolean;
  /** VLAN ids, outermost first. */
  readonly vlans?: readonly number[];
  /** SYNs from ever new clients beside all that, at a rate of their own. They end with the other traffic. */
  readonly flood?: FloodOptions;
  /** Puts a stamp of that run (stamp.ts) behind every packet: `stampBytes` more than the mix says. */
  readonly stamp?: { readonly run: number };
}

/** Counts since the start; `flowsStarted - flowsEnded` are open. A flood counts in the packets and bytes only. */
export interface GeneratorStats {
  packets: number;
  bytes: number;
  flowsStarted: number;
  flowsEnded: number;
  /** Flows that began later than they should have, or never, because there were already `flows` of them. */
  flowsDeferred: number;
  floodPackets: number;
}

/** What next() returns when the buffer has less room than `maxPacketBytes`. */
export const noRoom = -1;

const maxFlows = 2 ** 24;

export class TrafficGenerator {
  readonly stats: Readonly<GeneratorStats>;
  /** next() wants this much room in the buffer. */
  readonly maxPacketBytes: number;
  /** Of the packet next() wrote last: when it is due, in milliseconds of virtual time, with a fraction. */
  timeMs = 0;
  /** The same: its number among all packets, from 0; the stamp has it. */
  id = 0;
  /**
   * The same: number of its flow (of a flood, from `firstFloodFlow` on), its place in the flow (0 is the first), packets
   * of the whole flow (0: endless).
   */
  flow = 0;
  sequence = 0;
  total = 0;
  /** The same: whether it is the last of its flow, came from the other side, is one of a flood. */
  last = false;
  reply = false;
  flood = false;

  readonly #stats: GeneratorStats = {
    packets: 0,
    bytes: 0,
    flowsStarted: 0,
    flowsEnded: 0,
    flowsDeferred: 0,
    floodPackets: 0,
  };
  readonly #flows: Flows;
  readonly #schedule: Schedule;
  readonly #flood: Flood | undefined;
  readonly #isStamped: boolean;
  readonly #run: number;

  /** Throws `bad-config` on options that make no sense together; the message says which. */
  constructor(options: GeneratorOptions) {
    const { flows, startMs = 0, vlans = [], mix } = options;
    const { clients = 65_536, targets = 4, ipv6Percent = 20 } = options;
    check(isWithin(flows, 1, maxFlows), `flows: ${flows} is not from 1 to ${maxFlows}`);
    check(typeof mix !== 'string' || Object.hasOwn(mixes, mix), `mix: there is no mix ${mix}`);
    const classes: readonly FlowClass[] = typeof mix === 'string' ? mixes[mix] : mix;
    check(classes.length > 0, 'mix: it has no classes');
    check(isWithin(ipv6Percent, 0, 100), `ipv6Percent: ${ipv6Percent} is not from 0 to 100`);
    for (const id of vlans) check(isWithin(id, 0, 4_095), `vlans: ${id} is not from 0 to 4095`);
    const populations = options.populations ?? defaultPopulations(clients, targets, ipv6Percent);
    const prng = new Prng(options.seed);
    this.stats = this.#stats;
    this.timeMs = startMs;
    this.#isStamped = options.stamp !== undefined;
    this.#run = options.stamp?.run ?? 0;
    check(isWithin(this.#run, 0, 2 ** 32 - 1), `stamp: ${this.#run} is not a run`);
    this.#flows = new Flows(classes, populations, options, prng, this.#stats);
    this.#schedule = scheduleOf(this.#flows, options, prng.fork('schedule'), this.#stats);
    if (options.flood !== undefined)
      this.#flood = new Flood(options.flood, populations, vlans, startMs, prng.fork('flood'));
    const largestBytes = Math.max(this.#flows.maxPacketBytes, this.#flood?.headerBytes ?? 0);
    this.maxPacketBytes = largestBytes + (this.#isStamped ? stampBytes : 0);
    check(this.maxPacketBytes <= 65_535, `packetBytes: ${this.maxPacketBytes} is above 65535`);
  }

  /**
   * Writes the next packet at `offset` and returns its length; timeMs, flow, sequence and the others then speak of it.
   * 0 when all flows have ended; `noRoom`, and nothing has happened, when fewer than maxPacketBytes bytes are left.
   */
  next(buffer: Uint8Array, offset: number): number {
    if (buffer.length - offset < this.maxPacketBytes) return noRoom;
    const schedule = this.#schedule;
    if (!schedule.ready()) return 0;
    const isFlood = this.#flood !== undefined && this.#flood.dueMs < schedule.dueMs;
    let length = isFlood ? this.#writeFlood(this.#flood, buffer, offset) : this.#writeFlow(schedule, buffer, offset);
    const stats = this.#stats;
    this.flood = isFlood;
    this.id = stats.packets++;
    if (this.#isStamped) {
      writeStamp(buffer, offset + length, this.#run, this.id, this.flow);
      length += stampBytes;
    }
    stats.bytes += length;
    return length;
  }

  /**
   * Begins no more flows; the open ones run to their ends (endless ones end with their next packet), then next()
   * returns 0. A flood goes on until then.
   */
  drain(): void {
    this.#flows.drain();
  }

  #writeFlow(schedule: Schedule, buffer: Uint8Array, offset: number): number {
    const flows = this.#flows;
    const length = flows.write(schedule.slot, buffer, offset);
    this.timeMs = schedule.dueMs;
    this.flow = flows.flow;
    this.sequence = flows.sequence;
    this.total = flows.total;
    this.last = flows.last;
    this.reply = flows.reply;
    if (flows.last) this.#stats.flowsEnded++;
    schedule.sent(flows.last);
    return length;
  }

  #writeFlood(flood: Flood, buffer: Uint8Array, offset: number): number {
    this.timeMs = flood.dueMs;
    this.flow = firstFloodFlow + this.#stats.floodPackets++;
    this.sequence = 0;
    this.total = 1;
    this.last = true;
    this.reply = false;
    return flood.write(buffer, offset);
  }
}

function scheduleOf(flows: Flows, options: GeneratorOptions, prng: Prng, stats: GeneratorStats): Schedule {
  const { startMs = 0, ratePps, flowsPerSecond, flowPps = 10 } = options;
  const isPoisson = options.arrivals === 'poisson';
  if (flowsPerSecond === undefined) return new PacketSchedule(flows, startMs, ratePps ?? 100_000, isPoisson, prng);
  check(ratePps === undefined, 'ratePps and flowsPerSecond: one follows from the other, so say only one of them');
  return new FlowSchedule(flows, { startMs, flowsPerSecond, flowPps, isPoisson }, prng, stats);
}
