// The traffic generator: packets of many concurrent flows, the same ones for the same seed.
//
// It keeps a fixed number of flows going. A flow has a slot; when it ends, another one begins in its place, so memory
// is bounded by the concurrent flows and the rate of new flows follows from the packet rate and the flow sizes. For
// every packet it chooses a flow class by its share of packets, a flow in it (at random or in turn, in bursts), and
// writes the next packet of that flow: TCP from SYN to FIN or RST, SCTP from INIT to SHUTDOWN COMPLETE, UDP with
// neither.
//
// Time is virtual: packet number and rate say when a packet is due (`timeMs`), and whoever sends it may wait for that
// moment or not. There is no clock in here, and nothing is allocated per packet.
//
// No two flows that are open at once have the same addresses and ports. Slot j of the J slots of a population takes in
// its g-th life the number g * J + j (modulo the largest multiple of J in clients x ports), and each number is one
// client address and port: the clients in an order of their own for every port. So all clients of a population are
// about equally busy, and an address and port come back as late as possible. For a skew, give several populations.

import { stampBytes, writeStamp } from '../../../shared/packet/stamp.ts';
import { packetFields, tcpFlagBits } from '../../../shared/packet/template.ts';
import { Prng, type Seed } from '../../../shared/prng.ts';
import {
  defaultPopulations,
  drawSize,
  type FlowClass,
  largestSize,
  type MixName,
  mixes,
  type Population,
  type Sizes,
} from './generatorMixes.ts';
import { Clients, check, kindNumber, sctpKind, wholeFlow } from './generatorPopulations.ts';

export interface GeneratorOptions {
  readonly seed: Seed;
  /** Concurrent flows, 1 to 16,777,216; 64 bytes each. */
  readonly flows: number;
  /** A named mix, or classes of your own. */
  readonly mix: MixName | readonly FlowClass[];
  /** In place of what the mix says, for all its classes. */
  readonly packetBytes?: Sizes;
  readonly packetsPerFlow?: Sizes;
  /** Packets a second of virtual time; default 100,000. */
  readonly ratePps?: number;
  /** `even` gaps (default), or `poisson`: independent arrivals at that mean rate. */
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
  /** The first flow of each slot is shortened at random, so that flows of one size do not end together; default true. */
  readonly stagger?: boolean;
  /** VLAN ids, outermost first. */
  readonly vlans?: readonly number[];
  /** Puts a stamp of that run (stamp.ts) behind every packet: `stampBytes` more than the mix says. */
  readonly stamp?: { readonly run: number };
}

/** Counts since the start; `flowsStarted - flowsEnded` are open. */
export interface GeneratorStats {
  packets: number;
  bytes: number;
  flowsStarted: number;
  flowsEnded: number;
}

/** What next() returns when the buffer has less room than `maxPacketBytes`. */
export const noRoom = -1;

const maxFlows = 2 ** 24;

/**
 * What is kept of a flow: 16 words of 32 bits, so that a flow is one cache line. The first two belong to the slot.
 * `next` is the next TCP sequence number (or SCTP TSN) of the client, `nextReply` of the other side.
 */
const slotWords = 16;
const word = {
  population: 0,
  place: 1,
  life: 2,
  flow: 3,
  sent: 4,
  total: 5,
  source: 6,
  target: 7,
  port: 8,
  resets: 9,
  next: 10,
  nextReply: 11,
} as const;

interface ClassState {
  readonly flowClass: FlowClass;
  readonly packetsPerFlow: Sizes;
  readonly packetBytes: Sizes;
  readonly burst: number;
  /** Slots of this class with flows are those at the places from `first` up to, not including, first + active. */
  readonly first: number;
  active: number;
  cursor: number;
}

export class TrafficGenerator {
  readonly stats: Readonly<GeneratorStats>;
  /** next() wants this much room in the buffer. */
  readonly maxPacketBytes: number;
  /** Of the packet next() wrote last: when it is due, in milliseconds of virtual time, with a fraction. */
  timeMs: number;
  /** The same: its number among all packets, from 0; the stamp has it. */
  id = 0;
  /** The same: number of its flow, its place in the flow (0 is the first), packets of the whole flow (0: endless). */
  flow = 0;
  sequence = 0;
  total = 0;
  /** The same: whether it is the last of its flow, and whether it came from the other side. */
  last = false;
  reply = false;

  readonly #stats: GeneratorStats = { packets: 0, bytes: 0, flowsStarted: 0, flowsEnded: 0 };
  readonly #prng: Prng;
  readonly #isStamped: boolean;
  readonly #run: number;
  readonly #replies: boolean;
  readonly #stagger: boolean;
  #flowLimit: number;
  #isDraining = false;
  readonly #startMs: number;
  readonly #gapMs: number;
  readonly #isPoisson: boolean;
  #poissonMs = 0;

  readonly #classes: ClassState[] = [];
  #packetShares = 0;
  readonly #populations: Clients[];
  readonly #fields = packetFields();
  #burstSlot = -1;
  #burstLeft = 0;
  #burstClass: ClassState;

  readonly #slots: Int32Array;
  /** Which slots the places of the classes stand for; each its own until the first one is closed. */
  #order: Int32Array | undefined;
  readonly #flows: number;

  /** Throws on options that make no sense together; the message says which. */
  constructor(options: GeneratorOptions) {
    const { flows } = options;
    const classes: readonly FlowClass[] = typeof options.mix === 'string' ? mixes[options.mix] : options.mix;
    check(Number.isInteger(flows) && flows >= 1 && flows <= maxFlows, `flows: ${flows} is not from 1 to ${maxFlows}`);
    check(classes !== undefined && classes.length > 0, `mix: there is no mix ${options.mix}`);
    const ratePps = options.ratePps ?? 100_000;
    check(ratePps > 0, `ratePps: ${ratePps} is not above 0`);
    const prng = new Prng(options.seed);
    this.stats = this.#stats;
    this.#prng = prng.fork('packets');
    this.#isStamped = options.stamp !== undefined;
    this.#run = options.stamp?.run ?? 0;
    this.#replies = options.replies ?? false;
    this.#stagger = options.stagger ?? true;
    this.#flowLimit = options.totalFlows ?? Number.POSITIVE_INFINITY;
    this.#startMs = options.startMs ?? 0;
    this.timeMs = this.#startMs;
    this.#gapMs = 1_000 / ratePps;
    this.#isPoisson = options.arrivals === 'poisson';

    this.#flows = flows;
    this.#slots = new Int32Array(flows * slotWords);
    this.#shareOutSlots(classes, options);
    this.#burstClass = this.#classes[0]!;
    this.#populations = this.#settlePopulations(options, prng.fork('populations'));
    const largestBytes = Math.max(
      ...this.#classes.map((state) => largestSize(state.packetBytes)),
      ...this.#populations.flatMap((population) => population.templates.map((template) => template.headerBytes)),
    );
    this.maxPacketBytes = largestBytes + (this.#isStamped ? stampBytes : 0);
    check(this.maxPacketBytes <= 65_535, `packetBytes: ${this.maxPacketBytes} is above 65535`);
  }

  /**
   * Writes the next packet at `offset` and returns its length; timeMs, flow, sequence and the others then speak of it.
   * 0 when all flows have ended; `noRoom`, and nothing has happened, when fewer than maxPacketBytes bytes are left.
   */
  next(buffer: Uint8Array, offset: number): number {
    if (buffer.length - offset < this.maxPacketBytes) return noRoom;
    const slot = this.#chooseSlot();
    if (slot < 0) return 0;
    let length = this.#writePacket(slot * slotWords, this.#burstClass, buffer, offset);
    this.#tellTime();
    this.id = this.#stats.packets++;
    if (this.#isStamped) {
      writeStamp(buffer, offset + length, this.#run, this.id, this.flow);
      length += stampBytes;
    }
    this.#stats.bytes += length;
    if (this.last) {
      this.#stats.flowsEnded++;
      this.#burstLeft = 0;
    }
    return length;
  }

  /**
   * Begins no more flows; the open ones run to their ends (endless ones end with their next packet), then next()
   * returns 0.
   */
  drain(): void {
    this.#isDraining = true;
    this.#flowLimit = Math.min(this.#flowLimit, this.#stats.flowsStarted);
  }

  /** The slot whose flow sends next, with a flow in it; -1 when there is none left. Sets #burstClass to its class. */
  #chooseSlot(): number {
    if (this.#burstLeft > 0) {
      this.#burstLeft--;
      return this.#burstSlot;
    }
    while (this.#packetShares > 0) {
      const state = this.#chooseClass();
      if (state.cursor >= state.active) state.cursor = 0;
      const index = state.flowClass.order === 'in-turn' ? state.cursor++ : this.#prng.below(state.active);
      const slot = this.#order === undefined ? state.first + index : this.#order[state.first + index]!;
      if (this.#slots[slot * slotWords + word.sent] === 0 && !this.#beginFlow(slot * slotWords, state)) {
        this.#closeSlot(index, state);
        continue;
      }
      this.#burstClass = state;
      this.#burstSlot = slot;
      this.#burstLeft = state.burst - 1;
      return slot;
    }
    return -1;
  }

  #chooseClass(): ClassState {
    const classes = this.#classes;
    if (classes.length === 1) return classes[0]!;
    let left = this.#prng.below(this.#packetShares);
    for (let i = 0; ; i++) {
      const state = classes[i]!;
      if (state.active === 0) continue;
      if (left < state.flowClass.packetShare) return state;
      left -= state.flowClass.packetShare;
    }
  }

  /** Takes a slot that will have no more flows out of its class, and the class out of the draw with its last slot. */
  #closeSlot(index: number, state: ClassState): void {
    this.#order ??= Int32Array.from({ length: this.#flows }, (_, slot) => slot);
    state.active--;
    const end = state.first + state.active;
    const slot = this.#order[state.first + index]!;
    this.#order[state.first + index] = this.#order[end]!;
    this.#order[end] = slot;
    if (state.active === 0) this.#packetShares -= state.flowClass.packetShare;
  }

  /** Puts a new flow into the slot whose words begin at `at`; false when there shall be no more flows. */
  #beginFlow(at: number, state: ClassState): boolean {
    const stats = this.#stats;
    if (stats.flowsStarted >= this.#flowLimit) return false;
    const prng = this.#prng;
    const slots = this.#slots;
    const clients = this.#populations[slots[at + word.population]!]!;
    const life = slots[at + word.life]!;
    const number = (life % clients.lives) * clients.slots + slots[at + word.place]!;
    slots[at + word.life] = life + 1;
    slots[at + word.source] = clients.sourceOf(number);
    slots[at + word.port] = clients.portOf(number);
    slots[at + word.target] = clients.targetOf(prng.below(clients.targets));
    slots[at + word.flow] = stats.flowsStarted++;
    let total = drawSize(state.packetsPerFlow, prng);
    if (life === 0 && this.#stagger && total > 1) total = prng.between(1, total);
    slots[at + word.total] = total === 0 ? 0 : wholeFlow(state.flowClass.protocol, total, this.#replies);
    slots[at + word.resets] = prng.below(100) < (state.flowClass.resetPercent ?? 0) ? 1 : 0;
    slots[at + word.next] = prng.i32();
    slots[at + word.nextReply] = prng.i32();
    return true;
  }

  #writePacket(at: number, state: ClassState, buffer: Uint8Array, offset: number): number {
    const slots = this.#slots;
    const sequence = slots[at + word.sent]! >>> 0;
    const total = slots[at + word.total]!;
    this.last = total === 0 ? this.#isDraining : sequence + 1 >= total;
    this.reply = this.#replies && (sequence & 1) === 1;
    this.flow = slots[at + word.flow]! >>> 0;
    this.sequence = sequence;
    this.total = total;
    // Never back to 0, which marks a slot without a flow.
    slots[at + word.sent] = this.last ? 0 : (sequence + 1) | 0 || 1;

    const protocol = state.flowClass.protocol;
    const kind = protocol === 'sctp' ? sctpKind(sequence, total, this.last, this.#replies) : kindNumber[protocol];
    const templates = this.#populations[slots[at + word.population]!]!.templates;
    const template = templates[2 * kind + (this.reply ? 1 : 0)]!;
    const isControl = protocol === 'tcp' && (sequence === 0 || this.last || (this.#replies && sequence < 3));
    const length = isControl ? template.headerBytes : template.fit(drawSize(state.packetBytes, this.#prng));
    this.#setAddresses(at, state.flowClass.targetPort);
    this.#setSequence(at, protocol === 'tcp', length - template.headerBytes);
    const fields = this.#fields;
    fields.identification = this.#stats.packets & 0xffff;
    template.write(buffer, offset, length, fields);
    return length;
  }

  #setAddresses(at: number, targetPort: number): void {
    const slots = this.#slots;
    const fields = this.#fields;
    const reply = this.reply;
    fields.source = slots[at + (reply ? word.target : word.source)]!;
    fields.target = slots[at + (reply ? word.source : word.target)]!;
    fields.sourcePort = reply ? targetPort : slots[at + word.port]!;
    fields.targetPort = reply ? slots[at + word.port]! : targetPort;
  }

  /**
   * Sequence numbers and flags; a SYN takes one number, a segment as many as it has bytes, a TSN counts DATA chunks.
   */
  #setSequence(at: number, isTcp: boolean, payload: number): void {
    const slots = this.#slots;
    const fields = this.#fields;
    const own = at + (this.reply ? word.nextReply : word.next);
    const sequence = slots[own]!;
    fields.sequence = sequence;
    if (!isTcp) {
      if (payload > 0) slots[own] = sequence + 1;
      return;
    }
    const isOpening = this.sequence === 0 || (this.#replies && this.sequence === 1);
    const closing = slots[at + word.resets] === 1 ? tcpFlagBits.RST : tcpFlagBits.FIN;
    const acks = this.sequence === 0 ? 0 : tcpFlagBits.ACK;
    const other = slots[at + (this.reply ? word.next : word.nextReply)]!;
    fields.acknowledgement = acks === 0 ? 0 : this.#replies ? other : other + 1;
    fields.tcpFlags = acks | (isOpening ? tcpFlagBits.SYN : this.last ? closing : payload > 0 ? tcpFlagBits.PSH : 0);
    slots[own] = sequence + (isOpening ? 1 : payload);
  }

  #tellTime(): void {
    if (this.#isPoisson) this.#poissonMs += this.#prng.exponential(this.#gapMs);
    this.timeMs = this.#startMs + (this.#isPoisson ? this.#poissonMs : this.#stats.packets * this.#gapMs);
  }

  #shareOutSlots(classes: readonly FlowClass[], options: GeneratorOptions): void {
    const shares = classes.reduce((sum, flowClass) => sum + flowClass.flowShare, 0);
    let first = 0;
    let shareBefore = 0;
    for (const flowClass of classes) {
      shareBefore += flowClass.flowShare;
      const end = Math.round((options.flows * shareBefore) / shares);
      const state: ClassState = {
        flowClass,
        packetsPerFlow: options.packetsPerFlow ?? flowClass.packetsPerFlow,
        packetBytes: options.packetBytes ?? flowClass.packetBytes,
        burst: flowClass.burst ?? 1,
        first,
        active: end - first,
        cursor: 0,
      };
      // With fewer flows than shares a class may get none; then it sends nothing.
      if (state.active > 0) {
        this.#classes.push(state);
        this.#packetShares += flowClass.packetShare;
      }
      first = end;
    }
  }

  #settlePopulations(options: GeneratorOptions, prng: Prng): Clients[] {
    const populations =
      options.populations ??
      defaultPopulations(options.clients ?? 65_536, options.targets ?? 4, options.ipv6Percent ?? 20);
    check(populations.length >= 1 && populations.length <= 256, 'populations: not from 1 to 256 of them');
    const states = populations.map((population) => new Clients(population, options.vlans ?? []));
    const shares = populations.map((population) => population.share);
    for (let slot = 0; slot < options.flows; slot++) {
      const chosen = prng.pickWeighted(shares);
      this.#slots[slot * slotWords + word.population] = chosen;
      this.#slots[slot * slotWords + word.place] = states[chosen]!.slots++;
    }
    check(
      states.every((state) => state.lives >= 1),
      'clients: too few for so many concurrent flows',
    );
    return states;
  }
}
