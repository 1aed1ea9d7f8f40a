// The clients: connections that open with a handshake, repeat what is not answered, idle, close and come back on the same
// ports; datagram flows that ask and wait, or stream; elephants; fragments. They know what a client knows: whether an
// answer came. All time is the simulation's, all chance its seed's.
//
// Between clients and cluster stands a router that spreads flows over the tier 1s and keeps a flow at its tier 1 as long as that
// lives. It notices a dead one late. For a while it may spread packets instead of flows: then several tier 1s carry one flow at
// the same moment.

import type { VirtualClock } from '../../shared/base/clock.ts';
import type { Prng } from '../../shared/base/prng.ts';
import { stampBytes, writeStamp } from '../../shared/packet/stamp.ts';
import type { FlowRecord, Ledger, PacketKind, PacketRecord } from './ledger.ts';
import { type FlowPackets, flowPackets } from './packets.ts';

/** What the clients send through: one life of a tier 1. */
export interface Gate {
  readonly name: string;
  /** False when the router has noticed that it is gone. */
  readonly isRouted: boolean;
  /** Brings a packet to the tier 1; it may be dead or paused. `taken` is told when it has it. */
  take(packet: Uint8Array, taken: () => void): void;
}

export interface ClientOptions {
  /** Flows that are open at once. */
  readonly flows: number;
  /** Packets a second of all flows together, roughly. */
  readonly packetsPerSecond: number;
  readonly clients: number;
  /** Of 100 starts, how many are repeated at once. */
  readonly impatience: number;
}

/** No answer within this long, doubled each time, and at most so often. */
const retryAfterMs = 1_000;
const retriesMax = 5;
const roundTripMs = 15;

type Shape = 'connection' | 'asking' | 'stream' | 'elephant' | 'fragments';

/** What a client sends, apart from what a stranger sends in its name. */
const asks: ReadonlySet<PacketKind> = new Set(['start', 'middle', 'end', 'fragment']);
const answers: Partial<Record<PacketKind, PacketKind>> = { start: 'accept', end: 'bye' };

class Client {
  readonly shape: Shape;
  readonly packets: FlowPackets;
  readonly isBothWays: boolean;
  readonly gapMs: number;
  record: FlowRecord;
  gate: Gate;
  left: number;
  isOpen = false;
  isClosing = false;
  isOver = false;
  waitsFor = -1;
  tries = 0;

  constructor(
    shape: Shape,
    packets: FlowPackets,
    isBothWays: boolean,
    gapMs: number,
    left: number,
    record: FlowRecord,
    gate: Gate,
  ) {
    this.shape = shape;
    this.packets = packets;
    this.isBothWays = isBothWays;
    this.gapMs = gapMs;
    this.left = left;
    this.record = record;
    this.gate = gate;
  }
}

export class Clients {
  /** Connections that were given up because nobody answered, with the time. */
  readonly givenUp: { readonly flow: number; readonly atMs: number }[] = [];
  readonly #clock: VirtualClock;
  readonly #prng: Prng;
  readonly #ledger: Ledger;
  readonly #gates: () => readonly Gate[];
  readonly #options: ClientOptions;
  readonly #byFlow: Client[] = [];
  #nextPort = 0;
  #nextDatagram = 0;
  #isStopped = false;
  /** Until then packets are spread over the tier 1s, not flows. */
  #spreadUntilMs = 0;

  constructor(clock: VirtualClock, prng: Prng, ledger: Ledger, gates: () => readonly Gate[], options: ClientOptions) {
    this.#clock = clock;
    this.#prng = prng;
    this.#ledger = ledger;
    this.#gates = gates;
    this.#options = options;
    ledger.onServed = (packet) => this.#onServed(packet);
  }

  /** Opens the flows, spread over a while. */
  start(): void {
    for (let index = 0; index < this.#options.flows; index++) {
      this.#clock.setTimer(this.#prng.fraction() * 3_000, () => this.#open());
    }
  }

  /** Every packet goes through whichever tier 1, for a while. */
  spread(forMs: number): void {
    this.#spreadUntilMs = Math.max(this.#spreadUntilMs, this.#clock.monotonicMs() + forMs);
  }

  /** No packets from here on. */
  stop(): void {
    this.#isStopped = true;
  }

  /** A new flow takes the place of one that ended. */
  #open(formerPorts?: { client: number; port: number }): void {
    if (this.#isStopped) return;
    const prng = this.#prng;
    const gate = this.#choose();
    if (gate === undefined) {
      this.#clock.setTimer(500, () => this.#open());
      return;
    }
    const shape = prng.pickWeighted(this.#options.flows < 1_000 ? [50, 25, 20, 1, 4] : [500, 250, 210, 1, 40]);
    const shapes = ['connection', 'asking', 'stream', 'elephant', 'fragments'] as const;
    const type1 = shape === 0 || (shape === 3 && prng.chance(1, 2));
    const place = formerPorts !== undefined && type1 ? formerPorts : this.#freshPorts();
    const packets = flowPackets(
      place.client,
      place.port,
      prng.below(4),
      type1,
      shapes[shape] === 'fragments',
      () => this.#nextDatagram++ & 0xffff,
    );
    const record = this.#ledger.openFlow(packets.tuple, type1);
    const meanGapMs = (1_000 * this.#options.flows) / this.#options.packetsPerSecond;
    const isElephant = shapes[shape] === 'elephant';
    const client = new Client(
      shapes[shape],
      packets,
      prng.chance(1, 3),
      isElephant ? 6 : meanGapMs * (0.5 + prng.fraction()),
      isElephant ? prng.between(200, 600) : Math.floor(prng.pareto(1, 200, 1.1)),
      record,
      gate,
    );
    this.#byFlow[record.id] = client;
    this.#step(client);
  }

  #freshPorts(): { client: number; port: number } {
    const number = this.#nextPort++;
    return { client: number % this.#options.clients, port: 1_024 + Math.floor(number / this.#options.clients) };
  }

  #choose(): Gate | undefined {
    const gates = this.#gates().filter(({ isRouted }) => isRouted);
    return gates.length === 0 ? undefined : this.#prng.pick(gates);
  }

  /** What the flow does next, of its own accord. */
  #step(client: Client): void {
    if (this.#isStopped || client.isOver) return;
    if (!client.record.type1) {
      if (client.left <= 0) this.#end(client);
      else this.#datagram(client);
    } else if (!client.isOpen) {
      this.#ask(client, 'start');
    } else if (client.left > 0) {
      client.left--;
      if (this.#prng.chance(1, 80)) this.#send(client, 'reset');
      if (client.shape === 'elephant' && client.left > 0) {
        this.#send(client, 'middle');
        this.#later(client, client.gapMs);
      } else {
        this.#ask(client, 'middle');
      }
    } else {
      client.isClosing = true;
      // Some close and wait for the answer, some just go.
      if (this.#prng.chance(3, 4)) this.#ask(client, 'end');
      else {
        this.#send(client, 'end');
        this.#end(client);
      }
    }
  }

  #datagram(client: Client): void {
    client.left--;
    if (client.shape === 'fragments') {
      for (const kind of this.#prng.chance(1, 4)
        ? (['fragment', 'middle'] as const)
        : (['middle', 'fragment'] as const))
        this.#send(client, kind);
      client.packets.nextDatagram();
      this.#later(client, client.gapMs);
    } else if (client.shape === 'asking') this.#ask(client, 'middle');
    else {
      this.#send(client, 'middle');
      this.#later(client, client.gapMs);
    }
  }

  /** Sends what wants an answer, and repeats it when none comes. */
  #ask(client: Client, kind: PacketKind): void {
    const packet = this.#send(client, kind);
    client.waitsFor = packet.id;
    client.tries++;
    if (kind === 'start' && this.#prng.chance(this.#options.impatience, 100)) {
      this.#clock.setTimer(this.#prng.fraction() * 400, () => {
        if (client.waitsFor === packet.id && !client.isOver) this.#send(client, 'start');
      });
    }
    const waitMs = retryAfterMs * 2 ** Math.min(client.tries - 1, 3);
    this.#clock.setTimer(waitMs, () => {
      if (client.waitsFor !== packet.id || client.isOver || this.#isStopped) return;
      if (client.tries > retriesMax) {
        this.givenUp.push({ flow: client.record.id, atMs: this.#clock.monotonicMs() });
        this.#end(client);
      } else this.#ask(client, kind);
    });
  }

  #onServed(packet: PacketRecord): void {
    const client = this.#byFlow[packet.flow];
    if (client === undefined || !asks.has(packet.kind)) return;
    if (client.isBothWays && client.shape !== 'fragments') {
      this.#clock.setTimer(1 + this.#prng.fraction() * 4, () => {
        if (!this.#isStopped && !client.isOver) this.#send(client, answers[packet.kind] ?? 'reply');
      });
    }
    if (client.waitsFor !== packet.id) return;
    this.#clock.setTimer(roundTripMs, () => {
      if (client.waitsFor !== packet.id || client.isOver) return;
      client.waitsFor = -1;
      client.tries = 0;
      if (client.isClosing) {
        this.#end(client);
        return;
      }
      client.isOpen = true;
      this.#later(client, this.#think(client));
    });
  }

  #think(client: Client): number {
    if (client.shape === 'elephant') return client.gapMs;
    // Now and then somebody leaves the desk.
    return this.#prng.chance(1, 60) ? 10_000 + this.#prng.fraction() * 25_000 : this.#prng.exponential(client.gapMs);
  }

  #later(client: Client, ms: number): void {
    this.#clock.setTimer(ms, () => this.#step(client));
  }

  #end(client: Client): void {
    client.isOver = true;
    const { client: number, port } = client.packets;
    const again = this.#prng.chance(1, 4) ? { client: number, port } : undefined;
    this.#clock.setTimer(again === undefined ? 200 : this.#prng.fraction() * 14_000, () => this.#open(again));
  }

  #send(client: Client, kind: PacketKind): PacketRecord {
    const nowMs = this.#clock.monotonicMs();
    if (!client.gate.isRouted || nowMs < this.#spreadUntilMs) client.gate = this.#choose() ?? client.gate;
    const packet = this.#ledger.send(client.record, kind, client.gate.name, nowMs);
    const bytes = client.packets.bytes(kind);
    writeStamp(bytes, bytes.length - stampBytes, 1, packet.id, client.record.id);
    client.gate.take(bytes, () => {
      packet.takenMs = this.#clock.monotonicMs();
    });
    return packet;
  }
}
