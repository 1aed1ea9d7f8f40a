// The simulated bus: what NATS promises, and nothing more.
//
//   publisher ── up ──► node ── route ──► node ── down ──► subscriber
//
// Order holds from one connection to each subscription, and nowhere else: between publishers every message has its own
// delay. A message is at most once: it is lost when the publisher's connection breaks before it reached the node, when
// the nodes are cut off from each other, when the subscriber's connection breaks before it arrived, and when a fault
// says that this subscriber is too slow. Subscriptions take effect when they reach the node.

import type { VirtualClock } from '../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../shared/base/errors.ts';
import type { Prng } from '../../shared/base/prng.ts';
import type { Bus, BusStats, BusStatus, KeyValue, MessageHandler, Subscription } from '../../shared/bus/bus.ts';
import { isPattern, matches } from '../../shared/bus/subjectMatch.ts';
import type { GroupLog, LogSettings } from '../../shared/log/log.ts';
import { SimGroupLog } from './groupLog.ts';
import { SimLog } from './log.ts';
import type { SimProcess } from './process.ts';
import { copyOf } from './slab.ts';
import { SimKeyValue, type SimStore } from './store.ts';

interface Interest {
  readonly bus: SimBus;
  readonly subject: string;
  readonly handler: MessageHandler;
  isOpen: boolean;
}

/** What a fault may do to messages, asked for each. */
export interface NetworkFaults {
  /** Milliseconds that messages of this process take longer on this channel. */
  extraDelayMs(process: SimProcess, channel: string): number;
  /** Whether this delivery is lost on its way. */
  loses(from: SimProcess, process: SimProcess, subject: string): boolean;
  /** Whether this delivery comes twice. */
  repeats(process: SimProcess, subject: string): boolean;
  /** Whether node `from` reaches node `to`. */
  reaches(from: number, to: number): boolean;
  /** Milliseconds that an append of this process takes longer to reach the leader of a log. */
  appendDelayMs(process: SimProcess): number;
  /** Whether the answer to an append of this process is lost. */
  losesAnswer(process: SimProcess): boolean;
  /** Milliseconds that an entry of a log takes longer to this process. */
  readDelayMs(process: SimProcess): number;
  /** Asked before a command of this process is stored: whether the process dies then, with the entry stored or not. */
  killsAuthor(process: SimProcess): 'no' | 'before' | 'after';
  /** How long this node has been cut off from the leaders; 0 while it is not. */
  cutOffMs(node: number): number;
}

/** How an answer settles what was asked. */
export type Settle<T> = (resolve: (value: T) => void, reject: (error: unknown) => void) => void;

export interface NetworkPlan {
  readonly delayMs: number;
  readonly watchDelayMs: number;
}

export class SimNetwork {
  readonly clock: VirtualClock;
  readonly prng: Prng;
  readonly store: SimStore;
  readonly faults: NetworkFaults;
  readonly plan: NetworkPlan;
  readonly buses: SimBus[] = [];
  /** The logs of the groups, as they are used. */
  readonly logs = new Map<string, SimLog>();
  /** A callback of a reader or an append threw. That is a fault of ours, so the run ends with it. */
  onHandlerError: (error: unknown) => void = (error) => {
    throw error;
  };
  /** Set when a promise was settled: whoever awaits it must run before the next event. */
  unsettled = false;
  readonly #exact = new Map<string, Interest[]>();
  readonly #patterns: Interest[] = [];
  /** Interests of a subject that messages were routed to, until interests change. */
  readonly #routes = new Map<string, readonly Interest[]>();

  constructor(clock: VirtualClock, prng: Prng, store: SimStore, faults: NetworkFaults, plan: NetworkPlan) {
    this.plan = plan;
    this.clock = clock;
    this.prng = prng;
    this.store = store;
    this.faults = faults;
  }

  connect(process: SimProcess, channel: string, node: number): SimBus {
    const bus = new SimBus(this, process, channel, node);
    this.buses.push(bus);
    return bus;
  }

  logOf(group: string): SimLog {
    let log = this.logs.get(group);
    if (log === undefined) {
      log = new SimLog(group, this.clock, (node) => this.faults.cutOffMs(node));
      this.logs.set(group, log);
    }
    return log;
  }

  /** A delay of one step of the way: mostly short, now and then long. */
  delayMs({ process, channel }: SimBus): number {
    const { prng } = this;
    const usual = this.plan.delayMs * (0.2 + 1.6 * prng.fraction());
    const spike = prng.chance(1, 40) ? prng.fraction() * 12 : 0;
    return usual + spike + this.faults.extraDelayMs(process, channel);
  }

  add(interest: Interest): void {
    this.#routes.clear();
    if (isPattern(interest.subject)) {
      this.#patterns.push(interest);
      return;
    }
    const known = this.#exact.get(interest.subject);
    if (known === undefined) this.#exact.set(interest.subject, [interest]);
    else known.push(interest);
  }

  remove(interest: Interest): void {
    interest.isOpen = false;
    this.#routes.clear();
    const list = isPattern(interest.subject) ? this.#patterns : (this.#exact.get(interest.subject) ?? []);
    const at = list.indexOf(interest);
    if (at >= 0) list.splice(at, 1);
  }

  /** A message has reached the node of its publisher. */
  route(from: SimBus, subject: string, data: Uint8Array): void {
    for (const interest of this.#interestsIn(subject)) interest.bus.receive(from, interest, subject, data);
  }

  #interestsIn(subject: string): readonly Interest[] {
    let interests = this.#routes.get(subject);
    if (interests === undefined) {
      const byPattern = this.#patterns.filter((interest) => matches(interest.subject, subject));
      interests = [...(this.#exact.get(subject) ?? []), ...byPattern];
      this.#routes.set(subject, interests);
    }
    return interests;
  }

  /** The key-value store is emptied; whoever has opened it hears of it. */
  emptyStore(): void {
    this.store.empty();
    for (const bus of this.buses) bus.storeEmptied();
  }

  /** Resolves or rejects something that code of a process awaits. */
  settle(process: SimProcess, fn: () => void): void {
    process.enter(() => {
      this.unsettled = true;
      fn();
    });
  }
}

export class SimBus implements Bus {
  readonly kind = 'nats';
  readonly maxMessageBytes = 1_048_576;
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
  readonly process: SimProcess;
  /** 'data', 'control' or 'gossip'. */
  readonly channel: string;
  readonly node: number;
  isConnected = true;
  isClosed = false;
  /** Counts the breaks: what was under way before one never arrives. */
  line = 0;
  readonly #network: SimNetwork;
  readonly #interests: Interest[] = [];
  readonly #statusHandlers: ((status: BusStatus) => void)[] = [];
  readonly #stores: SimKeyValue[] = [];
  readonly #logs: SimGroupLog[] = [];
  readonly #whenBroken = new Set<() => void>();
  #waiting: (() => void)[] = [];
  #upMs = 0;
  /** When the last message of each publisher arrives here. */
  readonly #downMs = new Map<SimBus, number>();

  constructor(network: SimNetwork, process: SimProcess, channel: string, node: number) {
    this.#network = network;
    this.process = process;
    this.channel = channel;
    this.node = node;
  }

  get writable(): boolean {
    return this.isConnected && !this.isClosed;
  }

  whenWritable(): Promise<void> {
    if (this.writable) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  publish(subject: string, data: Uint8Array): boolean {
    if (!this.writable) {
      this.stats.lostMessages++;
      return false;
    }
    this.stats.publishedMessages++;
    this.stats.publishedBytes += data.length;
    // The publisher uses its buffer again.
    const message = copyOf(data);
    this.up(() => this.#network.route(this, subject, message));
    return true;
  }

  subscribe(subject: string, handler: MessageHandler): Subscription {
    const interest: Interest = { bus: this, subject, handler, isOpen: true };
    this.#interests.push(interest);
    this.up(() => {
      if (interest.isOpen) this.#network.add(interest);
    });
    const unsubscribe = (): void => {
      this.#network.remove(interest);
      const at = this.#interests.indexOf(interest);
      if (at >= 0) this.#interests.splice(at, 1);
    };
    return { subject, unsubscribe };
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new FlowherdError(errorCodes.busDisconnected, 'the connection is down'));
      if (!this.writable) {
        fail();
        return;
      }
      this.roundTrip(
        (answer) => answer(() => resolve()),
        () => fail(),
      );
    });
  }

  openKeyValue(): Promise<KeyValue> {
    const store = new SimKeyValue(this.#network, this);
    this.#stores.push(store);
    return Promise.resolve(store);
  }

  async openLog(_cluster: string, group: string, settings?: LogSettings): Promise<GroupLog> {
    const log = new SimGroupLog(this.#network.logOf(group), this.#network, this, settings);
    this.#logs.push(log);
    if (settings !== undefined) await log.make();
    return log;
  }

  onStatus(handler: (status: BusStatus) => void): void {
    this.#statusHandlers.push(handler);
  }

  close(): Promise<void> {
    this.isClosed = true;
    for (const log of this.#logs) log.close();
    for (const interest of [...this.#interests]) this.#network.remove(interest);
    return Promise.resolve();
  }

  /** Carries something to the node, in order, unless the connection breaks first. */
  up(fn: () => void): void {
    const { clock } = this.#network;
    const { line } = this;
    this.#upMs = Math.max(this.#upMs, clock.monotonicMs() + this.#network.delayMs(this));
    clock.setTimer(this.#upMs - clock.monotonicMs(), () => {
      if (this.line === line) fn();
    });
  }

  /** To the node and back: `work` gets the way back as a function; `broken` runs when the connection breaks first. */
  roundTrip(work: (answer: (fn: () => void) => void) => void, broken: () => void): void {
    const { line } = this;
    const network = this.#network;
    let done = false;
    const whenBroken = (): void => {
      if (done) return;
      done = true;
      network.settle(this.process, broken);
    };
    this.#whenBroken.add(whenBroken);
    const answer = (fn: () => void): void => {
      network.clock.setTimer(network.delayMs(this), () => {
        if (done || this.line !== line) return;
        done = true;
        this.#whenBroken.delete(whenBroken);
        network.settle(this.process, fn);
      });
    };
    this.up(() => work(answer));
  }

  /**
   * Asks at the node; `work` gets a way to answer that settles the promise, or never answers. Rejects with `bus-timeout` then, and with
   * `bus-disconnected` when there is no connection or it breaks.
   */
  askInTime<T>(withinMs: number, work: (answer: (settle: Settle<T>) => void) => void): Promise<T> {
    const network = this.#network;
    return new Promise((resolve, reject) => {
      let isOver = false;
      const end = (fn: () => void): void => {
        if (isOver) return;
        isOver = true;
        fn();
      };
      const down = (): void =>
        end(() => reject(new FlowherdError(errorCodes.busDisconnected, 'the connection is down')));
      if (this.isClosed || !this.isConnected) {
        const closed = () => reject(new FlowherdError(errorCodes.busClosed, 'the connection was closed'));
        // Never before the caller awaits it.
        network.clock.setTimer(0, () => network.settle(this.process, this.isClosed ? closed : down));
        return;
      }
      network.clock.setTimer(withinMs, () => {
        if (isOver) return;
        const late = new FlowherdError(errorCodes.busTimeout, 'no answer in time');
        network.settle(this.process, () => end(() => reject(late)));
      });
      const answerWith = (answer: (fn: () => void) => void) => (settle: Settle<T>) =>
        answer(() => end(() => settle(resolve, reject)));
      this.roundTrip((answer) => work(answerWith(answer)), down);
    });
  }

  /** A message for one of this connection's subscriptions has reached the publisher's node. */
  receive(from: SimBus, interest: Interest, subject: string, data: Uint8Array): void {
    const network = this.#network;
    const { faults, clock } = network;
    if (!this.isConnected || !faults.reaches(from.node, this.node)) return;
    if (faults.loses(from.process, this.process, subject)) return;
    const route = from.node === this.node ? 0 : network.delayMs(this);
    const nowMs = clock.monotonicMs();
    const atMs = Math.max(this.#downMs.get(from) ?? 0, nowMs + route + network.delayMs(this));
    this.#downMs.set(from, atMs);
    const { line } = this;
    const deliver = (): void => {
      if (this.line !== line || !interest.isOpen) return;
      this.process.enter(() => {
        if (!interest.isOpen) return;
        this.stats.deliveredMessages++;
        interest.handler(data, subject);
      });
    };
    clock.setTimer(atMs - nowMs, deliver);
    if (faults.repeats(this.process, subject)) clock.setTimer(atMs - nowMs, deliver);
  }

  /** The connection breaks: what is under way in either direction is lost, and so is what is published until it is back. */
  disconnect(): void {
    if (!this.isConnected) return;
    this.isConnected = false;
    this.line++;
    for (const interest of this.#interests) {
      this.#network.remove(interest);
      interest.isOpen = true;
    }
    for (const broken of [...this.#whenBroken]) broken();
    this.#whenBroken.clear();
    for (const log of this.#logs) log.broken();
    this.#report({ kind: 'disconnected', reason: 'the simulation cut it' });
  }

  reconnect(): void {
    if (this.isConnected || this.isClosed) return;
    this.isConnected = true;
    for (const interest of this.#interests) this.#network.add(interest);
    this.#report({ kind: 'reconnected' });
    for (const store of this.#stores) store.catchUp();
    for (const log of this.#logs) this.process.enter(() => log.restored());
    for (const resolve of this.#waiting.splice(0)) this.#network.settle(this.process, resolve);
  }

  storeEmptied(): void {
    if (this.#stores.length === 0 || !this.isConnected) return;
    this.#report({ kind: 'storeReset', bucket: 'sim', reason: 'the simulation emptied it' });
  }

  #report(status: BusStatus): void {
    this.process.enter(() => {
      for (const handler of this.#statusHandlers) handler(status);
    });
  }
}
