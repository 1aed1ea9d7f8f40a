// Watching keys over JetStream: an ephemeral consumer pushes the present entries and then every change to an inbox.
//
// A consumer can be lost (its server restarts, the line breaks, a message is dropped on a slow line), and nobody says so.
// Therefore messages are numbered by the consumer, heartbeats tell the last number, and whatever does not fit -- a gap, a
// heartbeat that is ahead, silence -- has the same answer: make a new consumer that begins after the last revision
// handed over. If the store is no longer the one that revision came from (it was emptied), begin from nothing.

import type { Clock, Timer } from '../../base/clock.ts';
import { errorCodes, FlowherdError, isFlowherdError } from '../../base/errors.ts';
import type { KeyValueEntry } from '../bus.ts';
import { isDeletion, type StreamState, type WireMessage } from './keyValue.ts';

export interface NatsWatchOptions {
  clock: Clock;
  stream: string;
  /** Comes before the key in a subject: `$KV.<bucket>.`. */
  prefix: string;
  /** The keys to watch. */
  pattern: string;
  /** The store's present state; creates the bucket where that is allowed. */
  open: () => Promise<StreamState>;
  /** Resolves to how many messages it has to deliver to begin with. */
  createConsumer: (config: object) => Promise<number>;
  inbox: (handler: (message: WireMessage) => void) => { subject: string; close(): void };
  onEntry: (entry: KeyValueEntry) => void;
}

const heartbeatMs = 1_000;
/** Silence after which the consumer counts as lost: more than two heartbeats. */
const silenceMs = 2_500;
const retryMs = 500;
/** Longest wait for the present entries. */
const startMs = 10_000;
/** The server forgets a consumer that nobody listens to after this long. */
const inactiveMs = 10_000;
const nanosecondsPerMs = 1_000_000;

export class NatsWatch {
  readonly #options: NatsWatchOptions;
  #inbox: { subject: string; close(): void } | undefined;
  /** Counts the consumers; what an earlier one still delivers is not wanted. */
  #generation = 0;
  #created = '';
  #lastRevision = 0;
  #received = 0;
  #heardAtMs = 0;
  #timer: Timer | undefined;
  #stopped = false;
  /** The first consumer's messages still to come before start() resolves; undefined once it has. */
  #initial: { expected: number; done: () => void } | undefined;
  #onStop: (error: FlowherdError) => void = () => undefined;

  constructor(options: NatsWatchOptions) {
    this.#options = options;
  }

  /** Resolves when the present entries were handed over. Rejects when the first consumer cannot be made. */
  async start(): Promise<void> {
    const stopped = new Promise<never>((_, reject) => (this.#onStop = reject));
    const handedOver = new Promise<void>((resolve) => {
      this.#initial = { expected: Number.POSITIVE_INFINITY, done: resolve };
    });
    // Whoever loses the race must not count as a rejection that nobody handles.
    stopped.catch(() => undefined);
    const deadline = this.#options.clock.setTimer(startMs, () => {
      this.#onStop(
        new FlowherdError(errorCodes.busTimeout, `${this.#options.stream} did not hand over its present entries`),
      );
    });
    try {
      await Promise.race([this.#attach(), stopped]);
      await Promise.race([handedOver, stopped]);
    } finally {
      deadline.cancel();
    }
  }

  /** Makes a new consumer now; where that fails, again and again. */
  restart(): void {
    if (!this.#stopped) void this.#reattach();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#generation++;
    this.#timer?.cancel();
    this.#inbox?.close();
    this.#onStop(new FlowherdError(errorCodes.busClosed, 'the watch was stopped before it had begun'));
  }

  async #reattach(): Promise<void> {
    try {
      await this.#attach();
    } catch (error) {
      if (this.#stopped || isFlowherdError(error, errorCodes.busClosed)) return;
      this.#later(retryMs, () => this.restart());
    }
  }

  async #attach(): Promise<void> {
    const generation = ++this.#generation;
    this.#timer?.cancel();
    this.#inbox?.close();
    this.#inbox = undefined;
    const { created, lastRevision } = await this.#options.open();
    if (generation !== this.#generation) return;
    if (created !== this.#created || lastRevision < this.#lastRevision) this.#lastRevision = 0;
    this.#created = created;
    this.#received = 0;
    if (this.#initial !== undefined) this.#initial.expected = Number.POSITIVE_INFINITY;
    const inbox = this.#options.inbox((message) => {
      if (generation === this.#generation) this.#onMessage(message);
    });
    this.#inbox = inbox;
    this.#hear();
    const expected = await this.#options.createConsumer(this.#consumerConfig(inbox.subject));
    if (generation !== this.#generation) return;
    if (this.#initial !== undefined) this.#initial.expected = expected;
    this.#checkInitial();
    this.#watchSilence();
  }

  #onMessage(message: WireMessage): void {
    this.#hear();
    if (message.status !== 0) {
      const ahead = Number(message.header('Nats-Last-Consumer')) > this.#received;
      if (message.status !== 100 || ahead) this.restart();
      return;
    }
    const sequences = sequencesOf(message.reply);
    if (sequences === undefined) return;
    if (sequences.consumer !== this.#received + 1) {
      this.restart();
      return;
    }
    this.#received++;
    if (sequences.stream > this.#lastRevision) {
      this.#lastRevision = sequences.stream;
      if (!isDeletion(`KV-Operation: ${message.header('KV-Operation')}`)) {
        const key = message.subject.slice(this.#options.prefix.length);
        this.#options.onEntry({ key, value: new Uint8Array(message.data), revision: sequences.stream });
      }
    }
    this.#checkInitial();
  }

  #checkInitial(): void {
    if (this.#initial === undefined || this.#received < this.#initial.expected) return;
    this.#initial.done();
    this.#initial = undefined;
  }

  #hear(): void {
    this.#heardAtMs = this.#options.clock.monotonicMs();
  }

  #watchSilence(): void {
    this.#later(heartbeatMs, () => {
      if (this.#options.clock.monotonicMs() - this.#heardAtMs >= silenceMs) this.restart();
      else this.#watchSilence();
    });
  }

  #later(delayMs: number, fn: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.setTimer(delayMs, fn);
  }

  #consumerConfig(inbox: string): object {
    return {
      deliver_subject: inbox,
      filter_subject: `${this.#options.prefix}${this.#options.pattern}`,
      ...(this.#lastRevision === 0
        ? { deliver_policy: 'last_per_subject' }
        : { deliver_policy: 'by_start_sequence', opt_start_seq: this.#lastRevision + 1 }),
      ack_policy: 'none',
      max_deliver: 1,
      replay_policy: 'instant',
      mem_storage: true,
      num_replicas: 1,
      idle_heartbeat: heartbeatMs * nanosecondsPerMs,
      inactive_threshold: inactiveMs * nanosecondsPerMs,
    };
  }
}

/**
 * The stream's and the consumer's number of a message, from where an acknowledgement would go:
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, where newer servers may put a
 * domain and an account before the stream and more at the end (NATS ADR-15).
 */
function sequencesOf(reply: string): { stream: number; consumer: number } | undefined {
  const tokens = reply.split('.');
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK' || tokens.length < 9) return undefined;
  const first = tokens.length === 9 ? 5 : 7;
  const stream = Number(tokens[first]);
  const consumer = Number(tokens[first + 1]);
  return Number.isSafeInteger(stream) && Number.isSafeInteger(consumer) ? { stream, consumer } : undefined;
}
