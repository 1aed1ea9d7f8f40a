// The state that a server keeps for flows, and that outlives it (egress/handlers/handler.ts: `state`): what becomes of it when flows come, go on at their
// backups and end. One of these stands beside each actor whose handler declares it, and costs nothing elsewhere.
//
//   owner    handler ──── saveFlow ────► states ─── peer.<group>.<backup> ──►  shadow, or what came last     backup
//                                                                                 │ owner dies
//                                                            handler ◄── loadFlow ┘
//
// What makes it right to the packet is that everything has a position. A backup's state of a flow has all packets up to one, whatever way it came; all replicas see
// the same entry end an owner; and what the heir hands out a second time (failover/replay.ts) is compared with that position: a packet that is in the state
// already is marked so, and the handler does not count it again.
//
// By handing over, a shadow's state is saved and loaded into the handler. So a handler's author writes the same three functions for both ways, the
// shadow can be a handler without any effect from its making on, and a fault of the shadow costs no packet of the server's own flows.
//
// A state that is not to be had is not made up: the flow then begins at its backup without one, and is counted as cold.

import type { Command } from '../../../shared/log/records/command.ts';
import type { StateMessage } from '../../../shared/membership/gossip.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import type { View } from '../../../shared/membership/view.ts';
import type { Egress, FlowKeeper, KeptFlows, LogPlace } from '../egress/egress.ts';
import { FlowMap } from '../egress/handlers/flowMap.ts';
import type { PeerMessage, States, Want } from '../recovery/messages.ts';
import { type Behind, type Effects, endReasons } from '../replica/effects.ts';
import { backupOf, ownerOf } from '../replica/flows/entry.ts';
import type { Replica } from '../replica/replica.ts';
import { Checkpoints } from './checkpoints.ts';
import { EndedFlows } from './ended.ts';
import { readEntries } from './entries.ts';
import { OwnedStates } from './owned.ts';
import { Shadows } from './shadows.ts';
import type { FlowsBehind, Question, Run, TakenState } from './ways.ts';

export interface FlowStatesPorts {
  readonly kept: KeptFlows;
  /** To the server, past whatever counts for it. */
  readonly egress: Egress;
  /** A flow of a lost server that the server has been told of already (failover/heldFlows.ts): true, and it is not held any more. */
  goesOn(hi: number, lo: number): boolean;
  toPeer(server: string, message: PeerMessage): void;
}

export interface FlowStatesCounters {
  /** Flows that went on here with their state, without it, and with one that lacks packets which the log did not have any more. */
  warm: number;
  cold: number;
  stale: number;
  /** Flows whose lost owner may not have dealt with their end. */
  finished: number;
  badMessages: number;
}

/** An answer of several messages. */
interface Answer {
  readonly nonce: number;
  readonly got: Set<number>;
}

export class FlowStates implements Behind {
  readonly counters: FlowStatesCounters = { warm: 0, cold: 0, stale: 0, finished: 0, badMessages: 0 };
  readonly owned: OwnedStates;
  readonly behind: FlowsBehind;
  readonly #self: Life;
  readonly #ports: FlowStatesPorts;
  readonly #live: FlowKeeper;
  readonly #ended = new EndedFlows<TakenState>();
  /** Where the states are that flows were promoted with, while their lost owner's packets are replayed. */
  readonly #inState = new FlowMap<number>();
  /** By owner that has gone: what is due behind this position was given here. */
  readonly #givenSince = new Map<number, number>();
  readonly #answers = new Map<number, Answer>();
  readonly #run = {
    data: new Uint8Array(0),
    timestampMs: 0,
    tier1Id: '',
    place: { epoch: 0, position: 0 } as LogPlace,
  };
  #replica: Replica | undefined;
  #epoch: Replica['epoch'];
  #position = 0;
  #lineage = -1;
  #view: View | undefined;
  #nonce = 0;
  #hasLeft = false;
  /** Of the view in which this server is not any more. */
  #members: ReadonlySet<number> = new Set();

  constructor(self: Life, ports: FlowStatesPorts) {
    const { kept, toPeer } = ports;
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#ports = ports;
    this.#live = kept.live;
    this.owned = new OwnedStates(this.#self, toPeer);
    this.behind =
      kept.way === 'shadow'
        ? new Shadows(kept.shadow)
        : new Checkpoints(kept.shadow, (hi, lo) => this.#ended.peek(hi, lo));
  }

  /** Of the replica's items (`Behind`). */
  get packets(): boolean {
    return this.behind.packets;
  }

  stateAt(hi: number, lo: number): number | undefined {
    return this.behind.stateAt(hi, lo);
  }

  /** Whether it is to be told of packets of the server's own flows. */
  get notesChanges(): boolean {
    return !this.behind.packets;
  }

  /** For reports. */
  report(): Record<string, number> {
    const { size: flowsBehind, coldFlows } = this.behind;
    return { flowsBehind, coldFlowsBehind: coldFlows, ...this.counters, statesSent: this.owned.counters.sent };
  }

  /** An entry was applied and is about to be handed out. `lineage` goes up whenever the state of this replica was not made by the entries before. */
  at(replica: Replica, lineage: number): void {
    if (this.#lineage !== lineage || this.#replica !== replica || this.#epoch !== replica.epoch) {
      this.#lineage = lineage;
      this.#epoch = replica.epoch;
      this.behind.clear();
      this.#ended.clear();
      this.#answers.clear();
      this.owned.reset(replica.position);
      this.#view = replica.view;
    }
    this.#replica = replica;
    this.#position = replica.position;
  }

  /** The packets that come now lie in these bytes. */
  begin(data: Uint8Array, timestampMs: number, tier1Id: string, place: LogPlace): void {
    this.behind.endRun();
    Object.assign(this.#run, { data, timestampMs, tier1Id, place });
  }

  packet(offset: number, length: number, hi: number, lo: number, flags: number, row: number): void {
    this.behind.packet(this.#run, this.#position, offset, length, hi, lo, flags, row);
  }

  end(): void {
    this.behind.endRun();
  }

  started(hi: number, lo: number, timestampMs: number, owner: number): void {
    this.behind.started(hi, lo, timestampMs, this.#position, owner);
  }

  /** This server stands behind the flow from now on. */
  given(hi: number, lo: number): void {
    this.behind.given(hi, lo, this.#position);
  }

  /** Somebody else does. */
  lost(hi: number, lo: number): void {
    this.behind.lose(hi, lo, this.#position);
  }

  /** A flow of another server has ended. Where that one has gone, it ends here. */
  endedBehind(hi: number, lo: number, reason: number, timestampMs: number, owner: number, isOwnerGone: boolean): void {
    const taken = this.behind.end(hi, lo, this.#position);
    if (!isOwnerGone) {
      if (taken !== undefined) {
        this.#ended.add({ hi, lo, owner, position: this.#position, reason, timestampMs }, taken);
      }
      return;
    }
    const { egress } = this.#ports;
    if (!this.#ports.goesOn(hi, lo)) {
      // What nobody knows anything of ends unheard, as it would without state.
      if (taken === undefined) {
        this.counters.cold++;
        return;
      }
      egress.flowStarted(hi, lo, timestampMs, 'promoted');
      this.#load(hi, lo, taken);
    }
    this.counters.finished++;
    egress.flowEnded(hi, lo, endReasons[reason], timestampMs);
  }

  /** A flow of this server has had a packet, or has got another backup. */
  changed(hi: number, lo: number): void {
    if (this.notesChanges) this.owned.changed(hi, lo, this.#position);
  }

  ended(hi: number, lo: number): void {
    this.owned.ended(hi, lo);
  }

  /** The server has just been told that it goes on with this flow of a lost one. */
  promote(hi: number, lo: number): void {
    this.#load(hi, lo, this.behind.take(hi, lo, this.#position) ?? this.#ended.take(hi, lo));
  }

  /** A packet that is replayed, due at this position, is in the state that its flow was loaded with. */
  isInState(hi: number, lo: number, due: number): boolean {
    const position = this.#inState.get(hi, lo);
    // Of a flow that is over, and whose hash another one of this server has.
    return position === undefined ? this.#ended.isDueFlow(hi, lo) : due <= position;
  }

  /** A packet that the lost server had handled, for the state alone. */
  feed(
    run: Run,
    offset: number,
    length: number,
    hi: number,
    lo: number,
    flags: number,
    row: number,
    due: number,
  ): void {
    this.behind.feed(run, offset, length, hi, lo, flags, row, due);
  }

  /** An entry has been handed out. */
  onApplied({ viewChanged, command, heritage }: Effects): void {
    const replica = this.#replica;
    if (replica === undefined) return;
    if (viewChanged && replica.view !== this.#view) {
      const before = this.#view;
      this.#view = replica.view;
      for (const { number } of before?.members ?? []) {
        if (replica.view.members.some((member) => member.number === number)) continue;
        this.#givenSince.set(number, heritage?.number === number ? heritage.since : this.#position);
        this.#ended.removed(number, doneBy(command));
      }
    }
    this.owned.advance(replica, this.#live);
  }

  /** To be called while nothing is replayed: ends what a lost owner may not have dealt with. */
  settle(): void {
    if (this.#inState.size > 0) this.#inState.clear();
    if (!this.#ended.isDue) return;
    const { egress } = this.#ports;
    for (const { hi, lo, kept, reason, timestampMs } of this.#ended.takeAll()) {
      if (kept.bytes === undefined) continue;
      this.counters.finished++;
      egress.flowStarted(hi, lo, timestampMs, 'promoted');
      this.#load(hi, lo, kept);
      egress.flowEnded(hi, lo, endReasons[reason], timestampMs);
    }
    this.#inState.clear();
  }

  /** Time passes. `nowMs` never goes back. */
  tick(nowMs: number): void {
    const replica = this.#replica;
    if (replica === undefined || this.#hasLeft) return;
    this.owned.advance(replica, this.#live);
    const { selfNumber, view } = replica;
    const owners = view.members.filter(({ number }) => number !== selfNumber);
    const serverOf = (hi: number, lo: number): string | undefined => {
      const info = replica.flowInfo(hi, lo);
      return info === 0 ? undefined : owners.find(({ number }) => number === ownerOf(info))?.server;
    };
    for (const question of this.behind.questions({ position: this.#position, nowMs, owners, serverOf })) {
      this.#ask(question, replica.epoch?.id ?? '');
    }
  }

  onPeer(message: Want | States, nowMs: number): void {
    const replica = this.#replica;
    if (replica === undefined || this.#hasLeft || message.epoch !== replica.epoch?.id) return;
    if (message.kind === 'want') this.owned.onWant(message, replica, this.#live);
    else this.#onStates(message, replica, nowMs);
  }

  /** A member says how far its server is. */
  onGossip({ server, incarnation, line }: StateMessage): void {
    if (line === undefined || line.epoch !== this.#replica?.epoch?.id) return;
    const member = this.#view?.members.find((each) => isLifeOf(each, { server, incarnation }));
    if (member !== undefined) this.#ended.handled(member.number, line.handled);
  }

  /** This server is no member any more: its flows go on at their backups, with their state. */
  leave(replica: Replica | undefined): void {
    if (this.#hasLeft || replica === undefined) return;
    this.#hasLeft = true;
    const { selfNumber, view } = replica;
    this.#members = new Set(view.members.map(({ number }) => number));
    const drop = (hi: number, lo: number, _lastSeen: number, info: number) => {
      if (ownerOf(info) === selfNumber && this.hasGone(info)) this.#live.dropFlow(hi, lo);
    };
    replica.table.scan(drop);
    replica.ownTable?.scan(drop);
  }

  /** Whether a flow that was this server's goes on elsewhere, by its entry in the table; after `leave`. */
  hasGone(info: number): boolean {
    const backup = backupOf(info);
    return this.#hasLeft && info !== 0 && backup !== this.#replica?.selfNumber && this.#members.has(backup);
  }

  #load(hi: number, lo: number, taken: TakenState | undefined): void {
    if (taken === undefined) {
      this.counters.cold++;
      return;
    }
    const { bytes, position, owner } = taken;
    this.counters.warm++;
    if (owner !== undefined && position < (this.#givenSince.get(owner) ?? 0)) this.counters.stale++;
    this.#inState.set(hi, lo, position);
    if (bytes !== undefined) this.#live.loadFlow(hi, lo, bytes);
  }

  #ask({ server, position, since, flows }: Question, epoch: string): void {
    const { server: self, incarnation } = this.#self;
    const nonce = ++this.#nonce;
    this.#ports.toPeer(server, { kind: 'want', server: self, incarnation, nonce, epoch, position, since, flows });
  }

  #onStates(states: States, replica: Replica, nowMs: number): void {
    const owner = replica.view.members.find((member) => isLifeOf(member, states))?.number;
    if (owner === undefined) return;
    const { position, upTo, nonce, chunk, chunks } = states;
    const isWhole = readEntries(states.bytes, (hi, lo, state) => {
      const info = replica.flowInfo(hi, lo);
      const isBehind = info !== 0 && ownerOf(info) === owner && backupOf(info) === replica.selfNumber;
      // One that is further on may know of flows that have not come here yet.
      if (isBehind || position > replica.position) this.behind.onState(hi, lo, state, position, nowMs, owner);
    });
    if (!isWhole) {
      this.counters.badMessages++;
      return;
    }
    if (upTo < 0) return;
    const known = this.#answers.get(owner);
    const answer = known?.nonce === nonce ? known : { nonce, got: new Set<number>() };
    this.#answers.set(owner, answer);
    answer.got.add(chunk);
    if (answer.got.size === chunks) this.behind.onAnswer(owner, upTo);
  }
}

/** How far the server is done that this command takes out. Who leaves by itself is done with everything; of one that another life follows it is not known. */
function doneBy(command: Command | undefined): number {
  if (command?.kind === 'remove') return command.handled;
  return command?.kind === 'leave' ? Number.POSITIVE_INFINITY : 0;
}
