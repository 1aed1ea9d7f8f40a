// The replicated state machine of a group: what all members agree on, as a function of the group's log.
//
// Every member applies the same entries in the same order, so every member has the same state at the same position (Schneider,
// "Implementing Fault-Tolerant Services Using the State Machine Approach", 1990). Three verbs: `apply` an entry, take a
// `snapshot`, `restore` one. What an entry means for the member's own server comes out as data (effects.ts).
//
//   global, small   view and roster, epoch, time, the tier 1s' last numbers, ordinals, recent starts, datagrams and waiting fragments
//   flow table      256 slices by hash, each a state machine of its own: what happens in it depends on the global state, on
//                   packets with hashes of its range, and on nothing else
//
// So state is given to others part by part: first what is global, then slice by slice, each at a position of its own; rows of a
// slice are passed over up to its position (absentSlices.ts). What is global never depends on a slice.
//
// Must be deterministic: no clock but the log's (lineTime.ts), no order of maps, no place in memory, nothing of this process. What
// only this member has are its verdicts and counts, and by Fig. 6 its own flows.

import type { LogEntry } from '../../../shared/log/log.ts';
import { markOf } from '../../../shared/log/mark.ts';
import { type Command, decodeCommand, type EpochCommand } from '../../../shared/log/records/command.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import { defaultRules, emptyView, type GroupBirth, type View } from '../../../shared/membership/view.ts';
import { newReplicaCounters, type ReplicaCounters } from './counters.ts';
import { type Behind, type Effects, EffectsBuffer, type Heritage } from './effects.ts';
import { sliceCount } from './flows/directory.ts';
import { ownerOf } from './flows/entry.ts';
import type { FlowTable } from './flows/table.ts';
import type { Epoch } from './global/epochLine.ts';
import { GroupState } from './groupState.ts';
import { decodeGlobal, encodeGlobal } from './snapshot/globalSnapshot.ts';
import { decodeSlice, encodeSlice } from './snapshot/sliceSnapshot.ts';
import { verdicts } from './verdict.ts';

export interface ReplicaOptions {
  readonly group: string;
  /** The life whose server this replica decides for. It need not be a member. */
  readonly self: Life;
  /** A slice is summed up after so much of the line's time, the next one after as much again. The same on all replicas. */
  readonly digestEveryMs?: number;
}

/** Ten seconds for the whole table. */
const usualDigestEveryMs = 40;
/** Slices summed up at one entry, at most. */
const mostDigests = 32;

export class Replica {
  /** Position of the last entry applied; 0 before the first. */
  position = 0;
  /** The mark of that entry. */
  mark = 0;
  /** An epoch has begun with another member's state: this one is former state, and no entry is applied to it any more. */
  isSuperseded = false;
  /** Packets by verdict, in the order of `verdicts`, as this replica decided them. */
  readonly counts: Float64Array = new Float64Array(verdicts.length);
  readonly counters: ReplicaCounters = newReplicaCounters();
  readonly #group: string;
  readonly #self: Life;
  readonly #digestEveryMs: number;
  readonly #effects = new EffectsBuffer();
  #state: GroupState;

  constructor({ group, self, digestEveryMs = usualDigestEveryMs }: ReplicaOptions) {
    this.#group = group;
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#digestEveryMs = digestEveryMs;
    this.#state = this.#emptyState({ group, placement: 'rendezvous', seed: 0, rules: defaultRules });
  }

  /** The epoch in force; undefined: no line has begun. */
  get epoch(): Epoch | undefined {
    return this.#state.line.inForce;
  }

  /** What else is to come out from the next entry on. */
  standBehind(behind: Behind | undefined): void {
    this.#effects.items.behind = behind;
  }

  /** Milliseconds since the line began, by the line's own time. */
  get timeMs(): number {
    return this.#state.timeMs;
  }

  get view(): View {
    return this.#state.view;
  }

  /** Position of the entry that made the view, or began the epoch with it. */
  get viewPosition(): number {
    return this.#state.viewPosition;
  }

  /** Server number of this replica's life, `noServer` when it has none. */
  get selfNumber(): number {
    return this.#state.selfNumber;
  }

  get table(): FlowTable {
    return this.#state.decider.table;
  }

  /** By Fig. 6: the flows that no other replica knows. */
  get ownTable(): FlowTable | undefined {
    return this.#state.decider.ownTable;
  }

  /** Flows of this replica's server, expired ones that were not swept yet included. */
  get ownFlows(): number {
    return this.table.countByOwner(this.selfNumber) + (this.ownTable?.countByOwner(this.selfNumber) ?? 0);
  }

  /** Those of them that have ended, and are kept for late copies of their packets. */
  get ownEndedFlows(): number {
    return this.table.endedByOwner(this.selfNumber) + (this.ownTable?.endedByOwner(this.selfNumber) ?? 0);
  }

  /** By Fig. 6: starts that are remembered. */
  get recentStarts(): number {
    return this.#state.decider.recentStarts.table.size;
  }

  /** What this replica's server should have had of the entries behind a position, as if it had inherited it. */
  ownHeritage(handled: number): Heritage {
    return this.#state.ownHeritage(handled, this.position, this.mark);
  }

  /** Flows of servers that had gone, which went on at this replica's. */
  get promotedFlows(): number {
    return this.#state.decider.promoted;
  }

  /** The life that a server number means; undefined when it was never given. */
  lifeOf(number: number): Life | undefined {
    return this.#state.roster.entry(number);
  }

  /** The word on a flow (flows/entry.ts) in the shared table, or by Fig. 6 in this server's; 0 when there is none. */
  flowInfo(hi: number, lo: number): number {
    const { tick } = this.#state;
    return this.table.peek(hi, lo, tick) || (this.ownTable?.peek(hi, lo, tick) ?? 0);
  }

  /** Shows the flows of this replica's server in one slice. */
  eachOwnFlow(slice: number, visit: (hi: number, lo: number) => void): void {
    const { selfNumber } = this;
    const show = (hi: number, lo: number, _lastSeen: number, info: number) => {
      if (ownerOf(info) === selfNumber) visit(hi, lo);
    };
    this.table.scanSlice(slice, show);
    this.ownTable?.scanSlice(slice, show);
  }

  /**
   * Applies the next entry. Positions ascend; an entry that does not is a defect of the caller and throws. The effects hold until
   * the next call.
   */
  apply(entry: LogEntry): Effects {
    const effects = this.#effects;
    effects.clear();
    if (this.isSuperseded) return effects;
    if (entry.position <= this.position) {
      throw new RangeError(`an entry at ${entry.position} after the one at ${this.position}`);
    }
    if (entry.kind === 'frame') this.#applyFrame(entry);
    else this.#applyCommand(entry);
    if (this.isSuperseded) return effects;
    this.position = entry.position;
    this.mark = markOf(entry);
    if (effects.outcome === 'frame') this.#state.rows.recent?.seal(this.mark);
    for (const slice of this.#state.absent.mismatched(this.position, this.mark)) {
      this.counters.strangeSlices++;
      this.dropSlice(slice);
    }
    return effects;
  }

  /**
   * A line begins with this entry: with the state of this replica, or empty where the entry names no donor or this replica has no
   * state. For the caller that has read off the log that this epoch is in force. False when the entry is no such epoch.
   */
  beginEpoch(entry: LogEntry): boolean {
    const command = entry.kind === 'command' ? decodeCommand(entry.data) : undefined;
    if (command?.kind !== 'epoch') return false;
    if (command.donor !== undefined && !isLifeOf(command.donor, this.#self)) return false;
    this.#begin(command, entry);
    this.position = entry.position;
    this.mark = markOf(entry);
    this.isSuperseded = false;
    return true;
  }

  get missingSlices(): number {
    return this.#state.absent.missing;
  }

  /** The first of the missing slices; -1 when none is missing. */
  get firstMissingSlice(): number {
    return this.#state.absent.firstMissing;
  }

  isMissing(slice: number): boolean {
    return this.#state.absent.isMissing(slice);
  }

  /** Whether the slice is here as it is at the replica's position; it may be missing, or be further on. */
  holds(slice: number): boolean {
    return this.#state.absent.positionOf(slice, this.position) <= this.position;
  }

  /** The content of a slice is not trusted any more: rows of it are passed over until it is restored. */
  dropSlice(slice: number): void {
    this.table.clear(slice);
    this.#state.absent.setMissing(slice);
  }

  /** Everything but the flow table, at `position`. A replica without an epoch has none to give, and throws. */
  snapshotGlobal(): Uint8Array {
    const { epoch, position, mark } = this;
    if (epoch === undefined) throw new RangeError('a snapshot before the first epoch');
    return encodeGlobal({ group: this.#group, position, mark, epoch, ...this.#state.snapshot() });
  }

  /** One slice, at `position` or where it was restored at, if that lies ahead. Throws when it is missing. */
  snapshotSlice(slice: number): Uint8Array {
    const { absent, decider, tick } = this.#state;
    if (absent.isMissing(slice) || this.epoch === undefined) throw new RangeError(`slice ${slice} is missing`);
    const content = decider.table.content(slice, tick);
    const position = absent.positionOf(slice, this.position);
    const mark = absent.markOf(slice, this.position, this.mark);
    return encodeSlice({ slice, position, mark, epoch: this.epoch.id, tick, content });
  }

  /** A replica with this global state and all slices missing; undefined when the bytes are no such state. */
  static restore(options: ReplicaOptions, global: Uint8Array): Replica | undefined {
    const snapshot = decodeGlobal(global);
    if (snapshot === undefined || snapshot.group !== options.group) return undefined;
    const replica = new Replica(options);
    const state = replica.#emptyState(snapshot.view);
    if (!state.restore(snapshot)) return undefined;
    replica.#state = state;
    replica.position = snapshot.position;
    replica.mark = snapshot.mark;
    state.absent.setAllMissing();
    return replica;
  }

  /**
   * Puts in a slice as it was at this position or a later one; until the replica has come there, rows of it are passed over. False, and
   * nothing is changed, when the bytes are no slice, or one of an earlier position or another epoch.
   */
  restoreSlice(bytes: Uint8Array): boolean {
    const snapshot = decodeSlice(bytes, this.#state.decider.idleTicks);
    if (snapshot === undefined || snapshot.position < this.position || snapshot.epoch !== this.epoch?.id) return false;
    const { slice, position, mark, tick, content } = snapshot;
    if (position === this.position && mark !== this.mark) return false;
    const isLoaded = this.table.load(slice, content, tick);
    if (isLoaded) this.#state.onRestored(slice, position, mark);
    else this.dropSlice(slice);
    return isLoaded;
  }

  /** A sum over the living content of a slice, in whatever order it lies; below 2^53. */
  digest(slice: number): number {
    return this.table.digest(slice, this.#state.tick);
  }

  /** A sum over everything else that is shared; below 2^53. */
  globalFingerprint(): number {
    return this.#state.fingerprint(this.position, this.mark);
  }

  #applyFrame(entry: LogEntry): void {
    const effects = this.#effects;
    const { counters } = this;
    const { frame } = effects;
    const fault = frame.decode(entry.data);
    if (this.epoch === undefined) {
      counters.ignoredFrames++;
      if (fault === 'none') counters.ignoredRows += frame.count;
      return;
    }
    this.#pass(entry, fault === 'none' ? frame.timestampMs : undefined);
    if (fault !== 'none') {
      counters.badFrames[fault]++;
      effects.outcome = 'bad';
      return;
    }
    effects.timestampMs = frame.timestampMs;
    const { lasts, rows, timeMs } = this.#state;
    effects.outcome = lasts.judge(frame.tier1Id, frame.follows, frame.number, timeMs);
    if (effects.outcome === 'repeated') counters.repeatedFrames++;
    else if (effects.outcome === 'gap') counters.gapFrames++;
    else {
      counters.frames++;
      rows.decideFrame(entry.position, this.#state.time.logMs);
    }
  }

  #applyCommand(entry: LogEntry): void {
    const effects = this.#effects;
    const { counters } = this;
    const command = decodeCommand(entry.data);
    effects.command = command;
    if (this.epoch !== undefined) this.#pass(entry, undefined);
    if (command === undefined) {
      counters.badCommands++;
      effects.outcome = 'bad';
      return;
    }
    const isEffective = this.#carryOut(command, entry);
    effects.outcome = isEffective ? 'command' : 'ignored';
    if (isEffective) counters.commands++;
    else counters.ignoredCommands++;
  }

  #carryOut(command: Command, entry: LogEntry): boolean {
    const { line, view } = this.#state;
    const epoch = line.onCommand(command, entry.position, entry.timeMs, view.members.length > 0);
    if (epoch !== undefined) {
      this.#onEpoch(epoch, entry);
      return true;
    }
    const { kind } = command;
    const inForce = this.epoch?.id;
    if (kind === 'epoch' || inForce === undefined) return false;
    if (command.epoch !== '' && command.epoch !== inForce) return false;
    if (kind === 'tick' || kind === 'ask') return true;
    this.#effects.viewChanged = this.#state.carryOut(command, entry);
    return this.#effects.viewChanged;
  }

  /** An epoch is in force from this entry on. */
  #onEpoch(command: EpochCommand, entry: LogEntry): void {
    const { number, id, donor } = command;
    this.#effects.epochBegun = { number, id, position: entry.position, donor };
    if (donor !== undefined && !isLifeOf(donor, this.#self)) {
      this.isSuperseded = true;
      return;
    }
    this.#effects.viewChanged = donor === undefined || this.epoch === undefined;
    this.#begin(command, entry);
  }

  #begin(command: EpochCommand, entry: LogEntry): void {
    if (command.donor === undefined || this.epoch === undefined) {
      this.#state = this.#emptyState(command.birth);
      this.#state.time.begin(entry.timeMs);
    } else {
      // What is missing begins empty: nobody has it.
      this.#state.time.onEntry(entry.timeMs);
      this.#state.absent.reset();
      this.#state.setTick();
    }
    this.#state.begin(command, entry.position, entry.timeMs);
  }

  /** An entry moves time, and slices are summed up before anything else happens: by the log's time, since hours of a capture may pass in a second. */
  #pass(entry: LogEntry, packetMs: number | undefined): void {
    const state = this.#state;
    const { time } = state;
    const beforeMs = state.timeMs;
    const beforeLogMs = time.logMs;
    time.onEntry(entry.timeMs);
    if (packetMs !== undefined) time.onFrame(packetMs);
    state.absent.begin(entry.position);
    if (state.timeMs !== beforeMs) state.setTick();
    const last = Math.floor(time.logMs / this.#digestEveryMs);
    const first = Math.max(Math.floor(beforeLogMs / this.#digestEveryMs) + 1, last - mostDigests + 1);
    for (let turn = first; turn <= last; turn++) {
      const slice = turn % sliceCount;
      if (state.absent.some && state.absent.covers(slice)) continue;
      this.#effects.digests.push({ slice, position: entry.position, digest: this.digest(slice) });
    }
  }

  #emptyState(birth: GroupBirth): GroupState {
    const view = emptyView({ ...birth, group: this.#group });
    return new GroupState(view, this.#self, this.#effects, this.counts);
  }
}
