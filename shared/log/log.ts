// The ordered log of a group: the port, with adapters for NATS JetStream (jetstream/), for one process (memory.ts) and for the
// simulation, under one contract suite (test/shared/log/log.contract.ts).
//
// One log a group. An entry has a position (1, 2, 3, ... without gaps), the log's own time, a kind and bytes. Whatever is in the
// log, every reader sees in the same order, from any position that it still holds. It keeps the last seconds and bytes
// (`LogRetention`); what is older is trimmed from its front.
//
//   trimmed │ first ............................ last │ next append
//           └─ 41 42 43 44 45 46 47 ........... 9001 ─┘
//                    ▲ reader: read(after 43) gets 44, 45, ...
//
// Promises, whichever adapter:
//   - entries that one connection appends keep their order, where both are stored;
//   - an entry is stored at most once by one append, and an outcome says what became of it; `unknown` means what it says;
//   - delivery is later, never inside `append` or `read`; `data` is valid only during the call of `onEntry`: copy what you keep;
//   - a reader gets every entry exactly once and in order, through reconnects and restarts of the server, or it is told why it
//     cannot (`onBroken`), once, and gets nothing any more. It never skips silently;
//   - a callback that throws costs that entry (counted in `stats.handlerErrors`), never the reader.

export const entryKinds = ['frame', 'command'] as const;
export type EntryKind = (typeof entryKinds)[number];

export interface LogEntry {
  readonly position: number;
  /** The log's own stamp: milliseconds since 1970, whole. May step either way when the log's clock is set or its leader changes. */
  readonly timeMs: number;
  /** Nanoseconds of the stamp below a millisecond, 0 to 999,999. */
  readonly timeNs: number;
  readonly kind: EntryKind;
  readonly data: Uint8Array;
}

/** An entry by its position and a checksum (`markOf`, mark.ts): tells whether two logs have the same entry there. */
export interface EntryMark {
  readonly position: number;
  readonly mark: number;
}

/** How much a log keeps: what is older than `ageMs`, or behind the newest `bytes`, is trimmed. */
export interface LogRetention {
  readonly ageMs: number;
  readonly bytes: number;
}

export interface LogSettings {
  readonly retention: LogRetention;
  /** `file` survives a restart of the server, `memory` does not. */
  readonly storage: 'file' | 'memory';
  /** Servers that keep a copy: 1, 3 or 5. */
  readonly replicas: number;
}

export interface LogBounds {
  /** Tells one life of the log from the next: a log that was deleted and made anew has another one. */
  readonly identity: string;
  /** Position of the first entry that it holds; `last + 1` when it holds none. */
  readonly first: number;
  /** Position of the last entry ever appended; 0 in a new log. */
  readonly last: number;
}

/** What became of an append. */
export type AppendOutcome =
  | { readonly kind: 'stored'; readonly position: number }
  /** Definite: it is not in the log. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** The answer was lost or did not come in time: it may be in the log, or may come into it yet. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** Why a reader cannot go on. */
export type BrokenReason =
  /** The entry behind its position is no longer there, or the one at its position is not, so that nobody can tell what lies behind it. */
  | 'trimmed'
  /** The log ends before its position. */
  | 'shorter'
  /** Another entry is at its position, or the log was made anew. */
  | 'other';

export interface ReadOptions {
  /** Deliver what lies behind this position; 0: from the very first entry, and `trimmed` if that is gone. */
  readonly after: number;
  /** Checked before the first entry, and again after each reconnect with the last entry delivered (log matching). */
  readonly expect?: EntryMark;
  /** Deliver entries of these kinds alone; default: all. Positions of what is delivered then have gaps, and order holds. */
  readonly kinds?: readonly EntryKind[];
}

export interface ReadHandlers {
  onEntry(entry: LogEntry): void;
  onBroken(reason: BrokenReason): void;
}

export interface LogReader {
  /** Position of the last entry delivered. */
  readonly position: number;
  /** Entries that are in the log behind it, as of the last one delivered; 0 when it has caught up. */
  readonly pending: number;
  /** True while the way from the log is known to work: connected, and heard within the last second or so. */
  readonly isLive: boolean;
  stop(): void;
}

/** Counts since the log was opened. */
export interface LogStats {
  appended: number;
  refused: number;
  unknown: number;
  delivered: number;
  handlerErrors: number;
  /** Times that a reader had to be set up again: reconnects, consumers that were gone. */
  readersRestarted: number;
}

export interface GroupLog {
  readonly group: string;
  readonly stats: Readonly<LogStats>;
  /** Largest entry in bytes. */
  readonly maxEntryBytes: number;
  /** False while not connected, or while more than a bounded window is under way. Commands may be appended all the same. */
  readonly writable: boolean;
  /**
   * Appends. `onOutcome` is called later, exactly once, in bounded time. The data must not be changed any more until then. Throws
   * `message-too-big` above `maxEntryBytes`.
   */
  append(kind: EntryKind, data: Uint8Array, onOutcome?: (outcome: AppendOutcome) => void): void;
  read(options: ReadOptions, handlers: ReadHandlers): LogReader;
  /**
   * Makes the log where it is missing, with the settings it was opened with; true when this call made it. Rejects with `bus-refused` when
   * this login may not, `store-unavailable`, `bus-disconnected`, `bus-timeout`.
   */
  make(): Promise<boolean>;
  /** Rejects with `log-missing` when there is no such log, `bus-disconnected`, `bus-timeout`. */
  bounds(): Promise<LogBounds>;
  /** Removes the log with all that is in it, for everybody; one that is not there is fine. For what was made for one run alone, and for tests. */
  destroy(): Promise<void>;
  /** The entry at a position, a copy; undefined when the log does not hold it. Rejects as `bounds` does. */
  get(position: number): Promise<LogEntry | undefined>;
}
