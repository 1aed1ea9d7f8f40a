// What a producer has offered and not yet seen in the log: go-back-N over a log that refuses, loses answers and may store what it
// gave no answer for. Pure: outcomes and time in; what to append, what was acknowledged and what was dropped come out.
//
//        acknowledged │ head ....... cursor ......... tail │ offered next
//      base, doneAt ──┘  sent in this run  │  not yet        └─ follows the tail (or base)
//
// Each message names the number that it `follows`. A replica applies a message if `follows <= last < number`, where `last` is the
// number that it applied last (0 in the beginning). So along a chain in which each follows the one before, sending again does no
// harm: a copy of what has been applied is ignored, and so is a copy whose predecessor is missing.
//
// Released as acknowledged is the head alone, when it is certain that every replica has applied it by the end of the log: it was stored
// behind its predecessor, either at a later position, or sent after the predecessor had been released. When a message is
// refused or gets no answer, it and all behind it count as not sent, stored or not: their predecessor may have been missing.
// Then the head is sent alone (a probe), after a pause; when it is stored, the others follow.
//
// Dropped is the head, when it is too old and none of its copies is under way. The next message is then made to follow `base`,
// which is certain to be in the log. That is right whatever has become of the dropped one: if a copy of it was stored,
// `last` is higher than base, and the next one still applies; if a copy is stored later yet, it is ignored or, when it comes before
// the next one, applied.
//
// So a message that was offered is applied exactly once and in order, or dropped. It can be both only if it was dropped with
// `isUncertain`: a copy of it got no answer, or was stored behind a message that got none. If nothing ends unknown, nothing is both.

import type { AppendOutcome } from './log.ts';

export interface AppendWindowOptions {
  /** Bytes at which it is full; the message that fills it may go beyond. */
  readonly windowBytes: number;
  readonly ageMs: number;
  /** Pause before the first probe, and what it grows to. */
  readonly probeMs: number;
  readonly probeMaxMs: number;
  /** Writes the number that a message follows into the message. */
  readonly setFollows: (message: Uint8Array, follows: number) => void;
}

/** A message in the window. */
export interface Held {
  readonly number: number;
  readonly packets: number;
  readonly offeredMs: number;
  readonly message: Uint8Array;
  /** Its copies that wait for an outcome. */
  readonly underWay: number;
  /** True when one of its copies may be in the log. */
  readonly isUncertain: boolean;
  /** Where it was stored; 0 before that. */
  readonly storedAt: number;
  /** Which attempt of all was the last to append it. */
  readonly attempt: number;
}

type Entry = { -readonly [Key in keyof Held]: Held[Key] } & {
  /** The attempt that `storedAt` belongs to. */
  storedAttempt: number;
  /** Earlier attempts say nothing: they may have been stored while their predecessor was missing, or followed one that was dropped. */
  validFrom: number;
  isGone: boolean;
};

export class AppendWindow {
  /** To be emptied by the caller: released in order, dropped in order. */
  readonly released: Held[] = [];
  readonly dropped: Held[] = [];
  readonly #options: AppendWindowOptions;
  #entries: Entry[] = [];
  #head = 0;
  /** The first entry not sent in this run. */
  #cursor = 0;
  #bytes = 0;
  #attempts = 0;
  #base = 0;
  #doneAt = 0;
  #doneAttempt = 0;
  #mode: 'streaming' | 'pausing' | 'probing' = 'streaming';
  #pauseMs: number;
  #probeAtMs = 0;

  constructor(options: AppendWindowOptions) {
    this.#options = options;
    this.#pauseMs = options.probeMs;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False from a failure until a probe has been stored. */
  get isStreaming(): boolean {
    return this.#mode === 'streaming';
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#options.windowBytes;
  }

  /** True while there is room for what comes until somebody looks again: a quarter of the window. */
  get hasSpare(): boolean {
    return this.#bytes < 0.75 * this.#options.windowBytes;
  }

  /** True when something waits to be sent and only the log keeps it from being sent. */
  get hasUnsent(): boolean {
    return this.#mode === 'streaming' && this.#cursor < this.#entries.length;
  }

  /** Takes a message; false when the window is full. `number` is higher than all before it. */
  offer(message: Uint8Array, number: number, packets: number, nowMs: number): boolean {
    if (!this.hasRoom) return false;
    const tail = this.length > 0 ? this.#entries[this.#entries.length - 1].number : this.#base;
    this.#options.setFollows(message, tail);
    this.#entries.push({
      number,
      packets,
      offeredMs: nowMs,
      message,
      underWay: 0,
      isUncertain: false,
      storedAt: 0,
      attempt: 0,
      storedAttempt: 0,
      validFrom: 0,
      isGone: false,
    });
    this.#bytes += message.length;
    return true;
  }

  /** What to append now; undefined when there is nothing, or it is too early. Each call counts as an attempt. */
  next(nowMs: number): Held | undefined {
    if (this.#mode === 'probing') return undefined;
    if (this.#mode === 'pausing') {
      const head = this.#entries[this.#head];
      if (head === undefined || head.underWay > 0 || nowMs < this.#probeAtMs) return undefined;
      this.#mode = 'probing';
      this.#cursor = this.#head;
    }
    const entry = this.#entries[this.#cursor];
    if (entry === undefined) return undefined;
    this.#cursor++;
    entry.attempt = ++this.#attempts;
    entry.underWay++;
    return entry;
  }

  /** What became of an attempt. */
  settle(held: Held, attempt: number, outcome: AppendOutcome, nowMs: number): void {
    const entry = held as Entry;
    entry.underWay--;
    if (outcome.kind !== 'refused') entry.isUncertain = true;
    if (entry.isGone) return;
    if (outcome.kind !== 'stored') {
      if (attempt === entry.attempt && attempt >= entry.validFrom) this.#goBack(entry, nowMs);
    } else if (attempt >= entry.validFrom && attempt > entry.storedAttempt) {
      entry.storedAt = outcome.position;
      entry.storedAttempt = attempt;
    }
    this.#release();
    const head = this.#entries[this.#head];
    // It was stored, but not behind its predecessor: the log was made anew meanwhile, or has changed their order.
    const isIgnored = head !== undefined && this.#cursor > this.#head && head.underWay === 0;
    if (isIgnored && this.#mode !== 'pausing') this.#goBack(head, nowMs);
  }

  /** Drops what is too old. */
  expire(nowMs: number): void {
    const before = this.#head;
    while (this.#isExpired(nowMs)) this.#drop();
    if (this.#head > before) this.#follow();
    this.#compact();
  }

  /** Drops everything, whatever is under way. */
  clear(): void {
    while (this.length > 0) this.#drop();
    this.#compact();
  }

  /** When to look again if nothing happens; undefined: not before an outcome. */
  wakeAtMs(): number | undefined {
    const head = this.#entries[this.#head];
    if (head === undefined || head.underWay > 0) return undefined;
    const expiresMs = head.offeredMs + this.#options.ageMs;
    return this.#mode === 'pausing' ? Math.min(expiresMs, this.#probeAtMs) : expiresMs;
  }

  /** The log is known not to take anything: look again after the shortest pause, without counting this as a failure. */
  postpone(nowMs: number): void {
    if (this.#mode === 'pausing') this.#probeAtMs = Math.max(this.#probeAtMs, nowMs + this.#options.probeMs);
  }

  #goBack(from: Entry, nowMs: number): void {
    for (let at = this.#entries.indexOf(from, this.#head); at < this.#entries.length; at++) {
      const entry = this.#entries[at];
      entry.validFrom = this.#attempts + 1;
      entry.storedAt = entry.storedAttempt = 0;
    }
    this.#cursor = this.#head;
    if (this.#mode === 'pausing') return;
    this.#mode = 'pausing';
    this.#probeAtMs = nowMs + this.#pauseMs;
    this.#pauseMs = Math.min(2 * this.#pauseMs, this.#options.probeMaxMs);
  }

  #release(): void {
    for (let head = this.#entries[this.#head]; head !== undefined; head = this.#entries[this.#head]) {
      const isBehind = head.storedAttempt > this.#doneAttempt || head.storedAt > this.#doneAt;
      if (head.storedAttempt === 0 || !isBehind) break;
      this.#base = head.number;
      this.#doneAt = head.storedAt;
      this.#doneAttempt = this.#attempts;
      this.#remove(head);
      this.released.push(head);
      this.#pauseMs = this.#options.probeMs;
      if (this.#mode === 'probing') this.#mode = 'streaming';
    }
    this.#compact();
  }

  #isExpired(nowMs: number): boolean {
    const head = this.#entries[this.#head];
    return head !== undefined && head.underWay === 0 && nowMs - head.offeredMs >= this.#options.ageMs;
  }

  #drop(): void {
    const head = this.#entries[this.#head];
    if (head.underWay > 0) head.isUncertain = true;
    this.#remove(head);
    this.dropped.push(head);
  }

  /** The head follows what is certain to be in the log. A copy that is under way must not be written to. */
  #follow(): void {
    const head = this.#entries[this.#head];
    if (head === undefined) return;
    if (head.underWay > 0) head.message = head.message.slice();
    this.#options.setFollows(head.message, this.#base);
    head.validFrom = this.#attempts + 1;
    head.storedAt = head.storedAttempt = 0;
  }

  #remove(head: Entry): void {
    head.isGone = true;
    this.#head++;
    this.#bytes -= head.message.length;
    if (this.#cursor < this.#head) this.#cursor = this.#head;
  }

  #compact(): void {
    if (this.#head < 32 || this.#head < this.#entries.length / 2) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#cursor -= this.#head;
    this.#head = 0;
  }
}
