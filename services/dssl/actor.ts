// The shell of a DSSL actor: it connects the core (core.ts) and the steward (steward.ts) to the bus, the key-value store
// and the clock. Frames come on one connection, control on another and gossip on a third, so that bulk cannot delay what
// keeps the group together.

import type { Clock, Timer } from '../../shared/base/clock.ts';
import { errorCodes, FlowherdError, reasonOf } from '../../shared/base/errors.ts';
import type { Bus, KeyValue, Subscription } from '../../shared/bus/bus.ts';
import { type Subjects, viewKey } from '../../shared/bus/subjects.ts';
import type { ClusterSettings } from '../../shared/config/settings.ts';
import { changeView } from '../../shared/config/store.ts';
import type { LiveState } from '../../shared/membership/gossip.ts';
import type { Load } from '../../shared/membership/load.ts';
import { type Candidate, type GroupBirth, join } from '../../shared/membership/transitions.ts';
import { decodeView, type View } from '../../shared/membership/view.ts';
import type { Egress } from './egress/egress.ts';
import { Steward } from './member/steward.ts';
import { DsslCore, type Proposal } from './old/core.ts';
import type { DecisionAudit } from './replica/rows.ts';

/** Lines for people about what happens to the actor; a pino logger fits. */
export interface ActorLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface DsslActorOptions {
  readonly birth: GroupBirth;
  readonly candidate: Candidate;
  readonly maxFlows: number;
  readonly subjects: Subjects;
  /** Connections for frames, for control and the key-value store, and for gossip; may be the same. */
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  readonly gossipBus: Bus;
  readonly settings: ClusterSettings;
  /** How busy the server is, asked about once a second; undefined where nobody measures. */
  readonly load?: (nowMs: number) => Load | undefined;
  readonly egress: Egress;
  readonly clock: Clock;
  readonly log: ActorLog;
  readonly audit?: DecisionAudit;
}

const phaseWords = {
  outside: 'server is no member',
  joining: 'server is joining: it learns which flows the others hold',
  active: 'server is active',
  draining: 'server is draining',
  left: 'server has left its group',
} as const;

const tickMs = 20;
const egressTickMs = 1_000;
/** People are told of flows with two owners at most so often. */
const twoOwnersEveryMs = 10_000;

/** The step into a group; undefined declines it, because the view is not what it was when the group was chosen. */
export type JoinStep = (view: View | undefined) => View | undefined;

export class DsslActor {
  readonly core: DsslCore;
  readonly steward: Steward;
  readonly #options: DsslActorOptions;
  readonly #key: string;
  #store: KeyValue | undefined;
  #subscriptions: Subscription[] = [];
  readonly #beats = new Map<string, Subscription>();
  #stopWatch: (() => void) | undefined;
  #timer: Timer | undefined;
  #egressTickedAtMs = 0;
  #committing = false;
  #fetching = false;
  #stopped = false;
  #toldLate = false;
  #toldTwoOwners = 0;
  #toldTwoOwnersAtMs = Number.NEGATIVE_INFINITY;
  #whenLeft: (() => void)[] = [];
  #whenReleased: (() => void)[] = [];
  #whenDraining: (() => void)[] = [];
  #ignoreStatus: (() => void)[] = [];

  constructor(options: DsslActorOptions) {
    this.#options = options;
    this.#key = viewKey(options.birth.group);
    const ports = {
      egress: options.egress,
      publishControl: (message: Uint8Array) => {
        options.controlBus.publish(options.subjects.control(options.birth.group), message);
      },
      fetchViews: () => void this.#fetchViews(),
      propose: (step: Proposal) => void this.#propose(step),
    };
    this.core = new DsslCore(
      { group: options.birth.group, candidate: options.candidate, maxFlows: options.maxFlows },
      options.audit === undefined ? ports : { ...ports, audit: options.audit },
    );
    this.steward = this.#newSteward();
  }

  /**
   * Subscribes, reads the views and joins the group. Resolves when the join is written; the actor takes new flows as
   * soon as it has learnt what the others hold (`whenActive`). Rejects with a FlowherdError.
   */
  async start(): Promise<void> {
    const { birth, candidate } = this.#options;
    await this.listen();
    await this.join((view) => join(view, birth, candidate));
    this.run();
  }

  get group(): string {
    return this.#options.birth.group;
  }

  /** The first part of starting: subscribes and reads the views. */
  async listen(): Promise<void> {
    const { birth, dataBus, controlBus, gossipBus, subjects, clock } = this.#options;
    this.#store = await controlBus.openKeyValue(subjects.bucket);
    // Listening before joining: every flow that starts from here on is seen.
    this.#subscriptions = [
      dataBus.subscribe(subjects.data(birth.group), (data) => this.core.onFrame(data, clock.monotonicMs())),
      controlBus.subscribe(subjects.control(birth.group), (data) => this.core.onControl(data, clock.monotonicMs())),
      gossipBus.subscribe(subjects.gossip(birth.group), (data) => this.#onGossip(data)),
    ];
    this.#ignoreStatus = [
      onReconnected(dataBus, () => this.core.onReconnected(clock.monotonicMs())),
      onReconnected(gossipBus, () => this.steward.onReconnected(clock.monotonicMs())),
    ];
    await Promise.all([dataBus.flush(), controlBus.flush(), gossipBus.flush()]);
    this.#stopWatch = await this.#store.watch(this.#key, (entry) => this.#onEntry(entry.value));
    await this.#fetchViews();
  }

  /** The second part: becomes a member by `step`. Resolves to false when the step declines; it may be tried again. */
  async join(step: JoinStep): Promise<boolean> {
    let declined = true;
    await this.#commit((view) => {
      const next = step(view);
      declined = next === undefined;
      return next;
    });
    return !declined;
  }

  /** The third part: time begins to pass for the actor. */
  run(): void {
    this.#tick();
  }

  /** Resolves when new flows may be placed at this server. */
  async whenActive(timeoutMs: number): Promise<void> {
    const { clock, candidate, birth } = this.#options;
    const giveUpAtMs = clock.monotonicMs() + timeoutMs;
    while (this.core.phase !== 'active') {
      if (clock.monotonicMs() > giveUpAtMs) {
        throw new FlowherdError(
          errorCodes.busTimeout,
          `server ${candidate.server} is still ${this.core.phase} in group ${birth.group} after ${timeoutMs} ms`,
        );
      }
      await new Promise<void>((resolve) => clock.setTimer(tickMs, resolve));
    }
  }

  /**
   * Drains and leaves: resolves when the server is no member any more and no packets come that are still its own; at the
   * latest some seconds after `deadlineMs` from now.
   */
  drain(deadlineMs: number): Promise<void> {
    const released = this.whenReleased();
    this.core.drain(this.#options.clock.monotonicMs() + deadlineMs);
    return released;
  }

  /** Resolves when the server is no member any more, asked for or not. */
  whenRemoved(): Promise<void> {
    return new Promise((resolve) => this.#whenLeft.push(resolve));
  }

  /** Resolves when a server that is no member any more has no packets to decide either. */
  whenReleased(): Promise<void> {
    return new Promise((resolve) => this.#whenReleased.push(resolve));
  }

  /** Resolves when the server drains, asked for or because the view says so. */
  whenDraining(): Promise<void> {
    return new Promise((resolve) => this.#whenDraining.push(resolve));
  }

  /** Stops at once, without leaving the group; the connections stay open. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#stopWatch?.();
    for (const ignore of this.#ignoreStatus) ignore();
    for (const subscription of [...this.#subscriptions, ...this.#beats.values()]) subscription.unsubscribe();
    this.#beats.clear();
  }

  /** Settings of the cluster have changed. */
  retune(settings: ClusterSettings): void {
    this.steward.retune(settings);
  }

  #newSteward(): Steward {
    const { candidate, settings, gossipBus, controlBus, subjects, clock, log, load } = this.#options;
    const gossipSubject = subjects.gossip(this.group);
    const beatSubject = subjects.beat(candidate.server);
    return new Steward(candidate, settings, {
      // A member whose gossip cannot get out lives all the same.
      beat: (message) => void (gossipBus.publish(beatSubject, message) || controlBus.publish(beatSubject, message)),
      gossip: (message) =>
        void (gossipBus.publish(gossipSubject, message) || controlBus.publish(gossipSubject, message)),
      watch: (servers) => this.#watchBeats(servers),
      propose: (step) => this.core.propose(step),
      load: () => load?.(clock.monotonicMs()),
      // A joiner removes in the view in which it becomes active whom it did not wait for; a member has to wait for that.
      onDead: (life, silentMs, isNews) => {
        if (this.core.phase === 'joining') this.core.learner.giveUp(life);
        if (!isNews) return;
        const fields = { server: life.server, silentMs: Math.round(silentMs) };
        log.warn(fields, 'member has fallen silent; proposing a view without it');
      },
    });
  }

  #watchBeats(servers: readonly string[]): void {
    if (this.#stopped) return;
    const { gossipBus, subjects } = this.#options;
    for (const [server, subscription] of this.#beats) {
      if (servers.includes(server)) continue;
      subscription.unsubscribe();
      this.#beats.delete(server);
    }
    for (const server of servers) {
      if (this.#beats.has(server)) continue;
      this.#beats.set(
        server,
        gossipBus.subscribe(subjects.beat(server), (data) => this.#onGossip(data)),
      );
    }
  }

  #onGossip(data: Uint8Array): void {
    this.steward.onMessage(data, this.#options.clock.monotonicMs());
  }

  /** Where this server stands, in the words of gossip. */
  get #liveState(): LiveState | undefined {
    const { phase } = this.core;
    if (phase === 'left') return this.core.wantsToLeave ? 'leaving' : 'restarting';
    return phase === 'outside' ? undefined : phase;
  }

  #tick(): void {
    if (this.#stopped) return;
    // Core and steward measure how long things take: a wall clock that is set must not change that.
    const nowMs = this.#options.clock.monotonicMs();
    this.core.tick(nowMs);
    this.steward.tick(nowMs, this.#liveState);
    if (nowMs - this.#egressTickedAtMs >= egressTickMs) {
      this.#egressTickedAtMs = nowMs;
      this.#options.egress.tick?.(this.#options.clock.nowMs());
    }
    if (this.core.phase === 'joining') this.#tellLate(nowMs);
    this.#tellTwoOwners();
    if (this.core.phase === 'draining') {
      for (const resolve of this.#whenDraining.splice(0)) resolve();
    }
    if (this.core.phase === 'left') {
      for (const resolve of this.#whenLeft.splice(0)) resolve();
    }
    if (this.#whenReleased.length > 0 && this.core.isReleased(nowMs)) {
      for (const resolve of this.#whenReleased.splice(0)) resolve();
    }
    this.#timer = this.#options.clock.setTimer(tickMs, () => this.#tick());
  }

  #tellLate(nowMs: number): void {
    const servers = this.core.learner.late(nowMs);
    if (servers.length === 0 || this.#toldLate) return;
    this.#toldLate = true;
    this.#options.log.warn(
      { servers },
      'waiting for members that do not answer; joining without those that are found dead, or say nothing for ten seconds',
    );
  }

  #tellTwoOwners(): void {
    const { twoOwners, givenUp } = this.core.antiEntropy.counters;
    const nowMs = this.#options.clock.monotonicMs();
    if (twoOwners === this.#toldTwoOwners || nowMs - this.#toldTwoOwnersAtMs < twoOwnersEveryMs) return;
    this.#toldTwoOwners = twoOwners;
    this.#toldTwoOwnersAtMs = nowMs;
    this.#options.log.warn({ twoOwners, givenUp }, 'flows had two owners; the one of the older view keeps each');
  }

  #onEntry(value: Uint8Array): void {
    const view = decodeView(value);
    if (view !== undefined) this.#onView(view);
    else this.#options.log.warn({ key: this.#key }, 'the key-value store holds something that is not a view');
  }

  #onView(view: View): void {
    const before = this.core.phase;
    this.core.onView(view, this.#options.clock.monotonicMs());
    const newest = this.core.views.newest?.view;
    if (newest !== undefined) this.steward.onView(newest, this.#options.clock.monotonicMs());
    const { phase } = this.core;
    if (phase !== before) {
      const silent = [...this.core.learner.silent];
      if (silent.length > 0)
        this.#options.log.warn({ silent }, 'joined without members that did not answer: they are members no more');
      this.#options.log.info({ view: view.number, from: before, to: phase }, phaseWords[phase]);
    }
  }

  async #fetchViews(): Promise<void> {
    if (this.#fetching || this.#store === undefined) return;
    this.#fetching = true;
    try {
      for (const entry of await this.#store.history(this.#key)) this.#onEntry(entry.value);
    } catch (error) {
      this.#options.log.warn({ reason: reasonOf(error) }, 'could not read the views');
    } finally {
      this.#fetching = false;
    }
  }

  async #propose(step: Proposal): Promise<void> {
    if (this.#committing || this.#stopped) return;
    try {
      await this.#commit((view) => (view === undefined ? undefined : step(view)));
    } catch (error) {
      this.#options.log.warn({ reason: reasonOf(error) }, 'could not change the view; will try again');
    }
  }

  async #commit(step: JoinStep): Promise<void> {
    if (this.#store === undefined) return;
    this.#committing = true;
    try {
      const written = await changeView(this.#store, this.group, step);
      if (written !== undefined) this.#onView(written);
    } finally {
      this.#committing = false;
    }
  }
}

/**
 * Calls `fn` whenever the connection is back, until the returned function is called. A bus keeps its listeners as long as it
 * lives, and outlives actors: what it keeps of one that has stopped is this and nothing behind it.
 */
function onReconnected(bus: Bus, fn: () => void): () => void {
  let listener: (() => void) | undefined = fn;
  bus.onStatus(({ kind }) => {
    if (kind === 'reconnected') listener?.();
  });
  return () => {
    listener = undefined;
  };
}
