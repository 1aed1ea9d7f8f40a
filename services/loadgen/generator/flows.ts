// The flows that a generator has open: what each of them is, and its next packet.
//
// A flow has a slot of 64 bytes, and slots are all there is: a flow that begins overwrites the one that ended in its
// slot. A slot belongs to one class and one population for good. Who sends next, and when, is not decided here
// (generatorSchedule.ts).

import type { Prng } from '../../../shared/base/prng.ts';
import { packetFields, tcpFlagBits } from '../../../shared/packet/encode/template.ts';
import type { GeneratorOptions, GeneratorStats } from './generator.ts';
import { kindAt, wholeFlow } from './kinds.ts';
import type { FlowClass, Population, Protocol } from './mixes.ts';
import { Clients, check } from './populations.ts';
import { drawSize, largestSize, meanSize, type Sizes, smallestSize } from './sizes.ts';

/** A class and its slots: those from `first` up to, not including, first + slots. */
export interface ClassState {
  readonly flowClass: FlowClass;
  readonly packetsPerFlow: Sizes;
  readonly packetBytes: Sizes;
  /** Packets of a flow on average; Infinity when its flows do not end. */
  readonly meanPackets: number;
  readonly burst: number;
  readonly first: number;
  readonly slots: number;
}

/**
 * What is kept of a flow: 16 words of 32 bits, so that a flow is one cache line. The first three belong to the slot.
 * `next` is the next TCP sequence number (or SCTP TSN) of the client, `nextReply` of the other side; in GTP, the tunnel
 * endpoints to which they send.
 */
const slotWords = 16;
const word = {
  class: 0,
  clients: 1,
  place: 2,
  life: 3,
  flow: 4,
  /** Packets so far; 0 marks a slot without a flow. */
  sent: 5,
  total: 6,
  source: 7,
  target: 8,
  port: 9,
  resets: 10,
  next: 11,
  nextReply: 12,
} as const;

const maxFlowPackets = 2 ** 31 - 1;

export class Flows {
  readonly classes: readonly ClassState[];
  readonly maxPacketBytes: number;
  /** Of the packet write() wrote last; see TrafficGenerator. */
  flow = 0;
  sequence = 0;
  total = 0;
  last = false;
  reply = false;

  readonly #stats: GeneratorStats;
  readonly #prng: Prng;
  readonly #replies: boolean;
  readonly #stagger: boolean;
  readonly #bytesPerFlow: Sizes | undefined;
  #flowLimit: number;
  #isDraining = false;
  #packets = 0;
  readonly #words: Int32Array;
  readonly #clients: readonly Clients[];
  readonly #fields = packetFields();

  /** Throws `bad-config` on options that make no sense together. */
  constructor(
    classes: readonly FlowClass[],
    populations: readonly Population[],
    options: GeneratorOptions,
    prng: Prng,
    stats: GeneratorStats,
  ) {
    this.#stats = stats;
    this.#prng = prng.fork('packets');
    this.#replies = options.replies ?? false;
    // At a rate of flows they begin one after the other anyway.
    this.#stagger = (options.stagger ?? true) && options.flowsPerSecond === undefined;
    this.#bytesPerFlow = options.bytesPerFlow;
    this.#flowLimit = options.totalFlows ?? Number.POSITIVE_INFINITY;
    this.#words = new Int32Array(options.flows * slotWords);
    this.classes = this.#shareOutSlots(classes, options);
    this.#clients = this.#settlePopulations(populations, options.vlans ?? [], prng.fork('populations'));
    this.maxPacketBytes = Math.max(
      ...this.classes.map(({ packetBytes }) => largestSize(packetBytes)),
      ...this.#clients.flatMap(({ templates }) => templates.flatMap(({ headerBytes }) => headerBytes)),
    );
  }

  isOpen(slot: number): boolean {
    return this.#words[slot * slotWords + word.sent] !== 0;
  }

  get mayBegin(): boolean {
    return this.#stats.flowsStarted < this.#flowLimit;
  }

  /** No flow begins from now on, and endless ones end with their next packet. */
  drain(): void {
    this.#isDraining = true;
    this.#flowLimit = 0;
  }

  /** Puts a new flow into a slot that has none; false when there shall be no more flows. */
  begin(slot: number): boolean {
    if (!this.mayBegin) return false;
    const words = this.#words;
    const at = slot * slotWords;
    const clients = this.#clients[words[at + word.clients]!]!;
    const life = words[at + word.life]!;
    const number = clients.numberOf(words[at + word.place]!, life);
    words[at + word.life] = life + 1;
    words[at + word.source] = clients.sourceOf(number);
    words[at + word.port] = clients.portOf(number);
    words[at + word.target] = clients.targetOf(number, this.#prng);
    words[at + word.flow] = this.#stats.flowsStarted++;
    const state = this.classes[words[at + word.class]!]!;
    words[at + word.total] = this.#drawTotal(state, life === 0 && this.#stagger);
    words[at + word.resets] = this.#prng.below(100) < (state.flowClass.resetPercent ?? 0) ? 1 : 0;
    words[at + word.next] = this.#prng.i32();
    words[at + word.nextReply] = this.#prng.i32();
    return true;
  }

  /** Writes the next packet of the flow in `slot`, which is then free if that is its last one. Returns the length. */
  write(slot: number, buffer: Uint8Array, offset: number): number {
    const words = this.#words;
    const at = slot * slotWords;
    const { flowClass, packetBytes } = this.classes[words[at + word.class]!]!;
    const { protocol } = flowClass;
    const sequence = words[at + word.sent]! >>> 0;
    const total = words[at + word.total]!;
    this.reply = this.#replies && (sequence & 1) === 1;
    // A session of GTP-C without end is closed by the client.
    const mayEnd = this.#isDraining && !(this.reply && protocol === 'gtp-c');
    this.last = total === 0 ? mayEnd : sequence + 1 >= total;
    this.flow = words[at + word.flow]! >>> 0;
    this.sequence = sequence;
    this.total = total;
    // Never back to 0, which marks a slot without a flow.
    words[at + word.sent] = this.last ? 0 : (sequence + 1) | 0 || 1;

    const kind = kindAt(protocol, sequence, total, this.last, this.#replies, (this.flow & 1) === 1);
    const { templates } = this.#clients[words[at + word.clients]!]!;
    const template = templates[2 * kind + (this.reply ? 1 : 0)]!;
    const isControl = protocol === 'tcp' && (sequence === 0 || this.last || (this.#replies && sequence < 3));
    const length = isControl ? template.headerBytes : template.fit(drawSize(packetBytes, this.#prng));
    this.#setAddresses(at, flowClass.targetPort);
    if (protocol === 'tcp' || protocol === 'sctp') {
      this.#setSequence(at, protocol === 'tcp', length - template.headerBytes);
    } else if (protocol !== 'udp') {
      this.#setIdentifier(at, protocol);
    }
    this.#fields.identification = this.#packets++ & 0xffff;
    template.write(buffer, offset, length, this.#fields);
    return length;
  }

  #drawTotal(state: ClassState, stagger: boolean): number {
    let total =
      this.#bytesPerFlow === undefined
        ? drawSize(state.packetsPerFlow, this.#prng)
        : Math.max(1, Math.round(drawSize(this.#bytesPerFlow, this.#prng) / meanSize(state.packetBytes)));
    if (stagger && total > 1) total = this.#prng.between(1, total);
    return total === 0 ? 0 : wholeFlow(state.flowClass.protocol, total, this.#replies);
  }

  #setAddresses(at: number, targetPort: number): void {
    const words = this.#words;
    const fields = this.#fields;
    const reply = this.reply;
    fields.source = words[at + (reply ? word.target : word.source)]!;
    fields.target = words[at + (reply ? word.source : word.target)]!;
    fields.sourcePort = reply ? targetPort : words[at + word.port]!;
    fields.targetPort = reply ? words[at + word.port]! : targetPort;
  }

  /**
   * Sequence numbers and flags; a SYN takes one number, a segment as many as it has bytes, a TSN counts DATA chunks.
   */
  #setSequence(at: number, isTcp: boolean, payload: number): void {
    const words = this.#words;
    const fields = this.#fields;
    const own = at + (this.reply ? word.nextReply : word.next);
    const sequence = words[own]!;
    fields.sequence = sequence;
    if (!isTcp) {
      if (payload > 0) words[own] = sequence + 1;
      return;
    }
    const isOpening = this.sequence === 0 || (this.#replies && this.sequence === 1);
    const closing = words[at + word.resets] === 1 ? tcpFlagBits.RST : tcpFlagBits.FIN;
    const acks = this.sequence === 0 ? 0 : tcpFlagBits.ACK;
    const other = words[at + (this.reply ? word.next : word.nextReply)]!;
    fields.acknowledgement = acks === 0 ? 0 : this.#replies ? other : other + 1;
    fields.tcpFlags = acks | (isOpening ? tcpFlagBits.SYN : this.last ? closing : payload > 0 ? tcpFlagBits.PSH : 0);
    words[own] = sequence + (isOpening ? 1 : payload);
  }

  /** Echoes and GTP-C number their requests, and a response has the number of its request. */
  #setIdentifier(at: number, protocol: Protocol): void {
    const words = this.#words;
    const fields = this.#fields;
    fields.sequence = this.#replies ? this.sequence >>> 1 : this.sequence;
    if (protocol === 'icmp') fields.identifier = words[at + word.port]!;
    else if (protocol === 'gtp-c' && this.sequence === 0) fields.identifier = 0;
    else fields.identifier = words[at + (this.reply ? word.nextReply : word.next)]!;
  }

  #shareOutSlots(classes: readonly FlowClass[], options: GeneratorOptions): ClassState[] {
    const shares = classes.reduce((sum, flowClass) => sum + flowClass.flowShare, 0);
    const states: ClassState[] = [];
    let shareBefore = 0;
    let first = 0;
    for (const flowClass of classes) {
      shareBefore += flowClass.flowShare;
      const end = Math.round((options.flows * shareBefore) / shares);
      // With fewer flows than shares a class may get none; then it sends nothing.
      if (end > first) states.push(classState(flowClass, options, first, end - first));
      for (let slot = first; slot < end; slot++) this.#words[slot * slotWords + word.class] = states.length - 1;
      first = end;
    }
    return states;
  }

  /** Shares the slots out among the populations. Each has two kinds of clients: see Numbering. */
  #settlePopulations(populations: readonly Population[], vlans: readonly number[], prng: Prng): Clients[] {
    check(populations.length >= 1 && populations.length <= 256, 'populations: not from 1 to 256 of them');
    const protocols = this.classes.map(({ flowClass }) => flowClass.protocol);
    const clientsOf = (population: Population, network: number, isTunnel: boolean) =>
      new Clients(population, {
        protocols: new Set(protocols.filter((protocol) => (protocol === 'gtp-u') === isTunnel)),
        numbering: isTunnel ? 'targets' : 'ports',
        vlans,
        network,
      });
    const all = populations.flatMap((population, index) => [
      clientsOf(population, index, false),
      clientsOf(population, index, true),
    ]);
    const shares = populations.map(({ share }) => share);
    for (const { flowClass, first, slots } of this.classes) {
      const tunnel = flowClass.protocol === 'gtp-u' ? 1 : 0;
      for (let slot = first; slot < first + slots; slot++) {
        const index = 2 * prng.pickWeighted(shares) + tunnel;
        this.#words[slot * slotWords + word.clients] = index;
        this.#words[slot * slotWords + word.place] = all[index]!.slots++;
      }
    }
    for (const [index, clients] of all.entries()) {
      if (clients.slots === 0 || clients.numberOf(0, 0) >= 0) continue;
      const more = index % 2 === 1 ? ' (a GTP-U tunnel needs a pair of client and target of its own)' : '';
      check(false, `clients: too few for so many concurrent flows${more}`);
    }
    return all;
  }
}

function classState(flowClass: FlowClass, options: GeneratorOptions, first: number, slots: number): ClassState {
  const packetsPerFlow = options.packetsPerFlow ?? flowClass.packetsPerFlow;
  const packetBytes = options.packetBytes ?? flowClass.packetBytes;
  const { bytesPerFlow, replies = false } = options;
  const most = largestSize(packetsPerFlow);
  check(most <= maxFlowPackets, `packetsPerFlow: ${most} is above ${maxFlowPackets}`);
  check(
    most === 0 || smallestSize(packetsPerFlow) > 0,
    'packetsPerFlow: 0, without end, cannot be one of several sizes',
  );
  check(largestSize(packetBytes) <= 65_535, `packetBytes: ${largestSize(packetBytes)} is above 65535`);
  const mean = bytesPerFlow === undefined ? meanSize(packetsPerFlow) : meanSize(bytesPerFlow) / meanSize(packetBytes);
  const meanPackets = mean === 0 ? Number.POSITIVE_INFINITY : wholeFlow(flowClass.protocol, mean, replies);
  return { flowClass, packetsPerFlow, packetBytes, meanPackets, burst: flowClass.burst ?? 1, first, slots };
}
