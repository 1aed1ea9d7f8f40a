// One life of a server in a group: the production actor in a process, and a server that only says which packets it has had: at once, or when it has
// worked on them for a while.

import { type ActorLog, DsslActor } from '../../services/dssl/actor.ts';
import type { Egress } from '../../services/dssl/egress/egress.ts';
import { HandledUpTo } from '../../services/dssl/egress/handledUpTo.ts';
import { type DecisionAudit, type Effects, ItemKind, wordsPerItem } from '../../services/dssl/replica/effects.ts';
import type { Replica } from '../../services/dssl/replica/replica.ts';
import type { Subjects } from '../../shared/bus/subjects.ts';
import { birthOf, type ClusterMap } from '../../shared/config/map.ts';
import { isLifeOf } from '../../shared/membership/transitions.ts';
import type { View } from '../../shared/membership/view.ts';
import { readStamp } from '../../shared/packet/stamp.ts';
import { compareApplied } from './checkers/replicas.ts';
import type { Ledger, ServerLife } from './ledger.ts';
import type { SimBus } from './network.ts';
import type { SimProcess } from './process.ts';
import type { Reference } from './reference/reference.ts';

export interface ServerOptions {
  readonly name: string;
  readonly group: string;
  /** The group that its server came from by a move; undefined for the first seat of its process. */
  readonly cameFrom: string | undefined;
  readonly incarnation: number;
  readonly weight: number;
  readonly standsFor: readonly string[] | undefined;
  readonly map: ClusterMap;
  readonly reference: Reference;
  readonly subjects: Subjects;
  readonly process: SimProcess;
  readonly dataBus: SimBus;
  readonly controlBus: SimBus;
  readonly gossipBus: SimBus;
  readonly life: ServerLife;
  readonly ledger: Ledger;
  readonly nowMs: () => number;
  /** How long it works on what it is handed. */
  readonly workMs: number;
  readonly audit: DecisionAudit | undefined;
  readonly log: ActorLog;
  /** Called again and again while the view says that the server is on its way to another group. */
  readonly onMoving: () => void;
}

/** A server that was removed knows it within this: what it is handed is as young as half the time in which it is given up, or what it looked at is. */
const leaseMs = 700;

export class SimServer {
  readonly options: ServerOptions;
  readonly actor: DsslActor;
  /** Packets handed to this server. */
  handed = 0;
  /** And those that a dead one may have been handed before. */
  repeated = 0;
  /** Packets that its replica has accepted, by what came of each entry. */
  accepted = 0;
  /** When an operator told it to leave. */
  toldMs: number | undefined;
  /** Its replica had all state of the group at some time. */
  hasBeenWhole = false;
  /** What it works on. */
  readonly #work = new Set<() => void>();
  /** The first thing that it was handed when it should have known that it was removed. */
  overslept: string | undefined;
  /** The entry that its replica applied last; at 0 none yet. */
  #lastPosition = 0;
  #lastEpoch = '';
  /** The first thing that its replica made otherwise than the reference. */
  divergence: string | undefined;

  constructor(options: ServerOptions) {
    const { name, group, incarnation, weight, standsFor, map } = options;
    this.options = options;
    this.actor = new DsslActor({
      birth: birthOf(map, group),
      candidate: { server: name, incarnation, weight, standsFor },
      subjects: options.subjects,
      dataBus: options.dataBus,
      controlBus: options.controlBus,
      gossipBus: options.gossipBus,
      logSettings: map.log,
      settings: map.settings,
      egress: this.#egress(),
      clock: options.process.clock,
      log: {
        info: (fields, message) => this.#tell('info', fields, message),
        warn: (fields, message) => this.#tell('warn', fields, message),
      },
      onApplied: (replica, effects) => this.#onApplied(replica, effects),
      ...(options.audit === undefined ? {} : { audit: options.audit }),
    });
  }

  #onApplied(replica: Replica, effects: Effects): void {
    const { words, count } = effects.items;
    let accepted = 0;
    for (let at = 0; at < count * wordsPerItem; at += wordsPerItem)
      if (words[at] === ItemKind.accept || words[at] === ItemKind.acceptLate) accepted++;
    // What it has been handed before, it is not handed once more, nor what it had been removed for.
    if (!this.actor.recovery.wasHanded && !this.actor.failover.lease.isFencing) this.accepted += accepted;
    compareApplied(this.options.reference, this, replica, effects);
    if (effects.command !== undefined && this.#movesTo(replica.view) !== undefined) this.options.onMoving();
  }

  /** The group that the server is on its way to, as its view has it. */
  get movesTo(): string | undefined {
    return this.#movesTo(this.actor.view);
  }

  #movesTo({ members }: View): string | undefined {
    const { name: server, incarnation } = this.options;
    return members.find((member) => isLifeOf(member, { server, incarnation }))?.movesTo;
  }

  /** It ends in order, with what it has begun. */
  finish(): void {
    if (this.options.process.isAlive) for (const done of this.#work) done();
  }

  /** The server has been handed these. */
  workOn(packets: readonly number[], isRepeat: boolean, handled: HandledUpTo): void {
    const { ledger, life, nowMs, workMs, process } = this.options;
    this.#noteLease(packets[0]);
    const accept = () => {
      for (const id of packets) ledger.accept(id, life, nowMs(), isRepeat);
    };
    if (workMs === 0) {
      accept();
      return;
    }
    const onDone = handled.begin();
    const done = () => {
      timer.cancel();
      this.#work.delete(done);
      accept();
      onDone();
    };
    const timer = process.clock.setTimer(workMs, done);
    this.#work.add(done);
  }

  /** Handed out long after it was removed, it may be what others have had and gone on behind. */
  #noteLease(packet: number): void {
    const { life, nowMs, map, reference } = this.options;
    const lateMs = nowMs() - life.removedMs;
    if (map.rules.availability === 'none' || lateMs < leaseMs || this.isLeaving) return;
    // On a line that began where nobody had heard of its removal it is a member.
    if (reference.view.members.some((member) => isLifeOf(member, { server: life.name, incarnation: life.incarnation })))
      return;
    this.overslept ??= `${life.name} was handed packet ${packet} ${Math.round(lateMs)} ms after it had been removed`;
  }

  get isLeaving(): boolean {
    return this.toldMs !== undefined;
  }

  #tell(kind: 'info' | 'warn', fields: object, message: string): void {
    this.options.log[kind](fields, message);
    // A line that begins with the state of this server's replica is told of before anything is applied to it.
    const replica = this.actor?.replica;
    if (replica !== undefined) this.options.reference.donorApplied(replica);
  }

  /** Its replica has applied the entry at this position. */
  noteApplied(position: number, epoch: string): void {
    this.#lastPosition = position;
    this.#lastEpoch = epoch;
  }

  /** Whether its replica, which did not apply the entry at this position, went on behind it or on another line. */
  hasSkipped(epoch: string, position: number): boolean {
    return this.#lastPosition > 0 && (this.#lastEpoch !== epoch || this.#lastPosition >= position);
  }

  get life(): ServerLife {
    return this.options.life;
  }

  #egress(): Egress {
    const { life } = this.options;
    const stamp = { run: 0, id: 0, flow: 0 };
    let data: Uint8Array = new Uint8Array(0);
    let isRepeat = false;
    let batch: number[] = [];
    const handled = new HandledUpTo();
    return {
      begin: (bytes, _timestampMs, _tier1Id, repeats = false) => {
        data = bytes;
        isRepeat = repeats;
      },
      add: (offset, length) => {
        if (!readStamp(data, offset, offset + length, stamp))
          throw new Error(`${life.name} got a packet without stamp`);
        if (isRepeat) this.repeated++;
        else this.handed++;
        batch.push(stamp.id);
      },
      end: () => {
        if (batch.length > 0) this.workOn(batch, isRepeat, handled);
        batch = [];
      },
      handled: (position) => handled.at(position),
      flowStarted: () => undefined,
      flowEnded: () => undefined,
    };
  }
}
