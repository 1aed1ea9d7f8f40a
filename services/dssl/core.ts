// A DSSL actor without its shell: messages, views and the passing of time go in; decisions and messages come out through
// `DsslPorts`. Nothing here waits, reads a clock or opens a socket, so that a whole cluster of these runs in one process
// under a virtual clock.
//
//   frame ─► stream of its tier 1 ─► view known? ── no ──► waits, in order ──► view came, or time is up (drop)
//                                        │ yes
//                                        ▼
//                       rows: fragment? ─► decide (decide.ts) ─► accepted rows ─► egress ─► server

import { activate, type Candidate, drain, isLifeOf, leave, withdraw } from '../../shared/cluster/membership.ts';
import { findMember, type Member, type View } from '../../shared/cluster/view.ts';
import { Frame, type FrameFault, frameFaults, wordsPerRow } from '../../shared/frame.ts';
import { FrameFlags } from '../../shared/frameFlags.ts';
import { limits } from '../../shared/limits.ts';
import { accepts, Decider } from './decide.ts';
import type { Egress } from './egress/egress.ts';
import { Fragments, laterFlags, type WaitingFragment } from './fragments.ts';
import { Learner, takeIn } from './learner.ts';
import { heardLatelyMs, keepFrame, Streams, type Tier1Stream } from './streams.ts';
import { decodeSync, encodeAnswer, encodeLife, encodeRequest } from './sync.ts';
import { Teacher } from './teacher.ts';
import { tickOfMs } from './ticks.ts';
import { countsByName, noPacket, V, type Verdict, waiting } from './verdict.ts';
import { type CompiledView, ViewHistory } from './viewHistory.ts';

/** One step from the present view to the next; see shared/cluster/membership.ts. */
export type Proposal = (view: View) => View;

/** Sees every verdict, for those who check that exactly one module accepts. Costs time; absent in production. */
export interface DecisionAudit {
  /** Verdicts of all rows of a frame; valid during the call. `waiting` and `noPacket` are not final. */
  onFrame(frame: Frame, verdicts: Uint8Array): void;
  /** The verdict on a packet that had to wait. */
  onLate(tier1Id: string, sequence: number, row: number, verdict: number): void;
}

export interface DsslPorts {
  readonly egress: Egress;
  /** Sends to the other modules of the group. */
  publishControl(message: Uint8Array): void;
  /** A frame names a view that has not arrived: read the key-value store again. */
  fetchViews(): void;
  /** Writes the successor of the newest view by compare-and-set, again from the newer one if somebody was first. */
  propose(step: Proposal): void;
  readonly audit?: DecisionAudit;
}

export interface DsslOptions {
  readonly group: string;
  readonly candidate: Candidate;
  readonly maxFlows: number;
}

/** `outside`: no member yet. `left`: was one, and is no longer. */
export type MemberPhase = 'outside' | 'joining' | 'active' | 'draining' | 'left';

export interface DsslCounters {
  frames: number;
  /** Messages that were no frame, by fault. */
  faults: Record<Exclude<FrameFault, 'none'>, number>;
  /** Control messages that made no sense. */
  badControl: number;
  /** Frames that had to wait for their view, and those whose view never came or was forgotten. */
  viewWaits: number;
  viewDrops: number;
  /** Views of another life of the key-value store, which were not taken in. */
  foreignViews: number;
}

/** Slots of the flow table that one tick looks at for expired entries. */
const sweepSlots = 8_192;
/** Waiting frames ask for views again after this. */
const fetchAgainMs = 200;

export class DsslCore {
  readonly candidate: Candidate;
  readonly counters: DsslCounters = {
    frames: 0,
    faults: Object.fromEntries(frameFaults.slice(1).map((fault) => [fault, 0])) as DsslCounters['faults'],
    badControl: 0,
    viewWaits: 0,
    viewDrops: 0,
    foreignViews: 0,
  };
  readonly views: ViewHistory;
  readonly decider: Decider;
  readonly streams = new Streams();
  readonly learner: Learner;
  /** False while the server is not ready: the module learns, and does not become active before it may. */
  mayActivate = true;
  readonly #teacher: Teacher;
  readonly #fragments = new Fragments();
  readonly #ports: DsslPorts;
  readonly #group: string;
  readonly #frame = new Frame();
  readonly #verdicts = new Uint8Array(limits.frameRows);
  #lastTimestampMs = 0;
  #fetchedAtMs = Number.NEGATIVE_INFINITY;
  #wasMember = false;
  #wantsToLeave = false;
  #leaveByMs = Number.POSITIVE_INFINITY;
  /** Number of the view in which this server began to drain. */
  #drainingSince = Number.POSITIVE_INFINITY;
  #drainingSinceMs = 0;
  /** Keeps the reads of the prefetching pass from being optimised away. */
  prefetched = 0;

  constructor(options: DsslOptions, ports: DsslPorts) {
    this.candidate = options.candidate;
    this.#group = options.group;
    this.#ports = ports;
    this.views = new ViewHistory(options.candidate.server, options.candidate.incarnation);
    this.decider = new Decider({ self: this.views.self, maxFlows: options.maxFlows }, ports.egress);
    this.learner = new Learner(options.candidate.server);
    this.#teacher = new Teacher(options.candidate.server, options.candidate.incarnation, this.views.self);
  }

  /** Where this server stands in the newest view. */
  get phase(): MemberPhase {
    const view = this.views.newest?.view;
    const member = view && findMember(view, this.candidate.server);
    if (member?.incarnation === this.candidate.incarnation) return member.state;
    return this.#wasMember ? 'left' : 'outside';
  }

  /** Flows this server holds. */
  get ownFlows(): number {
    return this.decider.table.countByOwner(this.views.self);
  }

  get verdicts(): Record<Verdict, number> {
    return countsByName(this.decider.counts);
  }

  /** A message on the group's data subject. */
  onFrame(message: Uint8Array, nowMs: number): void {
    const frame = this.#frame;
    const fault = frame.decode(message);
    if (fault !== 'none') {
      this.counters.faults[fault]++;
      return;
    }
    const stream = this.streams.arrive(frame, nowMs);
    if (stream === undefined) return;
    this.counters.frames++;
    const view = this.views.get(frame.viewNumber);
    if (stream.waiting.length === 0 && view !== undefined) this.#decideFrame(frame, view, stream);
    else if (frame.viewNumber < this.views.oldestNumber && this.views.newest !== undefined) this.#drop(frame, stream);
    else this.#wait(message, frame, stream, nowMs);
  }

  /** A view of the group, in any order, also again. */
  onView(view: View, nowMs: number): void {
    if (view.group !== this.#group) return;
    const known = this.views.newest?.view;
    if (known !== undefined && known.cluster !== view.cluster) {
      // The store was emptied and its numbers began again: the same number would mean two things.
      this.counters.foreignViews++;
      return;
    }
    if (!this.views.add(view)) return;
    const member = findMember(view, this.candidate.server);
    if (member?.incarnation === this.candidate.incarnation) {
      this.#wasMember = true;
      if (member.state === 'draining' && view.number < this.#drainingSince) {
        this.#drainingSince = view.number;
        this.#drainingSinceMs = nowMs;
      }
    }
    this.#resume(nowMs);
  }

  /** A message on the group's control subject. */
  onControl(message: Uint8Array, nowMs: number): void {
    const sync = decodeSync(message);
    if (sync === undefined) this.counters.badControl++;
    else if (sync.kind === 'request') this.#teacher.begin(sync, this.streams, nowMs);
    else if (sync.kind === 'answer' && this.learner.accepts(sync, nowMs)) takeIn(sync, this.decider, this.views);
    else if (sync.kind === 'probe' && isLifeOf(sync, this.candidate) && this.phase !== 'left')
      this.#ports.publishControl(encodeLife({ ...sync, kind: 'alive' }));
  }

  /** Time passes: to be called every few tens of milliseconds. */
  tick(nowMs: number): void {
    this.#resume(nowMs);
    this.#expireFragments();
    if (this.#lastTimestampMs !== 0) {
      this.decider.at(this.#lastTimestampMs);
      this.decider.table.sweep(sweepSlots, tickOfMs(this.#lastTimestampMs));
    }
    for (const answer of this.#teacher.next(this.decider)) this.#ports.publishControl(encodeAnswer(answer));
    this.#stepMembership(nowMs);
  }

  /** Begins to drain: no new flows; the server leaves when its flows have ended, or at `leaveByMs` at the latest. */
  drain(leaveByMs: number): void {
    this.#wantsToLeave = true;
    this.#leaveByMs = leaveByMs;
    this.#propose((view) => drain(view, this.candidate));
  }

  /** No more frames will come: gives up on the fragments and frames that still wait. */
  finish(): void {
    for (const fragment of this.#fragments.drain()) this.#orphan(fragment);
    for (const stream of this.streams.all()) {
      for (const { frame } of stream.waiting.splice(0)) this.#drop(frame, stream);
    }
  }

  #decideFrame(frame: Frame, view: CompiledView, stream: Tier1Stream): void {
    stream.decided = frame.sequence;
    stream.viewNumber = frame.viewNumber;
    this.#lastTimestampMs = frame.timestampMs;
    const { decider } = this;
    const { egress, audit } = this.#ports;
    const verdicts = this.#verdicts;
    const { words } = frame;
    decider.begin(view, frame.timestampMs);
    this.prefetched ^= decider.table.prefetch(words, frame.count);
    egress.begin(frame.payload, frame.timestampMs, frame.tier1Id);
    let offset = 0;
    let ordinal = frame.startOrdinal;
    let wasDatagram = false;
    for (let row = 0, at = 0; row < frame.count; row++, at += wordsPerRow) {
      const hi = words[at];
      const lo = words[at + 1];
      const length = words[at + 2] & 0xffff;
      const flags = words[at + 2] >>> 16;
      let verdict = noPacket;
      if (flags & FrameFlags.LATER_FRAGMENT) {
        verdict = this.#laterFragment(frame, view, row, offset);
      } else if (!(flags & FrameFlags.DATAGRAM)) {
        verdict = decider.decide(hi, lo, flags, flags & FrameFlags.START ? ordinal++ : -1);
        if (accepts(verdict)) egress.add(offset, length, hi, lo, flags);
        decider.counts[verdict]++;
        if (wasDatagram) this.#learnDatagram(frame, row, hi, lo, flags, view);
      }
      wasDatagram = (flags & FrameFlags.DATAGRAM) !== 0;
      verdicts[row] = verdict;
      offset += length;
    }
    egress.end();
    audit?.onFrame(frame, verdicts);
  }

  #laterFragment(frame: Frame, view: CompiledView, row: number, offset: number): number {
    const hi = frame.hashHi(row);
    const lo = frame.hashLo(row);
    const { timestampMs, tier1Id, sequence } = frame;
    const tick = tickOfMs(timestampMs);
    const length = frame.length(row);
    const { datagrams } = this.#fragments;
    const found = datagrams.find(hi, lo, tick);
    if (found !== -1) {
      const flowHi = datagrams.flowHi(found);
      const flowLo = datagrams.flowLo(found);
      const flags = laterFlags(datagrams.flags(found));
      const verdict = this.decider.decide(flowHi, flowLo, flags, -1);
      if (accepts(verdict)) this.#ports.egress.add(offset, length, flowHi, flowLo, flags);
      this.decider.counts[verdict]++;
      return verdict;
    }
    const bytes = frame.payload.slice(offset, offset + length);
    if (this.#fragments.wait({ hi, lo, bytes, view, timestampMs, tick, tier1Id, sequence, row })) return waiting;
    this.decider.counts[V.dropFragment]++;
    return V.dropFragment;
  }

  /** The row before named the datagram of which this row's packet is the first fragment. */
  #learnDatagram(frame: Frame, row: number, hi: number, lo: number, flags: number, view: CompiledView): void {
    const datagramHi = frame.hashHi(row - 1);
    const datagramLo = frame.hashLo(row - 1);
    this.#fragments.datagrams.learn(datagramHi, datagramLo, tickOfMs(frame.timestampMs), hi, lo, flags);
    const released = this.#fragments.release(datagramHi, datagramLo);
    if (released.length === 0) return;
    const { egress } = this.#ports;
    egress.end();
    for (const fragment of released) {
      const verdict = this.#decideLate(fragment, hi, lo, laterFlags(flags));
      const isHere = fragment.sequence === frame.sequence && fragment.tier1Id === frame.tier1Id;
      if (isHere) this.#verdicts[fragment.row] = verdict;
      else this.#ports.audit?.onLate(fragment.tier1Id, fragment.sequence, fragment.row, verdict);
    }
    // Back to the frame: what follows lies in its payload again.
    this.decider.begin(view, frame.timestampMs);
    egress.begin(frame.payload, frame.timestampMs, frame.tier1Id);
  }

  #decideLate(fragment: WaitingFragment, hi: number, lo: number, flags: number): number {
    const { egress } = this.#ports;
    this.decider.begin(fragment.view, fragment.timestampMs);
    egress.begin(fragment.bytes, fragment.timestampMs, fragment.tier1Id);
    const verdict = this.decider.decide(hi, lo, flags, -1);
    if (accepts(verdict)) egress.add(0, fragment.bytes.length, hi, lo, flags);
    this.decider.counts[verdict]++;
    egress.end();
    return verdict;
  }

  #expireFragments(): void {
    for (const fragment of this.#fragments.expire(tickOfMs(this.#lastTimestampMs))) this.#orphan(fragment);
  }

  #orphan(fragment: WaitingFragment): void {
    this.decider.counts[V.dropFragment]++;
    this.#ports.audit?.onLate(fragment.tier1Id, fragment.sequence, fragment.row, V.dropFragment);
  }

  #wait(message: Uint8Array, frame: Frame, stream: Tier1Stream, nowMs: number): void {
    if (stream.waiting.length >= limits.waitingFrames) {
      this.#drop(frame, stream);
      return;
    }
    this.counters.viewWaits++;
    stream.waiting.push({ frame: keepFrame(message), sinceMs: nowMs });
    this.#askForViews(nowMs);
  }

  /** Decides the waiting frames whose view has come, and drops those that wait in vain, each stream in its own order. */
  #resume(nowMs: number): void {
    for (const stream of this.streams.all()) {
      for (let first = stream.waiting[0]; first !== undefined; first = stream.waiting[0]) {
        const { frame, sinceMs } = first;
        const view = this.views.get(frame.viewNumber);
        const isOverdue = nowMs - sinceMs > limits.waitingFrameMs || frame.viewNumber < this.views.oldestNumber;
        if (view === undefined && !isOverdue) {
          this.#askForViews(nowMs);
          break;
        }
        stream.waiting.shift();
        if (view === undefined) this.#drop(frame, stream);
        else this.#decideFrame(frame, view, stream);
      }
    }
  }

  #askForViews(nowMs: number): void {
    if (nowMs - this.#fetchedAtMs < fetchAgainMs) return;
    this.#fetchedAtMs = nowMs;
    this.#ports.fetchViews();
  }

  /** Gives up on a frame whose view is forgotten or never came: its packets are counted, not decided. */
  #drop(frame: Frame, stream: Tier1Stream): void {
    stream.decided = Math.max(stream.decided, frame.sequence);
    stream.completeFrom = Math.max(stream.completeFrom, frame.sequence + 1);
    this.counters.viewDrops++;
    const verdicts = this.#verdicts;
    for (let row = 0; row < frame.count; row++) {
      const isPacket = !(frame.flags(row) & FrameFlags.DATAGRAM);
      verdicts[row] = isPacket ? V.dropView : noPacket;
      if (isPacket) this.decider.counts[V.dropView]++;
    }
    this.#ports.audit?.onFrame(frame, verdicts);
  }

  #stepMembership(nowMs: number): void {
    const view = this.views.newest?.view;
    if (view === undefined) return;
    const { phase } = this;
    if (phase === 'joining' && this.#wantsToLeave) {
      this.#propose((newest) => withdraw(newest, this.candidate));
    } else if (phase === 'joining') {
      for (const request of this.learner.requests(view, this.streams, nowMs)) {
        this.#ports.publishControl(encodeRequest(request));
      }
      if (this.mayActivate && this.learner.isComplete(view, this.streams, nowMs))
        this.#propose((newest) => activate(newest, this.candidate));
    } else if (this.#wantsToLeave && phase === 'active') {
      this.#propose((newest) => drain(newest, this.candidate));
    } else if (phase === 'draining' && (this.#isDrained(nowMs) || nowMs >= this.#leaveByMs)) {
      this.#propose((newest) => leave(newest, this.candidate));
    }
  }

  /** Proposes a step, and with it how many flows each member holds as far as this module's table knows. */
  #propose(step: Proposal): void {
    this.#ports.propose((view) => {
      const next = step(view);
      if (next === view) return view;
      const flowsOf = (member: Member) =>
        this.decider.table.countByOwner(this.views.numberOf(member.server, member.incarnation));
      return { ...next, members: next.members.map((member) => ({ ...member, flows: flowsOf(member) })) };
    });
  }

  /**
   * No flows left, and none can come: every tier 1 that is heard has moved on to a view in which this server gets no new
   * flows, and every tier 1 that speaks at all has had the time to be heard. One that lags behind may yet place one here.
   */
  #isDrained(nowMs: number): boolean {
    if (this.ownFlows > 0 || nowMs - this.#drainingSinceMs < 2 * limits.idleFrameMs) return false;
    for (const stream of this.streams.all()) {
      if (nowMs - stream.heardAtMs < heardLatelyMs && stream.viewNumber < this.#drainingSince) return false;
    }
    return true;
  }
}
