// The key-value store of the in-process bus: the same compare-and-set, history and watch as the JetStream one, and just
// as asynchronous. An operation takes effect when it reaches the store, some moment after the call, in the order of
// the calls; that moment is what makes it linearisable.

import type { Clock } from '../base/clock.ts';
import { errorCodes, FlowherdError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { BucketInfo, KeyValue, KeyValueEntry } from './bus.ts';
import { assertKey, assertPattern, matches } from './subjectMatch.ts';

interface Watcher {
  readonly pattern: string;
  /** Hands over one entry; a copy is the watcher's own affair. */
  readonly deliver: (entry: KeyValueEntry) => void;
}

/** What the connections of a hub share: one bucket. All methods take effect at once; MemoryKeyValue defers them. */
export class MemoryStore {
  readonly clock: Clock;
  #revision = 0;
  #taken = false;
  readonly #keys = new Map<string, KeyValueEntry[]>();
  readonly #watchers = new Set<Watcher>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  entries(key: string): readonly KeyValueEntry[] {
    return this.#keys.get(key) ?? [];
  }

  /** Writes when the key is at `expected` (0: does not exist). Returns the revision, or undefined when it is not. */
  write(key: string, value: Uint8Array, expected: number): number | undefined {
    const entries = this.#keys.get(key) ?? [];
    if ((entries.at(-1)?.revision ?? 0) !== expected) return undefined;
    const entry = { key, value, revision: ++this.#revision };
    entries.push(entry);
    if (entries.length > limits.viewHistory) entries.shift();
    this.#keys.set(key, entries);
    for (const watcher of this.#watchers) if (matches(watcher.pattern, key)) this.#send(watcher, entry);
    return entry.revision;
  }

  /** Sends the present entries, oldest revision first, and from then on every change. */
  watch(watcher: Watcher, initialSent: () => void): void {
    const present = [...this.#keys.values()].map((entries) => entries[entries.length - 1]);
    present.sort((one, other) => one.revision - other.revision);
    for (const entry of present) if (matches(watcher.pattern, entry.key)) this.#send(watcher, entry);
    this.#watchers.add(watcher);
    this.clock.defer(initialSent);
  }

  unwatch(watcher: Watcher): void {
    this.#watchers.delete(watcher);
  }

  /** True the first time: whoever opens a store that nobody opened before has made it. */
  take(): boolean {
    const isFirst = !this.#taken;
    this.#taken = true;
    return isFirst;
  }

  clear(): void {
    this.#taken = false;
    this.#keys.clear();
    this.#watchers.clear();
  }

  #send(watcher: Watcher, entry: KeyValueEntry): void {
    this.clock.defer(() => watcher.deliver(entry));
  }
}

/** What a key-value store needs from its connection. */
export interface KeyValueOwner {
  readonly maxValueBytes: number;
  /** Throws `bus-closed` when the connection is closed. */
  assertOpen(): void;
  handlerFailed(key: string, error: unknown): void;
  /** Functions that end the watches of this connection. */
  readonly stops: Set<() => void>;
}

/** One connection's access to a store. */
export class MemoryKeyValue implements KeyValue {
  readonly bucket: BucketInfo;
  readonly #store: MemoryStore;
  readonly #owner: KeyValueOwner;

  constructor(store: MemoryStore, owner: KeyValueOwner) {
    this.bucket = { created: store.take(), storage: 'memory', replicas: 1 };
    this.#store = store;
    this.#owner = owner;
  }

  get(key: string): Promise<KeyValueEntry | undefined> {
    return this.#later(key, () => {
      const entry = this.#store.entries(key).at(-1);
      return entry === undefined ? undefined : copyOf(entry);
    });
  }

  history(key: string): Promise<KeyValueEntry[]> {
    return this.#later(key, () => this.#store.entries(key).map(copyOf));
  }

  create(key: string, value: Uint8Array): Promise<number | undefined> {
    return this.#write(key, value, 0);
  }

  async update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    assertRevision(revision);
    return this.#write(key, value, revision);
  }

  destroy(): Promise<void> {
    return this.#later('map', () => this.#store.clear());
  }

  async watch(pattern: string, handler: (entry: KeyValueEntry) => void): Promise<() => void> {
    this.#owner.assertOpen();
    assertPattern(pattern);
    let active = true;
    const deliver = (entry: KeyValueEntry): void => {
      if (!active) return;
      try {
        handler(copyOf(entry));
      } catch (error) {
        this.#owner.handlerFailed(entry.key, error);
      }
    };
    const watcher = { pattern, deliver };
    const stop = (): void => {
      active = false;
      this.#store.unwatch(watcher);
      this.#owner.stops.delete(stop);
    };
    this.#owner.stops.add(stop);
    await new Promise<void>((resolve) => {
      this.#store.clock.defer(() => (active ? this.#store.watch(watcher, resolve) : resolve()));
    });
    return stop;
  }

  async #write(key: string, value: Uint8Array, expected: number): Promise<number | undefined> {
    assertValueSize(key, value, this.#owner.maxValueBytes);
    const copy = Uint8Array.prototype.slice.call(value);
    return this.#later(key, () => this.#store.write(key, copy, expected));
  }

  async #later<T>(key: string, act: () => T): Promise<T> {
    this.#owner.assertOpen();
    assertKey(key);
    return new Promise((resolve, reject) => {
      this.#store.clock.defer(() => {
        try {
          this.#owner.assertOpen();
          resolve(act());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}

/** Throws `message-too-big`. */
export function assertValueSize(key: string, value: Uint8Array, maxBytes: number): void {
  if (value.length <= maxBytes) return;
  const text = `a value of ${value.length} bytes for the key ${key} is above the store's limit of ${maxBytes}`;
  throw new FlowherdError(errorCodes.messageTooBig, text);
}

/** Throws `bad-state`: revision 0 would mean "does not exist", which is what create() is for. */
export function assertRevision(revision: number): void {
  if (Number.isSafeInteger(revision) && revision > 0) return;
  throw new FlowherdError(errorCodes.badState, `a revision is a whole number from 1, not ${revision}`);
}

function copyOf(entry: KeyValueEntry): KeyValueEntry {
  return { key: entry.key, value: Uint8Array.prototype.slice.call(entry.value), revision: entry.revision };
}
