// One connection's way to the log of a group: the port of shared/log/log.ts over the simulated network.
//
//   append ── up ──► node ── to the leader ──► stored ── acknowledgement ──► outcome
//   reader ◄── in order, late, until the connection or the consumer breaks ── log
//
// Appends of one connection are stored in order. An outcome comes within two seconds: `unknown` when no answer came, also where the
// entry is stored later. A reader is a consumer that the log knows until it forgets it, or the connection breaks; then the reader sets up
// another one behind what it has delivered, after it has compared the last entry. It looks for holes in the positions, because a
// consumer skips what has been trimmed without a word.

import { errorCodes, FlowherdError } from '../../shared/base/errors.ts';
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
} from '../../shared/log/log.ts';
import type { SimLog } from './log.ts';
import { SimReader } from './logReader.ts';
import type { SimBus, SimNetwork } from './network.ts';
import { copyOf } from './slab.ts';

const answerWithinMs = 2_000;
/** A node that is cut off, or has lost the leader, swallows appends until it has noticed; then it refuses them. */
const noticesMs = 1_000;
const usualRetention = { ageMs: 10_000, bytes: 256 * 1024 * 1024 };
const windowBytes = 16 * 1024 * 1024;

interface Append {
  readonly bytes: number;
  readonly untilMs: number;
  readonly onOutcome: ((outcome: AppendOutcome) => void) | undefined;
  isOver: boolean;
}

export class SimGroupLog implements GroupLog {
  readonly group: string;
  readonly maxEntryBytes = 1_048_576;
  readonly stats: LogStats = {
    appended: 0,
    refused: 0,
    unknown: 0,
    delivered: 0,
    handlerErrors: 0,
    readersRestarted: 0,
  };
  readonly #log: SimLog;
  readonly #network: SimNetwork;
  readonly #bus: SimBus;
  readonly #settings: LogSettings | undefined;
  readonly #readers = new Set<SimReader>();
  /** Appends without an outcome, oldest first. */
  #open: Append[] = [];
  #openBytes = 0;
  #timerIsSet = false;
  /** When the last append reaches the leader, and the last answer this process. */
  #storedMs = 0;
  #answeredMs = 0;

  constructor(log: SimLog, network: SimNetwork, bus: SimBus, settings: LogSettings | undefined) {
    this.group = log.group;
    this.#log = log;
    this.#network = network;
    this.#bus = bus;
    this.#settings = settings;
  }

  get writable(): boolean {
    return this.#bus.writable && this.#openBytes < windowBytes;
  }

  append(kind: EntryKind, data: Uint8Array, onOutcome?: (outcome: AppendOutcome) => void): void {
    if (data.length > this.maxEntryBytes)
      throw new FlowherdError(errorCodes.messageTooBig, `${data.length} bytes are too much for one entry`);
    const { clock } = this.#network;
    const bytes = copyOf(data);
    const append: Append = {
      bytes: data.length,
      untilMs: clock.monotonicMs() + answerWithinMs,
      onOutcome,
      isOver: false,
    };
    this.#open.push(append);
    this.#openBytes += data.length;
    if (!this.#bus.writable) {
      const refused = { kind: 'refused', reason: 'disconnected' } as const;
      clock.setTimer(0, () => this.#bus.process.enter(() => this.#settle(append, refused)));
      return;
    }
    this.#watchOpen();
    this.#bus.up(() => this.#atNode(kind, bytes, append));
  }

  read(options: ReadOptions, handlers: ReadHandlers): LogReader {
    if (this.#bus.isClosed) throw new FlowherdError(errorCodes.busClosed, 'the connection was closed');
    const reader = new SimReader(this.#log, this.#network, this.#bus, this.stats, options, handlers, () =>
      this.#readers.delete(reader),
    );
    this.#readers.add(reader);
    reader.begin();
    return reader;
  }

  make(): Promise<boolean> {
    return this.#ask(() => this.#log.make(this.#settings?.retention ?? usualRetention));
  }

  bounds(): Promise<LogBounds> {
    return this.#ask(() => {
      this.#mustExist();
      return this.#log.bounds;
    });
  }

  get(position: number): Promise<LogEntry | undefined> {
    return this.#ask(() => {
      this.#mustExist();
      const entry = this.#log.get(position);
      if (entry === undefined) return undefined;
      const { timeMs, timeNs, kind, data } = entry;
      return { position, timeMs, timeNs, kind, data: data.slice() };
    });
  }

  destroy(): Promise<void> {
    return this.#ask(() => this.#log.destroy());
  }

  /** The connection has broken: nobody will know what became of what was under way. */
  broken(): void {
    for (const reader of this.#readers) reader.broken();
    for (const append of this.#open.splice(0)) {
      this.#bus.process.enter(() => this.#settle(append, { kind: 'unknown', reason: 'disconnected' }));
    }
  }

  restored(): void {
    for (const reader of this.#readers) reader.restored();
  }

  close(): void {
    for (const reader of [...this.#readers]) reader.stop();
  }

  #atNode(kind: EntryKind, data: Uint8Array, append: Append): void {
    const { clock, faults } = this.#network;
    const nowMs = clock.monotonicMs();
    const lateMs = faults.appendDelayMs(this.#bus.process);
    this.#storedMs = Math.max(this.#storedMs, nowMs + 0.1 + lateMs);
    clock.setTimer(this.#storedMs - nowMs, () => this.#atLeader(kind, data, append));
  }

  #atLeader(kind: EntryKind, data: Uint8Array, append: Append): void {
    const { prng, faults } = this.#network;
    const { process, node } = this.#bus;
    const unreachableMs = this.#log.unreachableMs(node);
    if (unreachableMs > 0 && unreachableMs < noticesMs && prng.chance(1, 2)) return;
    if (unreachableMs > 0 || !this.#log.exists) {
      this.#answer(append, { kind: 'refused', reason: this.#log.exists ? 'no leader' : 'no log' });
      return;
    }
    const dies = kind === 'command' ? faults.killsAuthor(process) : 'no';
    if (dies === 'before') return;
    const { position } = this.#log.store(kind, data, process.name);
    if (dies === 'no' && !faults.losesAnswer(process)) this.#answer(append, { kind: 'stored', position });
  }

  /** An answer comes back over the connection, in order, if that is still the same one. */
  #answer(append: Append, outcome: AppendOutcome): void {
    if (append.isOver) return;
    const { clock } = this.#network;
    const { line } = this.#bus;
    const nowMs = clock.monotonicMs();
    this.#answeredMs = Math.max(this.#answeredMs, nowMs + this.#network.delayMs(this.#bus));
    clock.setTimer(this.#answeredMs - nowMs, () => {
      if (this.#bus.line === line) this.#bus.process.enter(() => this.#settle(append, outcome));
    });
  }

  #settle(append: Append, outcome: AppendOutcome): void {
    if (append.isOver) return;
    append.isOver = true;
    this.#openBytes -= append.bytes;
    if (outcome.kind === 'stored') this.stats.appended++;
    else if (outcome.kind === 'refused') this.stats.refused++;
    else this.stats.unknown++;
    if (append.onOutcome === undefined) return;
    try {
      append.onOutcome(outcome);
    } catch (error) {
      this.stats.handlerErrors++;
      this.#network.onHandlerError(error);
    }
  }

  /** One timer for all: it fires when the oldest append has waited for long enough. */
  #watchOpen(): void {
    if (this.#timerIsSet) return;
    while (this.#open.length > 0 && this.#open[0].isOver) this.#open.shift();
    const [oldest] = this.#open;
    if (oldest === undefined) return;
    this.#timerIsSet = true;
    const { clock } = this.#network;
    clock.setTimer(oldest.untilMs - clock.monotonicMs(), () => {
      this.#timerIsSet = false;
      const nowMs = clock.monotonicMs();
      const late = this.#open.filter(({ isOver, untilMs }) => !isOver && untilMs <= nowMs);
      this.#open = this.#open.filter(({ isOver, untilMs }) => !isOver && untilMs > nowMs);
      for (const append of late)
        this.#bus.process.enter(() => this.#settle(append, { kind: 'unknown', reason: 'no answer' }));
      this.#watchOpen();
    });
  }

  #mustExist(): void {
    if (!this.#log.exists) throw new FlowherdError(errorCodes.logMissing, `there is no log of ${this.group}`);
  }

  /** A question to the leader; what `work` throws is the answer too. */
  #ask<T>(work: () => T): Promise<T> {
    return this.#bus.askInTime(answerWithinMs, (answer) => {
      if (this.#log.unreachableMs(this.#bus.node) > 0) return;
      try {
        const result = work();
        answer((resolve) => resolve(result));
      } catch (error) {
        answer((_, reject) => reject(error));
      }
    });
  }
}
