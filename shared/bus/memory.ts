// The bus inside one process: the switch fabric of the patent's single network element (Fig. 4), and the default when no
// server is named. It behaves like a network on purpose, so that code cannot come to rely on shared memory:
//
//   - a message is copied when it is published, and delivered later, in order, by the clock's defer();
//   - every subscriber is handed a copy of its own, in a scratch buffer that the next delivery overwrites. One copy that
//     all subscribers share would be cheaper by a few microseconds a frame, but one of them could harm another, which no
//     network lets it do; the scratch buffer costs no allocation, and code that keeps `data` after its callback finds
//     garbage here as it sooner or later would on a socket's buffer;
//   - the copy lies at an odd address, as in the middle of a socket's chunk, so that nobody assumes alignment.
//
// It holds what was published and not yet delivered. A publisher that honours `writable` keeps that bounded.

import { type Clock, systemClock } from '../base/clock.ts';
import { errorCodes, FlowherdError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { GroupLog, LogSettings } from '../log/log.ts';
import { MemoryLog } from '../log/memory.ts';
import { MemoryGroupLog } from '../log/memoryGroupLog.ts';
import type { Bus, BusStats, BusStatus, KeyValue, MessageHandler, Subscription } from './bus.ts';
import { MemoryKeyValue, MemoryStore } from './memoryKeyValue.ts';
import { assertBucket, assertPattern, isPattern, matches } from './subjectMatch.ts';
import { subjectsOf } from './subjects.ts';

export interface MemoryHubOptions {
  /** Decides when "later" is. Default: the system clock. A VirtualClock makes a whole cluster deterministic. */
  clock?: Clock;
  /** Undelivered bytes of one connection at which it stops being writable. Default `limits.busWindowBytes`. */
  windowBytes?: number;
  /** Largest message in bytes. Default 1 MiB, as a NATS server has it. */
  maxMessageBytes?: number;
}

interface Message {
  readonly publisher: MemoryBus;
  readonly subject: string;
  /** Undefined for a flush, which travels in the queue like a message. */
  readonly data: Uint8Array | undefined;
  /** What was subscribed later than this moment does not get it. */
  readonly order: number;
  readonly flushed: (() => void) | undefined;
}

/** One network: every bus connected to the same hub hears the others. */
export class MemoryHub {
  readonly clock: Clock;
  readonly windowBytes: number;
  readonly maxMessageBytes: number;
  readonly #stores = new Map<string, MemoryStore>();
  readonly #logs = new Map<string, MemoryLog>();
  readonly #exact = new Map<string, readonly MemorySubscription[]>();
  #patterns: readonly MemorySubscription[] = [];
  #queue: Message[] = [];
  #spare: Message[] = [];
  #scheduled = false;
  #order = 0;
  #scratch = new Uint8Array(64 * 1024);

  constructor(options: MemoryHubOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.windowBytes = options.windowBytes ?? limits.busWindowBytes;
    this.maxMessageBytes = options.maxMessageBytes ?? 1_048_576;
  }

  /** A new connection. `name` is for people; `windowBytes` overrides the hub's for this connection. */
  connect(name = 'embedded', options: { windowBytes?: number } = {}): Bus {
    return new MemoryBus(this, name, options.windowBytes ?? this.windowBytes);
  }

  /** The store behind a bucket, made when it is asked for first. */
  store(bucket: string): MemoryStore {
    let store = this.#stores.get(bucket);
    if (store === undefined) this.#stores.set(bucket, (store = new MemoryStore(this.clock)));
    return store;
  }

  /** What all connections share of the log of that name, whether it has been made or not. */
  log(name: string): MemoryLog {
    let log = this.#logs.get(name);
    if (log === undefined) this.#logs.set(name, (log = new MemoryLog(this.clock)));
    return log;
  }

  send(publisher: MemoryBus, subject: string, data: Uint8Array | undefined, flushed?: () => void): void {
    // slice() on a Buffer would share its memory; the prototype's slice always copies.
    const copy = data === undefined ? undefined : Uint8Array.prototype.slice.call(data);
    this.#queue.push({ publisher, subject, data: copy, order: this.#order++, flushed });
    this.#schedule();
  }

  /** Lists are replaced, never changed, so that a delivery in progress goes on over the old one. */
  add(subscription: MemorySubscription): void {
    subscription.since = this.#order++;
    if (subscription.isPattern) this.#patterns = [...this.#patterns, subscription];
    else this.#exact.set(subscription.subject, [...(this.#exact.get(subscription.subject) ?? []), subscription]);
  }

  remove(subscription: MemorySubscription): void {
    const others = (list: readonly MemorySubscription[]) => list.filter((one) => one !== subscription);
    if (subscription.isPattern) {
      this.#patterns = others(this.#patterns);
      return;
    }
    const left = others(this.#exact.get(subscription.subject) ?? []);
    if (left.length > 0) this.#exact.set(subscription.subject, left);
    else this.#exact.delete(subscription.subject);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.clock.defer(() => this.#deliver());
  }

  /** Delivers what is queued now. What handlers publish meanwhile goes into the other array, and out next time. */
  #deliver(): void {
    const batch = this.#queue;
    this.#queue = this.#spare;
    this.#scheduled = false;
    for (const message of batch) {
      const { data } = message;
      if (data === undefined) message.flushed?.();
      else {
        const exact = this.#exact.get(message.subject);
        if (exact !== undefined) for (const one of exact) this.#hand(one, message, data);
        for (const one of this.#patterns) {
          if (matches(one.subject, message.subject)) this.#hand(one, message, data);
        }
        message.publisher.delivered(data.length);
      }
    }
    batch.length = 0;
    this.#spare = batch;
  }

  #hand(to: MemorySubscription, message: Message, data: Uint8Array): void {
    if (!to.active || to.since > message.order) return;
    if (this.#scratch.length <= data.length) this.#scratch = new Uint8Array(2 * data.length);
    const copy = this.#scratch.subarray(1, 1 + data.length);
    copy.set(data);
    to.receive(copy, message.subject);
  }
}

class MemorySubscription implements Subscription {
  readonly subject: string;
  readonly isPattern: boolean;
  since = 0;
  active = true;
  readonly #owner: MemoryBus;
  readonly #handler: MessageHandler;

  constructor(owner: MemoryBus, subject: string, handler: MessageHandler) {
    this.#owner = owner;
    this.subject = subject;
    this.isPattern = isPattern(subject);
    this.#handler = handler;
  }

  receive(data: Uint8Array, subject: string): void {
    this.#owner.stats.deliveredMessages++;
    try {
      this.#handler(data, subject);
    } catch (error) {
      this.#owner.handlerFailed(subject, error);
    }
  }

  unsubscribe(): void {
    if (!this.active) return;
    this.active = false;
    this.#owner.forget(this);
  }
}

class MemoryBus implements Bus {
  readonly kind = 'embedded';
  readonly name: string;
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
  readonly #hub: MemoryHub;
  readonly #windowBytes: number;
  readonly #subscriptions = new Set<MemorySubscription>();
  readonly #statusHandlers: ((status: BusStatus) => void)[] = [];
  readonly #stopWatches = new Set<() => void>();
  readonly #logs: MemoryGroupLog[] = [];
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #undelivered = 0;
  #closing: Promise<void> | undefined;

  constructor(hub: MemoryHub, name: string, windowBytes: number) {
    this.#hub = hub;
    this.#windowBytes = windowBytes;
    this.name = name;
    this.maxMessageBytes = hub.maxMessageBytes;
  }

  get writable(): boolean {
    return this.#closing === undefined && this.#undelivered < this.#windowBytes;
  }

  whenWritable(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(this.#closed());
    if (this.writable) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  publish(subject: string, data: Uint8Array): boolean {
    if (this.#closing !== undefined) {
      this.stats.lostMessages++;
      this.stats.lostBytes += data.length;
      return false;
    }
    if (data.length > this.maxMessageBytes) {
      const text = `a message of ${data.length} bytes on ${subject} is above the bus's limit of ${this.maxMessageBytes}`;
      throw new FlowherdError(errorCodes.messageTooBig, text);
    }
    this.stats.publishedMessages++;
    this.stats.publishedBytes += data.length;
    this.#undelivered += data.length;
    this.#hub.send(this, subject, data);
    return true;
  }

  subscribe(subject: string, handler: MessageHandler): Subscription {
    if (this.#closing !== undefined) throw this.#closed();
    assertPattern(subject);
    const subscription = new MemorySubscription(this, subject, handler);
    this.#subscriptions.add(subscription);
    this.#hub.add(subscription);
    return subscription;
  }

  flush(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(this.#closed());
    return new Promise((resolve) => this.#hub.send(this, '', undefined, resolve));
  }

  async openKeyValue(bucket: string): Promise<KeyValue> {
    if (this.#closing !== undefined) throw this.#closed();
    assertBucket(bucket);
    const store = this.#hub.store(bucket);
    return new MemoryKeyValue(store, {
      maxValueBytes: this.maxMessageBytes,
      assertOpen: () => {
        if (this.#closing !== undefined) throw this.#closed();
      },
      handlerFailed: (key, error) => this.handlerFailed(key, error),
      stops: this.#stopWatches,
    });
  }

  async openLog(cluster: string, group: string, settings?: LogSettings): Promise<GroupLog> {
    if (this.#closing !== undefined) throw this.#closed();
    const name = subjectsOf(cluster).logStream(group);
    const shared = this.#hub.log(name);
    if (settings !== undefined) shared.make(settings.retention);
    const log = new MemoryGroupLog(shared, group, settings?.retention, {
      maxEntryBytes: this.maxMessageBytes,
      handlerFailed: (error) => this.handlerFailed(name, error),
    });
    this.#logs.push(log);
    return log;
  }

  onStatus(handler: (status: BusStatus) => void): void {
    this.#statusHandlers.push(handler);
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      for (const subscription of this.#subscriptions) subscription.unsubscribe();
      for (const stop of this.#stopWatches) stop();
      for (const log of this.#logs) log.close();
      for (const one of this.#waiting.splice(0)) one.reject(this.#closed());
      // What was published before the close is still delivered: the marker travels behind it.
      this.#hub.send(this, '', undefined, () => {
        this.#report({ kind: 'closed', reason: 'closed by its owner' });
        resolve();
      });
    });
    return this.#closing;
  }

  /** The hub has handed this many of our bytes to everybody. */
  delivered(bytes: number): void {
    this.#undelivered -= bytes;
    if (this.#waiting.length > 0 && this.writable) for (const one of this.#waiting.splice(0)) one.resolve();
  }

  handlerFailed(subject: string, error: unknown): void {
    this.stats.handlerErrors++;
    this.#report({ kind: 'handlerFailed', subject, error });
  }

  forget(subscription: MemorySubscription): void {
    this.#subscriptions.delete(subscription);
    this.#hub.remove(subscription);
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

  #closed(): FlowherdError {
    return new FlowherdError(errorCodes.busClosed, `the in-process bus connection ${this.name} is closed`);
  }
}
