// What went into the cluster and what its servers received: all that the checkers know of packets. Nothing in here comes
// from tier 1 or from an actor, but for the one fact that a server was handed a packet.

/** One life of a server, from its process's start to its crash or end. */
export interface ServerLife {
  readonly index: number;
  readonly name: string;
  readonly group: string;
  readonly incarnation: number;
  readonly startedMs: number;
  /** When it crashed, or left for good; infinite while it lives. */
  endedMs: number;
}

/** `accept` answers a start; `fragment` is the second part of a datagram. */
export type PacketKind = 'start' | 'middle' | 'end' | 'reply' | 'accept' | 'fragment';

export interface FlowRecord {
  readonly id: number;
  /** Addresses, ports and protocol, in words. */
  readonly tuple: string;
  readonly type1: boolean;
  readonly packets: number[];
  /** Life that accepted the first accepted packet; -1 for none yet. */
  home: number;
  group: string;
}

export interface PacketRecord {
  readonly id: number;
  readonly flow: number;
  readonly kind: PacketKind;
  readonly tier1: string;
  readonly sentMs: number;
  /** When the tier 1 took it: a paused one takes it late, a dead one never. */
  takenMs: number;
  /** Lives that accepted it, in order; nearly always one. */
  acceptedBy: readonly number[];
  acceptedMs: number;
}

const nobody: readonly number[] = [];

export class Ledger {
  readonly flows: FlowRecord[] = [];
  readonly packets: PacketRecord[] = [];
  readonly lives: ServerLife[] = [];
  /** Told of each first acceptance: the clients' answer. */
  onServed: (packet: PacketRecord) => void = () => undefined;

  openFlow(tuple: string, type1: boolean): FlowRecord {
    const flow: FlowRecord = { id: this.flows.length, tuple, type1, packets: [], home: -1, group: '' };
    this.flows.push(flow);
    return flow;
  }

  beginLife(name: string, group: string, incarnation: number, startedMs: number): ServerLife {
    const life: ServerLife = {
      index: this.lives.length,
      name,
      group,
      incarnation,
      startedMs,
      endedMs: Number.POSITIVE_INFINITY,
    };
    this.lives.push(life);
    return life;
  }

  send(flow: FlowRecord, kind: PacketKind, tier1: string, sentMs: number): PacketRecord {
    const packet: PacketRecord = {
      id: this.packets.length,
      flow: flow.id,
      kind,
      tier1,
      sentMs,
      takenMs: Number.POSITIVE_INFINITY,
      acceptedBy: nobody,
      acceptedMs: 0,
    };
    this.packets.push(packet);
    flow.packets.push(packet.id);
    return packet;
  }

  accept(id: number, life: ServerLife, atMs: number): void {
    const packet = this.packets[id];
    const isFirst = packet.acceptedBy.length === 0;
    packet.acceptedBy = isFirst ? [life.index] : [...packet.acceptedBy, life.index];
    if (!isFirst) return;
    packet.acceptedMs = atMs;
    const flow = this.flows[packet.flow];
    if (flow.home === -1) flow.home = life.index;
    flow.group = life.group;
    this.onServed(packet);
  }
}
