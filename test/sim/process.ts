// A process of the simulated cluster: what runs in it runs only while it lives and is not paused, and by its own clock.
//
// A paused process (SIGSTOP, a long collection of garbage, a machine that swaps) comes back believing nothing happened:
// what should have happened meanwhile, timers and arrivals alike, happens at once when it resumes, in order. One that
// has crashed never hears anything again; a restart is a process of its own, with empty memory.

import type { Clock, Timer, VirtualClock } from '../../shared/base/clock.ts';

/** Events a paused process may fall behind by before the network gives up on it. */
const backlogMax = 4_000;

export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  isAlive = true;
  /** How far its wall clock is ahead of true time, in milliseconds. */
  skewMs: number;
  /** When it was paused last. */
  pausedAtMs = 0;
  /** Told when the backlog of a paused process has grown too long: servers cut such connections. */
  onOverrun: () => void = () => undefined;
  readonly #world: VirtualClock;
  #backlog: (() => void)[] | undefined;

  constructor(name: string, world: VirtualClock, skewMs: number) {
    this.name = name;
    this.skewMs = skewMs;
    this.#world = world;
    this.clock = {
      nowMs: () => world.nowMs() + this.skewMs,
      monotonicMs: () => world.monotonicMs(),
      setTimer: (delayMs, fn) => this.#setTimer(delayMs, fn),
      defer: (fn) => void this.#setTimer(0, fn),
    };
  }

  get isPaused(): boolean {
    return this.#backlog !== undefined;
  }

  /** Runs `fn` in this process: now, when it resumes, or never. */
  enter(fn: () => void): void {
    if (!this.isAlive) return;
    if (this.#backlog === undefined) {
      fn();
      return;
    }
    this.#backlog.push(fn);
    if (this.#backlog.length === backlogMax) this.onOverrun();
  }

  pause(): void {
    this.#backlog ??= [];
    this.pausedAtMs = this.#world.monotonicMs();
  }

  resume(): void {
    const backlog = this.#backlog ?? [];
    this.#backlog = undefined;
    for (const fn of backlog) this.enter(fn);
  }

  crash(): void {
    this.isAlive = false;
    this.#backlog = undefined;
  }

  #setTimer(delayMs: number, fn: () => void): Timer {
    const timer = new ProcessTimer(fn);
    timer.inWorld = this.#world.setTimer(delayMs, () => this.enter(timer.fire));
    return timer;
  }
}

/** What falls due in a paused process waits there, and may be cancelled yet. */
class ProcessTimer implements Timer {
  inWorld: Timer | undefined;
  readonly fire: () => void;
  #isCancelled = false;

  constructor(fn: () => void) {
    this.fire = () => {
      if (!this.#isCancelled) fn();
    };
  }

  cancel(): void {
    this.#isCancelled = true;
    this.inWorld?.cancel();
  }

  unref(): void {
    // Virtual time keeps no process alive.
  }
}
