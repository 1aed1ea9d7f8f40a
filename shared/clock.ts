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

interface Event {
  readonly atMs: number;
  /** Order of insertion; decides between events of the same moment. */
  readonly order: number;
  fn: (() => void) | undefined;
}

/** A clock that stands still until it is told to move. Events run in order of time, then in the order they were set. */
export class VirtualClock implements Clock {
  #nowMs: number;
  readonly #startMs: number;
  #order = 0;
  /** A binary heap, earliest event first. */
  readonly #heap: Event[] = [];
  #pending = 0;

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
    const event: Event = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fn };
    this.#pending++;
    this.#push(event);
    const cancel = (): void => {
      if (event.fn === undefined) return;
      event.fn = undefined;
      this.#pending--;
    };
    return { cancel, unref: () => undefined };
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
      const event = this.#heap[0];
      if (event === undefined || event.atMs > untilMs) return false;
      this.#pop();
      const fn = event.fn;
      if (fn === undefined) continue;
      event.fn = undefined;
      this.#pending--;
      this.#nowMs = Math.max(this.#nowMs, event.atMs);
      fn();
      return true;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isEarlier(event, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isEarlier(heap[child + 1], heap[child])) child++;
      if (!isEarlier(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
  }
}

function isEarlier(one: Event, other: Event): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}

/** Resolves after every promise reaction that is ready has run. */
function settlePromises(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
