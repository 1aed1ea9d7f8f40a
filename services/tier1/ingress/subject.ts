// The bus as ingress: packets on the subject `in.<life name>` go into tier 1 (frameFeed.ts), and `hello.<life name>` says
// that they may.
//
// An end in order loses nothing: first the hello says that this tier 1 is leaving, so that senders turn to others; what
// is under way is still taken, until it has been quiet for a moment; then the last hello gives the final counts.

import type { Clock, Timer } from '../../../shared/base/clock.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { Bus, Subscription } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import { encodeHello, type HelloState } from '../../../shared/messages/hello.ts';
import type { Tier1Actor } from '../actor.ts';
import { FrameFeed } from './frameFeed.ts';

export interface SubjectIngressOptions {
  readonly tier1: Tier1Actor;
  readonly subjects: Subjects;
  /** Connection for packets. */
  readonly bus: Bus;
  /** The one on which this tier 1 says that it is there, so that bulk cannot delay that; default: the same. */
  readonly controlBus?: Bus;
  readonly clock: Clock;
}

/** Senders hear of the end by the next hello, which may meet frames on their way. */
const quietMs = limits.helloMs;
const longestLeaveMs = 2_000;

export class SubjectIngress {
  readonly feed: FrameFeed;
  readonly #options: SubjectIngressOptions;
  #subscription: Subscription | undefined;
  #timer: Timer | undefined;
  #isLeaving = false;
  #wasServed = false;
  #heardAtMs = 0;

  /** Takes packets from now on. Rejects with a FlowherdError. */
  static async open(options: SubjectIngressOptions): Promise<SubjectIngress> {
    const ingress = new SubjectIngress(options);
    await ingress.#start();
    return ingress;
  }

  private constructor(options: SubjectIngressOptions) {
    this.#options = options;
    this.feed = new FrameFeed(options.tier1.distributor);
  }

  /** What it counted. */
  report(): Record<string, unknown> {
    const { packets, frames, lostFrames, repeatedFrames, faults } = this.feed;
    return { packets, frames, lostFrames, repeatedFrames, faults };
  }

  async #start(): Promise<void> {
    const { tier1, subjects, bus, clock } = this.#options;
    this.#subscription = bus.subscribe(subjects.in(tier1.id), (message) => {
      this.#heardAtMs = clock.monotonicMs();
      this.feed.onMessage(message, clock.nowMs(), tier1.isOpen);
      tier1.fed();
    });
    await bus.flush();
    const say = () => {
      this.#say(this.#isLeaving ? 'leaving' : this.#isServed() ? 'ready' : 'waiting');
      this.#timer = clock.setTimer(limits.helloMs, say);
    };
    say();
  }

  /** Ends as said above. */
  async stop(): Promise<void> {
    if (this.#subscription === undefined || this.#isLeaving) return;
    const { clock, tier1 } = this.#options;
    this.#isLeaving = true;
    this.#say('leaving');
    const startedAtMs = clock.monotonicMs();
    this.#heardAtMs = startedAtMs;
    for (let now = startedAtMs; now - this.#heardAtMs < quietMs && now - startedAtMs < longestLeaveMs; ) {
      await new Promise<void>((resolve) => clock.setTimer(quietMs / 4, resolve));
      now = clock.monotonicMs();
    }
    this.#subscription.unsubscribe();
    this.#timer?.cancel();
    await tier1.flush();
    this.#say('ended');
    await this.#controlBus.flush().catch(() => undefined);
  }

  get #controlBus(): Bus {
    return this.#options.controlBus ?? this.#options.bus;
  }

  /** A tier 1 that was ready once stays so: packets for a group that lost its servers are counted, others are served. */
  #isServed(): boolean {
    this.#wasServed ||= this.#options.tier1.isServed;
    return this.#wasServed;
  }

  #say(state: HelloState): void {
    const { tier1, subjects } = this.#options;
    const { packets, faulty, senders } = this.feed;
    const { dropped, underWay } = tier1.distributor;
    // What the logs have not taken by the end, they may never take: nobody will say more of it.
    if (state === 'ended' && underWay > 0) dropped['log-down'] = (dropped['log-down'] ?? 0) + underWay;
    this.#controlBus.publish(
      subjects.hello(tier1.id),
      encodeHello({ tier1: tier1.id, state, received: packets, faults: faulty, dropped, senders }),
    );
  }
}
