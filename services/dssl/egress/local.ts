// The egress to a server in the same process: accepted packets of a frame become one batch, and the batch a call of the
// handler.
//
// A handler is somebody else's code, so it is fenced in. Whatever it throws or rejects costs that batch or event and is
// counted and logged (once a second at most, with the number of those not logged), never the actor. A handler that
// works asynchronously may fall behind; beyond `maxPendingBatches` unfinished batches, new ones are dropped and
// counted, so that its promises cannot use up the memory.
//
// A flow's start is told at once, so it comes before the batch; its end waits until the batch with its last packet is
// out. When a flow ends and starts again within one frame, the batch so far and the end go out before the new start.

import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import { BatchBuffer } from './batch.ts';
import type { EgressStats, FlowKeeper, KeptFlows, LogPlace, ServerEgress } from './egress.ts';
import { HandledUpTo } from './handledUpTo.ts';
import { formatFlowId } from './handlers/flowMap.ts';
import type {
  FlowEndReason,
  FlowEvent,
  FlowOrigin,
  HandlerLog,
  ServerHandler,
  ServerLoad,
} from './handlers/handler.ts';

export interface LocalEgressOptions {
  readonly handler: ServerHandler;
  /** Makes the second handler of one that declares `state`; undefined where no flow is protected. */
  readonly makeShadow?: (() => Promise<ServerHandler>) | undefined;
  /** How messages name the handler; default 'handler'. */
  readonly name?: string;
  readonly log: HandlerLog;
  /** Milliseconds that never go back; asked only when something went wrong. */
  readonly nowMs: () => number;
  /**
   * Unfinished batches of an asynchronous handler; default 1,024. At most so many frames' worth of its memory is held.
   */
  readonly maxPendingBatches?: number;
}

/** Counts since the start. packets = handled without a fault + packetsLost, once pendingBatches is 0. */
export interface LocalEgressStats extends EgressStats {
  batches: number;
  /** Calls of the handler that threw or rejected. */
  handlerErrors: number;
  /** The first of these faults, in one line; undefined while there was none. */
  firstError: string | undefined;
  /** Packets of batches that the handler failed on, or that were not given to it because too many were unfinished. */
  packetsLost: number;
  batchesRefused: number;
  pendingBatches: number;
  /** Packets that a server which has died may have had before. */
  repeats: number;
}

const logIntervalMs = 1_000;
/** Ends that wait for their batch. More of them and the batch goes out early. */
const maxWaitingEnds = 64;

interface WaitingEnd {
  readonly event: FlowEvent;
  readonly reason: FlowEndReason;
}

export class LocalEgress implements ServerEgress, FlowKeeper {
  readonly stats: Readonly<LocalEgressStats>;
  readonly #stats: LocalEgressStats = {
    batches: 0,
    packets: 0,
    bytes: 0,
    flowsStarted: 0,
    flowsEnded: 0,
    handlerErrors: 0,
    firstError: undefined,
    packetsLost: 0,
    batchesRefused: 0,
    pendingBatches: 0,
    repeats: 0,
  };
  /** Where the handler's state outlives the server. */
  kept: KeptFlows | undefined;
  readonly #options: LocalEgressOptions;
  readonly #handler: ServerHandler;
  #shadow: LocalEgress | undefined;
  readonly #name: string;
  readonly #log: HandlerLog;
  readonly #nowMs: () => number;
  readonly #maxPendingBatches: number;
  readonly #batch = new BatchBuffer();
  readonly #handled = new HandledUpTo();
  #isOpen = false;
  #waitingEnds: WaitingEnd[] = [];
  #lastLogMs = Number.NEGATIVE_INFINITY;
  #unlogged = 0;
  #whenIdle: (() => void)[] = [];

  constructor(options: LocalEgressOptions) {
    this.stats = this.#stats;
    this.#options = options;
    this.#handler = options.handler;
    this.#name = options.name ?? 'handler';
    this.#log = options.log;
    this.#nowMs = options.nowMs;
    this.#maxPendingBatches = options.maxPendingBatches ?? 1_024;
  }

  /**
   * Starts the handler. Rejects with FlowherdError bad-state, whose message names the handler, when it will not start.
   */
  async start(): Promise<void> {
    try {
      await this.#handler.start?.();
    } catch (error) {
      throw new FlowherdError(errorCodes.badState, `handler ${this.#name} did not start: ${reasonOf(error)}`, error);
    }
    const { state: way } = this.#handler;
    const { makeShadow, log, nowMs } = this.#options;
    if (way === undefined || makeShadow === undefined) return;
    const shadow = new LocalEgress({ handler: await makeShadow(), name: `${this.#name} (shadow)`, log, nowMs });
    await shadow.start();
    this.#shadow = shadow;
    this.kept = { way, live: this, shadow };
  }

  /** The way that the packets came is nothing to a handler. */
  begin(data: Uint8Array, timestampMs: number, _tier1Id?: string, isRepeat = false, place?: LogPlace): void {
    const batch = this.#batch;
    batch.data = data;
    batch.timestampMs = timestampMs;
    batch.isRepeat = isRepeat;
    batch.epoch = place?.epoch ?? 0;
    batch.position = place?.position ?? 0;
    this.#isOpen = true;
  }

  add(offset: number, length: number, hi: number, lo: number, flags: number, row = 0, isInState = false): void {
    if (this.#batch.isFull) this.#deliver();
    this.#batch.add(offset, length, hi, lo, flags, row, isInState);
  }

  end(): void {
    this.#deliver();
    this.#isOpen = false;
    if (this.#waitingEnds.length > 0) this.#tellEnds();
  }

  flowStarted(hi: number, lo: number, timestampMs: number, origin: FlowOrigin = 'new'): void {
    this.#stats.flowsStarted++;
    if (this.#waitingEnds.some(({ event }) => event.hi === hi && event.lo === lo)) this.#settleEnds();
    if (this.#handler.onFlowStart === undefined) return;
    try {
      this.#handler.onFlowStart({ flowId: formatFlowId(hi, lo), hi, lo, timestampMs }, origin);
    } catch (error) {
      this.#fault('onFlowStart', error);
    }
  }

  flowEnded(hi: number, lo: number, reason: FlowEndReason, timestampMs: number): void {
    this.#stats.flowsEnded++;
    if (this.#handler.onFlowEnd === undefined) return;
    // The flow's last packet may be added after this call, so even a full list of ends goes without this one.
    if (this.#waitingEnds.length >= maxWaitingEnds) this.#settleEnds();
    this.#waitingEnds.push({ event: { flowId: formatFlowId(hi, lo), hi, lo, timestampMs }, reason });
    if (!this.#isOpen) this.#tellEnds();
  }

  handled(position: number): number {
    return this.#handled.at(position);
  }

  /** What the handler keeps for a flow, with all packets up to now. */
  saveFlow(hi: number, lo: number): Uint8Array | undefined {
    this.#deliver();
    try {
      const bytes = this.#handler.saveFlow?.(hi, lo);
      // It may be a view of what the handler goes on writing in.
      return bytes === undefined ? undefined : Uint8Array.from(bytes);
    } catch (error) {
      this.#fault('saveFlow', error);
      return undefined;
    }
  }

  loadFlow(hi: number, lo: number, bytes: Uint8Array): void {
    try {
      this.#handler.loadFlow?.(hi, lo, bytes);
    } catch (error) {
      this.#fault('loadFlow', error);
    }
  }

  dropFlow(hi: number, lo: number): void {
    this.#deliver();
    try {
      this.#handler.dropFlow?.(hi, lo);
    } catch (error) {
      this.#fault('dropFlow', error);
    }
  }

  /** To be called about once a second. */
  tick(nowMs: number): void {
    this.#shadow?.tick(nowMs);
    try {
      this.#handler.onTick?.(nowMs);
    } catch (error) {
      this.#fault('onTick', error);
    }
  }

  /** How busy the handler says it is; undefined when it says nothing, or nothing that makes sense. */
  load(): ServerLoad | undefined {
    if (this.#handler.load === undefined) return undefined;
    try {
      return checkedLoad(this.#handler.load());
    } catch (error) {
      this.#fault('load', error);
      return undefined;
    }
  }

  /** What the handler says of itself; a failing report() is a report too. */
  report(): Record<string, unknown> {
    try {
      return this.#handler.report?.() ?? {};
    } catch (error) {
      this.#fault('report', error);
      return { error: reasonOf(error) };
    }
  }

  /**
   * Waits for the unfinished batches, then stops the handler. Never rejects: by now there is nobody to put it right.
   */
  async stop(): Promise<void> {
    await this.#shadow?.stop();
    if (this.#isOpen) this.end();
    if (this.#stats.pendingBatches > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    try {
      await this.#handler.stop?.();
    } catch (error) {
      this.#fault('stop', error);
    }
  }

  #settleEnds(): void {
    this.#deliver();
    this.#tellEnds();
  }

  #deliver(): void {
    const batch = this.#batch;
    const packets = batch.count;
    if (packets === 0) return;
    const stats = this.#stats;
    stats.packets += packets;
    stats.bytes += batch.bytes;
    if (batch.isRepeat) stats.repeats += packets;
    if (stats.pendingBatches >= this.#maxPendingBatches) {
      stats.batchesRefused++;
      stats.packetsLost += packets;
      this.#complain('too many unfinished batches; packets are dropped until some have finished');
    } else {
      stats.batches++;
      try {
        const result = this.#handler.onPackets(batch);
        if (result !== undefined && typeof result?.then === 'function') this.#follow(result, packets);
      } catch (error) {
        stats.packetsLost += packets;
        this.#fault('onPackets', error);
      }
    }
    batch.clear();
  }

  #follow(work: Promise<void>, packets: number): void {
    this.#stats.pendingBatches++;
    const done = this.#handled.begin();
    work.then(
      () => this.#settled(done),
      (error: unknown) => {
        this.#stats.packetsLost += packets;
        this.#fault('onPackets', error);
        this.#settled(done);
      },
    );
  }

  #followEnd(work: Promise<void>): void {
    const done = this.#handled.begin();
    work.then(done, (error: unknown) => {
      this.#fault('onFlowEnd', error);
      done();
    });
  }

  #settled(done: () => void): void {
    done();
    if (--this.#stats.pendingBatches > 0) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  #tellEnds(): void {
    const ends = this.#waitingEnds;
    this.#waitingEnds = [];
    for (const { event, reason } of ends) {
      try {
        const result = this.#handler.onFlowEnd?.(event, reason);
        if (result !== undefined && typeof result?.then === 'function') this.#followEnd(result);
      } catch (error) {
        this.#fault('onFlowEnd', error);
      }
    }
  }

  #fault(where: string, error: unknown): void {
    const what = `${where} failed: ${reasonOf(error)}`;
    this.#stats.handlerErrors++;
    this.#stats.firstError ??= what;
    this.#complain(what, error);
  }

  #complain(what: string, error?: unknown): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#lastLogMs < logIntervalMs) {
      this.#unlogged++;
      return;
    }
    this.#lastLogMs = nowMs;
    const fields: Record<string, unknown> = { unlogged: this.#unlogged, packetsLost: this.#stats.packetsLost };
    if (error instanceof Error && error.stack !== undefined) fields.stack = error.stack;
    this.#unlogged = 0;
    this.#log.error(`handler ${this.#name}: ${what}`, fields);
  }
}

/** The bounds of each part of a load. */
const loadBounds = {
  load: [0, 1e6],
  latencyMs: [0, 1e9],
  loss: [0, 1],
  temperature: [-273, 1_000],
} as const;

/** The load as it may go on. Throws a TypeError that says what is wrong with it. */
function checkedLoad(said: unknown): ServerLoad {
  if (typeof said !== 'object' || said === null) throw new TypeError(`it gave ${said}, not an object`);
  if ('then' in said && typeof said.then === 'function') {
    said.then(undefined, () => undefined);
    throw new TypeError('it gave a promise; a load is wanted at once');
  }
  const load: { -readonly [Part in keyof ServerLoad]: number } = {};
  for (const [part, [least, most]] of Object.entries(loadBounds)) {
    const value: unknown = (said as Record<string, unknown>)[part];
    if (value === undefined) continue;
    if (typeof value !== 'number' || !(value >= least && value <= most))
      throw new TypeError(`${part} is ${String(value)}; a number from ${least} to ${most} is wanted`);
    load[part as keyof ServerLoad] = value;
  }
  return load;
}
