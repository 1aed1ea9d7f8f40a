// Checks from outside what the whole design promises: every packet that tier 1 sent is accepted by exactly one server, a
// flow stays at its server, and whatever nobody accepted has a known cause. It is told of each frame that tier 1 sends
// and of each module's verdicts on it, and puts them together when all modules have spoken.
//
// A frame is settled in order of its sequence, so that flows are followed in the order of their packets although the
// modules report at different times. A packet that waits (a fragment before its first one) keeps its frame open, and the
// frames behind it of the same group too.

import { limits } from '../../shared/base/limits.ts';
import { FrameFlags, protocolClassShift } from '../../shared/flow/frameFlags.ts';
import { type Frame, wordsPerRow } from '../../shared/log/records/frame.ts';
import { accepts } from '../dssl/replica/decide.ts';
import { idleTicks, longestIdleMs } from '../dssl/replica/idleLimits.ts';
import type { DecisionAudit } from '../dssl/replica/rows.ts';
import { noPacket, V, waiting } from '../dssl/replica/verdict.ts';
import { Histogram } from '../ops/histogram.ts';

/** Why a packet that tier 1 sent was accepted by nobody. `unexplained` is a defect. */
export const nobodyCauses = ['midFlow', 'fragment', 'view', 'tableFull', 'noServer', 'lost', 'unexplained'] as const;
export type NobodyCause = (typeof nobodyCauses)[number];

interface OpenFrame {
  readonly sentAtMs: number;
  readonly packets: number;
  /** Set by the first module that reports. */
  rows: Int32Array | undefined;
  timestampMs: number;
  accepts: Uint8Array;
  /** Server that accepted each row, as an index into the auditor's servers. */
  acceptedBy: Uint16Array;
  /** The weightiest verdict of those that did not accept. */
  cause: Uint8Array;
  /** Rows for which some module has still to speak. */
  waitingRows: number;
  /** Modules that listened when the frame was sent, and that have spoken. */
  readonly listeners: number;
  reporters: number;
}

interface FlowRecord {
  server: number;
  lastMs: number;
  startMs: number;
  packets: number;
  ended: boolean;
}

interface GroupAudit {
  readonly frames: Map<number, OpenFrame>;
  nextSequence: number;
  listeners: number;
}

/** Verdicts in order of how much they say about why nobody accepted; later wins. */
const weights = new Uint8Array(256);
for (const [weight, verdict] of [
  V.ignoreRemoved,
  V.ignoreNotMine,
  V.ignoreMidFlow,
  V.ignoreElsewhere,
  V.ignorePlacedElsewhere,
  V.ignoreRecentStart,
  V.dropView,
  V.dropUnsure,
  V.dropFragment,
  V.dropNoOwner,
  V.dropTableFull,
].entries()) {
  weights[verdict] = weight + 1;
}

const causeOf = new Map<number, NobodyCause>([
  [V.ignoreNotMine, 'midFlow'],
  [V.ignoreMidFlow, 'midFlow'],
  [V.dropView, 'view'],
  [V.dropUnsure, 'lost'],
  [V.dropFragment, 'fragment'],
  [V.dropNoOwner, 'noServer'],
  [V.dropTableFull, 'tableFull'],
]);

/** Flows followed before the first look for silent ones. */
const leastPruned = 100_000;

export class Auditor {
  accepted = 0;
  double = 0;
  readonly nobody: Record<NobodyCause, number>;
  stickinessViolations = 0;
  readonly flows = { seen: 0, type1: 0, type2: 0 };
  /** From the moment tier 1 sends a frame to the moment a server has its packets, in milliseconds. */
  readonly latencyMs = new Histogram();
  readonly #nowMs: () => number;
  readonly #groups: GroupAudit[];
  readonly #servers: string[] = [];
  readonly #gone = new Set<number>();
  readonly #flows = new Map<string, FlowRecord>();
  #pruneAt = leastPruned;
  /** The first few flows that moved, in words. */
  readonly stories: string[] = [];

  constructor(groups: number, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#groups = Array.from({ length: groups }, () => ({ frames: new Map(), nextSequence: 1, listeners: 0 }));
    this.nobody = Object.fromEntries(nobodyCauses.map((cause) => [cause, 0])) as Record<NobodyCause, number>;
  }

  /** Tier 1 has sent frame `sequence` with `packets` packets to a group. */
  onSend(group: number, sequence: number, packets: number): void {
    const { frames, listeners } = this.#groups[group];
    frames.set(sequence, {
      listeners,
      sentAtMs: this.#nowMs(),
      packets,
      rows: undefined,
      timestampMs: 0,
      accepts: new Uint8Array(0),
      acceptedBy: new Uint16Array(0),
      cause: new Uint8Array(0),
      waitingRows: 0,
      reporters: 0,
    });
  }

  /** What the module of one server is to report to. */
  module(group: number, server: string): DecisionAudit {
    const self = this.#servers.push(server) - 1;
    return {
      onFrame: (frame, verdicts) => this.#onFrame(this.#groups[group], self, frame, verdicts),
      onLate: (_tier1Id, sequence, row, verdict) => this.#onLate(this.#groups[group], self, sequence, row, verdict),
    };
  }

  /** A module hears every frame that is sent from now on. */
  onListening(group: number): void {
    this.#groups[group].listeners++;
  }

  /** A server has left its group: its flows may live elsewhere from here on. */
  onLeave(group: number, server: string): void {
    this.#groups[group].listeners--;
    this.#gone.add(this.#servers.lastIndexOf(server));
  }

  /** Settles the frames of a group up to `sequence`: every module that is to report on them has done so. */
  settle(group: number, sequence: number): void {
    const audit = this.#groups[group];
    for (; audit.nextSequence <= sequence; audit.nextSequence++) {
      const frame = audit.frames.get(audit.nextSequence);
      if (frame === undefined) continue;
      if (frame.waitingRows > 0) return;
      this.#settleFrame(frame);
      audit.frames.delete(audit.nextSequence);
    }
  }

  /** Packets in frames that are not settled yet. */
  get unsettled(): number {
    let packets = 0;
    for (const { frames } of this.#groups) for (const frame of frames.values()) packets += frame.packets;
    return packets;
  }

  #onFrame(audit: GroupAudit, server: number, frame: Frame, verdicts: Uint8Array): void {
    const open = audit.frames.get(frame.sequence);
    if (open === undefined) return;
    open.reporters++;
    if (open.rows === undefined) {
      open.rows = frame.words.slice(0, frame.count * wordsPerRow);
      open.timestampMs = frame.timestampMs;
      open.accepts = new Uint8Array(frame.count);
      open.acceptedBy = new Uint16Array(frame.count);
      open.cause = new Uint8Array(frame.count);
    }
    let acceptedHere = 0;
    for (let row = 0; row < frame.count; row++) {
      const verdict = verdicts[row];
      if (verdict === noPacket) continue;
      if (verdict === waiting) open.waitingRows++;
      else if (this.#note(open, server, row, verdict)) acceptedHere++;
    }
    if (acceptedHere > 0) this.latencyMs.record(this.#nowMs() - open.sentAtMs, acceptedHere);
  }

  #onLate(audit: GroupAudit, server: number, sequence: number, row: number, verdict: number): void {
    const open = audit.frames.get(sequence);
    if (open === undefined) return;
    open.waitingRows--;
    this.#note(open, server, row, verdict);
  }

  #note(open: OpenFrame, server: number, row: number, verdict: number): boolean {
    if (accepts(verdict)) {
      open.accepts[row]++;
      open.acceptedBy[row] = server;
      return true;
    }
    if (weights[verdict] > weights[open.cause[row]] || open.cause[row] === 0) open.cause[row] = verdict;
    return false;
  }

  #settleFrame(frame: OpenFrame): void {
    const { rows } = frame;
    if (rows === undefined) {
      this.nobody.lost += frame.packets;
      return;
    }
    for (let row = 0; row < frame.accepts.length; row++) {
      const at = row * wordsPerRow;
      const flags = rows[at + 2] >>> 16;
      if (flags & FrameFlags.DATAGRAM) continue;
      const count = frame.accepts[row];
      if (count === 1) this.accepted++;
      else if (count > 1) this.double++;
      else this.nobody[this.#causeOf(frame, row)]++;
      if (count > 0 && !(flags & FrameFlags.LATER_FRAGMENT)) {
        this.#followFlow(rows[at], rows[at + 1], flags, frame, frame.acceptedBy[row]);
      }
    }
  }

  #causeOf(frame: OpenFrame, row: number): NobodyCause {
    // A member that never got the frame may have been the owner.
    const known = causeOf.get(frame.cause[row]);
    if (known !== undefined) return known;
    return frame.reporters < frame.listeners ? 'lost' : 'unexplained';
  }

  #followFlow(hi: number, lo: number, flags: number, frame: OpenFrame, server: number): void {
    const key = `${hi}:${lo}`;
    const flow = this.#flows.get(key);
    if (flow === undefined || this.#mayBeNew(flow, flags, frame.timestampMs)) {
      this.flows.seen++;
      if (flags & FrameFlags.TYPE1) this.flows.type1++;
      else this.flows.type2++;
      if (this.#flows.size >= this.#pruneAt) this.#prune(frame.timestampMs);
      this.#flows.set(key, { server, lastMs: frame.timestampMs, startMs: frame.timestampMs, packets: 1, ended: false });
      return;
    }
    if (flow.server !== server) {
      if (!this.#gone.has(flow.server)) {
        this.stickinessViolations++;
        if (this.stories.length < 5) {
          this.stories.push(`flow ${key} moved from ${this.#servers[flow.server]} to ${this.#servers[server]}`);
        }
      }
      flow.server = server;
    }
    flow.packets++;
    flow.lastMs = Math.max(flow.lastMs, frame.timestampMs);
    if (flags & FrameFlags.END && !(flags & FrameFlags.AGGREGATE)) flow.ended = true;
  }

  /** Forgets flows that have been silent for longer than any limit, so that a long capture does not fill the memory. */
  #prune(nowMs: number): void {
    for (const [key, { lastMs }] of this.#flows) if (Math.abs(nowMs - lastMs) > longestIdleMs) this.#flows.delete(key);
    this.#pruneAt = Math.max(leastPruned, 2 * this.#flows.size);
  }

  /** Whether a packet may belong to another flow than the last one on these addresses: ended, idle, or started anew. */
  #mayBeNew(flow: FlowRecord, flags: number, nowMs: number): boolean {
    const aggregate = (flags & FrameFlags.AGGREGATE) !== 0;
    const start = (flags & FrameFlags.START) !== 0 && !aggregate;
    const state = flow.ended ? 2 : flow.packets > 1 ? 1 : 0;
    const protocolClass = aggregate ? 0 : flags >>> protocolClassShift;
    const silence = nowMs - flow.lastMs;
    if (silence > idleTicks[protocolClass * 4 + state] * 100 || silence < -limits.clockJumpMs) return true;
    if (start && flow.ended) return true;
    return start && nowMs - flow.startMs > limits.recentStartMs;
  }
}
