// A reader of the simulated log, in two halves: the consumer that the log knows, which sends entries on their way, and the
// reader in the process, which delivers them, in order and none twice, or says why it cannot.

import type { BrokenReason, EntryKind, LogReader, LogStats, ReadHandlers, ReadOptions } from '../../shared/log/log.ts';
import { markOf } from '../../shared/log/mark.ts';
import type { Consumer, SimEntry, SimLog } from './log.ts';
import type { SimBus, SimNetwork } from './network.ts';

/** Entries that are on their way to one reader at most. */
const window = 256;
/** A reader looks again after this when it found no leader or no log, and at most so long after its heartbeats have stopped. */
const retryMs = 300;
const noticesMs = 2_000;
/** Silence for less does not show. */
const liveMs = 1_000;

export class SimReader implements LogReader {
  position: number;
  pending = 0;
  readonly #log: SimLog;
  readonly #network: SimNetwork;
  readonly #bus: SimBus;
  readonly #stats: LogStats;
  readonly #handlers: ReadHandlers;
  readonly #onEnd: () => void;
  readonly #kinds: readonly EntryKind[] | undefined;
  #mark: number | undefined;
  #last: SimEntry | undefined;
  /** The life of the log that it reads; '' before it has found one. */
  #identity = '';
  #consumer: SimConsumer | undefined;
  /** Counts the times it was set up. */
  #session = 0;
  #isOver = false;

  constructor(
    log: SimLog,
    network: SimNetwork,
    bus: SimBus,
    stats: LogStats,
    options: ReadOptions,
    handlers: ReadHandlers,
    onEnd: () => void,
  ) {
    this.#log = log;
    this.#network = network;
    this.#bus = bus;
    this.#stats = stats;
    this.#handlers = handlers;
    this.#onEnd = onEnd;
    this.position = options.after;
    this.#kinds = options.kinds;
    this.#mark = options.expect?.position === options.after ? options.expect.mark : undefined;
  }

  get isLive(): boolean {
    const silentMs = Math.max(this.#consumer?.goneMs ?? liveMs, this.#log.unreachableMs(this.#bus.node));
    return !this.#isOver && this.#bus.writable && silentMs < liveMs;
  }

  begin(): void {
    if (this.#isOver || !this.#bus.isConnected) return;
    const session = ++this.#session;
    this.#leave();
    this.#bus.roundTrip(
      (answer) => {
        if (session !== this.#session || this.#isOver) return answer(() => undefined);
        if (!this.#log.exists || this.#log.unreachableMs(this.#bus.node) > 0) {
          this.#again(session, retryMs);
          return answer(() => undefined);
        }
        const problem = this.problem();
        if (problem !== undefined) return answer(() => this.#fail(session, problem));
        this.#identity = this.#log.bounds.identity;
        this.#consumer = new SimConsumer(this.#log, this.#network, this.#bus, this.position + 1, this.#kinds, {
          onArrival: (entry, isNext, pending) => this.#deliver(session, entry, isNext, pending),
          onGone: () => this.#again(session, 100 + this.#network.prng.fraction() * noticesMs),
        });
        this.pending = this.#consumer.pending;
        this.#log.attach(this.#consumer);
        this.#consumer.pump();
        answer(() => undefined);
      },
      () => undefined,
    );
  }

  /** The connection has broken. */
  broken(): void {
    this.#session++;
    this.#leave();
  }

  restored(): void {
    this.#stats.readersRestarted++;
    this.begin();
  }

  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leave();
    this.#onEnd();
  }

  /** Why what lies behind its position is not what it has to deliver next. */
  problem(): BrokenReason | undefined {
    const { identity, first, last } = this.#log.bounds;
    if (this.position > last) return 'shorter';
    if (this.position > 0 && this.#identity !== '' && this.#identity !== identity) return 'other';
    const here = this.#log.get(this.position);
    if (here !== undefined && !this.#isSame(here)) return 'other';
    if (this.position + 1 < first) return 'trimmed';
    // What it has delivered last cannot be compared, and something has come behind it: it may be another line.
    const hasMark = this.#last !== undefined || this.#mark !== undefined;
    return here === undefined && hasMark && last > this.position ? 'trimmed' : undefined;
  }

  /** Whether something that was trimmed is missing before an entry. */
  isHole(isNext: boolean): boolean {
    return !isNext;
  }

  #isSame(entry: SimEntry): boolean {
    if (this.#last !== undefined) return this.#last === entry;
    return this.#mark === undefined || this.#mark === markOf(entry);
  }

  #deliver(session: number, entry: SimEntry, isNext: boolean, pending: number): void {
    if (session !== this.#session || this.#isOver) return;
    if (this.isHole(isNext)) {
      this.#stats.readersRestarted++;
      this.begin();
      return;
    }
    this.position = entry.position;
    this.#last = entry;
    this.pending = pending;
    this.#stats.delivered++;
    if (entry.kind === 'command') this.#network.unsettled = true;
    const { timeMs, timeNs, kind } = entry;
    try {
      this.#handlers.onEntry({ position: entry.position, timeMs, timeNs, kind, data: scratchCopy(entry.data) });
    } catch (error) {
      this.#stats.handlerErrors++;
      this.#network.onHandlerError(error);
    }
  }

  #fail(session: number, reason: BrokenReason): void {
    if (session !== this.#session || this.#isOver) return;
    this.stop();
    this.#network.unsettled = true;
    try {
      this.#handlers.onBroken(reason);
    } catch (error) {
      this.#stats.handlerErrors++;
      this.#network.onHandlerError(error);
    }
  }

  #again(session: number, afterMs: number): void {
    this.#network.clock.setTimer(afterMs, () =>
      this.#bus.process.enter(() => {
        if (session !== this.#session || this.#isOver) return;
        this.#stats.readersRestarted++;
        this.begin();
      }),
    );
  }

  #leave(): void {
    if (this.#consumer === undefined) return;
    this.#log.detach(this.#consumer);
    this.#consumer = undefined;
  }
}

let scratch = new Uint8Array(65_536);

/** A copy that the next delivery writes over, at an odd address. */
function scratchCopy(data: Uint8Array): Uint8Array {
  if (data.length >= scratch.length) scratch = new Uint8Array(2 * data.length);
  scratch.set(data, 1);
  return scratch.subarray(1, 1 + data.length);
}

interface ConsumerHandlers {
  /**
   * In the process. `isNext`: none that was trimmed has been passed over before it, which shows in the numbers that a real log counts its
   * deliveries by. `pending`: entries that the log had behind this one when it was sent.
   */
  onArrival(entry: SimEntry, isNext: boolean, pending: number): void;
  onGone(): void;
}

class SimConsumer implements Consumer {
  readonly #log: SimLog;
  readonly #network: SimNetwork;
  readonly #bus: SimBus;
  readonly #handlers: ConsumerHandlers;
  readonly #line: number;
  readonly #kinds: readonly EntryKind[] | undefined;
  #next: number;
  /** Something that was trimmed has been passed over since the last one it sent. */
  #hasPassed = false;
  #underWay = 0;
  #arrivesMs = 0;
  #goneAtMs = Number.POSITIVE_INFINITY;

  constructor(
    log: SimLog,
    network: SimNetwork,
    bus: SimBus,
    next: number,
    kinds: readonly EntryKind[] | undefined,
    handlers: ConsumerHandlers,
  ) {
    this.#kinds = kinds;
    this.#log = log;
    this.#network = network;
    this.#bus = bus;
    this.#next = next;
    this.#handlers = handlers;
    this.#line = bus.line;
  }

  /** Entries that wait for it in the log. */
  get pending(): number {
    const { entries, last, first } = this.#log;
    const next = Math.max(this.#next, first);
    if (this.#kinds === undefined) return last + 1 - next;
    let count = 0;
    for (let position = next; position <= last; position++) if (this.#wants(entries[position - 1])) count++;
    return count;
  }

  #wants({ kind }: SimEntry): boolean {
    return this.#kinds === undefined || this.#kinds.includes(kind);
  }

  get #isGone(): boolean {
    return this.#goneAtMs !== Number.POSITIVE_INFINITY;
  }

  /** How long the log has known nothing of it; 0 while it does. */
  get goneMs(): number {
    return Math.max(0, this.#network.clock.monotonicMs() - this.#goneAtMs);
  }

  pump(): void {
    const log = this.#log;
    if (this.#isGone || !log.hasLeader) return;
    log.trim();
    while (this.#underWay < window && this.#next <= log.last) {
      // What has been trimmed is passed over without a word.
      const isNext = this.#next >= log.first;
      const entry = log.entries[Math.max(this.#next, log.first) - 1];
      if (entry === undefined) return;
      this.#next = entry.position + 1;
      if (!this.#wants(entry)) {
        this.#hasPassed ||= !isNext;
        continue;
      }
      if (log.unreachableMs(this.#bus.node) > 0) {
        // What is sent into a partition is lost, and the consumer with it.
        this.forgotten();
        this.#log.detach(this);
        return;
      }
      this.#send(entry, isNext && !this.#hasPassed, this.pending);
      this.#hasPassed = false;
    }
  }

  forgotten(): void {
    if (this.#isGone) return;
    this.#goneAtMs = this.#network.clock.monotonicMs();
    this.#handlers.onGone();
  }

  #send(entry: SimEntry, isNext: boolean, pending: number): void {
    const { clock, faults } = this.#network;
    const { process } = this.#bus;
    const nowMs = clock.monotonicMs();
    const delayMs = this.#network.delayMs(this.#bus) + faults.readDelayMs(process);
    this.#arrivesMs = Math.max(this.#arrivesMs, nowMs + delayMs);
    this.#underWay++;
    clock.setTimer(this.#arrivesMs - nowMs, () => {
      if (this.#bus.line !== this.#line) return;
      process.enter(() => {
        this.#underWay--;
        this.#handlers.onArrival(entry, isNext, pending);
        if (this.#underWay === window - 1) this.pump();
      });
    });
  }
}
