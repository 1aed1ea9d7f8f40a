// What an actor does for when servers die: it knows how far its own server has handled the log, which gossip tells, and hands out what a dead one had
// not (replay.ts).

import { FrameFlags, isSingle } from '../../../shared/flow/frameFlags.ts';
import type { Frame } from '../../../shared/log/records/frame.ts';
import type { DsslActorOptions } from '../actor.ts';
import { FlowStates } from '../flowState/flowStates.ts';
import type { Handing } from '../handOut.ts';
import type { LogLine } from '../logLine.ts';
import { encodePeer } from '../recovery/messages.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { Effects } from '../replica/effects.ts';
import { backupOf, ownerOf } from '../replica/flows/entry.ts';
import type { DueFrame } from '../replica/global/recentRows.ts';
import type { Replica } from '../replica/replica.ts';
import { HeldFlows } from './heldFlows.ts';
import { Replay } from './replay.ts';

export interface FailoverParts {
  /** The log, once it is open. */
  line(): LogLine | undefined;
  replica(): Replica | undefined;
}

export class Failover {
  readonly held = new HeldFlows();
  readonly replay: Replay;
  readonly #options: DsslActorOptions;
  readonly #parts: FailoverParts;
  #handled = { epoch: '', position: 0 };
  /** How far the server that was removed last had handled the log. */
  #heirFrom = 0;
  #states: FlowStates | undefined;

  constructor(options: DsslActorOptions, parts: FailoverParts) {
    const { clock, log } = options;
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
      lookAtLog: () => parts.line()?.measure((bounds) => this.replay.onBounds(bounds)),
      hand: (frame, due) => this.#hand(frame, due),
      tell: (kind, fields, message) => log[kind](fields, message),
    });
  }

  /** What the server keeps for flows and outlives it; undefined where it keeps no such thing. It may be made later than the actor. */
  get states(): FlowStates | undefined {
    if (this.#states !== undefined) return this.#states;
    const { egress, candidate, controlBus, subjects } = this.#options;
    const { kept } = egress;
    if (kept === undefined) return undefined;
    this.#states = new FlowStates(candidate, {
      kept,
      egress,
      goesOn: (hi, lo) => this.held.goesOn(hi, lo),
      toPeer: (server, message) => void controlBus.publish(subjects.peer(server), encodePeer(message)),
    });
    return this.#states;
  }

  /** How the entry that was applied last is to be handed out. */
  handing(recovery: Recovery): Handing {
    const { replica, wasHanded: isAgain } = recovery;
    const { states } = this;
    if (replica !== undefined) states?.at(replica, lineageOf(recovery));
    const place = { epoch: replica?.epoch?.number ?? 0, position: replica?.position ?? 0 };
    return { isAgain, held: this.held, states, place };
  }

  /** Position up to which the server has handled the log of an epoch; 0 when that is not known. */
  handledOf(epoch: string): number {
    return this.#handled.epoch === epoch ? this.#handled.position : 0;
  }

  /** An entry was applied, and what it meant for the server has been handed out. */
  onApplied(effects: Effects): void {
    const { heritage } = effects;
    this.states?.onApplied(effects);
    if (heritage !== undefined) {
      this.#heirFrom = heritage.handled;
      this.replay.begin(heritage, this.#options.clock.monotonicMs());
    }
    this.#note();
  }

  /** This server is no member any more. */
  leave(): void {
    this.states?.leave(this.#parts.replica());
  }

  /** To be called every few tens of milliseconds. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
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
    if (replica?.epoch === undefined || this.replay.isRunning) return;
    const { states } = this;
    replica.standBehind(states);
    states?.settle();
    const position = this.#options.egress.handled?.(replica.position) ?? replica.position;
    const { id } = replica.epoch;
    if (this.#handled.epoch === id) this.#handled.position = position;
    else this.#handled = { epoch: id, position };
  }

  #hand(frame: Frame, { position, rows, hi, lo, due }: DueFrame): void {
    const { egress } = this.#options;
    const { states } = this;
    const { timestampMs, tier1Id, payload: data } = frame;
    const place = { epoch: this.#parts.replica()?.epoch?.number ?? 0, position };
    const run = { data, timestampMs, tier1Id, place };
    egress.begin(data, timestampMs, tier1Id, true, place);
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

/** As a packet's server gets them: what is no first fragment starts and ends nothing. */
function rowFlags(frame: Frame, row: number): number {
  const flags = frame.flags(row);
  return (flags & FrameFlags.LATER_FRAGMENT) === 0 ? flags : flags & ~(FrameFlags.START | FrameFlags.END);
}

/** Changes whenever a replica's state was not made by the entries before. */
function lineageOf({ counters, replica }: Recovery): string {
  const { fetches, failedFetches, repairs, epochsGiven, epochsTaken } = counters;
  return `${replica?.epoch?.id} ${fetches} ${failedFetches} ${repairs} ${epochsGiven} ${epochsTaken} ${replica?.counters.strangeSlices}`;
}
