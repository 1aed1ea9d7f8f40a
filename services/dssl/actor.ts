// The shell of a DSSL actor: it connects the core (core.ts) to the bus, the key-value store and the clock. Frames come
// on one connection and control on another, so that bulk cannot delay what keeps the group together.

import type { Bus, KeyValue, Subscription } from '../../shared/bus/bus.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import type { Load } from '../../shared/cluster/load.ts';
import { type Candidate, type GroupBirth, join } from '../../shared/cluster/membership.ts';
import { changeView } from '../../shared/cluster/store.ts';
import { decodeView, type View } from '../../shared/cluster/view.ts';
import { errorCodes, FlowherdError, reasonOf } from '../../shared/errors.ts';
import { type Subjects, viewKey } from '../../shared/subjects.ts';
import { DsslCore, type Proposal } from './core.ts';
import type { Egress } from './egress/egress.ts';
import type { DecisionAudit } from './rows.ts';

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
  /** Connection for frames, and the one for control and the key-value store; may be the same. */
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  readonly egress: Egress;
  readonly clock: Clock;
  readonly log: ActorLog;
  readonly audit?: DecisionAudit;
  /** How busy the server is; asked about once a second. */
  readonly load?: (nowMs: number) => Load | undefined;
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

/** The step into a group; undefined declines it, because the view is not what it was when the group was chosen. */
export type JoinStep = (view: View | undefined) => View | undefined;

export class DsslActor {
  readonly core: DsslCore;
  readonly #options: DsslActorOptions;
  readonly #key: string;
  #store: KeyValue | undefined;
  #subscriptions: Subscription[] = [];
  #stopWatch: (() => void) | undefined;
  #timer: Timer | undefined;
  #egressTickedAtMs = 0;
  #committing = false;
  #fetching = false;
  #stopped = false;
  #toldLate = false;
  #whenLeft: (() => void)[] = [];
  #whenReleased: (() => void)[] = [];
  #whenDraining: (() => void)[] = [];
  #ignoreStatus: (() => void) | undefined;

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
    const { birth, dataBus, controlBus, subjects, clock } = this.#options;
    this.#store = await controlBus.openKeyValue(subjects.bucket);
    // Listening before joining: every flow that starts from here on is seen.
    this.#subscriptions = [
      dataBus.subscribe(subjects.data(birth.group), (data) => this.core.onFrame(data, clock.nowMs())),
      controlBus.subscribe(subjects.control(birth.group), (data) => this.core.onControl(data, clock.nowMs())),
    ];
    this.#ignoreStatus = onReconnected(dataBus, () => this.core.onReconnected(clock.nowMs()));
    await Promise.all([dataBus.flush(), controlBus.flush()]);
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
    const released = new Promise<void>((resolve) => this.#whenReleased.push(resolve));
    this.core.drain(this.#options.clock.nowMs() + deadlineMs);
    return released;
  }

  /** Resolves when the server is no member any more, asked for or not. */
  whenRemoved(): Promise<void> {
    return new Promise((resolve) => this.#whenLeft.push(resolve));
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
    this.#ignoreStatus?.();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }

  #tick(): void {
    if (this.#stopped) return;
    const nowMs = this.#options.clock.nowMs();
    this.core.tick(nowMs);
    if (Math.abs(nowMs - this.#egressTickedAtMs) >= egressTickMs) {
      this.#egressTickedAtMs = nowMs;
      this.#options.egress.tick?.(nowMs);
    }
    if (this.core.phase === 'joining') this.#tellLate(nowMs);
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
    this.#options.log.warn({ servers }, 'waiting for members that do not answer; after ten seconds, joining without');
  }

  #onEntry(value: Uint8Array): void {
    const view = decodeView(value);
    if (view !== undefined) this.#onView(view);
    else this.#options.log.warn({ key: this.#key }, 'the key-value store holds something that is not a view');
  }

  #onView(view: View): void {
    const before = this.core.phase;
    this.core.onView(view, this.#options.clock.nowMs());
    const { phase } = this.core;
    if (phase !== before) {
      const silent = [...this.core.learner.silent];
      if (silent.length > 0)
        this.#options.log.warn({ silent }, 'joined without the flows of members that do not answer');
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
