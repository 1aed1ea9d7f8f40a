// The bus as everybody else sees it: a port with two adapters, `nats.ts` and `memory.ts`, under one contract suite
// (test/shared/bus/bus.contract.ts). A subject is a multicast domain: every subscriber gets every message.
//
// Promises the port makes, whichever adapter:
//   - order: messages from one bus connection reach each subscriber in the order they were published, also across
//     subjects; nothing is said about two connections;
//   - delivery is later, never inside `publish`, and of a copy: the publisher gives its buffer away (it must not write
//     to it again), the subscriber owns nothing after its callback returns (copy what you keep);
//   - at most once: a slow or disconnected subscriber loses messages silently; frames carry sequences for that reason;
//   - a callback that throws costs that message (counted in `stats.handlerErrors`), never the connection.

import type { GroupLog, LogSettings } from '../log/log.ts';

/** Receives one message. `data` is valid only during the call. */
export type MessageHandler = (data: Uint8Array, subject: string) => void;

export interface Subscription {
  readonly subject: string;
  unsubscribe(): void;
}

/** Why the bus says something without being asked. */
export type BusStatus =
  | { kind: 'disconnected'; reason: string }
  | { kind: 'reconnected' }
  /** The server does not permit this connection a subject it used. Nothing is sent or received there. */
  | { kind: 'denied'; reason: string }
  /** The key-value store was found empty or made anew: revisions begin again, what was in it is gone. */
  | { kind: 'storeReset'; bucket: string; reason: string }
  /** A callback threw; that message is lost to it. Also counted in `stats.handlerErrors`. */
  | { kind: 'handlerFailed'; subject: string; error: unknown }
  | { kind: 'closed'; reason: string };

/** Counts since the connection was opened. */
export interface BusStats {
  publishedMessages: number;
  publishedBytes: number;
  /** What publish() refused while not connected. */
  lostMessages: number;
  lostBytes: number;
  /** Published, but the connection broke before the server confirmed it: it may or may not have arrived. */
  unconfirmedMessages: number;
  unconfirmedBytes: number;
  deliveredMessages: number;
  handlerErrors: number;
  reconnects: number;
}

export interface Bus {
  /** 'nats' or 'embedded', for people. */
  readonly kind: 'nats' | 'embedded';
  /** Largest message publish() takes, in bytes. */
  readonly maxMessageBytes: number;
  readonly stats: Readonly<BusStats>;
  /** False while disconnected or while more than the bounded window of bytes is unflushed: stop publishing. */
  readonly writable: boolean;
  /** Resolves when `writable` is true (at once if it is); rejects with `bus-closed` when the bus is closed. */
  whenWritable(): Promise<void>;
  /**
   * Sends `data` to every subscriber of `subject`. Returns false, and counts the loss, when the bus is disconnected or
   * closed; publishing while not `writable` but connected is allowed and only grows the buffer. Throws
   * `message-too-big` above `maxMessageBytes`.
   */
  publish(subject: string, data: Uint8Array): boolean;
  /**
   * `subject` may end in `.*` (one token) or `.>` (one or more). Receives what is published after the call on this
   * connection, and on others after flush(). Survives reconnects. Throws `bad-name`, `bus-closed`.
   */
  subscribe(subject: string, handler: MessageHandler): Subscription;
  /**
   * Resolves when everything published and every subscription made before the call has reached the server; that says
   * nothing about delivery to others. Rejects with `bus-disconnected` or `bus-closed`.
   */
  flush(): Promise<void>;
  /**
   * The key-value store for views and the cluster map; created where it is missing and the caller may. Rejects with
   * `store-missing` where it is missing and the caller may not, `store-unavailable`, `bus-disconnected`, `bus-timeout`.
   */
  openKeyValue(bucket: string): Promise<KeyValue>;
  /**
   * The ordered log of a group (shared/log/log.ts). With `settings` it is made where it is missing and this login may; without, and
   * where the login may not, a log that is missing is found out by `bounds`, `append` and `read`. Rejects with `bad-state` where the server
   * is too old to keep one.
   */
  openLog(cluster: string, group: string, settings?: LogSettings): Promise<GroupLog>;
  onStatus(handler: (status: BusStatus) => void): void;
  /** Flushes what can be flushed and closes. Idempotent. */
  close(): Promise<void>;
}

export interface KeyValueEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Changes with every write of the bucket; what compare-and-set compares. */
  readonly revision: number;
}

/** How a bucket is kept. */
export interface BucketInfo {
  /** True when opening it made it: it was not there before. */
  readonly created: boolean;
  /** `file` survives a restart of the server, `memory` does not. */
  readonly storage: 'file' | 'memory';
  /** Servers that keep a copy. */
  readonly replicas: number;
}

/**
 * A small linearisable store. Writes are compare-and-set only: there is no plain put, because a put would let two
 * proposers overwrite each other and views would fork. A lost race is an answer (undefined), not an error; errors are
 * FlowherdErrors, and come in bounded time also while disconnected. After `bus-timeout` or `bus-disconnected` a write
 * may or may not have happened: read before writing again.
 */
export interface KeyValue {
  readonly bucket: BucketInfo;
  /** Reads through the leader, never a stale follower. */
  get(key: string): Promise<KeyValueEntry | undefined>;
  /** The last revisions of a key, oldest first, at most `limits.viewHistory`. */
  history(key: string): Promise<KeyValueEntry[]>;
  /** Creates a key that does not exist. Resolves to its revision, or undefined when somebody was first. */
  create(key: string, value: Uint8Array): Promise<number | undefined>;
  /** Replaces a key that is at `revision`. Resolves to the new revision, or undefined when somebody was first. */
  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined>;
  /**
   * Calls back with the present entry of every key that matches (`view.*` or an exact key), then with every change, in
   * order of revision, until the returned function is called. Resolves when the present entries have been handed
   * over. Survives reconnects without missing a change, as far as the history reaches; after a `storeReset` revisions
   * begin again below the ones seen before.
   */
  watch(pattern: string, handler: (entry: KeyValueEntry) => void): Promise<() => void>;
  /** Removes the bucket with all that is in it, for everybody; one that is not there is fine. For what was made for one run alone. */
  destroy(): Promise<void>;
}
