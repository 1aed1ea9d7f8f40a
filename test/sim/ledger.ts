// What went into the cluster, what the logs of the groups say of it, and what its servers received: all that the checkers know of
// packets. Nothing in here comes from tier 1 or from an actor, but for the one fact that a server was handed a packet, or that the
// replica beside it went past one.

import type { Command } from '../../shared/log/records/command.ts';

/** One life of a server, from its process's start to its crash or end. */
export interface ServerLife {
  readonly index: number;
  readonly name: string;
  readonly group: string;
  readonly incarnation: number;
  readonly startedMs: number;
  /** When it crashed, or left for good; infinite while it lives. */
  endedMs: number;
  /** When the log had the command by which others took its place, or gave it up; infinite when none did. */
  removedMs: number;
}

/** What a log says of a packet: where it is, and whose it is by the reference replica of its group. */
export interface Fate {
  readonly group: string;
  readonly epoch: string;
  readonly position: number;
  /** Where it was decided: its own position, but for a fragment that had to wait. */
  dueAt: number;
  /** When its frame was stored. */
  readonly atMs: number;
  /** Counts the lines of the group's log: what was cut off, or lost with the log, is on an older one. */
  readonly line: number;
  /** Rung that the reference put it on, as an index of `verdicts`. */
  verdict: number;
  /** Life that the group says it belongs to; -1 for nobody. */
  owner: number;
  /** Lives whose replicas, whole as they were, went past it. */
  appliedBy: readonly number[];
  /** Lives whose replicas passed over rows of the entry, because their slices were still on the way. */
  passedOverBy: readonly number[];
  /** The entry is gone: the log had not kept it when its server was started again. */
  isLost: boolean;
}

/** `accept` answers a start, `bye` an end; `reset` is a stranger's, and nobody heeds it; `fragment` is the second part of a datagram. */
export type PacketKind = 'start' | 'middle' | 'end' | 'reply' | 'accept' | 'bye' | 'reset' | 'fragment';

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
  /** Those of them that were told that a dead server may have had it. */
  repeatedBy: readonly number[];
  acceptedMs: number;
  /** Undefined while it is in no log, or only in frames that replicas pass over. */
  fate: Fate | undefined;
  /** When it was stored in a frame that counts nowhere: there was no line then, or its sender had not heard of the new one yet. */
  passedOverMs: number | undefined;
  /** Earlier fates, on lines that are gone. */
  formerFates: readonly Fate[];
}

const noFates: readonly Fate[] = [];
const nobody: readonly number[] = [];

export class Ledger {
  readonly flows: FlowRecord[] = [];
  readonly packets: PacketRecord[] = [];
  readonly lives: ServerLife[] = [];
  /** Packets that were replayed to a server after one of their flow that lies behind them in the log. */
  readonly disorders: { readonly packet: number; readonly life: number; readonly before: number }[] = [];
  readonly #lives = new Map<string, number>();
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
      removedMs: Number.POSITIVE_INFINITY,
    };
    this.lives.push(life);
    this.#lives.set(`${name}/${incarnation}`, life.index);
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
      repeatedBy: nobody,
      acceptedMs: 0,
      fate: undefined,
      passedOverMs: undefined,
      formerFates: noFates,
    };
    this.packets.push(packet);
    flow.packets.push(packet.id);
    return packet;
  }

  lifeOf(name: string, incarnation: number): number {
    return this.#lives.get(`${name}/${incarnation}`) ?? -1;
  }

  /** A command has changed a view: it may be the end of a life. */
  noteCommand(command: Command, atMs: number): void {
    const { kind } = command;
    if (kind === 'remove') this.#noteRemoved(command.life.server, command.life.incarnation, atMs);
    else if (kind === 'join' && command.replaces !== undefined)
      this.#noteRemoved(command.author.server, command.replaces, atMs);
  }

  #noteRemoved(server: string, incarnation: number, atMs: number): void {
    const life = this.lives[this.lifeOf(server, incarnation)];
    if (life !== undefined) life.removedMs = Math.min(life.removedMs, atMs);
  }

  /** The log of a group has the packet, in a frame that counts. */
  decide(id: number, fate: Fate): void {
    const packet = this.packets[id];
    if (packet.fate !== undefined) packet.formerFates = [...packet.formerFates, packet.fate];
    packet.fate = fate;
  }

  /** `isRepeat`: a server that has died may have had it. */
  accept(id: number, life: ServerLife, atMs: number, isRepeat: boolean): void {
    const packet = this.packets[id];
    if (isRepeat) this.#noteRepeat(packet, life.index);
    const isFirst = packet.acceptedBy.length === 0;
    packet.acceptedBy = isFirst ? [life.index] : [...packet.acceptedBy, life.index];
    if (!isFirst) return;
    packet.acceptedMs = atMs;
    const flow = this.flows[packet.flow];
    if (flow.home === -1) flow.home = life.index;
    flow.group = life.group;
    this.onServed(packet);
  }

  #noteRepeat(packet: PacketRecord, life: number): void {
    packet.repeatedBy = [...packet.repeatedBy, life];
    const { fate } = packet;
    if (fate === undefined) return;
    const { position, group, line } = fate;
    const lies = ({ fate: its }: PacketRecord) =>
      its !== undefined && its.group === group && its.line === line && its.position > position;
    const before = this.flows[packet.flow].packets.find((id) => {
      const other = this.packets[id];
      return other.acceptedBy.includes(life) && !other.repeatedBy.includes(life) && lies(other);
    });
    if (before !== undefined) this.disorders.push({ packet: packet.id, life, before });
  }
}
