// The shell of a DSSL actor: one replica of its group's state beside one server. It connects the log with the replica, the replica with the egress, and
// what keeps the member in its group (recovery/, member/) with the bus, the key-value store and the clock.
//
//   log ─► recovery ─► replica.apply ─► effects ─► handOut ─► egress ─► server
//             ▲            │ view, digests
//   peers ◄──►┘            ▼
//   gossip ◄──► steward, standing ─► commands ─► log
//
// Entries come on one connection, requests between members on another and gossip on a third, so that bulk cannot delay what
// keeps the group together.

import type { Timer } from '../../shared/base/clock.ts';
import { errorCodes, FlowherdError, reasonOf } from '../../shared/base/errors.ts';
import type { Subscription } from '../../shared/bus/bus.ts';
import type { ClusterSettings } from '../../shared/config/settings.ts';
import type { GroupLog, LogEntry } from '../../shared/log/log.ts';
import type { LiveState } from '../../shared/membership/gossip.ts';
import type { Mirror } from '../../shared/membership/mirror.ts';
import type { Candidate, JoinTerms } from '../../shared/membership/transitions.ts';
import { emptyView, findMember, type View } from '../../shared/membership/view.ts';
import { Failover } from './failover/failover.ts';
import { handOut } from './handOut.ts';
import { LogLine } from './logLine.ts';
import { Balancer } from './member/balancer.ts';
import { Beats } from './member/beats.ts';
import { Joining } from './member/joining.ts';
import { LagMeter } from './member/lag.ts';
import { MirrorKeeper } from './member/mirrorKeeper.ts';
import { PhaseWaits } from './member/phaseWaits.ts';
import { Proposals } from './member/proposals.ts';
import { type MemberPhase, phaseWords, Standing } from './member/standing.ts';
import { Steward } from './member/steward.ts';
import type { DsslActorOptions } from './options.ts';
import { decodePeer } from './recovery/messages.ts';
import { Recovery } from './recovery/recovery.ts';
import { noServer } from './replica/flows/entry.ts';
import type { Replica } from './replica/replica.ts';
import { answerProbe, balancerPorts, onReconnected, recoveryPorts, stewardPorts, tellMade } from './wiring.ts';

export type { ActorLog, DsslActorOptions } from './options.ts';

const tickMs = 20;
const egressTickMs = 1_000;
const lastWordMs = 2_000;

export class DsslActor {
  readonly steward: Steward;
  readonly recovery: Recovery;
  readonly standing: Standing;
  readonly failover: Failover;
  readonly balancer: Balancer;
  readonly counters = { badPeerMessages: 0 };
  readonly #options: DsslActorOptions;
  readonly #proposals: Proposals;
  readonly #joining: Joining;
  readonly #mirror: MirrorKeeper;
  readonly #lag = new LagMeter();
  readonly #beats: Beats;
  #line: LogLine | undefined;
  #view: View;
  #subscriptions: Subscription[] = [];
  #timer: Timer | undefined;
  readonly #onTick = (): void => this.#tick();
  #egressTickedAtMs = 0;
  #lostBecause: string | undefined;
  #stopped = false;
  readonly #waits = new PhaseWaits();
  #ignoreStatus: (() => void)[] = [];

  constructor(options: DsslActorOptions) {
    this.#options = options;
    const { birth, candidate, controlBus, subjects } = options;
    this.#view = emptyView(birth);
    this.#beats = new Beats(
      options.gossipBus,
      (server) => subjects.beat(birth.group, server),
      (data) => this.#onGossip(data),
    );
    this.#proposals = new Proposals((command) => this.#line?.append(command));
    this.#joining = new Joining(candidate, (command) => this.#line?.append(command));
    this.standing = new Standing(candidate, this.#proposals);
    const line = () => this.#line;
    this.failover = new Failover(options, { line, replica: () => this.replica });
    const { held } = this.failover;
    this.recovery = new Recovery(
      candidate,
      birth,
      recoveryPorts(options, { line, held, onLost: (reason) => this.#lose(reason) }),
    );
    const { recovery, failover } = this;
    const parts = { proposals: this.#proposals, recovery, failover, beats: this.#beats, lag: () => this.lag };
    this.balancer = new Balancer(candidate, options.settings.rebalance, balancerPorts(options, this, this.#proposals));
    this.steward = new Steward(
      candidate,
      options.settings,
      stewardPorts(options, { ...parts, balancer: this.balancer }),
    );
    this.#mirror = new MirrorKeeper({
      group: birth.group,
      openStore: () => controlBus.openKeyValue(subjects.bucket),
      onMirror: (mirror) => this.recovery.onMirror(mirror),
      onProblem: (reason) => options.log.warn({ reason }, 'could not write the mirror of the view; will try again'),
    });
  }

  get group(): string {
    return this.#options.birth.group;
  }

  get candidate(): Candidate {
    return this.#options.candidate;
  }

  /** Where this server stands in the view that its replica has. */
  get phase(): MemberPhase {
    return this.#lostBecause === undefined ? this.standing.phase : 'left';
  }

  /** What applies the log; undefined before any state was found. */
  get replica(): Replica | undefined {
    return this.recovery.replica;
  }

  get view(): View {
    return this.#view;
  }

  /** Flows this server holds. */
  get ownFlows(): number {
    return this.replica?.ownFlows ?? 0;
  }

  /** Entries that wait in the log behind the replica, and how old the last one applied was by then. */
  get lag(): { readonly entries: number; readonly ms: number } {
    const entries = this.#line?.pending ?? 0;
    return { entries, ms: this.#lag.lagMs(entries, this.#options.clock.monotonicMs()) };
  }

  /** Why this life had to end although nobody removed it. */
  get lostBecause(): string | undefined {
    return this.#lostBecause;
  }

  /**
   * Finds the group's state and joins. Resolves when the join is in force; the actor takes new flows as soon as it holds all state
   * (`whenActive`). Rejects with a FlowherdError.
   */
  async start(): Promise<void> {
    const { candidate } = this.#options;
    await this.listen();
    const former = () => findMember(this.#view, candidate.server)?.incarnation;
    while (!this.#stopped && !(await this.join({ replaces: former(), needAt: undefined }))) {
      if (this.#lostBecause === undefined) continue;
      throw new FlowherdError(errorCodes.badState, `server ${candidate.server} could not join: ${this.#lostBecause}`);
    }
  }

  /** The first part of starting: opens the log and looks for the group's state. Resolves when the present view is known. */
  async listen(): Promise<void> {
    const { birth, candidate, dataBus, controlBus, gossipBus, subjects, clock, logSettings } = this.#options;
    this.#line = this.#newLine(await dataBus.openLog(subjects.cluster, birth.group, logSettings));
    const mirror = await this.#mirror.start();
    this.#subscriptions = [
      controlBus.subscribe(subjects.control(birth.group), (data) => this.#onPeer(data)),
      controlBus.subscribe(subjects.peer(birth.group, candidate.server), (data) => this.#onPeer(data)),
      gossipBus.subscribe(subjects.gossip(birth.group), (data) => this.#onGossip(data)),
    ];
    this.#ignoreStatus = [
      onReconnected(gossipBus, () => this.steward.onReconnected(clock.monotonicMs())),
      onReconnected(controlBus, () => this.#mirror.lookAgain()),
    ];
    await Promise.all([controlBus.flush(), gossipBus.flush()]);
    this.recovery.start(mirror, clock.monotonicMs());
    this.#tick();
    while (this.replica === undefined && !this.#stopped) await this.#pause(tickMs);
  }

  /** The second part: becomes a member. Resolves to false when the terms do not hold any more; it may be tried again, unless this life is lost. */
  join(terms: JoinTerms): Promise<boolean> {
    if (this.#lostBecause !== undefined) return Promise.resolve(false);
    return new Promise((resolve) => this.#joining.begin(terms, resolve));
  }

  /** Resolves when new flows may be placed at this server. */
  async whenActive(timeoutMs: number): Promise<void> {
    const { clock, candidate, birth } = this.#options;
    const giveUpAtMs = clock.monotonicMs() + timeoutMs;
    while (this.phase !== 'active') {
      if (clock.monotonicMs() > giveUpAtMs) {
        throw new FlowherdError(
          errorCodes.busTimeout,
          `server ${candidate.server} is still ${this.phase} in group ${birth.group} after ${timeoutMs} ms`,
        );
      }
      await this.#pause(tickMs);
    }
  }

  /** Drains and leaves: resolves when the server is no member any more; at the latest some seconds after `deadlineMs` from now. */
  async drain(deadlineMs: number): Promise<void> {
    const { clock } = this.#options;
    const left = this.whenRemoved();
    this.standing.drain(clock.monotonicMs() + deadlineMs);
    await left;
    // The last one leaves word that nobody is there: whoever comes next then need not ask.
    const untilMs = clock.monotonicMs() + lastWordMs;
    while (this.#view.members.length === 0 && !this.#stopped && clock.monotonicMs() < untilMs) {
      const mirror = this.#mirrorOf(this.replica);
      if (mirror === undefined || this.#mirror.hasStored(mirror)) return;
      await this.#pause(tickMs);
    }
  }

  /** Resolves when the server is no member any more, asked for or not, or its life has lost its state. */
  whenRemoved(): Promise<void> {
    return this.#waits.until('left');
  }

  /** Resolves when the server drains, asked for or because the view says so. */
  whenDraining(): Promise<void> {
    return this.#waits.until('draining');
  }

  /** Resolves when the server stands there, or next does. */
  whenPhase(phase: MemberPhase): Promise<void> {
    return this.#waits.until(phase);
  }

  /** Stops at once, without leaving the group; the connections stay open. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#line?.stop();
    this.#mirror.stop();
    this.#beats.stop();
    this.balancer.stop();
    for (const ignore of this.#ignoreStatus) ignore();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#joining.cancel();
  }

  /** Settings of the cluster have changed. */
  retune(settings: ClusterSettings): void {
    this.failover.retune(settings);
    this.steward.retune(settings);
    this.balancer.retune(settings.rebalance);
  }

  #newLine(log: GroupLog): LogLine {
    const { clock, log: lines } = this.#options;
    const nowMs = () => clock.monotonicMs();
    return new LogLine(log, clock, {
      onEntry: (entry) => this.#onEntry(entry),
      onBroken: (reason) => this.recovery.onBroken(reason, nowMs()),
      onScouted: (entry) => this.recovery.onScouted(entry, nowMs()),
      onScoutBroken: () => this.recovery.onScoutBroken(),
      onBounds: (bounds) => this.recovery.onBounds(bounds, nowMs()),
      onMade: (problem) => tellMade(lines, this.group, problem),
    });
  }

  #onEntry(entry: LogEntry): void {
    const { egress, audit, onApplied, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const wallMs = clock.nowMs();
    try {
      if (!this.failover.admits(this.#lag.lateMs(entry.timeMs, nowMs, wallMs))) return;
      const effects = this.recovery.onEntry(entry, nowMs);
      if (effects === undefined) return;
      this.#lag.onEntry(entry.timeMs, nowMs, wallMs);
      handOut(effects, egress, audit, this.failover.handing(this.recovery));
      const { replica } = this;
      if (replica !== undefined) onApplied?.(replica, effects);
      const { command } = effects;
      if (command !== undefined) {
        this.standing.onCommand(command, this.recovery.isWhole, nowMs);
        this.#followView();
        this.#joining.onView(this.#view, command);
      }
      this.failover.onApplied(effects);
    } catch (error) {
      // An entry that was applied in part leaves a state that nobody else has.
      this.#lose(`applying entry ${entry.position} failed: ${reasonOf(error)}`);
      throw error;
    }
  }

  #onPeer(data: Uint8Array): void {
    const message = decodePeer(data);
    const nowMs = this.#options.clock.monotonicMs();
    if (message === undefined) this.counters.badPeerMessages++;
    else if (message.kind === 'probe') {
      if (this.phase !== 'left') answerProbe(this.#options, message);
    } else if (message.kind === 'want' || message.kind === 'states') this.failover.states?.onPeer(message, nowMs);
    else this.recovery.onPeer(message, this.#liveState, nowMs);
    this.#followView();
  }

  #onGossip(data: Uint8Array): void {
    this.steward.onMessage(data, this.#options.clock.monotonicMs());
  }

  /** The replica may have another view, or there may be another replica. */
  #followView(): void {
    const { replica } = this;
    if (replica === undefined || replica.view === this.#view) return;
    this.#view = replica.view;
    const before = this.phase;
    const nowMs = this.#options.clock.monotonicMs();
    const hasMoved = this.standing.onView(this.#view);
    this.steward.onView(this.#view, nowMs);
    if (hasMoved)
      this.#options.log.info({ view: this.#view.number, from: before, to: this.phase }, phaseWords[this.phase]);
    this.#joining.onView(this.#view, undefined);
    // A life joins once. This one was removed while it was still fetching.
    if (this.phase === 'outside' && replica.selfNumber !== noServer) this.#lose('it joined and was removed, unseen');
    this.#tellPhase();
  }

  #tellPhase(): void {
    if (this.phase === 'left') this.failover.leave();
    this.#waits.reached(this.phase);
  }

  #lose(reason: string): void {
    if (this.#lostBecause !== undefined || this.#stopped) return;
    this.#lostBecause = reason;
    this.#options.log.warn({ reason }, 'this life of the server cannot go on');
    this.#line?.stop();
    this.#joining.cancel();
    this.#tellPhase();
  }

  /** Where this server stands, in the words of gossip. */
  get #liveState(): LiveState | undefined {
    const { phase } = this;
    if (phase === 'left') return this.standing.wantsToLeave || this.standing.asksToLeave ? 'leaving' : 'restarting';
    if (phase === 'outside') return this.#joining.isPending ? 'joining' : undefined;
    return phase;
  }

  #tick(): void {
    if (this.#stopped) return;
    // Recovery and steward measure how long things take: a wall clock that is set must not change that.
    const nowMs = this.#options.clock.monotonicMs();
    const { recovery, replica } = this;
    if (this.#lostBecause === undefined) {
      recovery.tick(this.#liveState, nowMs);
      this.#followView();
      if (replica?.epoch !== undefined) {
        const { isWhole } = recovery;
        const isOnLine = recovery.state === 'following' || recovery.state === 'fetching';
        const epoch = replica.epoch.id;
        // Also a join would pass for a sign that somebody follows the line.
        if (isOnLine) this.#joining.tick(epoch, nowMs);
        const { ownFlows, ownEndedFlows: endedFlows } = replica;
        const lag = this.#line?.pending ?? 0;
        const othersFollow = () => recovery.seek.isFollowed(epoch, nowMs);
        const facts = { view: this.#view, epoch, isWhole, isOnLine, ownFlows, endedFlows, lag, othersFollow };
        this.standing.tick(facts, nowMs);
        const mirror = isWhole ? this.#mirrorOf(replica) : undefined;
        if (mirror !== undefined) this.#mirror.tick(mirror, () => this.steward.isFirst(nowMs), nowMs);
      }
    }
    this.steward.tick(nowMs, this.#liveState);
    this.balancer.tick(this.#view, () => this.phase === 'active' && this.steward.isFirst(nowMs), nowMs);
    if (nowMs - this.#egressTickedAtMs >= egressTickMs) {
      this.#egressTickedAtMs = nowMs;
      this.#options.egress.tick?.(this.#options.clock.nowMs());
      this.failover.sweep();
    }
    this.failover.tick();
    this.#tellPhase();
    this.#timer = this.#options.clock.setTimer(tickMs, this.#onTick);
  }

  #mirrorOf(replica: Replica | undefined): Mirror | undefined {
    if (replica?.epoch === undefined) return undefined;
    const { number, id } = replica.epoch;
    return { epoch: { number, id }, position: replica.position, view: this.#view };
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.setTimer(ms, resolve));
  }
}
