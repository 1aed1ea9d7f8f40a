// One connection's access to a log in this process (memory.ts): the port, with the connection's own counts, window and readers.

import { errorCodes, FlowherdError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type {
  AppendOutcome,
  EntryKind,
  GroupLog,
  LogBounds,
  LogEntry,
  LogReader,
  LogRetention,
  LogStats,
  ReadHandlers,
  ReadOptions,
} from './log.ts';
import type { MemoryLog, MemoryLogUser, MemoryReader } from './memory.ts';

export interface MemoryGroupLogOptions {
  readonly maxEntryBytes: number;
  /** Told of each callback that throws. */
  handlerFailed(error: unknown): void;
}

export class MemoryGroupLog implements GroupLog, MemoryLogUser {
  readonly group: string;
  readonly stats: LogStats = {
    appended: 0,
    refused: 0,
    unknown: 0,
    delivered: 0,
    handlerErrors: 0,
    readersRestarted: 0,
  };
  readonly maxEntryBytes: number;
  readonly #log: MemoryLog;
  readonly #retention: LogRetention | undefined;
  readonly #options: MemoryGroupLogOptions;
  #readers: MemoryReader[] = [];
  #underWayBytes = 0;
  #isOpen = true;

  constructor(log: MemoryLog, group: string, retention: LogRetention | undefined, options: MemoryGroupLogOptions) {
    this.#log = log;
    this.group = group;
    this.#retention = retention;
    this.#options = options;
    this.maxEntryBytes = options.maxEntryBytes;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get writable(): boolean {
    return this.#isOpen && this.#log.exists && this.#underWayBytes < limits.appendWindowBytes && !this.#log.isFull;
  }

  append(kind: EntryKind, data: Uint8Array, onOutcome?: (outcome: AppendOutcome) => void): void {
    const { length } = data;
    if (length > this.maxEntryBytes) {
      const text = `an entry of ${length} bytes is above the limit of ${this.maxEntryBytes} of the log of ${this.group}`;
      throw new FlowherdError(errorCodes.messageTooBig, text);
    }
    this.#underWayBytes += length;
    const tell = (outcome: AppendOutcome): void => {
      this.#underWayBytes -= length;
      if (outcome.kind === 'stored') this.stats.appended++;
      else this.stats.refused++;
      try {
        onOutcome?.(outcome);
      } catch (error) {
        this.handlerFailed(error);
      }
    };
    if (this.#isOpen) this.#log.append(kind, data, tell);
    else this.#log.answer(() => tell({ kind: 'refused', reason: 'the connection is closed' }));
  }

  read(options: ReadOptions, handlers: ReadHandlers): LogReader {
    if (!this.#isOpen) throw this.#closedError();
    const reader = this.#log.read(this, options, handlers);
    this.#readers = this.#readers.filter((one) => !one.isStopped);
    this.#readers.push(reader);
    return reader;
  }

  make(): Promise<boolean> {
    return this.#later(() => this.#log.make(this.#retention));
  }

  bounds(): Promise<LogBounds> {
    return this.#later(() => this.#log.bounds() ?? this.#missing());
  }

  destroy(): Promise<void> {
    return this.#later(() => this.#log.destroy());
  }

  get(position: number): Promise<LogEntry | undefined> {
    return this.#later(() => (this.#log.exists ? this.#log.get(position) : this.#missing()));
  }

  /** The connection was closed: its readers end, what it appended is still told of. */
  close(): void {
    this.#isOpen = false;
    for (const reader of this.#readers) reader.stop();
  }

  onDelivered(): void {
    this.stats.delivered++;
  }

  handlerFailed(error: unknown): void {
    this.stats.handlerErrors++;
    this.#options.handlerFailed(error);
  }

  #later<T>(act: () => T): Promise<T> {
    if (!this.#isOpen) return Promise.reject(this.#closedError());
    return new Promise((resolve, reject) => {
      this.#log.answer(() => {
        try {
          resolve(act());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #missing(): never {
    throw new FlowherdError(errorCodes.logMissing, `there is no log of the group ${this.group}`);
  }

  #closedError(): FlowherdError {
    return new FlowherdError(errorCodes.busClosed, `the in-process connection to the log of ${this.group} is closed`);
  }
}
