// One reader of a stream: an ephemeral consumer pushes entries to an inbox, and this sees to it that none is skipped or repeated,
// because JetStream skips silently in several ways:
//
//   what happens                                     how it shows                                    what is done
//   messages lost on the way                         the consumer's sequence has a gap, or a         begin anew behind the
//                                                    heartbeat is ahead of it                        last entry
//   what comes next has been trimmed, or what came   the position has a gap, where all kinds are     look at the bounds: trimmed
//   last and something has come behind it            read
//   connection broke; consumer or server gone        told; or three heartbeats are missing           begin anew
//   the log is shorter than where one stands         silence: a consumer waits beyond the end        look at the bounds
//   the log was made anew, or lost its last entries  identity is another, or the entry at one's     other, shorter
//   and has others there now                         position has another mark
//
// Beginning anew is always the same: look at the bounds, compare the last entry delivered (log matching), make a new consumer behind it.
// While that fails -- no connection, no leader, no stream -- it is tried again. An election of 4 to 9 s is no more than that.

import type { Msg, MsgHdrs } from 'nats';
import type { Timer } from '../../base/clock.ts';
import { errorCodes, isFlowherdError } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import type { BrokenReason, EntryKind, EntryMark, LogReader, LogStats, ReadHandlers, ReadOptions } from '../log.ts';
import { markOf } from '../mark.ts';
import type { LogConnection } from './connection.ts';
import { kindOf, type LogStream } from './stream.ts';
import { ReplyReader } from './wire.ts';

/** Silence after which the consumer counts as gone: three heartbeats. */
const silenceMs = 3 * limits.logHeartbeatMs + 100;
/** How late a timer may be before this process counts as the one that stood still. */
const stallMs = 250;
const retryMs = 250;
const retryMaxMs = 1_000;
const nothing = new Uint8Array(0);

/** `wait`: cannot be told yet, ask again. */
type Finding = BrokenReason | 'wait' | undefined;

export class JetStreamReader implements LogReader {
  readonly #connection: LogConnection;
  readonly #stream: LogStream;
  readonly #handlers: ReadHandlers;
  readonly #stats: LogStats;
  #reply = new ReplyReader();
  #inbox: { close(): void } | undefined;
  /** Counts beginnings; what an earlier one still brings is not wanted. */
  #generation = 0;
  readonly #kinds: readonly EntryKind[] | undefined;
  #position: number;
  /** The last entry delivered, or what the caller expects. */
  #mark: EntryMark | undefined;
  #identity = '';
  #pending = 0;
  /** Entries of this consumer. */
  #sequence = 0;
  #heardMs = 0;
  #entryMs = 0;
  #isReading = false;
  #isStopped = false;
  #timer: Timer | undefined;
  #retryMs = retryMs;
  /** Beginnings in a row that brought an entry behind a gap. */
  #gaps = 0;
  /** When the log was first found to end before the position; a new leader may not know all of it at once. */
  #shortSinceMs = -1;

  constructor(
    connection: LogConnection,
    stream: LogStream,
    stats: LogStats,
    { after, expect, kinds }: ReadOptions,
    handlers: ReadHandlers,
  ) {
    this.#connection = connection;
    this.#stream = stream;
    this.#stats = stats;
    this.#position = after;
    this.#mark = expect;
    this.#kinds = kinds;
    this.#handlers = handlers;
    this.#begin();
  }

  get position(): number {
    return this.#position;
  }

  get pending(): number {
    return this.#pending;
  }

  get isLive(): boolean {
    const silentMs = this.#connection.clock.monotonicMs() - this.#heardMs;
    return this.#isReading && this.#connection.isConnected && silentMs < 2.5 * limits.logHeartbeatMs;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  stop(): void {
    this.#isStopped = true;
    this.#end();
  }

  disconnected(): void {
    if (!this.#isStopped) this.#end();
  }

  reconnected(): void {
    if (!this.#isStopped) this.#restart();
  }

  #end(): void {
    this.#generation++;
    this.#isReading = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#inbox?.close();
    this.#inbox = undefined;
  }

  #restart(): void {
    this.#stats.readersRestarted++;
    this.#begin();
  }

  #begin(): void {
    this.#end();
    const generation = this.#generation;
    this.#attach(generation).catch((error: unknown) => {
      if (generation !== this.#generation || isFlowherdError(error, errorCodes.busClosed)) return;
      this.#retry();
    });
  }

  #retry(): void {
    this.#end();
    this.#later(this.#retryMs, () => this.#begin());
    this.#retryMs = Math.min(2 * this.#retryMs, retryMaxMs);
  }

  async #attach(generation: number): Promise<void> {
    const finding = await this.#inspect();
    if (generation !== this.#generation) return;
    if (finding === 'wait') this.#retry();
    else if (finding !== undefined) this.#break(finding);
    if (finding !== undefined) return;
    this.#sequence = 0;
    this.#reply = new ReplyReader();
    this.#hear();
    this.#entryMs = this.#heardMs;
    const subject = this.#connection.newInbox();
    this.#inbox = this.#connection.listen(subject, (message) => {
      if (generation === this.#generation) this.#onMessage(message);
    });
    const pending = await this.#stream.consume(subject, this.#position, limits.logHeartbeatMs, this.#kinds);
    if (generation !== this.#generation) return;
    if (pending === undefined) {
      this.#retry();
      return;
    }
    if (this.#sequence === 0) this.#pending = pending;
    this.#isReading = true;
    this.#retryMs = retryMs;
    this.#watch(generation);
  }

  /** What keeps it from going on behind its position. */
  async #inspect(): Promise<Finding> {
    const bounds = await this.#stream.bounds();
    if (bounds === undefined) return 'wait';
    const { identity, first, last, replicas } = bounds;
    const position = this.#position;
    const mark = this.#mark;
    const isOther = this.#identity !== '' && this.#identity !== identity && position > 0;
    if (last < Math.max(position, mark?.position ?? 0)) {
      if (isOther || replicas === 1) return 'shorter';
      const nowMs = this.#connection.clock.monotonicMs();
      if (this.#shortSinceMs < 0) this.#shortSinceMs = nowMs;
      return nowMs - this.#shortSinceMs >= retryMaxMs ? 'shorter' : 'wait';
    }
    this.#shortSinceMs = -1;
    if (isOther) return 'other';
    if (position + 1 < first) return 'trimmed';
    if (this.#gaps > 1 && position < last && (await this.#stream.get(position + 1)) === undefined) return 'trimmed';
    if (mark !== undefined && mark.position > 0 && mark.position < first) {
      // It cannot be compared, and something has come behind it: that may belong to another line.
      if (position < last) return 'trimmed';
    } else if (mark !== undefined && mark.position > 0) {
      const entry = await this.#stream.get(mark.position);
      if (entry === undefined) return 'wait';
      if (markOf(entry) !== mark.mark) return 'other';
    }
    this.#identity = identity;
    return undefined;
  }

  #onMessage(message: Msg): void {
    this.#hear();
    const { headers } = message;
    if (headers !== undefined && headers.code !== 0) {
      this.#onStatus(message, headers);
      return;
    }
    const reply = this.#reply;
    // Not from the consumer.
    if (message.reply === undefined || !reply.read(message.reply)) return;
    if (reply.sequence !== this.#sequence + 1) {
      this.#restart();
      return;
    }
    if (this.#kinds === undefined && reply.position !== this.#position + 1) {
      if (this.#gaps++ > 1) this.#retry();
      else this.#restart();
      return;
    }
    // The first entries may overtake the answer to the request for them.
    this.#isReading = true;
    this.#gaps = 0;
    this.#sequence++;
    this.#position = reply.position;
    this.#pending = reply.pending;
    this.#entryMs = this.#heardMs;
    this.#deliver(message);
  }

  #deliver(message: Msg): void {
    const { timeMs, timeNs } = this.#reply;
    const position = this.#position;
    const kind = kindOf(message.subject);
    if (kind === undefined) {
      // Somebody else wrote into the log. Every reader passes over it alike.
      this.#mark = undefined;
      this.#failed(new Error(`entry ${position} on ${message.subject} is of no kind that is known`));
      return;
    }
    const entry = { position, timeMs, timeNs, kind, data: message.data };
    this.#mark = { position, mark: markOf(entry) };
    this.#stats.delivered++;
    try {
      this.#handlers.onEntry(entry);
    } catch (error) {
      this.#failed(error);
    }
  }

  #onStatus(message: Msg, headers: MsgHdrs): void {
    if (headers.code !== 100) {
      // The consumer was deleted, or something else that it does not recover from.
      this.#retry();
      return;
    }
    if (message.reply !== undefined && message.reply !== '') {
      this.#connection.send(message.reply, nothing);
      return;
    }
    const stalled = headers.get('Nats-Consumer-Stalled');
    if (stalled !== '') this.#connection.send(stalled, nothing);
    if (Number(headers.get('Nats-Last-Consumer')) > this.#sequence) this.#restart();
  }

  /** Looks after the consumer every heartbeat: is it heard, and does the log still reach to where the reader is? */
  #watch(generation: number): void {
    const { clock } = this.#connection;
    const dueMs = clock.monotonicMs() + limits.logHeartbeatMs;
    this.#later(limits.logHeartbeatMs, () => {
      const nowMs = clock.monotonicMs();
      // This process stood still; what came meanwhile lies in the socket.
      if (nowMs - dueMs > stallMs) this.#hear();
      if (nowMs - this.#heardMs >= silenceMs) {
        this.#restart();
        return;
      }
      if (nowMs - this.#entryMs >= limits.logQuietMs) void this.#look(generation).catch(() => undefined);
      this.#watch(generation);
    });
  }

  /** Nothing has come for a while: is that all there is? */
  async #look(generation: number): Promise<void> {
    const position = this.#position;
    this.#entryMs = this.#connection.clock.monotonicMs();
    const bounds = await this.#stream.bounds();
    if (generation !== this.#generation || position !== this.#position) return;
    const isSame = bounds !== undefined && bounds.identity === this.#identity && bounds.last >= position;
    if (!isSame) this.#restart();
  }

  #break(reason: BrokenReason): void {
    this.stop();
    try {
      this.#handlers.onBroken(reason);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#stats.handlerErrors++;
    this.#connection.handlerFailed(this.#stream.name, error);
  }

  #hear(): void {
    this.#heardMs = this.#connection.clock.monotonicMs();
  }

  #later(delayMs: number, fn: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#connection.clock.setTimer(delayMs, fn);
    this.#timer.unref();
  }
}
