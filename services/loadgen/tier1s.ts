// The tier 1s of a run as their hello messages show them, and which of them a flow goes through. Pure.
//
// A flow keeps its tier 1 as long as that takes packets: through two of them its packets could overtake each other, and one
// that overtakes the flow's start is nobody's. New flows are spread over the tier 1s of the moment.

import { limits } from '../../shared/base/limits.ts';
import { mix32 } from '../../shared/hash/mix.ts';
import { type Hello, type HelloSender, type HelloState, sharedCauses } from '../../shared/messages/hello.ts';
import type { FlowBook } from './flowBook.ts';

/** `silent`: it has not said anything for too long, and has not said that it ends. */
export type Tier1State = HelloState | 'silent';

export interface Tier1Record {
  readonly number: number;
  readonly name: string;
  state: Tier1State;
  heardAtMs: number;
  /** Packets handed to the bus for it, and when the last of them were. */
  sent: number;
  sentAtMs: number;
  /** What it says about this sender; undefined when it has not heard of it. */
  mine: HelloSender | undefined;
  /** By cause: packets of any sender in frames that it did not get into a log, since the run began; and those before. */
  shared: Readonly<Record<string, number>>;
  readonly droppedBefore: Readonly<Record<string, number>>;
}

/** More would not fit the ledger's numbers; nobody runs so many. */
const mostTier1s = 1_024;

export class Tier1s {
  readonly all: Tier1Record[] = [];
  readonly #byName = new Map<string, Tier1Record>();
  readonly #sender: string;
  /** Those that take packets, in the order they came. */
  #ready: readonly Tier1Record[] = [];

  /** `sender`: the name by which tier 1s know this run. */
  constructor(sender: string) {
    this.#sender = sender;
  }

  get ready(): readonly Tier1Record[] {
    return this.#ready;
  }

  heard(hello: Hello, nowMs: number): void {
    let record = this.#byName.get(hello.tier1);
    if (record === undefined) {
      if (this.all.length >= mostTier1s) return;
      const fresh = { sent: 0, sentAtMs: 0, mine: undefined, shared: {} };
      const { tier1: name, state, dropped: droppedBefore } = hello;
      record = { number: this.all.length, name, state, heardAtMs: nowMs, droppedBefore, ...fresh };
      this.all.push(record);
      this.#byName.set(name, record);
    }
    // What was sent before the end may arrive after it.
    if (record.state === 'ended') return;
    record.heardAtMs = nowMs;
    record.state = hello.state;
    const { droppedBefore } = record;
    const since = (cause: string) => (hello.dropped[cause] ?? 0) - (droppedBefore[cause] ?? 0);
    record.shared = Object.fromEntries(sharedCauses.map((cause) => [cause, since(cause)]));
    record.mine = hello.senders.find(({ name }) => name === this.#sender) ?? record.mine;
    this.#choose();
  }

  /** Nobody could be heard until now. */
  excuse(nowMs: number): void {
    for (const record of this.all) record.heardAtMs = nowMs;
  }

  /** Time passes: who is silent for too long gets no more packets. True when that has just happened to one. */
  expire(nowMs: number): boolean {
    let changed = false;
    for (const record of this.all) {
      const isOver = record.state === 'ended' || record.state === 'silent';
      if (isOver || nowMs - record.heardAtMs <= limits.helloSilentMs) continue;
      record.state = 'silent';
      changed = true;
    }
    if (changed) this.#choose();
    return changed;
  }

  /** The tier 1 for the next packet of the flow in `row`; undefined when none takes packets. */
  route(flows: FlowBook, row: number): Tier1Record | undefined {
    const present = this.all[flows.via[row] - 1];
    if (present?.state === 'ready') return present;
    const ready = this.#ready;
    if (ready.length === 0) return undefined;
    const chosen = ready[Math.floor(((mix32(flows.number[row] | 0) >>> 0) / 0x1_0000_0000) * ready.length)];
    flows.via[row] = chosen.number + 1;
    return chosen;
  }

  #choose(): void {
    this.#ready = this.all.filter(({ state }) => state === 'ready');
  }
}
