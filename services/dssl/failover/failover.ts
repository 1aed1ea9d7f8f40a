// What an actor does for when servers die: it knows how far its own server has handled the log, which gossip tells, hands out what a dead one had
// not (replay.ts), and does not hand out what others have by now because it was asleep (lease.ts).

import type { ClusterSettings } from '../../../shared/config/settings.ts';
import { FrameFlags, isSingle } from '../../../shared/flow/frameFlags.ts';
import type { Frame } from '../../../shared/log/records/frame.ts';
import type { ProtectionReport } from '../../../shared/membership/protection.ts';
import type { DsslActorOptions } from '../actor.ts';
import { FlowStates } from '../flowState/flowStates.ts';
import type { Handing } from '../handOut.ts';
import type { LogLine } from '../logLine.ts';
import { encodePeer } from '../recovery/messages.ts';
import type { Recovery } from '../recovery/recovery.ts';
import { type Effects, ItemKind, wordsPerItem } from '../replica/effects.ts';
import { backupOf, ownerOf } from '../replica/flows/entry.ts';
import type { DueFrame } from '../replica/global/recentRows.ts';
import type { Replica } from '../replica/replica.ts';
import { HeldFlows } from './heldFlows.ts';
import { Lease } from './lease.ts';
import { Replay } from './replay.ts';

export interface FailoverParts {
  /** The log, once it is open. */
  line(): LogLine | undefined;
  replica(): Replica | undefined;
}

export class Failover {
  readonly held = new HeldFlows();
  readonly replay: Replay;
  readonly lease: Lease;
  readonly #options: DsslActorOptions;
  readonly #parts: FailoverParts;
  #handled = { epoch: '', position: 0 };
  /** How far the server that was removed last had handled the log. */
  #heirFrom = 0;
  #states: FlowStates | undefined;
  /** The replica at hand, and flows that former ones have seen go on here. */
  #replica: Replica | undefined;
  #promotedBefore = 0;

  constructor(options: DsslActorOptions, parts: FailoverParts) {
    const { clock, log, candidate, settings } = options;
    this.#options = options;
    this.#parts = parts;
    const nowMs = () => clock.monotonicMs();
    this.replay = new Replay({
      hold: (at) => parts.line()?.hold(at),
      release: () => parts.line()?.release(),
      reread: (after) =>
        parts.line()?.reread(after, {
          onEntry: (entry) => this.replay.onEntry(entry, nowMs()),
          onBroken: (reason) => this.replay.onBroken(reason, nowMs()),
        }),
      stopRereading: () => parts.line()?.stopRereading(),
      lookAtLog: () => parts.line()?.measure((bounds) => this.replay.onBounds(bounds, nowMs())),
      mayHand: () => this.#mayHand(),
      hand: (frame, due) => this.#hand(frame, due),
      tell: (kind, fields, message) => log[kind](fields, message),
    });
    this.lease = new Lease(candidate, givenUpMs(settings) / 2, {
      hold: (at) => parts.line()?.hold(at),
      release: () => this.#goOn(),
      lookAhead: (after) =>
        parts.line()?.lookAhead(after, {
          onEntry: (entry) => this.lease.onCommand(entry),
          onBroken: () => this.lease.onBroken(nowMs()),
        }),
      stopLooking: () => parts.line()?.stopLooking(),
      isCurrent: () => parts.line()?.hasLookedAhead === true,
      tell: (fields, message) => log.warn(fields, message),
    });
  }

  /** Settings of the cluster have changed. */
  retune(settings: ClusterSettings): void {
    this.lease.limitMs = givenUpMs(settings) / 2;
  }

  /** Whether an entry that comes so late may be applied now. */
  admits(lateMs: number): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    // As nearly always.
    if (this.lease.holds(lateMs, nowMs)) return true;
    const replica = this.#parts.replica();
    if (replica === undefined || replica.view.rules.availability === 'none' || !isServing(replica)) return true;
    this.lease.renew(replica, nowMs);
    return false;
  }

  /** Whether what is read again may be handed out now. */
  #mayHand(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.lease.isHeld(nowMs)) return true;
    const replica = this.#parts.replica();
    if (replica !== undefined) this.lease.renew(replica, nowMs);
    return false;
  }

  /** Who has looked ahead goes on with what it was at. A server that has been removed goes on to its removal: what it is heir to is its own heirs' now. */
  #goOn(): void {
    if (this.replay.isRunning && !this.lease.isFencing) this.replay.goOn(this.#options.clock.monotonicMs());
    else this.#parts.line()?.release();
  }

  /** What the server keeps for flows and outlives it; undefined where it keeps no such thing. It may be made later than the actor. */
  get states(): FlowStates | undefined {
    if (this.#states !== undefined) return this.#states;
    const { birth, egress, candidate, controlBus, subjects } = this.#options;
    const { kept } = egress;
    if (kept === undefined) return undefined;
    this.#states = new FlowStates(candidate, {
      kept,
      egress,
      goesOn: (hi, lo) => this.held.goesOn(hi, lo),
      toPeer: (server, message) => void controlBus.publish(subjects.peer(birth.group, server), encodePeer(message)),
    });
    return this.#states;
  }

  /** How the entry that was applied last is to be handed out. */
  handing(recovery: Recovery): Handing {
    const { replica } = recovery;
    const isAgain = recovery.wasHanded || this.lease.isFencing;
    const { states } = this;
    if (replica !== undefined) states?.at(replica, lineageOf(recovery, replica));
    const place = { epoch: replica?.epoch?.number ?? 0, position: replica?.position ?? 0 };
    return { isAgain, held: this.held, states, place };
  }

  /** Position up to which the server has handled the log of an epoch; 0 when that is not known. */
  handledOf(epoch: string): number {
    return this.#handled.epoch === epoch ? this.#handled.position : 0;
  }

  /** How safe the flows of the server are, and what it has taken over; undefined where flows have no backups. */
  protection(): ProtectionReport | undefined {
    const replica = this.#parts.replica();
    if (replica === undefined || replica.view.rules.availability === 'none') return undefined;
    const members = replica.view.members.map(({ number }) => number);
    const shared = replica.table.owners.protection(members);
    const own = replica.ownTable?.owners.protection(members) ?? { flows: 0, unprotected: 0 };
    const { replays, replayedRows: replayed, unreplayed, partialReplays: partial } = this.replay.counters;
    return {
      flows: shared.flows + own.flows,
      unprotected: shared.unprotected + own.unprotected,
      promoted: this.#promotedBefore + (this.#replica?.promotedFlows ?? 0),
      replaying: this.replay.isRunning ? 1 : 0,
      ...{ replays, replayed, unreplayed, partial },
    };
  }

  /** An entry was applied, and what it meant for the server has been handed out. */
  onApplied(effects: Effects): void {
    const { heritage, items, epochBegun } = effects;
    const nowMs = this.#options.clock.monotonicMs();
    this.#followReplica();
    this.states?.onApplied(effects);
    if (epochBegun !== undefined) {
      this.replay.clear(nowMs);
      this.lease.clear();
    }
    // What a server inherits while it is fenced is its own heirs' next.
    if (this.lease.isFencing) this.#fence(items, nowMs);
    else if (heritage !== undefined) {
      this.#heirFrom = heritage.handled;
      this.replay.begin(heritage, nowMs);
    }
    this.#note();
  }

  #followReplica(): void {
    const replica = this.#parts.replica();
    if (replica === this.#replica) return;
    this.#promotedBefore += this.#replica?.promotedFlows ?? 0;
    this.#replica = replica;
  }

  /** What was not handed out is an heir's, unless this life is a member all the same. */
  #fence({ words, count }: Effects['items'], nowMs: number): void {
    const replica = this.#parts.replica();
    if (replica === undefined) return;
    let rows = 0;
    for (let at = 0; at < count * wordsPerItem; at += wordsPerItem)
      if (words[at] === ItemKind.accept || words[at] === ItemKind.acceptLate) rows++;
    const behind = this.lease.onApplied(replica.position, isServing(replica), rows);
    if (behind === undefined) return;
    this.replay.begin(replica.ownHeritage(behind), nowMs);
    this.replay.goOn(nowMs);
  }

  /** This server is no member any more. */
  leave(): void {
    this.states?.leave(this.#parts.replica());
  }

  /** To be called every few tens of milliseconds. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.lease.tick(nowMs);
    this.replay.tick(nowMs);
    this.#note();
    this.states?.tick(nowMs);
  }

  /** To be called about once a second: flows that will not go on here are over. */
  sweep(): void {
    const { egress, clock } = this.#options;
    if (this.held.size > 0 && !this.replay.isRunning)
      this.held.sweep((hi, lo) => this.#waits(hi, lo), egress, clock.nowMs());
  }

  /** A removal is handled when what came of it has been replayed: until then others must take the server for one that has not come so far. */
  #note(): void {
    const replica = this.#parts.replica();
    if (replica?.epoch === undefined || this.replay.isRunning || this.lease.isFencing) return;
    const { states } = this;
    replica.standBehind(states);
    states?.settle();
    const position = this.#options.egress.handled?.(replica.position) ?? replica.position;
    const { id } = replica.epoch;
    if (this.#handled.epoch === id) this.#handled.position = position;
    else this.#handled = { epoch: id, position };
  }

  #hand(frame: Frame, { position, rows, hi, lo, due, isRepeat }: DueFrame): void {
    const { egress } = this.#options;
    const { states } = this;
    const { timestampMs, tier1Id, payload: data } = frame;
    const place = { epoch: this.#parts.replica()?.epoch?.number ?? 0, position };
    const run = { data, timestampMs, tier1Id, place };
    egress.begin(data, timestampMs, tier1Id, isRepeat, place);
    let offset = 0;
    for (let row = 0, next = 0; next < rows.length; row++) {
      const length = frame.length(row);
      if (row === rows[next]) {
        const flags = rowFlags(frame, row);
        const [flowHi, flowLo] = [hi[next], lo[next]];
        if (due[next] <= this.#heirFrom) states?.feed(run, offset, length, flowHi, flowLo, flags, row, due[next]);
        else if (isSingle(flags)) egress.add(offset, length, 0, 0, flags, row);
        else {
          const isNew = !this.#isOwn(flowHi, flowLo) && this.held.meet(flowHi, flowLo, (flags & FrameFlags.END) !== 0);
          if (isNew) {
            egress.flowStarted(flowHi, flowLo, timestampMs, 'promoted');
            states?.promote(flowHi, flowLo);
          }
          egress.add(offset, length, flowHi, flowLo, flags, row, states?.isInState(flowHi, flowLo, due[next]) === true);
        }
        next++;
      }
      offset += length;
    }
    egress.end();
  }

  /** The flow has begun here anew before the removal: its server knows it. */
  #isOwn(hi: number, lo: number): boolean {
    const replica = this.#parts.replica();
    const info = replica?.flowInfo(hi, lo) ?? 0;
    return info !== 0 && ownerOf(info) === replica?.selfNumber;
  }

  /** Whether the flow's server has gone, and this one stands behind it. */
  #waits(hi: number, lo: number): boolean {
    const replica = this.#parts.replica();
    const info = replica?.flowInfo(hi, lo) ?? 0;
    if (replica === undefined || info === 0 || backupOf(info) !== replica.selfNumber) return false;
    const { members } = replica.view;
    const isMember = (number: number) => members.some((member) => member.number === number);
    return !isMember(ownerOf(info)) && isMember(replica.selfNumber);
  }
}

/** Whether the server is a member whose state is whole, so that packets may be its own. */
function isServing({ view, selfNumber }: Replica): boolean {
  return view.members.some(({ number, state }) => number === selfNumber && state !== 'joining');
}

/** How long a member is silent before the others give it up, at the least. */
function givenUpMs({ watching: { suspectMs, confirmMs } }: ClusterSettings): number {
  return suspectMs + confirmMs;
}

/** As a packet's server gets them: what is no first fragment starts and ends nothing. */
function rowFlags(frame: Frame, row: number): number {
  const flags = frame.flags(row);
  return (flags & FrameFlags.LATER_FRAGMENT) === 0 ? flags : flags & ~(FrameFlags.START | FrameFlags.END);
}

/** Goes up whenever the state of this replica was not made by the entries before. */
function lineageOf({ counters }: Recovery, replica: Replica): number {
  const { fetches, failedFetches, repairs, epochsGiven, epochsTaken } = counters;
  return fetches + failedFetches + repairs + epochsGiven + epochsTaken + replica.counters.strangeSlices;
}
