// How late the event loop is: timers that are due fire late while something holds it up. The worst of the last seconds says
// whether a process is ill (health.ts); the mean says how loaded an actor is (machineLoad.ts). Both read the same timer.
//
// The runtime's own histogram of delays has a resolution below a millisecond, which nobody here needs, and its clock cannot
// be set, which the tests do.

import { type Clock, systemClock } from '../../../shared/base/clock.ts';

/** Often enough that a second has some twenty of them. */
const measureMs = 50;
/** How long the worst delay is remembered, at least; at most twice that. */
const memoryMs = 10_000;

export class LoopDelay {
  readonly #clock: Clock;
  #timer: { cancel(): void } | undefined;
  #dueMs = 0;
  #sinceMs = 0;
  #present = 0;
  #former = 0;
  #sumMs = 0;
  #count = 0;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** The worst delay of the last 10 to 20 seconds, in milliseconds. */
  get worstMs(): number {
    return Math.max(this.#present, this.#former);
  }

  /** The mean delay since this was asked last; what is overdue at the moment counts. */
  takeMeanMs(): number {
    if (this.#timer === undefined) return 0;
    const overdueMs = Math.max(0, this.#clock.monotonicMs() - this.#dueMs);
    const meanMs = (this.#sumMs + overdueMs) / (this.#count + (overdueMs > 0 ? 1 : 0) || 1);
    this.#sumMs = 0;
    this.#count = 0;
    return meanMs;
  }

  /** Begins to measure, unless it does already. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#sinceMs = this.#clock.monotonicMs();
    this.#measure();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #measure(): void {
    this.#dueMs = this.#clock.monotonicMs() + measureMs;
    const timer = this.#clock.setTimer(measureMs, () => {
      const nowMs = this.#clock.monotonicMs();
      const delayMs = Math.max(0, nowMs - this.#dueMs);
      this.#sumMs += delayMs;
      this.#count++;
      this.#present = Math.max(this.#present, delayMs);
      if (nowMs - this.#sinceMs >= memoryMs) {
        this.#sinceMs = nowMs;
        this.#former = this.#present;
        this.#present = 0;
      }
      this.#measure();
    });
    timer.unref();
    this.#timer = timer;
  }
}
