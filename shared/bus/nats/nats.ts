// The bus over NATS: a subject is a multicast domain, the NATS server is the switch. The only file that calls the client
// library; the key-value store (keyValue.ts) and the log of a group (shared/log/jetstream/) speak JetStream's own JSON over the
// connection made here.
//
// What the library leaves to its user, and this file does:
//   - a callback that throws silently kills the connection's reader, so every callback is guarded;
//   - what is published while the connection is down vanishes and still counts as sent, so publish() refuses it and
//     counts it as lost; what was under way when it went down is counted as unconfirmed;
//   - there is no backpressure: flushWindow.ts bounds what the server has not read;
//   - a server that stopped answering is noticed after minutes by default; here after a few seconds;
//   - the first connection is tried again for a while, and then fails with one line that says what to do.
//
// The library keeps a payload by reference until the end of the tick and hands out views of socket chunks: the rules of
// the port (give the buffer away; copy what you keep) are what that needs.

import { randomInt } from 'node:crypto';
import { connect, createInbox, headers, type Msg, type NatsConnection } from 'nats';
import { type Clock, systemClock } from '../../base/clock.ts';
import { errorCodes, FlowherdError, isFlowherdError, reasonOf } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import type { LogConnection } from '../../log/jetstream/connection.ts';
import { assertServerVersion, JetStreamLog } from '../../log/jetstream/log.ts';
import type { GroupLog, LogSettings } from '../../log/log.ts';
import type { Bus, BusStats, BusStatus, KeyValue, MessageHandler, Subscription } from '../bus.ts';
import { FlushWindow } from '../flushWindow.ts';
import { assertBucket, assertPattern, isPattern } from '../subjectMatch.ts';
import { asBusError, causeInWords, finalError, serversOf } from './errors.ts';
import { type JetStreamWire, NatsKeyValue, type WireMessage } from './keyValue.ts';
import { clientOptions, type NatsOptions } from './options.ts';
import { NatsSockets } from './sockets.ts';

export type { NatsOptions } from './options.ts';

export interface FirstConnection {
  /** Give up after this long. Default 10,000. */
  timeoutMs?: number;
  /** Give up after this many tries, if that is earlier. Default: no limit but the time. */
  attempts?: number;
  /** Told before each pause, for the log. */
  onRetry?: (retry: { attempt: number; reason: string; waitMs: number }) => void;
}

/**
 * Connects, trying again with growing jittered pauses while no server answers. Rejects with `bus-unreachable` when the
 * time is over, and at once with `bus-refused` (login, certificate) or `bad-config` (address). Once connected, reconnects
 * for ever.
 */
export async function connectNats(options: NatsOptions, first: FirstConnection = {}): Promise<Bus> {
  const clock = options.clock ?? systemClock;
  const servers = serversOf(options.url);
  const startMs = clock.monotonicMs();
  const timeoutMs = first.timeoutMs ?? 10_000;
  for (let attempt = 1; ; attempt++) {
    try {
      return new NatsBus(await connect(clientOptions(options, servers, timeoutMs)), options);
    } catch (error) {
      if (isFlowherdError(error)) throw error;
      const where = servers.join(', ');
      const final = finalError(error, where);
      if (final !== undefined) throw final;
      const spentMs = clock.monotonicMs() - startMs;
      const waitMs = Math.min(100 * 2 ** (attempt - 1), 2_000) + randomInt(100);
      if (attempt >= (first.attempts ?? Number.POSITIVE_INFINITY) || spentMs + waitMs > timeoutMs) {
        const tried = `${attempt} ${attempt === 1 ? 'try' : 'tries'} in ${(spentMs / 1000).toFixed(1)} s`;
        const text = `no NATS server at ${where} (${causeInWords(error)}, ${tried}): start one with "nats-server -js", or give its address`;
        throw new FlowherdError(errorCodes.busUnreachable, text, error);
      }
      first.onRetry?.({ attempt, reason: causeInWords(error), waitMs });
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve));
    }
  }
}

class NatsBus implements Bus {
  readonly kind = 'nats';
  readonly maxMessageBytes: number;
  readonly stats: BusStats = {
    publishedMessages: 0,
    publishedBytes: 0,
    lostMessages: 0,
    lostBytes: 0,
    unconfirmedMessages: 0,
    unconfirmedBytes: 0,
    deliveredMessages: 0,
    handlerErrors: 0,
    reconnects: 0,
  };
  readonly #connection: NatsConnection;
  readonly #options: NatsOptions;
  readonly #clock: Clock;
  readonly #window: FlushWindow;
  readonly #wire: JetStreamWire;
  readonly #statusHandlers: ((status: BusStatus) => void)[] = [];
  readonly #stores = new Set<NatsKeyValue>();
  readonly #logs = new Set<JetStreamLog>();
  /** Rejects what waits for an answer that a broken connection cannot bring. */
  readonly #answers = new Set<(error: FlowherdError) => void>();
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #connected = true;
  #closing: Promise<void> | undefined;
  #ended = false;

  constructor(connection: NatsConnection, options: NatsOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.maxMessageBytes = connection.info?.max_payload ?? 1_048_576;
    this.#window = new FlushWindow({
      clock: this.#clock,
      windowBytes: options.windowBytes ?? limits.busWindowBytes,
      flush: () => connection.flush(),
      onRoom: () => this.#wake(),
    });
    this.#wire = {
      clock: this.#clock,
      maxValueBytes: this.maxMessageBytes - 1_024,
      mayCreate: options.createBuckets ?? true,
      storage: options.storage ?? 'file',
      replicas: options.replicas ?? 1,
      request: (subject, payload, header) => this.#request(subject, payload, header),
      inbox: (handler) => this.#inbox(handler),
      report: (status) => this.#report(status),
      handlerFailed: (subject, error) => this.#handlerFailed(subject, error),
    };
    void this.#followStatus();
    void connection
      .closed()
      .then((error) => this.#end(error instanceof Error ? reasonOf(error) : 'closed by its owner'));
  }

  get writable(): boolean {
    return this.#connected && this.#closing === undefined && !this.#window.full;
  }

  whenWritable(): Promise<void> {
    if (this.#isClosed) return Promise.reject(this.#closedError());
    if (this.writable) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  publish(subject: string, data: Uint8Array): boolean {
    if (data.length > this.maxMessageBytes) {
      const text = `a message of ${data.length} bytes on ${subject} is above the bus's limit of ${this.maxMessageBytes}`;
      throw new FlowherdError(errorCodes.messageTooBig, text);
    }
    if (!this.#connected || this.#isClosed) {
      this.stats.lostMessages++;
      this.stats.lostBytes += data.length;
      return false;
    }
    this.#connection.publish(subject, data);
    this.stats.publishedMessages++;
    this.stats.publishedBytes += data.length;
    this.#window.sent(data.length);
    return true;
  }

  subscribe(subject: string, handler: MessageHandler): Subscription {
    if (this.#isClosed) throw this.#closedError();
    assertPattern(subject);
    // Decoding the subject of every message is only needed where it can vary.
    const fixed = isPattern(subject) ? undefined : subject;
    const callback = (error: Error | null, message: Msg): void => {
      // An error means that the subject is not permitted, which the status says.
      if (error !== null || this.#closing !== undefined) return;
      this.stats.deliveredMessages++;
      try {
        handler(message.data, fixed ?? message.subject);
      } catch (failure) {
        this.#handlerFailed(subject, failure);
      }
    };
    const subscription = this.#connection.subscribe(subject, { callback });
    return { subject, unsubscribe: () => void (subscription.isClosed() || subscription.unsubscribe()) };
  }

  flush(): Promise<void> {
    if (this.#isClosed) return Promise.reject(this.#closedError());
    if (!this.#connected) return Promise.reject(this.#disconnectedError());
    return this.#window.flush().catch((error) => Promise.reject(asBusError(error, 'flush')));
  }

  async openKeyValue(bucket: string): Promise<KeyValue> {
    assertBucket(bucket);
    const store = new NatsKeyValue(this.#wire, bucket);
    await store.open();
    this.#stores.add(store);
    return store;
  }

  async openLog(cluster: string, group: string, settings?: LogSettings): Promise<GroupLog> {
    if (this.#isClosed) throw this.#closedError();
    assertServerVersion(this.#connection.info?.version);
    const log = new JetStreamLog(this.#logConnection(), cluster, group, settings);
    this.#logs.add(log);
    try {
      if (settings !== undefined) await log.make();
    } catch (error) {
      // A login that may not make it finds out by using it; one that may has to come first.
      if (isFlowherdError(error, errorCodes.busRefused)) return log;
      this.#logs.delete(log);
      log.close();
      throw error;
    }
    return log;
  }

  onStatus(handler: (status: BusStatus) => void): void {
    this.#statusHandlers.push(handler);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get #isClosed(): boolean {
    return this.#closing !== undefined || this.#connection.isClosed();
  }

  async #close(): Promise<void> {
    for (const store of this.#stores) store.close();
    for (const log of this.#logs) log.stopReading();
    if (this.#connected && !this.#connection.isClosed()) {
      let timer: { cancel(): void } | undefined;
      const enough = new Promise<void>((resolve) => (timer = this.#clock.setTimer(1_000, resolve)));
      await Promise.race([this.#connection.flush().catch(() => undefined), enough]);
      timer?.cancel();
    }
    await this.#connection.close();
    this.#end('closed by its owner');
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#connected = false;
    this.#window.stop();
    for (const store of this.#stores) store.close();
    for (const log of this.#logs) log.close();
    for (const one of this.#waiting.splice(0)) one.reject(this.#closedError());
    this.#failAnswers(this.#closedError());
    this.#report({ kind: 'closed', reason });
  }

  async #followStatus(): Promise<void> {
    const sockets = new NatsSockets(this.#connection);
    for await (const status of this.#connection.status()) {
      if (status.type === 'staleConnection') sockets.abandon();
      else if (status.type === 'reconnecting' || status.type === 'reconnect') sockets.forget();
      if (status.type === 'disconnect') this.#disconnected(String(status.data));
      else if (status.type === 'reconnect') this.#reconnected();
      else if (status.type === 'error' && status.permissionContext !== undefined) {
        const { operation, subject } = status.permissionContext;
        if (operation === 'publish') for (const log of this.#logs) log.denied(subject);
        this.#report({ kind: 'denied', reason: `the server does not permit ${operation} on ${subject}` });
      }
    }
  }

  #disconnected(server: string): void {
    if (!this.#connected) return;
    this.#connected = false;
    const { messages, bytes } = this.#window.broke();
    this.stats.unconfirmedMessages += messages;
    this.stats.unconfirmedBytes += bytes;
    this.#failAnswers(this.#disconnectedError());
    for (const log of this.#logs) log.disconnected();
    this.#report({ kind: 'disconnected', reason: `lost the connection to ${server}` });
  }

  #reconnected(): void {
    if (this.#ended) return;
    this.#connected = true;
    this.stats.reconnects++;
    this.#report({ kind: 'reconnected' });
    for (const store of this.#stores) store.reconnected();
    for (const log of this.#logs) log.reconnected();
    this.#wake();
  }

  #wake(): void {
    if (this.writable) for (const one of this.#waiting.splice(0)) one.resolve();
  }

  async #request(subject: string, payload: Uint8Array, header?: readonly [string, string]): Promise<Uint8Array> {
    if (this.#isClosed) throw this.#closedError();
    if (!this.#connected) throw this.#disconnectedError();
    const timeout = this.#options.requestTimeoutMs ?? 2_000;
    const fields = header === undefined ? undefined : headers();
    if (header !== undefined) fields?.set(header[0], header[1]);
    let fail: (error: FlowherdError) => void = () => undefined;
    const broken = new Promise<never>((_, reject) => (fail = reject));
    this.#answers.add(fail);
    try {
      const request = this.#connection.request(subject, payload, {
        timeout,
        ...(fields === undefined ? {} : { headers: fields }),
      });
      return (await Promise.race([request, broken])).data;
    } catch (error) {
      throw asBusError(error, subject);
    } finally {
      this.#answers.delete(fail);
    }
  }

  #inbox(handler: (message: WireMessage) => void): { subject: string; close(): void } {
    const subject = createInbox(this.#options.inboxPrefix);
    const callback = (error: Error | null, message: Msg): void => {
      if (error !== null) return;
      try {
        const status = message.headers?.code ?? 0;
        const header = (name: string): string => message.headers?.get(name) ?? '';
        handler({ subject: message.subject, reply: message.reply ?? '', data: message.data, status, header });
      } catch (failure) {
        this.#handlerFailed(subject, failure);
      }
    };
    const subscription = this.#connection.subscribe(subject, { callback });
    return { subject, close: () => void (subscription.isClosed() || subscription.unsubscribe()) };
  }

  #logConnection(): LogConnection {
    const bus = this;
    const { storage, replicas } = this.#wire;
    return {
      clock: this.#clock,
      get isConnected() {
        return bus.#connected && !bus.#isClosed;
      },
      get isClosed() {
        return bus.#isClosed;
      },
      maxMessageBytes: this.maxMessageBytes,
      storage,
      replicas,
      send: (subject, data, reply) => {
        if (this.#connection.isClosed()) return;
        this.#connection.publish(subject, data, reply === undefined ? undefined : { reply });
      },
      request: (subject, payload) => this.#request(subject, payload),
      newInbox: () => createInbox(this.#options.inboxPrefix),
      listen: (subject, handler) => {
        const callback = (error: Error | null, message: Msg): void => {
          if (error === null) handler(message);
        };
        const subscription = this.#connection.subscribe(subject, { callback });
        return { close: () => void (subscription.isClosed() || subscription.unsubscribe()) };
      },
      handlerFailed: (subject, error) => this.#handlerFailed(subject, error),
    };
  }

  #failAnswers(error: FlowherdError): void {
    for (const fail of this.#answers) fail(error);
    this.#answers.clear();
  }

  #handlerFailed(subject: string, error: unknown): void {
    this.stats.handlerErrors++;
    this.#report({ kind: 'handlerFailed', subject, error });
  }

  #report(status: BusStatus): void {
    for (const handler of this.#statusHandlers) {
      try {
        handler(status);
      } catch {
        // Whoever listens to the bus must not be able to break it, and there is nobody left to tell.
        this.stats.handlerErrors++;
      }
    }
  }

  #disconnectedError(): FlowherdError {
    const text = `the connection to ${this.#options.url} is down; it is being re-established`;
    return new FlowherdError(errorCodes.busDisconnected, text);
  }

  #closedError(): FlowherdError {
    return new FlowherdError(errorCodes.busClosed, `the connection to ${this.#options.url} is closed`);
  }
}
