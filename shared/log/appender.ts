// How a producer of frames gets them into the log: in order, each at most once, and what cannot get in is dropped and counted, as a
// NIC does. The rules are those of appendWindow.ts; here are the log, the clock and those who wait.
//
//   offer() ──► window (16 MiB) ──► log.append() ──► outcome ──► onAcknowledged, in order
//                  │ full: log-full; older than 15 s: log-down
//                  ▼
//               onDropped
//
// While the log refuses, or the connection is down, one message is tried every 250 ms to 1 s; the others wait behind it.

import type { Clock, Timer } from '../base/clock.ts';
import { errorCodes, FlowherdError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { AppendWindow, type Held } from './appendWindow.ts';
import type { AppendOutcome, GroupLog } from './log.ts';

/** Why a message was dropped: it could not be appended in time, or the window had no room. */
export type AppendDropCause = 'log-down' | 'log-full';

export interface Acknowledged {
  readonly number: number;
  readonly packets: number;
  readonly bytes: number;
  /** Where it was stored. */
  readonly position: number;
}

export interface FrameAppenderOptions {
  readonly log: GroupLog;
  readonly clock: Clock;
  /** Writes the number that a message follows into the message (frame.ts). */
  readonly setFollows: (message: Uint8Array, follows: number) => void;
  /**
   * `isUncertain`: it may be in the log all the same, because an outcome was unknown. Called inside `offer` for a message that does not fit,
   * and inside `stop`.
   */
  readonly onDropped: (packets: number, cause: AppendDropCause, isUncertain: boolean, number: number) => void;
  /** In order of the numbers, later than `offer`. `offer` may be called in it. */
  readonly onAcknowledged?: (acknowledged: Acknowledged) => void;
  /** Default `limits.appendWindowBytes`. */
  readonly windowBytes?: number;
  /** Default `limits.appendAgeMs`. */
  readonly ageMs?: number;
}

/** How often a log that is not writable is looked at while something waits for it. */
const pollMs = 10;

export class FrameAppender {
  readonly #options: FrameAppenderOptions;
  readonly #log: GroupLog;
  readonly #clock: Clock;
  readonly #window: AppendWindow;
  #timer: Timer | undefined;
  #timerAtMs = 0;
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #flushing: (() => void)[] = [];
  #isStopped = false;

  constructor(options: FrameAppenderOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#window = new AppendWindow({
      windowBytes: options.windowBytes ?? limits.appendWindowBytes,
      ageMs: options.ageMs ?? limits.appendAgeMs,
      probeMs: limits.appendProbeMs,
      probeMaxMs: limits.appendProbeMaxMs,
      setFollows: options.setFollows,
    });
  }

  /** False while the log does not take frames, or the window is nearly full: who can wait should, and loses nothing by it. Offering is allowed all the same. */
  get writable(): boolean {
    return !this.#isStopped && this.#window.isStreaming && this.#window.hasSpare && this.#log.writable;
  }

  /** Resolves when `writable` is true (at once if it is); rejects with `bus-closed` when it is stopped. */
  whenWritable(): Promise<void> {
    if (this.#isStopped) return Promise.reject(stoppedError());
    if (this.writable) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#arm();
    });
  }

  /** Messages that were offered and are neither acknowledged nor dropped. */
  get unacknowledged(): number {
    return this.#window.length;
  }

  get unacknowledgedBytes(): number {
    return this.#window.bytes;
  }

  get isIdle(): boolean {
    return this.#window.length === 0;
  }

  /**
   * Takes a message, which must not be changed any more; false when it was dropped. `number` is higher than all before. Throws
   * `message-too-big` above the log's limit.
   */
  offer(message: Uint8Array, number: number, packets: number): boolean {
    if (message.length > this.#log.maxEntryBytes) {
      const text = `a frame of ${message.length} bytes is above the limit of ${this.#log.maxEntryBytes} of the log of ${this.#log.group}`;
      throw new FlowherdError(errorCodes.messageTooBig, text);
    }
    const isTaken = !this.#isStopped && this.#window.offer(message, number, packets, this.#clock.monotonicMs());
    if (!isTaken) this.#options.onDropped(packets, this.#isStopped ? 'log-down' : 'log-full', false, number);
    else this.#pump();
    return isTaken;
  }

  /** Resolves when everything offered so far and until then is acknowledged or dropped. */
  flush(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#flushing.push(resolve));
  }

  /** Drops what is left as `log-down`. Idempotent. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#window.clear();
    this.#tell();
    for (const one of this.#waiting.splice(0)) one.reject(stoppedError());
  }

  /** Appends what may be appended, tells what has come of it, and sees to it that it is called again. */
  #pump(): void {
    if (this.#isStopped) return;
    const nowMs = this.#clock.monotonicMs();
    this.#window.expire(nowMs);
    while (this.#log.writable) {
      const held = this.#window.next(nowMs);
      if (held === undefined) break;
      this.#append(held);
    }
    if (!this.#log.writable) this.#window.postpone(nowMs);
    try {
      this.#tell();
    } finally {
      if (this.#waiting.length > 0 && this.writable) for (const one of this.#waiting.splice(0)) one.resolve();
      this.#arm();
    }
  }

  #append(held: Held): void {
    const { attempt } = held;
    this.#log.append('frame', held.message, (outcome: AppendOutcome) => {
      this.#window.settle(held, attempt, outcome, this.#clock.monotonicMs());
      this.#pump();
    });
  }

  /** The hooks may offer again, so what they are told is taken out of the window first. */
  #tell(): void {
    const { released, dropped } = this.#window;
    while (released.length > 0) {
      for (const { number, packets, message, storedAt } of released.splice(0))
        this.#options.onAcknowledged?.({ number, packets, bytes: message.length, position: storedAt });
    }
    for (const { packets, number, isUncertain } of dropped.splice(0))
      this.#options.onDropped(packets, 'log-down', isUncertain, number);
    if (this.isIdle) for (const resolve of this.#flushing.splice(0)) resolve();
  }

  #arm(): void {
    if (this.#isStopped) return;
    const nowMs = this.#clock.monotonicMs();
    const isPolling = this.#window.hasUnsent || (this.#waiting.length > 0 && this.#window.isStreaming);
    const wakeMs = this.#window.wakeAtMs() ?? Number.POSITIVE_INFINITY;
    const atMs = isPolling ? Math.min(wakeMs, nowMs + pollMs) : wakeMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    if (this.#timer !== undefined) {
      if (this.#timerAtMs <= atMs) return;
      this.#timer.cancel();
    }
    this.#timerAtMs = atMs;
    this.#timer = this.#clock.setTimer(Math.max(1, atMs - nowMs), () => {
      this.#timer = undefined;
      this.#pump();
    });
  }
}

function stoppedError(): FlowherdError {
  return new FlowherdError(errorCodes.busClosed, 'the appender was stopped');
}
