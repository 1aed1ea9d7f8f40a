// The log inside one process: for `npm start`, for `replay`, for tests. Like the in-process bus it behaves as a network would:
// bytes are copied when they are appended, entries and outcomes come later (clock.defer), each reader gets a copy of its own in a scratch
// buffer at an odd address, which the next delivery overwrites.
//
//   entries:  [ 41 42 43 | 44 45 46 ......... 9001 ]   bytes lie in blocks of a megabyte, which are used again
//               trimmed?    next of the slowest reader
//
// Unlike a server it has nobody whom it must not wait for: an entry that a running reader has not read is never trimmed. When
// the log is full of such entries frames are refused until the reader has moved on; commands always go in, because the removal of
// a hung reader is one of them.
//
// Each turn hands every reader what there is, at most `turnBytes`, in slices that all readers get while they are in the
// processor's cache; then come the outcomes. So a producer that waits for its outcomes cannot run away from the readers.

import type { Clock } from '../base/clock.ts';
import { limits } from '../base/limits.ts';
import { ByteBlocks } from './byteBlocks.ts';
import type {
  AppendOutcome,
  BrokenReason,
  EntryKind,
  LogBounds,
  LogEntry,
  LogReader,
  LogRetention,
  ReadHandlers,
  ReadOptions,
} from './log.ts';
import { markOf } from './mark.ts';

interface Stored {
  readonly position: number;
  readonly timeMs: number;
  readonly kind: EntryKind;
  readonly data: Uint8Array;
  /** On the clock that never steps, for the age. */
  readonly atMs: number;
}

/** What the log asks of the connection that uses it. */
export interface MemoryLogUser {
  readonly isOpen: boolean;
  onDelivered(): void;
  handlerFailed(error: unknown): void;
}

/** Most bytes that one reader gets in one turn, and in one slice of it. */
const turnBytes = 1_048_576;
const sliceBytes = 65_536;
/** What an entry counts beside its data, so that many small ones are bounded too. */
const overheadBytes = 64;

/** The log of one group, which all connections of a hub share. */
export class MemoryLog {
  readonly clock: Clock;
  retention: LogRetention = { ageMs: limits.logAgeMs, bytes: limits.logBytes };
  #identity = '';
  #lives = 0;
  #last = 0;
  /** A queue: entries before `#head` have been trimmed. */
  #entries: Stored[] = [];
  #head = 0;
  #bytes = 0;
  readonly #blocks = new ByteBlocks();
  readonly #readers = new Set<MemoryReader>();
  #outcomes: (() => void)[] = [];
  #scheduled = false;
  #scratch = new Uint8Array(sliceBytes);

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get exists(): boolean {
    return this.#identity !== '';
  }

  /** False when it was there. Either way it keeps what `retention` says from now on, where that is given. */
  make(retention?: LogRetention): boolean {
    if (retention !== undefined) this.retention = retention;
    if (this.exists) return false;
    this.#identity = `memory-${this.clock.nowMs()}-${++this.#lives}`;
    this.#last = 0;
    this.schedule();
    return true;
  }

  destroy(): void {
    this.#identity = '';
    this.#last = 0;
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#blocks.clear();
  }

  /** Undefined when there is no such log. */
  bounds(): LogBounds | undefined {
    this.#trim(0);
    return this.exists ? { identity: this.#identity, first: this.#first, last: this.#last } : undefined;
  }

  get(position: number): LogEntry | undefined {
    this.#trim(0);
    const stored = this.#at(position);
    return stored === undefined ? undefined : entryOf(stored, stored.data.slice());
  }

  get last(): number {
    return this.#last;
  }

  /** True while the oldest entry is unread and a frame would not fit. */
  get isFull(): boolean {
    const oldest = this.#entries[this.#head];
    if (oldest === undefined || this.#bytes + limits.frameTargetBytes <= this.retention.bytes) return false;
    return oldest.position >= this.#lowestUnread();
  }

  /** Takes a copy of the data at once; the outcome comes later. */
  append(kind: EntryKind, data: Uint8Array, onOutcome: (outcome: AppendOutcome) => void): void {
    const outcome = this.#store(kind, data);
    this.#outcomes.push(() => onOutcome(outcome));
    this.schedule();
  }

  /** An outcome that needs no log. */
  answer(fn: () => void): void {
    this.#outcomes.push(fn);
    this.schedule();
  }

  read(user: MemoryLogUser, options: ReadOptions, handlers: ReadHandlers): MemoryReader {
    const reader = new MemoryReader(this, user, options, handlers);
    this.#readers.add(reader);
    this.schedule();
    return reader;
  }

  remove(reader: MemoryReader): void {
    this.#readers.delete(reader);
  }

  /** What keeps a reader from going on; undefined when nothing does. */
  obstacle({ after, expect }: ReadOptions, identity: string): BrokenReason | undefined {
    if (after > this.#last || (expect?.position ?? 0) > this.#last) return 'shorter';
    if (identity !== '' && identity !== this.#identity && after > 0) return 'other';
    if (after + 1 < this.#first) return 'trimmed';
    if (expect === undefined || expect.position === 0) return undefined;
    const known = this.#at(expect.position);
    // It cannot be compared, and something has come behind it: that may belong to another line.
    if (known === undefined) return after < this.#last ? 'trimmed' : undefined;
    return markOf(entryOf(known, known.data)) !== expect.mark ? 'other' : undefined;
  }

  get identity(): string {
    return this.#identity;
  }

  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.clock.defer(() => this.#turn());
  }

  get #first(): number {
    return this.#last + 1 - (this.#entries.length - this.#head);
  }

  #at(position: number): Stored | undefined {
    const index = position - this.#first;
    return index < 0 ? undefined : this.#entries[this.#head + index];
  }

  #store(kind: EntryKind, data: Uint8Array): AppendOutcome {
    if (!this.exists) return { kind: 'refused', reason: 'there is no such log' };
    this.#trim(data.length + overheadBytes);
    const isFull = this.#bytes > 0 && this.#bytes + data.length + overheadBytes > this.retention.bytes;
    if (isFull && kind === 'frame')
      return { kind: 'refused', reason: 'the log is full of entries that a reader has not read' };
    const position = ++this.#last;
    const copy = this.#blocks.add(data);
    this.#bytes += data.length + overheadBytes;
    this.#entries.push({ position, timeMs: this.clock.nowMs(), kind, data: copy, atMs: this.clock.monotonicMs() });
    return { kind: 'stored', position };
  }

  /** Drops what is too old or in the way of `incoming` bytes, and has been read. */
  #trim(incoming: number): void {
    const oldestMs = this.clock.monotonicMs() - this.retention.ageMs;
    let unread = -1;
    for (; this.#head < this.#entries.length; this.#head++) {
      const entry = this.#entries[this.#head];
      if (this.#bytes + incoming <= this.retention.bytes && entry.atMs >= oldestMs) break;
      if (unread < 0) unread = this.#lowestUnread();
      if (entry.position >= unread) break;
      this.#bytes -= entry.data.length + overheadBytes;
      this.#blocks.dropOldest();
    }
    if (this.#head > 1_024 && this.#head > this.#entries.length / 2) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** The first position that some reader has yet to read; infinite without readers. */
  #lowestUnread(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const reader of this.#readers) if (reader.position + 1 < lowest) lowest = reader.position + 1;
    return lowest;
  }

  /** Hands out entries, then outcomes. What handlers append meanwhile comes in the next turn. */
  #turn(): void {
    this.#scheduled = false;
    const end = this.#last;
    for (const reader of this.#readers) if (this.exists) reader.check();
    for (let spent = 0; spent < turnBytes; spent += sliceBytes) {
      let isMore = false;
      for (const reader of this.#readers) if (this.#deliver(reader, end)) isMore = true;
      if (!isMore) break;
      if (spent + sliceBytes >= turnBytes) this.schedule();
    }
    const outcomes = this.#outcomes;
    this.#outcomes = [];
    for (const tell of outcomes) tell();
  }

  /** Hands a reader one slice; true when there is more. */
  #deliver(reader: MemoryReader, end: number): boolean {
    let bytes = 0;
    while (reader.isReading && reader.position < end && bytes < sliceBytes) {
      const stored = this.#at(reader.position + 1);
      // The log was destroyed by a handler.
      if (stored === undefined) return false;
      const { length } = stored.data;
      if (this.#scratch.length <= length) this.#scratch = new Uint8Array(2 * length);
      const copy = this.#scratch.subarray(1, 1 + length);
      copy.set(stored.data);
      bytes += length + overheadBytes;
      reader.hand(entryOf(stored, copy));
    }
    return reader.isReading && reader.position < end;
  }
}

/** One reader. It waits while there is no log, and looks again when one is made. */
export class MemoryReader implements LogReader {
  readonly #log: MemoryLog;
  readonly #user: MemoryLogUser;
  readonly #handlers: ReadHandlers;
  readonly #options: ReadOptions;
  #position: number;
  /** The life of the log that it reads; another one has to be looked at first. */
  #identity = '';
  #stopped = false;

  constructor(log: MemoryLog, user: MemoryLogUser, options: ReadOptions, handlers: ReadHandlers) {
    this.#log = log;
    this.#user = user;
    this.#options = options;
    this.#handlers = handlers;
    this.#position = options.after;
  }

  get position(): number {
    return this.#position;
  }

  get pending(): number {
    return this.isReading ? Math.max(0, this.#log.last - this.#position) : 0;
  }

  get isLive(): boolean {
    return this.isReading && this.#user.isOpen;
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  get isReading(): boolean {
    return !this.#stopped && this.#identity !== '' && this.#identity === this.#log.identity;
  }

  /** Finds out whether it may go on, where it has not in this life of the log. */
  check(): void {
    if (this.isReading || this.#stopped) return;
    // The entry expected is one of the log that it was begun with.
    const { expect } = this.#options;
    const options = { after: this.#position, ...(this.#identity !== '' || expect === undefined ? {} : { expect }) };
    const obstacle = this.#log.obstacle(options, this.#identity);
    if (obstacle === undefined) {
      this.#identity = this.#log.identity;
      return;
    }
    this.stop();
    this.#guard(() => this.#handlers.onBroken(obstacle));
  }

  hand(entry: LogEntry): void {
    this.#position = entry.position;
    if (this.#options.kinds?.includes(entry.kind) === false) return;
    this.#user.onDelivered();
    try {
      this.#handlers.onEntry(entry);
    } catch (error) {
      this.#user.handlerFailed(error);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#log.remove(this);
  }

  #guard(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#user.handlerFailed(error);
    }
  }
}

function entryOf(stored: Stored, data: Uint8Array): LogEntry {
  return { position: stored.position, timeMs: stored.timeMs, timeNs: 0, kind: stored.kind, data };
}
