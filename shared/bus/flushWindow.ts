// The NATS client has no backpressure: it hands everything to the socket and the kernel's buffers hide the rest. What
// does tell where we stand is the protocol's PING: its PONG says that the server has read all that was sent before. So
// this counts the bytes that were sent and not yet confirmed, and sends such a mark every so often:
//
//     confirmed                mark 1        mark 2                sent
//   ------|-----------------------|-------------|---------------------|
//         |<----------------- unconfirmed: bounded ------------------>|
//
// A mark goes out every sixteenth of the window, or after a moment of silence, so that the last bytes are confirmed too.

import type { Clock, Timer } from '../base/clock.ts';

export interface FlushWindowOptions {
  clock: Clock;
  /** Unconfirmed bytes at which the window is full. */
  windowBytes: number;
  /** Sends a mark behind everything sent so far; resolves when the server has read it, rejects when the line broke. */
  flush: () => Promise<void>;
  /** The window has room again. */
  onRoom: () => void;
}

/** Longest time in milliseconds for which the last bytes are left without a mark. */
const markDelayMs = 50;

export class FlushWindow {
  readonly #options: FlushWindowOptions;
  #sentBytes = 0;
  #sentMessages = 0;
  #confirmedBytes = 0;
  #confirmedMessages = 0;
  #markedBytes = 0;
  #timer: Timer | undefined;
  /** Counts the breaks of the line; an answer from before a break says nothing about what came after it. */
  #line = 0;

  constructor(options: FlushWindowOptions) {
    this.#options = options;
  }

  get full(): boolean {
    return this.#sentBytes - this.#confirmedBytes >= this.#options.windowBytes;
  }

  /** Call for every message, after it was sent. */
  sent(bytes: number): void {
    this.#sentBytes += bytes;
    this.#sentMessages++;
    if (this.#sentBytes - this.#markedBytes >= this.#options.windowBytes / 16) this.#mark();
    else if (this.#timer === undefined) {
      this.#timer = this.#options.clock.setTimer(markDelayMs, () => this.#mark());
      this.#timer.unref();
    }
  }

  /** Sends a mark now; resolves when everything sent before it is confirmed, rejects when the line breaks first. */
  flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const line = this.#line;
    const bytes = (this.#markedBytes = this.#sentBytes);
    const messages = this.#sentMessages;
    return this.#options.flush().then(() => {
      if (line === this.#line) this.#confirm(messages, bytes);
    });
  }

  /** The line broke: what was unconfirmed stays so for ever. Returns how much that is, and begins anew. */
  broke(): { messages: number; bytes: number } {
    this.stop();
    const lost = {
      messages: this.#sentMessages - this.#confirmedMessages,
      bytes: this.#sentBytes - this.#confirmedBytes,
    };
    this.#confirmedMessages = this.#sentMessages;
    this.#confirmedBytes = this.#markedBytes = this.#sentBytes;
    return lost;
  }

  /** Sends no more marks for what was sent so far. */
  stop(): void {
    this.#line++;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #mark(): void {
    // A line that broke is told by broke().
    this.flush().catch(() => undefined);
  }

  #confirm(messages: number, bytes: number): void {
    const wasFull = this.full;
    this.#confirmedBytes = Math.max(this.#confirmedBytes, bytes);
    this.#confirmedMessages = Math.max(this.#confirmedMessages, messages);
    if (wasFull && !this.full) this.#options.onRoom();
  }
}
