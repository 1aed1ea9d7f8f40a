// A group's log over NATS JetStream: a stream `fh_<cluster>_<group>` over the subjects `fh.<cluster>.log.<group>.>`, whose
// sequence numbers are the positions. Here is the port; appends.ts, reader.ts and stream.ts do the work.

import { errorCodes, FlowherdError } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import { subjectsOf } from '../../bus/subjects.ts';
import type {
  AppendOutcome,
  EntryKind,
  GroupLog,
  LogBounds,
  LogEntry,
  LogReader,
  LogSettings,
  LogStats,
  ReadHandlers,
  ReadOptions,
} from '../log.ts';
import { Appends } from './appends.ts';
import type { LogConnection } from './connection.ts';
import { JetStreamReader } from './reader.ts';
import { LogStream } from './stream.ts';

export class JetStreamLog implements GroupLog {
  readonly group: string;
  readonly maxEntryBytes: number;
  readonly stats: LogStats = {
    appended: 0,
    refused: 0,
    unknown: 0,
    delivered: 0,
    handlerErrors: 0,
    readersRestarted: 0,
  };
  readonly #connection: LogConnection;
  readonly #settings: LogSettings;
  readonly #stream: LogStream;
  readonly #appends: Appends;
  readonly #frames: string;
  readonly #commands: string;
  #readers: JetStreamReader[] = [];

  /** Throws `bad-name`. */
  constructor(connection: LogConnection, cluster: string, group: string, settings: LogSettings | undefined) {
    const subjects = subjectsOf(cluster);
    const { storage, replicas } = connection;
    this.group = group;
    this.#connection = connection;
    this.#settings = settings ?? {
      retention: { ageMs: limits.logAgeMs, bytes: limits.logBytes },
      storage,
      replicas,
    };
    // Room for what a server may add when it hands a message on.
    this.maxEntryBytes = connection.maxMessageBytes - 1_024;
    this.#frames = subjects.log(group, 'frame');
    this.#commands = subjects.log(group, 'command');
    this.#stream = new LogStream(connection, subjects.logStream(group), this.#frames.slice(0, -'.frame'.length));
    this.#appends = new Appends(connection);
  }

  get writable(): boolean {
    return this.#connection.isConnected && this.#appends.bytes < limits.appendWindowBytes;
  }

  append(kind: EntryKind, data: Uint8Array, onOutcome?: (outcome: AppendOutcome) => void): void {
    if (data.length > this.maxEntryBytes) {
      const text = `an entry of ${data.length} bytes is above the limit of ${this.maxEntryBytes} of the log of ${this.group}`;
      throw new FlowherdError(errorCodes.messageTooBig, text);
    }
    if (this.#connection.isConnected) {
      const subject = kind === 'frame' ? this.#frames : this.#commands;
      this.#appends.send(subject, data, (outcome) => this.#tell(outcome, onOutcome));
      return;
    }
    const reason = this.#connection.isClosed ? 'closed' : 'disconnected';
    this.#connection.clock.defer(() => this.#tell({ kind: 'refused', reason }, onOutcome));
  }

  read(options: ReadOptions, handlers: ReadHandlers): LogReader {
    if (this.#connection.isClosed) throw new FlowherdError(errorCodes.busClosed, 'the connection to the log is closed');
    const reader = new JetStreamReader(this.#connection, this.#stream, this.stats, options, handlers);
    this.#readers = this.#readers.filter((one) => !one.isStopped);
    this.#readers.push(reader);
    return reader;
  }

  make(): Promise<boolean> {
    return this.#stream.make(this.#settings, this.maxEntryBytes);
  }

  async bounds(): Promise<LogBounds> {
    const bounds = await this.#stream.bounds();
    if (bounds === undefined) throw this.#stream.missing();
    const { identity, first, last } = bounds;
    return { identity, first, last };
  }

  destroy(): Promise<void> {
    return this.#stream.destroy();
  }

  get(position: number): Promise<LogEntry | undefined> {
    return this.#stream.get(position);
  }

  disconnected(): void {
    this.#appends.abandon('the connection broke');
    for (const reader of this.#readers) reader.disconnected();
  }

  reconnected(): void {
    for (const reader of this.#readers) reader.reconnected();
  }

  /** The server does not permit this login to publish on that subject. */
  denied(subject: string): void {
    this.#appends.denied(subject);
  }

  /** The connection is being closed: what was appended may still be answered. */
  stopReading(): void {
    for (const reader of this.#readers) reader.stop();
  }

  close(): void {
    this.#appends.abandon('the connection was closed');
    this.#appends.close();
    this.stopReading();
  }

  #tell(outcome: AppendOutcome, onOutcome: ((outcome: AppendOutcome) => void) | undefined): void {
    if (outcome.kind === 'stored') this.stats.appended++;
    else if (outcome.kind === 'refused') this.stats.refused++;
    else this.stats.unknown++;
    try {
      onOutcome?.(outcome);
    } catch (error) {
      this.stats.handlerErrors++;
      this.#connection.handlerFailed(this.#stream.name, error);
    }
  }
}

/** Throws `bad-state` for a server that cannot keep a log: several readers of one order need 2.10. */
export function assertServerVersion(version: string | undefined): void {
  const match = /^(\d+)\.(\d+)/.exec(version ?? '');
  const [major, minor] = match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
  if (major > 2 || (major === 2 && minor >= 10)) return;
  const text = `the NATS server is of version ${version ?? 'unknown'}: the log of a group needs 2.10 or newer`;
  throw new FlowherdError(errorCodes.badState, text);
}
