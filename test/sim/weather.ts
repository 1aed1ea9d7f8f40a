// The state of everything that is going wrong at the moment, as the network and the store ask for it.

import type { VirtualClock } from '../../shared/base/clock.ts';
import type { Prng } from '../../shared/base/prng.ts';
import type { Trouble } from './faults.ts';
import type { NetworkFaults } from './network.ts';
import type { SimProcess } from './process.ts';
import type { StoreFaults } from './store.ts';

/** An append without an answer has an unknown outcome after this. */
const unknownAfterMs = 2_000;

export class Weather implements NetworkFaults, StoreFaults {
  readonly troubles: Trouble[] = [];
  /** Asked before a command is stored: whether its author dies then. */
  killsAuthor: (process: SimProcess) => 'no' | 'before' | 'after' = () => 'no';
  readonly #clock: VirtualClock;
  readonly #prng: Prng;
  readonly #nodes: number;
  readonly #slow = new Map<string, { readonly channel: string; readonly extraMs: number }>();
  readonly #slowAppends = new Map<string, number>();
  readonly #slowReaders = new Map<string, number>();
  readonly #lostAnswers = new Map<string, number>();
  readonly #repeating = new Set<string>();
  readonly #gossipLoss = new Map<string, number>();
  /** Processes that nobody hears, and that hear nobody; their way to the logs is another matter. */
  readonly #mute = new Set<string>();
  readonly #deaf = new Set<string>();
  /** Who is not heard by whom. */
  readonly #deafPairs = new Set<string>();
  /** Node that is cut off from the others; -1 for none. */
  #cutNode = -1;
  #cutSinceMs = 0;
  #slowStoreMs = 0;
  #failingStore = 0;
  #lagMs = 0;

  constructor(clock: VirtualClock, prng: Prng, nodes: number) {
    this.#clock = clock;
    this.#prng = prng;
    this.#nodes = nodes;
  }

  /** Notes what happened, from now until it is over. */
  note(kind: Trouble['kind'], process: string, lastsMs: number, what: string): Trouble {
    const fromMs = this.#clock.monotonicMs();
    const trouble = { kind, process, fromMs, untilMs: fromMs + lastsMs, what };
    this.troubles.push(trouble);
    return trouble;
  }

  /** `channel`: 'data', 'control', 'gossip', or '' for all. */
  slowNetwork(process: SimProcess, channel: string, extraMs: number, lastsMs: number): void {
    const what = `${channel === '' ? 'messages' : `${channel} messages`} of ${process.name} take ${extraMs} ms longer`;
    this.note('slow-network', process.name, lastsMs, what);
    this.#slow.set(process.name, { channel, extraMs });
    this.#after(lastsMs, () => this.#slow.delete(process.name));
  }

  /** Its appends reach the log late: after the outcome was unknown, where it is more than two seconds. */
  slowAppends(process: SimProcess, ms: number, lastsMs: number): void {
    const kind = ms > unknownAfterMs ? 'late-store' : 'slow-log';
    this.note(kind, process.name, lastsMs, `appends of ${process.name} take ${ms} ms`);
    this.#slowAppends.set(process.name, ms);
    this.#after(lastsMs, () => this.#slowAppends.delete(process.name));
  }

  slowReader(process: SimProcess, ms: number, lastsMs: number): void {
    this.note('slow-reader', process.name, lastsMs, `entries reach ${process.name} up to ${ms} ms late`);
    this.#slowReaders.set(process.name, ms);
    this.#after(lastsMs, () => this.#slowReaders.delete(process.name));
  }

  loseAnswers(process: SimProcess, percent: number, lastsMs: number): void {
    this.note(
      'lost-answers',
      process.name,
      lastsMs,
      `${percent} % of the answers to appends of ${process.name} are lost`,
    );
    this.#lostAnswers.set(process.name, percent);
    this.#after(lastsMs, () => this.#lostAnswers.delete(process.name));
  }

  repeat(process: SimProcess, lastsMs: number): void {
    this.note('repeat-control', process.name, lastsMs, `control messages reach ${process.name} twice`);
    this.#repeating.add(process.name);
    this.#after(lastsMs, () => this.#repeating.delete(process.name));
  }

  loseGossip(process: SimProcess, percent: number, lastsMs: number): void {
    this.note('gossip-loss', process.name, lastsMs, `${process.name} misses ${percent} % of the gossip`);
    this.#gossipLoss.set(process.name, percent);
    this.#after(lastsMs, () => this.#gossipLoss.delete(process.name));
  }

  /** Gossip and answers get to a process, or away from it, but not both. */
  oneWay(process: SimProcess, which: 'mute' | 'deaf', lastsMs: number): void {
    const what = which === 'mute' ? `nobody hears ${process.name}` : `${process.name} hears nobody`;
    this.note('one-way', process.name, lastsMs, what);
    const processes = which === 'mute' ? this.#mute : this.#deaf;
    processes.add(process.name);
    this.#after(lastsMs, () => processes.delete(process.name));
  }

  /** What one process says to a group does not reach another one; the log does. */
  deafTo(speaker: SimProcess, listener: SimProcess, lastsMs: number): void {
    this.note('deaf-to-one', speaker.name, lastsMs, `${listener.name} does not hear ${speaker.name}`);
    const pair = `${speaker.name} ${listener.name}`;
    this.#deafPairs.add(pair);
    this.#after(lastsMs, () => this.#deafPairs.delete(pair));
  }

  cut(node: number, lastsMs: number): void {
    if (this.#nodes === 1 || this.#cutNode !== -1) return;
    this.note('partition', '*', lastsMs, `node ${node} of the bus is cut off`);
    this.#cutNode = node;
    this.#cutSinceMs = this.#clock.monotonicMs();
    this.#after(lastsMs, () => {
      this.#cutNode = -1;
    });
  }

  slowStore(ms: number, lastsMs: number): void {
    this.note('slow-store', '*', lastsMs, `the store takes up to ${ms} ms`);
    this.#slowStoreMs = ms;
    this.#after(lastsMs, () => {
      this.#slowStoreMs = 0;
    });
  }

  failStore(percent: number, lastsMs: number): void {
    this.note('failing-store', '*', lastsMs, `${percent} % of the store's operations fail`);
    this.#failingStore = percent;
    this.#after(lastsMs, () => {
      this.#failingStore = 0;
    });
  }

  lagStore(ms: number, lastsMs: number): void {
    this.note('stale-store', '*', lastsMs, `the store's history is ${ms} ms old`);
    this.#lagMs = ms;
    this.#after(lastsMs, () => {
      this.#lagMs = 0;
    });
  }

  extraDelayMs(process: SimProcess, channel: string): number {
    const slow = this.#slow.size === 0 ? undefined : this.#slow.get(process.name);
    if (slow === undefined || (slow.channel !== '' && slow.channel !== channel)) return 0;
    return slow.extraMs * this.#prng.fraction();
  }

  loses(from: SimProcess, process: SimProcess, subject: string): boolean {
    if (this.#mute.has(from.name) || this.#deaf.has(process.name)) return true;
    if (this.#deafPairs.size > 0 && this.#deafPairs.has(`${from.name} ${process.name}`)) return true;
    const isGossip = this.#gossipLoss.size > 0 && (subject.includes('.gossip.') || subject.includes('.beat.'));
    const percent = isGossip ? this.#gossipLoss.get(process.name) : undefined;
    return percent !== undefined && this.#prng.chance(percent, 100);
  }

  repeats(process: SimProcess, subject: string): boolean {
    return this.#repeating.size > 0 && subject.includes('.ctl.') && this.#repeating.has(process.name);
  }

  reaches(from: number, to: number): boolean {
    return from === to || (from !== this.#cutNode && to !== this.#cutNode);
  }

  appendDelayMs(process: SimProcess): number {
    const ms = this.#slowAppends.size === 0 ? undefined : this.#slowAppends.get(process.name);
    if (ms === undefined) return 0;
    // Late ones are late for sure; slow ones some more and some less.
    return ms > unknownAfterMs ? ms : ms * this.#prng.fraction();
  }

  losesAnswer(process: SimProcess): boolean {
    const percent = this.#lostAnswers.size === 0 ? undefined : this.#lostAnswers.get(process.name);
    return percent !== undefined && this.#prng.chance(percent, 100);
  }

  readDelayMs(process: SimProcess): number {
    const ms = this.#slowReaders.size === 0 ? undefined : this.#slowReaders.get(process.name);
    return ms === undefined ? 0 : ms * this.#prng.fraction();
  }

  cutOffMs(node: number): number {
    return node === this.#cutNode ? this.#clock.monotonicMs() - this.#cutSinceMs + 0.001 : 0;
  }

  slowMs(): number {
    return this.#prng.fraction() * (0.5 + this.#slowStoreMs);
  }

  failure(): 'none' | 'before' | 'after' {
    if (this.#failingStore === 0 || !this.#prng.chance(this.#failingStore, 100)) return 'none';
    return this.#prng.chance(1, 2) ? 'before' : 'after';
  }

  lagMs(): number {
    return this.#lagMs;
  }

  /** The leader is on the side of the majority. */
  serves(node: number): boolean {
    return node !== this.#cutNode;
  }

  #after(ms: number, fn: () => void): void {
    this.#clock.setTimer(ms, fn);
  }
}
