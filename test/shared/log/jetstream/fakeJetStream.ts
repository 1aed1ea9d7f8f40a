// A stream and its consumers in virtual time, with the faults that a real server shows only now and then: messages that get lost on
// the way, consumers that fall silent, leaders that are behind, entries that change under a reader. It speaks as much JetStream as
// the log's reader asks for.

import type { Msg } from 'nats';
import type { VirtualClock } from '../../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../../shared/base/errors.ts';
import type { LogConnection } from '../../../../shared/log/jetstream/connection.ts';

interface Kept {
  readonly position: number;
  readonly text: string;
  readonly subject: string;
}

interface Consumer {
  readonly inbox: string;
  next: number;
  sequence: number;
}

const stampNs = '1764512345678000042';

export class FakeJetStream implements LogConnection {
  readonly clock: VirtualClock;
  isConnected = true;
  isClosed = false;
  readonly maxMessageBytes = 1_048_576;
  readonly storage = 'memory';
  replicas = 1;
  created = '2026-11-30T16:00:00Z';
  exists = true;
  last = 0;
  kept: Kept[] = [];
  /** What STREAM.INFO says instead of `last`, of a leader that is behind. */
  staleLast: number | undefined;
  /** Requests fail, as during an election. */
  hasLeader = true;
  /** Positions that are lost on the way to the reader, once. */
  readonly lost = new Set<number>();
  /** Consumers push nothing, not even heartbeats. */
  isSilent = false;
  /** Where empty messages were sent to. */
  readonly answered: string[] = [];
  readonly failures: string[] = [];
  readonly requests: string[] = [];
  readonly #listeners = new Map<string, (message: Msg) => void>();
  #consumers: Consumer[] = [];
  #inboxes = 0;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  add(text: string, kind = 'frame'): void {
    this.kept.push({ position: ++this.last, text, subject: `fh.c.log.g.${kind}` });
  }

  /** Removes the entries before a position. */
  trim(first: number): void {
    this.kept = this.kept.filter((entry) => entry.position >= first);
  }

  /** Pushes to every consumer what it has not been sent. */
  push(): void {
    if (this.isSilent || !this.isConnected) return;
    for (const consumer of this.#consumers) {
      if (!this.#listeners.has(consumer.inbox)) continue;
      for (const entry of this.kept) {
        if (entry.position < consumer.next) continue;
        consumer.next = entry.position + 1;
        consumer.sequence++;
        const place = `${entry.position}.${consumer.sequence}.${stampNs}.${this.last - entry.position}`;
        const reply = `$JS.ACK.fh_c_g.x${consumer.inbox}.1.${place}`;
        if (!this.lost.delete(entry.position)) this.#send(consumer.inbox, entry.subject, reply, entry.text);
      }
    }
  }

  heartbeat(headers: Record<string, string> = {}, reply = '', code = 100): void {
    if (this.isSilent || !this.isConnected) return;
    for (const { inbox, sequence } of this.#consumers) {
      const all: Record<string, string> = { 'Nats-Last-Consumer': String(sequence), ...headers };
      this.#send(inbox, inbox, reply, '', { code, get: (name: string) => all[name] ?? '' });
    }
  }

  /** Consumers do not outlive their server. */
  forgetConsumers(): void {
    this.#consumers = [];
  }

  get consumers(): number {
    return this.#consumers.filter(({ inbox }) => this.#listeners.has(inbox)).length;
  }

  send(subject: string): void {
    this.answered.push(subject);
  }

  async request(subject: string, payload: Uint8Array): Promise<Uint8Array> {
    this.requests.push(subject);
    if (!this.isConnected) throw new FlowherdError(errorCodes.busDisconnected, 'down');
    if (!this.hasLeader) throw new FlowherdError(errorCodes.busTimeout, 'no leader');
    const body = payload.length === 0 ? {} : JSON.parse(new TextDecoder().decode(payload));
    return Buffer.from(JSON.stringify(this.#answer(subject, body)));
  }

  newInbox(): string {
    return `_INBOX_${++this.#inboxes}`;
  }

  listen(subject: string, handler: (message: Msg) => void): { close(): void } {
    this.#listeners.set(subject, handler);
    return { close: () => void this.#listeners.delete(subject) };
  }

  handlerFailed(_subject: string, error: unknown): void {
    this.failures.push(error instanceof Error ? error.message : String(error));
  }

  #answer(
    subject: string,
    body: { seq?: number; config?: { deliver_subject: string; opt_start_seq: number } },
  ): object {
    if (!this.exists) return { error: { code: 404, err_code: 10059, description: 'stream not found' } };
    if (subject === '$JS.API.STREAM.INFO.fh_c_g') {
      const state = {
        messages: this.kept.length,
        first_seq: this.kept[0]?.position ?? 0,
        last_seq: this.staleLast ?? this.last,
      };
      return { config: { subjects: ['fh.c.log.g.>'], num_replicas: this.replicas }, created: this.created, state };
    }
    if (subject === '$JS.API.STREAM.MSG.GET.fh_c_g') {
      const entry = this.kept.find(({ position }) => position === body.seq);
      if (entry === undefined) return { error: { code: 404, err_code: 10037, description: 'no message found' } };
      const data = Buffer.from(entry.text).toString('base64');
      return { message: { subject: entry.subject, seq: entry.position, data, time: '2025-11-30T14:19:05.678000042Z' } };
    }
    if (subject === '$JS.API.CONSUMER.CREATE.fh_c_g' && body.config !== undefined) {
      const next = body.config.opt_start_seq;
      this.#consumers.push({ inbox: body.config.deliver_subject, next, sequence: 0 });
      return { num_pending: Math.max(0, this.last + 1 - next) };
    }
    return { error: { code: 400, description: `not expected: ${subject}` } };
  }

  #send(inbox: string, subject: string, reply: string, text: string, headers?: object): void {
    this.#listeners.get(inbox)?.({ subject, reply, data: Buffer.from(text), headers } as unknown as Msg);
  }
}
