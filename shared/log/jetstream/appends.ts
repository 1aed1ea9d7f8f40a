// What was appended over one connection and has no answer yet. Each append has a token, the last part of the subject to which the
// server answers; every one comes to exactly one outcome:
//
//   answer with a position              stored
//   503 (nobody keeps the stream), or an error in JSON, or "permissions violation"     refused: it is not in the log
//   no answer for two seconds, or the connection broke      unknown
//
// The server may be slow because this process was: when the timer itself is late, answers that lie in the socket are read first.

import type { Msg } from 'nats';
import type { Timer } from '../../base/clock.ts';
import { reasonOf } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import type { AppendOutcome } from '../log.ts';
import type { LogConnection } from './connection.ts';
import { errorReason, storedPosition, tokenOf } from './wire.ts';

interface Pending {
  readonly subject: string;
  readonly bytes: number;
  readonly sentMs: number;
  readonly onOutcome: (outcome: AppendOutcome) => void;
}

/** How late a timer may be before this process counts as the slow one, and how much longer it waits then. */
const stallMs = 250;

export class Appends {
  readonly #connection: LogConnection;
  /** Oldest first. */
  readonly #pending = new Map<number, Pending>();
  readonly #prefix: string;
  readonly #subscription: { close(): void };
  #tokens = 0;
  #bytes = 0;
  #timer: Timer | undefined;

  constructor(connection: LogConnection) {
    this.#connection = connection;
    this.#prefix = `${connection.newInbox()}.`;
    this.#subscription = connection.listen(`${this.#prefix}*`, (message) => this.#onAnswer(message));
  }

  /** Bytes without an answer. */
  get bytes(): number {
    return this.#bytes;
  }

  /** `onOutcome` must not throw. */
  send(subject: string, data: Uint8Array, onOutcome: (outcome: AppendOutcome) => void): void {
    const token = ++this.#tokens;
    this.#pending.set(token, {
      subject,
      bytes: data.length,
      sentMs: this.#connection.clock.monotonicMs(),
      onOutcome,
    });
    this.#bytes += data.length;
    try {
      this.#connection.send(subject, data, this.#prefix + token);
    } catch (error) {
      // A server to which the connection went over may take less in one message.
      this.#connection.clock.defer(() => this.#end(token, { kind: 'refused', reason: reasonOf(error) }));
    }
    if (this.#timer === undefined) this.#watch(limits.appendAnswerMs);
  }

  /** The connection broke, or was closed: nobody will say what became of them. */
  abandon(reason: string): void {
    for (const token of [...this.#pending.keys()]) this.#end(token, { kind: 'unknown', reason });
  }

  /** The server has thrown away what was sent on that subject. */
  denied(subject: string): void {
    for (const [token, pending] of [...this.#pending]) {
      if (pending.subject === subject)
        this.#end(token, { kind: 'refused', reason: `this login may not publish on ${subject}` });
    }
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#subscription.close();
  }

  #onAnswer(message: Msg): void {
    const token = tokenOf(message.subject, this.#prefix.length);
    if (!this.#pending.has(token)) return;
    const { data } = message;
    const position = storedPosition(data);
    if (position > 0) this.#end(token, { kind: 'stored', position });
    else if (message.headers?.code === 503) this.#end(token, { kind: 'refused', reason: 'nobody keeps the log (503)' });
    else {
      const reason = errorReason(data);
      if (reason !== '') this.#end(token, { kind: 'refused', reason });
      else this.#end(token, { kind: 'unknown', reason: 'an answer that is none' });
    }
  }

  #end(token: number, outcome: AppendOutcome): void {
    const pending = this.#pending.get(token);
    if (pending === undefined) return;
    this.#pending.delete(token);
    this.#bytes -= pending.bytes;
    pending.onOutcome(outcome);
  }

  #watch(delayMs: number): void {
    const { clock } = this.#connection;
    const dueMs = clock.monotonicMs() + delayMs;
    this.#timer?.cancel();
    this.#timer = clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      const nowMs = clock.monotonicMs();
      if (nowMs - dueMs > stallMs) {
        this.#watch(stallMs);
        return;
      }
      for (const [token, { sentMs }] of this.#pending) {
        if (nowMs - sentMs < limits.appendAnswerMs) {
          this.#watch(Math.max(1, sentMs + limits.appendAnswerMs - nowMs));
          return;
        }
        this.#end(token, { kind: 'unknown', reason: `no answer in ${limits.appendAnswerMs} ms` });
      }
    });
    this.#timer.unref();
  }
}
