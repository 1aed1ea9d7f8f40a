// An actor's hold on its group's log: the reader whose entries it applies, the scout that reads commands alone, a second reader of frames that it has applied
// already, what it appends, and the log itself, which a member makes where it is missing.

import type { Clock } from '../../shared/base/clock.ts';
import { errorCodes, isFlowherdError, reasonOf } from '../../shared/base/errors.ts';
import type {
  BrokenReason,
  EntryMark,
  GroupLog,
  LogBounds,
  LogEntry,
  LogReader,
  ReadHandlers,
} from '../../shared/log/log.ts';
import { type Command, encodeCommand } from '../../shared/log/records/command.ts';

export interface LogLineListener {
  onEntry(entry: LogEntry): void;
  onBroken(reason: BrokenReason): void;
  onScouted(entry: LogEntry): void;
  onScoutBroken(): void;
  /** What the log holds; undefined: there is none. */
  onBounds(bounds: LogBounds | undefined): void;
  /** This member made the log, or could not. */
  onMade(problem: string | undefined): void;
}

const ignore = (): void => undefined;
const nobody: LogLineListener = {
  ...{ onEntry: ignore, onBroken: ignore, onScouted: ignore, onScoutBroken: ignore, onBounds: ignore, onMade: ignore },
};

/** A log that refuses is looked at so often: it may be gone. */
const mindEveryMs = 500;

export class LogLine {
  /** Commands that were refused, or whose acknowledgement was lost. */
  refused = 0;
  readonly #log: GroupLog;
  readonly #clock: Clock;
  #listener: LogLineListener;
  #reader: LogReader | undefined;
  #scout: LogReader | undefined;
  #rereader: LogReader | undefined;
  #lookout: LogReader | undefined;
  /** The reader is to wait; where it will go on. */
  #isHeld = false;
  #held: { readonly after: number; readonly expect: EntryMark | undefined } | undefined;
  #mindedAtMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(log: GroupLog, clock: Clock, listener: LogLineListener) {
    this.#log = log;
    this.#clock = clock;
    this.#listener = listener;
  }

  /** Entries that wait behind the reader. */
  get pending(): number {
    return (this.#reader ?? this.#rereader)?.pending ?? 0;
  }

  /** The log is heard. */
  get isLive(): boolean {
    return this.#reader?.isLive === true;
  }

  /** The scout has seen all commands that there are. */
  get isScoutCurrent(): boolean {
    return this.#scout?.isLive === true && this.#scout.pending === 0;
  }

  /** Reads on behind a position, once nothing holds it; ends what was read before. */
  read(after: number, expect: EntryMark | undefined): void {
    this.stopReading();
    if (this.#stopped) return;
    if (this.#isHeld) {
      this.#held = { after, expect };
      return;
    }
    this.#reader = this.#log.read(expect === undefined ? { after } : { after, expect }, {
      onEntry: (entry) => this.#listener.onEntry(entry),
      onBroken: (reason) => this.#listener.onBroken(reason),
    });
  }

  stopReading(): void {
    this.#reader?.stop();
    this.#reader = undefined;
    this.#held = undefined;
  }

  /** The reader waits behind this entry, whatever is asked of it, until `release`. */
  hold(at: EntryMark): void {
    this.#isHeld = true;
    this.read(at.position, at);
  }

  release(): void {
    this.#isHeld = false;
    if (this.#held !== undefined) this.read(this.#held.after, this.#held.expect);
  }

  /** Reads the frames behind a position once more. */
  reread(after: number, handlers: ReadHandlers): void {
    this.stopRereading();
    if (!this.#stopped) this.#rereader = this.#log.read({ after, kinds: ['frame'] }, handlers);
  }

  stopRereading(): void {
    this.#rereader?.stop();
    this.#rereader = undefined;
  }

  /** Reads the commands behind a position, which the main reader has not come to. */
  lookAhead(after: number, handlers: ReadHandlers): void {
    this.stopLooking();
    if (!this.#stopped) this.#lookout = this.#log.read({ after, kinds: ['command'] }, handlers);
  }

  stopLooking(): void {
    this.#lookout?.stop();
    this.#lookout = undefined;
  }

  /** All commands that there are have been seen by who looks ahead. */
  get hasLookedAhead(): boolean {
    return this.#lookout?.isLive === true && this.#lookout.pending === 0;
  }

  /** Asks what the log holds; nothing comes where there is none, or nobody answers. */
  measure(onBounds: (bounds: LogBounds) => void): void {
    this.#log.bounds().then(
      (bounds) => {
        if (!this.#stopped) onBounds(bounds);
      },
      () => undefined,
    );
  }

  scout(after: number): void {
    this.#scout?.stop();
    if (this.#stopped) return;
    this.#scout = this.#log.read(
      { after, kinds: ['command'] },
      {
        onEntry: (entry) => this.#listener.onScouted(entry),
        onBroken: () => this.#listener.onScoutBroken(),
      },
    );
  }

  stopScouting(): void {
    this.#scout?.stop();
    this.#scout = undefined;
  }

  append(command: Command): void {
    if (this.#stopped) return;
    this.#log.append('command', encodeCommand(command), ({ kind }) => {
      if (kind === 'stored') return;
      this.refused++;
      this.#mind();
    });
  }

  /** Looks at the log; `onBounds` gets the answer, or nothing where nobody answers. */
  look(): void {
    this.#log.bounds().then(
      (bounds) => this.#tellBounds(bounds),
      (error) => {
        if (isFlowherdError(error, errorCodes.logMissing)) this.#tellBounds(undefined);
      },
    );
  }

  make(): void {
    this.#log.make().then(
      (isNew) => {
        if (isNew && !this.#stopped) this.#listener.onMade(undefined);
      },
      (error) => {
        if (!this.#stopped) this.#listener.onMade(reasonOf(error));
      },
    );
  }

  stop(): void {
    this.stopReading();
    this.stopScouting();
    this.stopRereading();
    this.stopLooking();
    this.#stopped = true;
    // A connection outlives actors, and may keep readers that have stopped: what is behind the listener it must not keep.
    this.#listener = nobody;
  }

  #tellBounds(bounds: LogBounds | undefined): void {
    if (!this.#stopped) this.#listener.onBounds(bounds);
  }

  /** The log takes nothing: perhaps it is not there any more, and nobody but its members makes it. */
  #mind(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#mindedAtMs < mindEveryMs || this.#stopped) return;
    this.#mindedAtMs = nowMs;
    this.#log.bounds().catch((error) => {
      if (isFlowherdError(error, errorCodes.logMissing) && !this.#stopped) this.make();
    });
  }
}
