// The simulated log of a group: what a stream of JetStream is, behind a leader, under bad luck.
//
// It gives positions and stamps, trims what is old or too much, and brings entries to the readers that connections have set up
// (groupLog.ts). What may happen to it: no leader for a while, after which its clock has stepped; a clock that is far off; a
// restart of its server, with all that was in it, without the last entries, or without anything; readers that it forgets.
// Every entry that was ever stored is kept, and a watcher is told at once: the reference replica (reference.ts) lives on that.

import type { VirtualClock } from '../../shared/base/clock.ts';
import type { EntryKind, LogBounds, LogEntry, LogRetention } from '../../shared/log/log.ts';

export interface SimEntry extends LogEntry {
  /** When it was stored, in true time. */
  readonly atMs: number;
  /** Process that appended it. */
  readonly by: string;
}

/** Where the log brings entries to: a reader of some connection. */
export interface Consumer {
  /** There are entries behind the ones it was sent. */
  pump(): void;
  /** The log knows nothing of it any more. */
  forgotten(): void;
}

export interface LogWatcher {
  onStored(entry: SimEntry): void;
  /** Entries behind this position are gone, up to `before`, which was the last one, and their positions are used again. */
  onCut(last: number, before: number): void;
  /** The log is gone. What comes next is in another one. */
  onEmptied(): void;
}

/** How long a node has not reached the log's leader; 0 while it does. */
export type UnreachableMs = (node: number) => number;

const nobody: LogWatcher = { onStored: () => undefined, onCut: () => undefined, onEmptied: () => undefined };

export class SimLog {
  readonly group: string;
  /** Every entry of this life of the log, by position less one; those before `first` are trimmed. */
  readonly entries: SimEntry[] = [];
  first = 1;
  exists = false;
  watcher: LogWatcher = nobody;
  /** What it keeps at the moment. */
  retention: LogRetention = { ageMs: 10_000, bytes: 1_000_000_000 };
  /** How far its clock is ahead of true time. */
  clockErrorMs = 0;
  readonly #clock: VirtualClock;
  readonly #nodeUnreachableMs: UnreachableMs;
  readonly #consumers: Consumer[] = [];
  #identity = 0;
  #heldBytes = 0;
  /** When it lost its leader; infinite while it has one. */
  #leaderlessSinceMs = Number.POSITIVE_INFINITY;
  #leaderAgainMs = 0;
  /** What it was made for, and until when it keeps less. */
  #usual = this.retention;
  #littleUntilMs = 0;

  constructor(group: string, clock: VirtualClock, unreachableMs: UnreachableMs) {
    this.group = group;
    this.#clock = clock;
    this.#nodeUnreachableMs = unreachableMs;
  }

  get last(): number {
    return this.entries.length;
  }

  get hasLeader(): boolean {
    return this.#leaderlessSinceMs === Number.POSITIVE_INFINITY;
  }

  /** How long this node has not reached a leader of the log; 0 while it does. */
  unreachableMs(node: number): number {
    const leaderlessMs = this.hasLeader ? 0 : this.#clock.monotonicMs() - this.#leaderlessSinceMs + 0.001;
    return Math.max(leaderlessMs, this.#nodeUnreachableMs(node));
  }

  get bounds(): LogBounds {
    this.trim();
    return { identity: `${this.group}-${this.#identity}`, first: this.first, last: this.last };
  }

  get(position: number): SimEntry | undefined {
    this.trim();
    return position < this.first ? undefined : this.entries[position - 1];
  }

  make(retention: LogRetention): boolean {
    this.#usual = retention;
    if (this.#littleUntilMs <= this.#clock.monotonicMs()) this.retention = retention;
    if (this.exists) return false;
    this.exists = true;
    this.#identity++;
    return true;
  }

  store(kind: EntryKind, data: Uint8Array, by: string): SimEntry {
    const atMs = this.#clock.monotonicMs();
    const stampMs = this.#stampMs();
    const timeMs = Math.floor(stampMs);
    const timeNs = Math.floor((stampMs - timeMs) * 1_000_000);
    const entry = { position: this.last + 1, timeMs, timeNs, kind, data, atMs, by };
    this.entries.push(entry);
    this.#heldBytes += data.length;
    this.trim();
    this.watcher.onStored(entry);
    for (const consumer of this.#consumers) consumer.pump();
    return entry;
  }

  /** What is too old, or behind the newest bytes, goes; as in a stream it goes from the front only. */
  trim(): void {
    const oldestMs = this.#stampMs() - this.retention.ageMs;
    for (let entry = this.entries[this.first - 1]; entry !== undefined; entry = this.entries[this.first - 1]) {
      if (entry.timeMs >= oldestMs && this.#heldBytes <= this.retention.bytes) return;
      this.#heldBytes -= entry.data.length;
      this.first++;
    }
  }

  attach(consumer: Consumer): void {
    this.#consumers.push(consumer);
  }

  detach(consumer: Consumer): void {
    const at = this.#consumers.indexOf(consumer);
    if (at >= 0) this.#consumers.splice(at, 1);
  }

  /** Nothing is stored or read for a while. What its readers have not been sent yet comes when it is back. */
  loseLeader(forMs: number): void {
    const againMs = this.#clock.monotonicMs() + forMs;
    if (this.hasLeader) this.#leaderlessSinceMs = this.#clock.monotonicMs();
    this.#leaderAgainMs = Math.max(this.#leaderAgainMs, againMs);
    this.#clock.setTimer(forMs, () => {
      if (this.#clock.monotonicMs() < this.#leaderAgainMs) return;
      this.#leaderlessSinceMs = Number.POSITIVE_INFINITY;
      for (const consumer of [...this.#consumers]) consumer.pump();
    });
  }

  /** It keeps less than it was made for, for a while. */
  keepLess(retention: LogRetention, forMs: number): void {
    this.retention = retention;
    this.#littleUntilMs = Math.max(this.#littleUntilMs, this.#clock.monotonicMs() + forMs);
    this.#clock.setTimer(forMs, () => {
      if (this.#littleUntilMs <= this.#clock.monotonicMs()) this.retention = this.#usual;
    });
  }

  /** The server restarts: it has no leader meanwhile, and knows none of its readers afterwards. */
  restart(forMs: number): void {
    this.loseLeader(forMs);
    this.forgetReaders();
  }

  forgetReaders(): void {
    for (const consumer of this.#consumers.splice(0)) consumer.forgotten();
  }

  /** The last entries were not on disk yet. */
  cutTail(count: number): void {
    const before = this.last;
    const last = Math.max(this.first - 1, before - count);
    for (const { data } of this.entries.splice(last)) this.#heldBytes -= data.length;
    this.watcher.onCut(last, before);
  }

  /** The log is gone, with its settings. */
  destroy(): void {
    this.entries.length = 0;
    this.first = 1;
    this.#heldBytes = 0;
    this.exists = false;
    this.forgetReaders();
    this.watcher.onEmptied();
  }

  #stampMs(): number {
    return this.#clock.nowMs() + (this.#clock.monotonicMs() % 1) + this.clockErrorMs;
  }
}
