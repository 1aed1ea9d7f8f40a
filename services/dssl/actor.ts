// The shell of a DSSL actor: it connects the core (core.ts) to the bus, the key-value store and the clock. Frames come
// on one connection and control on another, so that bulk cannot delay what keeps the group together.

import type { Bus, KeyValue, Subscription } from '../../shared/bus/bus.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import { type Candidate, type GroupBirth, join } from '../../shared/cluster/membership.ts';
import { decodeView, encodeView, type View } from '../../shared/cluster/view.ts';
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
/** Compare-and-set attempts for one step; each loses only to somebody who succeeded. */
const commitAttempts = 100;

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
  #whenLeft: (() => void)[] = [];
  #whenReleased: (() => void)[] = [];

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
    const { birth, dataBus, controlBus, subjects, clock, candidate } = this.#options;
    this.#store = await controlBus.openKeyValue(subjects.bucket);
    // Listening before joining: every flow that starts from here on is seen.
    this.#subscriptions = [
      dataBus.subscribe(subjects.data(birth.group), (data) => this.core.onFrame(data, clock.nowMs())),
      controlBus.subscribe(subjects.control(birth.group), (data) => this.core.onControl(data, clock.nowMs())),
    ];
    dataBus.onStatus(({ kind }) => {
      if (kind === 'reconnected') this.core.onReconnected(clock.nowMs());
    });
    await Promise.all([dataBus.flush(), controlBus.flush()]);
    this.#stopWatch = await this.#store.watch(this.#key, (entry) => this.#onView(entry.value));
    await this.#fetchViews();
    await this.#commit((view) => join(view, birth, candidate));
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

  /** Stops at once, without leaving the group; the connections stay open. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#stopWatch?.();
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
    if (this.core.phase === 'left') {
      for (const resolve of this.#whenLeft.splice(0)) resolve();
    }
    if (this.#whenReleased.length > 0 && this.core.isReleased(nowMs)) {
      for (const resolve of this.#whenReleased.splice(0)) resolve();
    }
    this.#timer = this.#options.clock.setTimer(tickMs, () => this.#tick());
  }

  #onView(value: Uint8Array): void {
    const view = decodeView(value);
    if (view === undefined) {
      this.#options.log.warn({ key: this.#key }, 'the key-value store holds something that is not a view');
      return;
    }
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
      for (const entry of await this.#store.history(this.#key)) this.#onView(entry.value);
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

  /** Writes `step` of the newest view, again from a newer one as long as somebody else is first. */
  async #commit(step: (view: View | undefined) => View | undefined): Promise<void> {
    const store = this.#store;
    if (store === undefined) return;
    this.#committing = true;
    try {
      for (let attempt = 0; attempt < commitAttempts; attempt++) {
        const entry = await store.get(this.#key);
        const view = entry && decodeView(entry.value);
        if (entry !== undefined && view === undefined) {
          throw new FlowherdError(errorCodes.badDocument, `the key-value store holds no view under ${this.#key}`);
        }
        const next = step(view);
        if (next === undefined || next === view) return;
        const bytes = encodeView(next);
        const written =
          entry === undefined
            ? await store.create(this.#key, bytes)
            : await store.update(this.#key, bytes, entry.revision);
        if (written !== undefined) {
          this.#onView(bytes);
          return;
        }
      }
      throw new FlowherdError(
        errorCodes.busTimeout,
        `${this.#key} changed ${commitAttempts} times before it could be written`,
      );
    } finally {
      this.#committing = false;
    }
  }
}
