// A DSSL actor without its shell: messages, views and the passing of time go in; decisions and messages come out through
// `DsslPorts`. Nothing here waits, reads a clock or opens a socket, so that a whole cluster of these runs in one process
// under a virtual clock.
//
//   frame ─► stream of its tier 1 ─► view known, and sure? ── no ──► waits, in order ──► it is, or time is up (drop)
//                                        │ yes
//                                        ▼
//                       rows.ts ─► decide.ts, row by row ─► accepted rows ─► egress ─► server

import { limits } from '../../../shared/base/limits.ts';
import { Frame, type FrameFault, frameFaults } from '../../../shared/log/records/frame.ts';
import { type Candidate, drain, isLifeOf, isSpare, leave, withdraw } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import type { Egress } from '../egress/egress.ts';
import { Decider } from '../replica/decide.ts';
import { type DecisionAudit, Rows } from '../replica/rows.ts';
import { ageTicks, tickOfMs } from '../replica/ticks.ts';
import { countsByName, V, type Verdict } from '../replica/verdict.ts';
import { type CompiledView, ViewHistory } from '../replica/viewHistory.ts';
import { AntiEntropy } from './antiEntropy.ts';
import { Hearsay } from './hearsay.ts';
import { Joining } from './joining.ts';
import { Learner } from './learner.ts';
import { earlierTick, Missed } from './missed.ts';
import { type MemberPhase, Standing } from './standing.ts';
import { heardLatelyMs, keepFrame, Streams, type Tier1Stream } from './streams.ts';
import { controlFields, encodeAnswer, encodeLife, encodeRequest, readSync } from './sync.ts';
import { Teacher } from './teacher.ts';

/** One step from the present view to the next; see shared/membership/transitions.ts. */
export type Proposal = (view: View) => View;

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

export interface DsslCounters {
  frames: number;
  /** Messages that were no frame, by fault. */
  faults: Record<Exclude<FrameFault, 'none'>, number>;
  /** Control messages that made no sense. */
  badControl: number;
  /** Frames that had to wait for their view, and those whose view never came or was forgotten. */
  viewWaits: number;
  viewDrops: number;
  /** Frames that had to wait because frames before them were missed, and those that waited in vain. */
  unsureWaits: number;
  unsureDrops: number;
  /** Views of another life of the key-value store, which were not taken in. */
  foreignViews: number;
}

/** Slots of the flow table that are looked at for expired entries each time that packet time has moved on by a tick. */
const sweepSlots = 32_768;
/** Entries are swept this much later than they expire: clocks of tier 1s differ, and all must still agree on an entry. */
const sweepLaterTicks = tickOfMs(limits.clockErrorMs);
/** Waiting frames ask for views again after this. */
const fetchAgainMs = 200;
/** A module that time passed by for longer was stopped, and what it needed may lie in front of it, not taken in yet. */
const stoppedMs = 1_500;

export class DsslCore {
  readonly candidate: Candidate;
  readonly counters: DsslCounters = {
    frames: 0,
    faults: Object.fromEntries(frameFaults.slice(1).map((fault) => [fault, 0])) as DsslCounters['faults'],
    badControl: 0,
    viewWaits: 0,
    viewDrops: 0,
    unsureWaits: 0,
    unsureDrops: 0,
    foreignViews: 0,
  };
  readonly standing: Standing;
  readonly views: ViewHistory;
  readonly decider: Decider;
  readonly streams = new Streams();
  readonly learner: Learner;
  readonly hearsay: Hearsay;
  readonly missed: Missed;
  readonly antiEntropy: AntiEntropy;
  /** False while the server is not ready: the module learns, and does not become active before it may. */
  mayActivate = true;
  /** Told to drain and leave, by `drain`. */
  wantsToLeave = false;
  readonly #joining: Joining;
  readonly #teacher: Teacher;
  readonly #rows: Rows;
  readonly #ports: DsslPorts;
  readonly #group: string;
  readonly #frame = new Frame();
  #lastTimestampMs = 0;
  #sweptTick = 0;
  #tickedAtMs = 0;
  /** Since when time has passed without a jump. */
  #awakeSinceMs = 0;
  /** Packet time of the first frame heard, less what clocks may differ by. */
  #listensSince: number | undefined;
  /** When the last event came in. */
  #nowMs = 0;
  #fetchedAtMs = Number.NEGATIVE_INFINITY;
  #leaveByMs = Number.POSITIVE_INFINITY;

  constructor(options: DsslOptions, ports: DsslPorts) {
    this.candidate = options.candidate;
    this.#group = options.group;
    this.#ports = ports;
    this.standing = new Standing(options.candidate);
    this.views = new ViewHistory(options.candidate.server, options.candidate.incarnation);
    this.decider = new Decider({ self: this.views.self, maxFlows: options.maxFlows }, ports.egress);
    this.hearsay = new Hearsay(this.decider, this.views);
    this.#rows = new Rows(this.decider, ports.egress, ports.audit);
    this.learner = new Learner(options.candidate.server);
    this.#joining = new Joining(this);
    this.missed = new Missed(this.streams, this.learner, this.decider, this.views);
    this.#teacher = new Teacher(options.candidate.server, options.candidate.incarnation, this.views);
    this.antiEntropy = new AntiEntropy(this, options.maxFlows, (message) => ports.publishControl(message));
  }

  /** Where this server stands in the newest view. */
  get phase(): MemberPhase {
    return this.standing.phase;
  }

  /**
   * Whether a server that has left is not needed any more: packets that are stamped with a view in which it was a member
   * are its own to decide, and a tier 1 may learn late that it has gone.
   */
  isReleased(nowMs: number): boolean {
    return this.standing.isReleased(this.streams, nowMs);
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
    this.#nowMs = nowMs;
    const frame = this.#frame;
    const fault = frame.decode(message);
    if (fault !== 'none') {
      this.counters.faults[fault]++;
      return;
    }
    const lostBefore = this.streams.lostFrames;
    const stream = this.streams.arrive(frame, nowMs, this.standing.isEstablished);
    if (stream === undefined) return;
    this.counters.frames++;
    const { order } = this.streams;
    if (this.streams.lostFrames > lostBefore && this.standing.isEstablished)
      this.missed.note(stream, stream.missedTo, order, nowMs);
    const view = this.views.get(frame.viewNumber);
    if (stream.waiting.length === 0 && view !== undefined && this.missed.isSure(view, stream, order))
      this.#decideFrame(frame, view, stream, order);
    else if (frame.viewNumber < this.views.oldestNumber && this.views.newest !== undefined)
      this.#drop(frame, stream, order);
    else this.#wait(message, frame, stream, order, nowMs);
  }

  /** The connection for frames was down for a while: every tier 1 may have sent something meanwhile, and gone since. */
  onReconnected(nowMs: number): void {
    this.#nowMs = nowMs;
    if (!this.standing.isEstablished) this.learner.again(undefined, true);
    else this.missed.noteAll(nowMs);
  }

  /** A view of the group, in any order, also again. */
  onView(view: View, nowMs: number): void {
    this.#nowMs = nowMs;
    if (view.group !== this.#group) return;
    const known = this.views.newest?.view;
    if (known !== undefined && known.cluster !== view.cluster) {
      // The store was emptied and its numbers began again: the same number would mean two things.
      this.counters.foreignViews++;
      return;
    }
    if (!this.views.add(view)) return;
    if (this.standing.onView(view, this.views.newest?.view, nowMs)) this.streams.beginAfter(this.learner.toldOf);
    this.hearsay.onView(this.standing.isEstablished);
    if (this.views.newest?.view === view) this.antiEntropy.onChange(this.#earliestTick(nowMs), nowMs);
    this.#resume(nowMs);
  }

  /** A message on the group's control subject. */
  onControl(message: Uint8Array, nowMs: number): void {
    const fields = controlFields(message);
    const sync = fields && readSync(fields);
    if (sync === undefined) {
      if (fields === undefined || !this.antiEntropy.onFields(fields, nowMs)) this.counters.badControl++;
    } else if (sync.kind === 'request') this.#teacher.begin(sync, this.streams, nowMs);
    else if (sync.kind === 'answer' && this.learner.accepts(sync, nowMs)) this.hearsay.takeIn(sync);
    else if (sync.kind === 'probe' && isLifeOf(sync, this.candidate) && this.phase !== 'left')
      this.#ports.publishControl(encodeLife({ ...sync, kind: 'alive' }));
  }

  /** Time passes: to be called every few tens of milliseconds. */
  tick(nowMs: number): void {
    if (nowMs - this.#tickedAtMs > stoppedMs) this.#awakeSinceMs = nowMs;
    this.#tickedAtMs = nowMs;
    this.#nowMs = nowMs;
    if (this.standing.isEstablished) this.missed.watch(nowMs, this.#awakeSinceMs);
    this.#resume(nowMs);
    this.#rows.expire(tickOfMs(this.#lastTimestampMs));
    if (this.#lastTimestampMs !== 0) {
      this.decider.at(this.#lastTimestampMs);
      const earliest = this.#earliestTick(nowMs);
      this.antiEntropy.tick(earliest, nowMs);
      const tick = (earliest - sweepLaterTicks) | 0;
      if (tick !== this.#sweptTick) this.decider.table.sweep(sweepSlots, tick);
      this.#sweptTick = tick;
    }
    for (const answer of this.#teacher.next(this.decider)) this.#ports.publishControl(encodeAnswer(answer));
    this.#stepMembership(nowMs);
  }

  /** Begins to drain: no new flows; the server leaves when its flows have ended, or at `leaveByMs` at the latest. */
  drain(leaveByMs: number): void {
    this.wantsToLeave = true;
    this.#leaveByMs = leaveByMs;
    this.#proposeDrain(this.#nowMs);
  }

  /** No more frames will come: gives up on the fragments and frames that still wait. */
  finish(): void {
    this.#rows.finish();
    for (const stream of this.streams.all()) {
      for (const { frame, order } of stream.waiting.splice(0)) this.#drop(frame, stream, order);
    }
  }

  /** The earliest of the packet times that the tier 1s heard lately have come to. */
  #earliestTick(nowMs: number): number {
    let earliest = tickOfMs(this.#lastTimestampMs);
    for (const { heardAtMs, timestampMs } of this.streams.all()) {
      if (nowMs - heardAtMs > heardLatelyMs || timestampMs === 0) continue;
      const tick = tickOfMs(timestampMs);
      if (ageTicks(tick, earliest) < 0) earliest = tick;
    }
    return earliest;
  }

  #decideFrame(frame: Frame, view: CompiledView, stream: Tier1Stream, order: number): void {
    stream.decided = frame.sequence;
    stream.viewNumber = frame.viewNumber;
    stream.timestampMs = frame.timestampMs;
    this.#lastTimestampMs = frame.timestampMs;
    this.#listensSince ??= earlierTick(frame.timestampMs);
    this.#rows.decide(frame, view, this.missed.untoldIn(order));
  }

  #wait(message: Uint8Array, frame: Frame, stream: Tier1Stream, order: number, nowMs: number): void {
    if (stream.waiting.length >= limits.waitingFrames) {
      this.#drop(frame, stream, order);
      return;
    }
    stream.waiting.push({ frame: keepFrame(message), sinceMs: nowMs, order });
    const view = this.views.get(frame.viewNumber);
    if (view !== undefined && !this.missed.isSure(view, stream, order)) this.counters.unsureWaits++;
    else this.counters.viewWaits++;
    if (view === undefined) this.#askForViews(nowMs);
  }

  /**
   * Decides the waiting frames whose view has come, and drops those that wait in vain, in the order in which they came. One
   * that has to go on waiting holds back those of its own tier 1.
   */
  #resume(nowMs: number): void {
    const stuck = new Set<Tier1Stream>();
    for (let stream = this.streams.firstWaiting(stuck); stream !== undefined; ) {
      if (!this.#resumeFirst(stream, nowMs)) stuck.add(stream);
      stream = this.streams.firstWaiting(stuck);
    }
  }

  /** False when the first waiting frame has to go on waiting. */
  #resumeFirst(stream: Tier1Stream, nowMs: number): boolean {
    const { frame, sinceMs, order } = stream.waiting[0];
    const view = this.views.get(frame.viewNumber);
    const isDecidable = view !== undefined && this.missed.isSure(view, stream, order);
    const needsSinceMs = view === undefined ? sinceMs : Math.max(sinceMs, this.missed.sinceMs);
    const waitsSinceMs = Math.max(needsSinceMs, this.#awakeSinceMs);
    const isOverdue = nowMs - waitsSinceMs > limits.waitingFrameMs || frame.viewNumber < this.views.oldestNumber;
    if (!isDecidable && !isOverdue) {
      if (view === undefined) this.#askForViews(nowMs);
      return false;
    }
    stream.waiting.shift();
    if (isDecidable) this.#decideFrame(frame, view, stream, order);
    else this.#drop(frame, stream, order);
    return true;
  }

  #askForViews(nowMs: number): void {
    if (nowMs - this.#fetchedAtMs < fetchAgainMs) return;
    this.#fetchedAtMs = nowMs;
    this.#ports.fetchViews();
  }

  /** Gives up on a frame that waited in vain: its packets are counted, not decided. It is missed like a lost one. */
  #drop(frame: Frame, stream: Tier1Stream, order: number): void {
    stream.giveUp(frame.sequence);
    const isUnsure = this.views.get(frame.viewNumber) !== undefined;
    if (isUnsure) this.counters.unsureDrops++;
    else this.counters.viewDrops++;
    this.#rows.giveUp(frame, isUnsure ? V.dropUnsure : V.dropView);
    if (this.standing.isEstablished) this.missed.note(stream, frame.sequence, order, this.#nowMs);
  }

  #stepMembership(nowMs: number): void {
    const view = this.views.newest?.view;
    if (view === undefined) return;
    const { phase } = this;
    if (phase === 'joining' && this.wantsToLeave) this.propose((newest) => withdraw(newest, this.candidate));
    else if (phase === 'joining' || (this.standing.isEstablished && this.missed.isAny)) this.#learn(view, nowMs);
    const isDrained = this.ownFlows === 0 && this.standing.getsNothingNew(this.streams, nowMs);
    if (this.wantsToLeave && phase === 'active') {
      this.#proposeDrain(nowMs);
    } else if (phase === 'draining' && (isDrained || nowMs >= this.#leaveByMs)) {
      this.propose((newest) => leave(newest, this.candidate));
    }
  }

  #proposeDrain(nowMs: number): void {
    const isUrgent = nowMs >= this.#leaveByMs;
    this.propose((view) => (isUrgent || isSpare(view, this.candidate) ? drain(view, this.candidate) : view));
  }

  /** Asks the peers; a joiner becomes active when it knows enough, a member that missed frames is sure again. */
  #learn(view: View, nowMs: number): void {
    for (const request of this.learner.requests(view, this.streams, nowMs)) {
      this.#ports.publishControl(encodeRequest(request));
    }
    if (this.missed.isAny) {
      this.missed.hear();
      this.#resume(nowMs);
    }
    if (!this.learner.isComplete(view, this.streams, nowMs)) return;
    if (this.phase !== 'joining') {
      this.missed.forget();
      this.#resume(nowMs);
      return;
    }
    const step = this.#joining.next(this.#listensSince, this.mayActivate);
    if (step !== undefined) this.propose(step);
  }

  /** Proposes a step, and with it how many flows each member holds as far as this module's table knows. */
  propose(step: Proposal): void {
    this.#ports.propose((view) => {
      const next = step(view);
      if (next === view) return view;
      const flowsOf = (member: Member) =>
        this.decider.table.countByOwner(this.views.numberOf(member.server, member.incarnation));
      return { ...next, members: next.members.map((member) => ({ ...member, flows: flowsOf(member) })) };
    });
  }
}
