// A group's log in the hands of a test: it appends commands and frames, and several replicas apply what it appends.

import { type Effects, endReasons, ItemKind, wordsPerItem } from '../../../../services/dssl/replica/effects.ts';
import { noServer } from '../../../../services/dssl/replica/flows/entry.ts';
import { Replica, type ReplicaOptions } from '../../../../services/dssl/replica/replica.ts';
import { noPacket, verdicts, waiting } from '../../../../services/dssl/replica/verdict.ts';
import { FrameFlags, ProtocolClass, protocolClassShift, RESET, SINGLE } from '../../../../shared/flow/frameFlags.ts';
import { mix32 } from '../../../../shared/hash/mix.ts';
import type { EntryKind, LogEntry } from '../../../../shared/log/log.ts';
import { type Command, encodeCommand } from '../../../../shared/log/records/command.ts';
import { FrameBuilder } from '../../../../shared/log/records/frame.ts';
import type { Life } from '../../../../shared/membership/transitions.ts';
import {
  defaultRules,
  type GroupBirth,
  type GroupRules,
  type PlacementName,
} from '../../../../shared/membership/view.ts';

export const syn: number = FrameFlags.TYPE1 | FrameFlags.START | (ProtocolClass.TCP << protocolClassShift);
export const tcp: number = FrameFlags.TYPE1 | (ProtocolClass.TCP << protocolClassShift);
/** The end of one side; `otherSide` makes it the other one's. */
export const fin: number = tcp | FrameFlags.END;
export const otherSide: number = FrameFlags.SIDE;
export const rst: number = tcp | RESET;
export const udp: number = ProtocolClass.UDP << protocolClassShift;
export const gtp: number = FrameFlags.TYPE1 | FrameFlags.AGGREGATE | (ProtocolClass.GTP_C << protocolClassShift);

/** A packet that is a flow of its own, and a fragment under the same key. */
export const single: number = udp | SINGLE;
export const piece: number = udp | FrameFlags.HANDSHAKE;

export const startMs = 1_700_000_000_000;

/** A flow's hash, spread over all slices. */
export function hiOf(flow: number): number {
  return mix32(flow + 0x5151);
}

export interface Row {
  readonly flow: number;
  readonly flags: number;
  readonly bytes?: number;
  /** The hash, where it is not the one of the flow. */
  readonly hi?: number;
}

export interface FrameOptions {
  readonly tier1Id?: string;
  readonly timestampMs?: number;
  readonly number?: number;
  readonly follows?: number;
}

export const firstEpoch = 'e1';

/** Command fields without author and epoch. */
type Draft = Command extends infer C ? (C extends Command ? Omit<C, 'author' | 'epoch'> : never) : never;

/** Makes entries, at positions without gaps; keeps them all. */
export class TestLog {
  readonly entries: LogEntry[] = [];
  /** The log's clock. */
  nowMs = startMs;
  epoch = firstEpoch;
  readonly birth: GroupBirth;
  readonly #numbers = new Map<string, number>();
  readonly #builder = new FrameBuilder();

  constructor(rules: Partial<GroupRules> = {}, placement: PlacementName = 'rendezvous') {
    this.birth = { group: 'g1', placement, seed: 7, rules: { ...defaultRules, ...rules } };
  }

  append(kind: EntryKind, data: Uint8Array): LogEntry {
    const entry = { position: this.entries.length + 1, timeMs: this.nowMs, timeNs: 0, kind, data };
    this.entries.push(entry);
    return entry;
  }

  command(author: Life, draft: Draft): LogEntry {
    const { server, incarnation } = author;
    const command = { ...draft, author: { server, incarnation }, epoch: this.epoch } as Command;
    return this.append('command', encodeCommand(command));
  }

  begin(donor?: Life, id: string = firstEpoch, previous = '', author: Life = lifeOf('s0')): LogEntry {
    const entry = this.command(author, {
      kind: 'epoch',
      id,
      number: previous === '' ? 1 : 2,
      previous,
      since: this.entries.length,
      donor,
      birth: this.birth,
    });
    this.epoch = id;
    return entry;
  }

  join(life: Life, weight = 100, replaces?: number): LogEntry {
    return this.command(life, { kind: 'join', weight, replaces, needAt: undefined });
  }

  frame(rows: readonly Row[], options: FrameOptions = {}): LogEntry {
    return this.append('frame', this.encode(rows, options));
  }

  /** A frame that is the next one of its tier 1 unless the options say otherwise. */
  encode(rows: readonly Row[], { tier1Id = 't1', timestampMs = this.nowMs, ...numbers }: FrameOptions): Uint8Array {
    const last = this.#numbers.get(tier1Id) ?? 0;
    const { number = last + 1, follows = number - 1 } = numbers;
    this.#numbers.set(tier1Id, Math.max(last, number));
    for (const { flow, flags, bytes = 10, hi = hiOf(flow) } of rows) {
      if (flags & FrameFlags.DATAGRAM) this.#builder.addDatagram(hi, flow, flags);
      else this.#builder.add(new Uint8Array(bytes).fill(flow), 0, bytes, hi, flow, flags);
    }
    return this.#builder.finish({ tier1Id, number, follows, mapVersion: 1, timestampMs });
  }
}

export function lifeOf(server: string, incarnation = 1): Life {
  return { server, incarnation };
}

/** What a replica said of one row. */
export interface Decided {
  readonly verdict: string;
  readonly owner: number;
}

export function decidedBy(effects: Effects): Decided[] {
  return Array.from({ length: effects.frame.count }, (_, row) => ({
    verdict: verdictName(effects.verdicts[row]),
    owner: effects.owners[row],
  }));
}

function verdictName(verdict: number): string {
  return verdict === noPacket ? 'noPacket' : verdict === waiting ? 'waiting' : verdicts[verdict];
}

/** The items in short: `+3` a flow began, `-3 idle` one ended, `+3 promoted` one came from a server that has gone, `3` a packet of flow 3, `3 late` one that had waited. */
export function itemsOf({ items }: Effects): string[] {
  return Array.from({ length: items.count }, (_, item) => {
    const [kind, first, , , lo] = items.words.subarray(item * wordsPerItem, (item + 1) * wordsPerItem);
    if (kind === ItemKind.flowStarted) return `+${lo}`;
    if (kind === ItemKind.flowPromoted) return `+${lo} promoted`;
    if (kind === ItemKind.flowEnded) return `-${lo} ${endReasons[first]}`;
    return kind === ItemKind.acceptLate ? `${lo} late` : `${lo}`;
  });
}

/** Servers a, b, c, ... with a replica each, all members and active, over one log. */
export class TestGroup {
  readonly log: TestLog;
  readonly replicas = new Map<string, Replica>();
  /** Items of each server, all entries together. */
  readonly events = new Map<string, string[]>();

  constructor(members: number, rules: Partial<GroupRules> = {}, placement: PlacementName = 'rendezvous') {
    this.log = new TestLog(rules, placement);
    this.log.begin();
    for (let index = 0; index < members; index++) this.activate(String.fromCharCode(97 + index));
  }

  /** A server joins and is active at once. */
  activate(server: string, weight = 100): void {
    this.replicas.set(server, newReplica(lifeOf(server)));
    this.events.set(server, []);
    this.log.join(lifeOf(server), weight);
    this.log.command(lifeOf(server), { kind: 'activate' });
    this.catchUp();
  }

  command(author: string, draft: Draft): void {
    this.log.command(lifeOf(author), draft);
    this.catchUp();
  }

  /** All replicas apply what is in the log. */
  catchUp(see: (server: string, effects: Effects) => void = () => undefined): void {
    for (const [server, replica] of this.replicas) {
      while (replica.position < this.log.entries.length) {
        const effects = replica.apply(this.log.entries[replica.position]);
        this.events.get(server)?.push(...itemsOf(effects));
        see(server, effects);
      }
    }
  }

  /** Verdicts of all servers on one packet. */
  now(row: Row, options: FrameOptions = {}): Record<string, string> {
    const verdicts: Record<string, string> = {};
    this.log.nowMs += 1;
    this.log.frame([row], options);
    this.catchUp((server, effects) => {
      verdicts[server] = effects.outcome === 'frame' ? decidedBy(effects)[0].verdict : effects.outcome;
    });
    return verdicts;
  }

  /** Who accepts a packet: exactly one server, or it throws. */
  owner(row: Row, options: FrameOptions = {}): string {
    const verdicts = this.now(row, options);
    const takers = Object.keys(verdicts).filter((server) => verdicts[server].startsWith('accept'));
    if (takers.length !== 1) throw new Error(`accepted by ${takers.length}: ${JSON.stringify(verdicts)}`);
    return takers[0];
  }

  /** Time passes, in steps of the longest that counts. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 1_000) {
      this.log.nowMs += Math.min(left, 1_000);
      this.log.command(lifeOf('a'), { kind: 'tick' });
    }
    this.catchUp();
  }

  replica(server: string): Replica {
    const replica = this.replicas.get(server);
    if (replica === undefined) throw new Error(`no server ${server}`);
    return replica;
  }
}

export function newReplica(self: Life, options: Partial<ReplicaOptions> = {}): Replica {
  return new Replica({ group: 'g1', self, ...options });
}

/** Everything that replicas must agree on, of those slices. */
export function fingerprintOf(replica: Replica, slices: Iterable<number>): string {
  const digests = [...slices].map((slice) => (replica.isMissing(slice) ? '-' : replica.digest(slice)));
  return `${replica.globalFingerprint()} ${digests.join(' ')}`;
}

export { noServer };
