// The simulated key-value store: one linearisable object behind a leader, reached over the simulated network.
//
// It does what JetStream's bucket does under bad luck: operations take long, time out although they were done, or fail;
// the leader's side of a partition must be a majority, else nobody answers; `history` may come from a copy that lags;
// watches are ordered and miss nothing, but may be late, and after a reconnect they catch up. Writes are
// compare-and-set. Every write is kept for the checkers.

import { limits } from '../../shared/base/limits.ts';
import type { KeyValue, KeyValueEntry } from '../../shared/bus/bus.ts';
import { matches } from '../../shared/bus/subjectMatch.ts';
import type { SimBus, SimNetwork } from './network.ts';

export interface Write extends KeyValueEntry {
  readonly atMs: number;
  readonly by: string;
  /** The store was empty before. */
  readonly isFirst: boolean;
}

/** What a fault may do to operations, asked for each. */
export interface StoreFaults {
  /** Milliseconds an operation takes at the leader. */
  slowMs(): number;
  /** `before`: it fails and nothing happened. `after`: it was done, and the answer is lost. */
  failure(): 'none' | 'before' | 'after';
  /** Milliseconds by which a read of the history lags. */
  lagMs(): number;
  /** Whether this node reaches a leader that has a majority behind it. */
  serves(node: number): boolean;
}

const answerWithinMs = 2_000;
const retryMs = 100;

export class SimStore {
  readonly writes: Write[] = [];
  /** Compare-and-set really compares; a sabotage turns that off. */
  compares = true;
  readonly faults: StoreFaults;
  readonly #newest = new Map<string, Write>();
  readonly #watchers: SimWatch[] = [];
  #revision = 0;
  /** Writes before this one are gone. */
  #emptiedAt = 0;

  constructor(faults: StoreFaults) {
    this.faults = faults;
  }

  get(key: string): Write | undefined {
    return this.#newest.get(key);
  }

  historyOf(key: string, untilMs: number): Write[] {
    return this.writes
      .slice(this.#emptiedAt)
      .filter((write) => write.key === key && write.atMs <= untilMs)
      .slice(-limits.viewHistory);
  }

  since(pattern: string, revision: number): Write[] {
    return this.writes
      .slice(this.#emptiedAt)
      .filter((write) => write.revision > revision && matches(pattern, write.key));
  }

  /** Everything in it is gone, and revisions begin again. Watches go on with what is written from here on. */
  empty(): void {
    this.#newest.clear();
    this.#revision = 0;
    this.#emptiedAt = this.writes.length;
    for (const watcher of this.#watchers) watcher.reset();
  }

  /** Writes if the key is at `revision` (0: does not exist). Undefined when somebody was first. */
  write(key: string, value: Uint8Array, revision: number, by: string, atMs: number): number | undefined {
    if (this.compares && (this.#newest.get(key)?.revision ?? 0) !== revision) return undefined;
    const write: Write = {
      key,
      value: value.slice(),
      revision: ++this.#revision,
      atMs,
      by,
      isFirst: this.#revision === 1,
    };
    this.writes.push(write);
    this.#newest.set(key, write);
    for (const watcher of this.#watchers) if (matches(watcher.pattern, key)) watcher.bring();
    return write.revision;
  }

  addWatch(watch: SimWatch): void {
    this.#watchers.push(watch);
  }

  removeWatch(watch: SimWatch): void {
    const at = this.#watchers.indexOf(watch);
    if (at >= 0) this.#watchers.splice(at, 1);
  }
}

export class SimKeyValue implements KeyValue {
  readonly bucket = { created: false, storage: 'file', replicas: 1 } as const;
  readonly #network: SimNetwork;
  readonly #bus: SimBus;
  readonly #watches: SimWatch[] = [];

  constructor(network: SimNetwork, bus: SimBus) {
    this.#network = network;
    this.#bus = bus;
  }

  get(key: string): Promise<KeyValueEntry | undefined> {
    return this.#ask((store) => store.get(key));
  }

  history(key: string): Promise<KeyValueEntry[]> {
    const untilMs = this.#network.clock.monotonicMs() - this.#network.store.faults.lagMs();
    return this.#ask((store) => store.historyOf(key, untilMs));
  }

  create(key: string, value: Uint8Array): Promise<number | undefined> {
    return this.#write(key, value, 0);
  }

  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    return this.#write(key, value, revision);
  }

  watch(pattern: string, handler: (entry: KeyValueEntry) => void): Promise<() => void> {
    const watch = new SimWatch(this.#network, this.#bus, pattern, handler);
    this.#watches.push(watch);
    return new Promise((resolve) => {
      watch.begin(() =>
        resolve(() => {
          watch.stop();
        }),
      );
    });
  }

  destroy(): Promise<void> {
    return Promise.resolve();
  }

  /** The connection is back: what changed meanwhile comes. */
  catchUp(): void {
    for (const watch of this.#watches) watch.again();
  }

  #write(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    const { clock } = this.#network;
    const { process } = this.#bus;
    return this.#ask((store) => store.write(key, value, revision, process.name, clock.monotonicMs()));
  }

  #ask<T>(work: (store: SimStore) => T): Promise<T> {
    const { store, clock } = this.#network;
    return this.#bus.askInTime(answerWithinMs, (answer) => {
      clock.setTimer(store.faults.slowMs(), () => {
        const failure = store.faults.failure();
        if (!store.faults.serves(this.#bus.node) || failure === 'before') return;
        const result = work(store);
        if (failure !== 'after') answer((resolve) => resolve(result));
      });
    });
  }
}

/** Brings changes in order of revision, however late, and none twice. */
class SimWatch {
  readonly pattern: string;
  readonly #network: SimNetwork;
  readonly #bus: SimBus;
  readonly #handler: (entry: KeyValueEntry) => void;
  #ready: (() => void) | undefined;
  /** Revision handed over last; -1 until the present entries have been. */
  #seen = -1;
  #isStopped = false;
  #isUnderWay = false;

  constructor(network: SimNetwork, bus: SimBus, pattern: string, handler: (entry: KeyValueEntry) => void) {
    this.#network = network;
    this.#bus = bus;
    this.pattern = pattern;
    this.#handler = handler;
  }

  /** Hands over the present entries, calls `ready`, and goes on with every change. */
  begin(ready: () => void): void {
    this.#ready = ready;
    this.#network.store.addWatch(this);
    this.#ask();
  }

  /** After a reconnect: what has been missed, or everything where the first answer never came. */
  again(): void {
    if (this.#seen < 0) this.#ask();
    else this.bring();
  }

  /** Something has changed. */
  bring(): void {
    if (this.#isStopped || this.#isUnderWay || this.#seen < 0) return;
    this.#isUnderWay = true;
    const { store, clock } = this.#network;
    const { plan, prng } = this.#network;
    const lateMs = plan.watchDelayMs * prng.fraction();
    const delayMs = this.#network.delayMs(this.#bus) + store.faults.slowMs() + lateMs;
    clock.setTimer(delayMs, () => {
      this.#isUnderWay = false;
      if (this.#isStopped || !this.#bus.isConnected) return;
      if (!store.faults.serves(this.#bus.node)) this.bring();
      else this.#hand(store.since(this.pattern, this.#seen));
    });
  }

  /** The store was emptied. */
  reset(): void {
    if (this.#seen > 0) this.#seen = 0;
  }

  stop(): void {
    this.#isStopped = true;
    this.#network.store.removeWatch(this);
  }

  #ask(): void {
    const { store, clock } = this.#network;
    this.#bus.up(() => {
      if (this.#isStopped || this.#seen >= 0) return;
      if (!store.faults.serves(this.#bus.node)) {
        clock.setTimer(retryMs, () => this.#ask());
        return;
      }
      const newest = new Map(store.since(this.pattern, 0).map((write) => [write.key, write]));
      this.#seen = 0;
      this.#hand([...newest.values()]);
      const ready = this.#ready;
      if (ready !== undefined) this.#network.settle(this.#bus.process, ready);
    });
  }

  #hand(writes: readonly Write[]): void {
    if (writes.length === 0) return;
    for (const { revision } of writes) this.#seen = Math.max(this.#seen, revision);
    this.#bus.process.enter(() => {
      this.#network.unsettled = true;
      for (const write of writes) if (!this.#isStopped) this.#handler(write);
    });
  }
}
