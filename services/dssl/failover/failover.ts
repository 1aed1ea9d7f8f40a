// What an actor does for when servers die: it knows how far its own server has handled the log, which gossip tells, and hands out what a dead one had
// not (replay.ts).

import { FrameFlags, isSingle } from '../../../shared/flow/frameFlags.ts';
import type { Frame } from '../../../shared/log/records/frame.ts';
import type { ProtectionReport } from '../../../shared/membership/protection.ts';
import type { DsslActorOptions } from '../actor.ts';
import type { LogLine } from '../logLine.ts';
import type { Effects } from '../replica/effects.ts';
import { backupOf, ownerOf } from '../replica/flows/entry.ts';
import type { DueFrame } from '../replica/global/recentRows.ts';
import type { Replica } from '../replica/replica.ts';
import { V } from '../replica/verdict.ts';
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
  /** The replica at hand, and flows that former ones have seen go on here. */
  #replica: Replica | undefined;
  #promotedBefore = 0;

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
      promoted: this.#promotedBefore + (this.#replica?.counts[V.acceptPromoted] ?? 0),
      replaying: this.replay.isRunning ? 1 : 0,
      ...{ replays, replayed, unreplayed, partial },
    };
  }

  /** An entry was applied, and what it meant for the server has been handed out. */
  onApplied({ heritage }: Effects): void {
    const replica = this.#parts.replica();
    if (replica !== this.#replica) {
      this.#promotedBefore += this.#replica?.counts[V.acceptPromoted] ?? 0;
      this.#replica = replica;
    }
    if (heritage !== undefined) this.replay.begin(heritage, this.#options.clock.monotonicMs());
    this.#note();
  }

  /** To be called every few tens of milliseconds. */
  tick(): void {
    this.replay.tick(this.#options.clock.monotonicMs());
    this.#note();
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
    const position = this.#options.egress.handled?.(replica.position) ?? replica.position;
    const { id } = replica.epoch;
    if (this.#handled.epoch === id) this.#handled.position = position;
    else this.#handled = { epoch: id, position };
  }

  #hand(frame: Frame, { rows, hi, lo }: DueFrame): void {
    const { egress } = this.#options;
    const { timestampMs } = frame;
    egress.begin(frame.payload, timestampMs, frame.tier1Id, true);
    let offset = 0;
    for (let row = 0, next = 0; next < rows.length; row++) {
      const length = frame.length(row);
      if (row === rows[next]) {
        const flags = rowFlags(frame, row);
        if (isSingle(flags)) egress.add(offset, length, 0, 0, flags);
        else {
          const isNew =
            !this.#isOwn(hi[next], lo[next]) && this.held.meet(hi[next], lo[next], (flags & FrameFlags.END) !== 0);
          if (isNew) egress.flowStarted(hi[next], lo[next], timestampMs, 'promoted');
          egress.add(offset, length, hi[next], lo[next], flags);
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
