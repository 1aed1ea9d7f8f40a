// Time as a port. The core gets `now` as an argument; the shell gets a Clock. With the system clock a process runs as
// usual; with a virtual one a whole cluster runs in one process, and a day passes in a second, the same way every time.
//
// This file and the entry points are the only places that know the platform's clock and timers.

export interface Timer {
  /** Stops the timer; harmless when it has fired or was cancelled. */
  cancel(): void;
  /** Lets the process end although the timer is still set. */
  unref(): void;
}

export interface Clock {
  /** Wall time in milliseconds since 1970; may jump when the machine's clock is set. Whole numbers. */
  nowMs(): number;
  /** Milliseconds since some fixed moment, never going back, with a fraction; for durations. */
  monotonicMs(): number;
  /** Calls `fn` once, no earlier than `delayMs` from now and never inside this call. */
  setTimer(delayMs: number, fn: () => void): Timer;
  /** Calls `fn` soon, later than the present call and after what was deferred before; lets input and timers in between. */
  defer(fn: () => void): void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs, fn) {
    const handle = setTimeout(fn, delayMs);
    return { cancel: () => clearTimeout(handle), unref: () => void handle.unref() };
  },
  defer: (fn) => void setImmediate(fn),
};

/** A clock that stands still until it is told to move. Events run in order of time, then in the order they were set. */
export class VirtualClock implements Clock {
  #nowMs: number;
  readonly #startMs: number;
  #order = 0;
  /** A binary heap, earliest event first; times lie beside it, where they are compared without a look at the event. */
  readonly #heap: VirtualTimer[] = [];
  readonly #times: number[] = [];
  #pending = 0;
  readonly #onCancel = (): void => {
    this.#pending--;
  };

  /** `startMs` is the wall time it begins at. */
  constructor(startMs = 0) {
    this.#nowMs = startMs;
    this.#startMs = startMs;
  }

  nowMs(): number {
    return Math.floor(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs;
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const timer = new VirtualTimer(this.#order++, fn, this.#onCancel);
    this.#pending++;
    this.#push(timer, this.#nowMs + Math.max(0, delayMs));
    return timer;
  }

  defer(fn: () => void): void {
    this.setTimer(0, fn);
  }

  /** Events that are set and neither fired nor cancelled. */
  get pending(): number {
    return this.#pending;
  }

  /** Moves time forward by `ms` and runs everything that falls due, including what that sets for the same span. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.step(untilMs)) {
      // each step runs one event
    }
    this.#nowMs = untilMs;
  }

  /** As advance(), and lets promises settle between events, for code that awaits. */
  async advanceAsync(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settlePromises();
    while (this.step(untilMs)) await settlePromises();
    this.#nowMs = untilMs;
  }

  /** Runs events, moving time to each, until none is left. Throws after `maxEvents`: something sets timers for ever. */
  runAll(maxEvents = 1_000_000): void {
    for (let ran = 0; this.step(Number.POSITIVE_INFINITY); ran++) {
      if (ran >= maxEvents) throw new Error(`VirtualClock.runAll: still events after ${maxEvents}`);
    }
  }

  /** Moves time to the earliest event due by `untilMs` (as nowMs() tells time) and runs it; false when there is none. */
  step(untilMs: number): boolean {
    for (;;) {
      const timer = this.#heap[0];
      if (timer === undefined) return false;
      const atMs = this.#times[0];
      if (atMs > untilMs) return false;
      this.#pop();
      const fn = timer.fn;
      if (fn === undefined) continue;
      timer.fn = undefined;
      this.#pending--;
      this.#nowMs = Math.max(this.#nowMs, atMs);
      fn();
      return true;
    }
  }

  #push(timer: VirtualTimer, atMs: number): void {
    const heap = this.#heap;
    const times = this.#times;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      // Of the same moment the newest is last.
      if (times[parent] <= atMs) break;
      heap[at] = heap[parent];
      times[at] = times[parent];
      at = parent;
    }
    heap[at] = timer;
    times[at] = atMs;
  }

  #pop(): void {
    const heap = this.#heap;
    const times = this.#times;
    const last = heap.pop();
    const lastMs = times.pop();
    if (last === undefined || lastMs === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#isEarlier(child + 1, times[child], heap[child])) child++;
      if (!this.#isEarlier(child, lastMs, last)) break;
      heap[at] = heap[child];
      times[at] = times[child];
      at = child;
    }
    heap[at] = last;
    times[at] = lastMs;
  }

  #isEarlier(at: number, atMs: number, { order }: VirtualTimer): boolean {
    const mine = this.#times[at];
    return mine < atMs || (mine === atMs && this.#heap[at].order < order);
  }
}

class VirtualTimer implements Timer {
  /** Order of insertion; decides between timers of the same moment. */
  readonly order: number;
  fn: (() => void) | undefined;
  readonly #onCancel: () => void;

  constructor(order: number, fn: () => void, onCancel: () => void) {
    this.order = order;
    this.fn = fn;
    this.#onCancel = onCancel;
  }

  cancel(): void {
    if (this.fn === undefined) return;
    this.fn = undefined;
    this.#onCancel();
  }

  unref(): void {
    // Virtual time keeps no process alive.
  }
}

/** Resolves after every promise reaction that is ready has run. */
function settlePromises(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
