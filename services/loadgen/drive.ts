// Drives a run: packets leave when they are due (open loop) or as soon as few enough are without a verdict (closed loop),
// in turns of a millisecond or less, so that receipts come in meanwhile. When the bus takes no more, or no tier 1 is
// there, the run waits and falls behind; it never drops a packet of its own, and it does not catch up by skipping any.

import type { Clock } from '../../shared/base/clock.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import type { PacketKey } from './flowBook.ts';
import { longestStandstillMs, type OutgoingPacket, type Run } from './run.ts';

/** What a generator of packets must be able to do; TrafficGenerator is one. */
export interface PacketSource {
  readonly maxPacketBytes: number;
  /** Of the packet that next() wrote last: its number from 0, when it is due in milliseconds, its flow. */
  readonly id: number;
  readonly timeMs: number;
  readonly flow: number;
  readonly reply: boolean;
  readonly last: boolean;
  /** Writes the next packet and returns its length; 0 when there are no more. */
  next(buffer: Uint8Array, offset: number): number;
}

export interface DriveOptions {
  readonly run: Run;
  readonly source: PacketSource;
  /** What the cluster sees in a packet. */
  keyOf(buffer: Uint8Array, length: number): PacketKey;
  readonly bus: Bus;
  readonly clock: Clock;
  /** Most packets without a verdict; undefined: packets leave when the source says that they are due. */
  readonly concurrency?: number;
  readonly warmUpMs: number;
  /** Length of the run after that. */
  readonly runMs: number;
  readonly stop: AbortSignal;
  /** Called after each turn. */
  readonly onTurn?: () => void;
}

/** Why a run ended before its time; undefined when it did not. */
export type EarlyEnd = 'interrupted' | 'noTier1' | 'noReceipts' | 'closed';

/** A turn ends after so many packets, or when a look at the clock between two runs of them says that it has been long. */
const packetsPerTurn = 512;
const packetsPerLook = 32;
const longTurnMs = 2;
/** Pause when nothing is due. */
const turnMs = 1;
/** Longest wait for the bus between two looks at everything else. */
const stuckMs = 20;
/** A run that has fallen behind is given so much more time, then what is still due is left unsent. */
const overrunMs = 1_000;
/** How long a run goes on without any tier 1, and without a word of any server. */
const patienceMs = 10_000;
const receiptPatienceMs = 5_000;
/** After the last packet: the time for what tier 1s and servers say last, and for what is lost to be given up. */
const lastWordMs = 350;
const settleTimeoutMs: number = longestStandstillMs + 5_000;
/** Lags below this are the clock's and the timers', not the bus's. */
export const noLagMs = 20;

export class Drive {
  /** When the first packet was sent, when the warm-up was over, and when the last packet was sent. */
  startedAtMs = 0;
  measuredFromMs = 0;
  sentAtMs = 0;
  /** How far the run was behind its schedule at the worst, and packets that were due and not sent at its end. */
  mostBehindMs = 0;
  packetsBehind = 0;
  earlyEnd: EarlyEnd | undefined;
  isOver = false;
  readonly #options: DriveOptions;
  readonly #packet: { -readonly [K in keyof OutgoingPacket]: OutgoingPacket[K] };
  /** When the newest packet of the source is due, and whether it has still to be sent. */
  #dueMs = 0;
  #isPrepared = false;
  #hasEnded = false;
  #withoutTier1SinceMs = Number.POSITIVE_INFINITY;
  #writable: Promise<void> | undefined;
  #wake: () => void = () => undefined;

  constructor(options: DriveOptions) {
    this.#options = options;
    const buffer = new Uint8Array(options.source.maxPacketBytes);
    this.#packet = {
      buffer,
      length: 0,
      flow: 0,
      isReply: false,
      isLast: false,
      key: () => options.keyOf(buffer, this.#packet.length),
    };
  }

  /** Milliseconds since the first packet. */
  get elapsedMs(): number {
    return this.startedAtMs === 0 ? 0 : this.#options.clock.monotonicMs() - this.startedAtMs;
  }

  /** A receipt has come: a closed loop may have room. */
  wake(): void {
    this.#wake();
  }

  /** Sends until the time is over, then waits for what is on its way. */
  async send(): Promise<void> {
    const { run, clock, warmUpMs, onTurn } = this.#options;
    this.startedAtMs = this.sentAtMs = clock.monotonicMs();
    this.measuredFromMs = this.startedAtMs + warmUpMs;
    run.measureFromMs = this.measuredFromMs;
    while (!this.#hasEnded) {
      const mayGoOn = this.#turn();
      onTurn?.();
      if (!this.#hasEnded) await this.#pause(mayGoOn);
    }
    this.isOver = true;
    await this.#settle();
  }

  /** Sends what may be sent now; true when more could be. */
  #turn(): boolean {
    const { run, source, bus, clock, concurrency, warmUpMs, runMs, stop } = this.#options;
    const nowMs = clock.monotonicMs();
    run.tick(nowMs);
    const elapsedMs = nowMs - this.startedAtMs;
    const endMs = warmUpMs + runMs;
    if (stop.aborted) return this.#end('interrupted');
    if (this.#isForsaken(nowMs)) return false;
    let sent = 0;
    let isCut = false;
    for (; sent < packetsPerTurn && bus.writable; sent++) {
      if (!this.#isPrepared && !this.#prepare()) return this.#end();
      const dueMs = this.#dueMs;
      if (concurrency === undefined ? dueMs >= endMs : elapsedMs >= endMs) return this.#end();
      if (!run.maySend || (concurrency === undefined ? dueMs > elapsedMs : run.ledger.underWay >= concurrency)) break;
      const id = run.send(this.#packet, nowMs);
      if (id !== source.id) throw new Error(`packet ${source.id} of the generator was sent as packet ${id}`);
      this.#isPrepared = false;
      this.sentAtMs = nowMs;
      if (sent % packetsPerLook === packetsPerLook - 1 && clock.monotonicMs() - nowMs > longTurnMs) {
        isCut = true;
        break;
      }
    }
    if (concurrency === undefined) this.#noteLag(elapsedMs, endMs);
    // In a closed loop nothing more comes to fill a frame until those in it are answered.
    else if (sent < packetsPerTurn && !isCut) run.upstream.flush(nowMs, 0);
    return sent === packetsPerTurn || isCut;
  }

  #prepare(): boolean {
    const { source } = this.#options;
    const packet = this.#packet;
    packet.length = source.next(packet.buffer, 0);
    if (packet.length <= 0) return false;
    packet.flow = source.flow;
    packet.isReply = source.reply;
    packet.isLast = source.last;
    this.#dueMs = source.timeMs;
    this.#isPrepared = true;
    return true;
  }

  #noteLag(elapsedMs: number, endMs: number): void {
    const dueMs = this.#dueMs;
    this.mostBehindMs = Math.max(this.mostBehindMs, elapsedMs - dueMs);
    if (elapsedMs < endMs + overrunMs) return;
    // What is due and unsent, by the pace so far.
    this.packetsBehind = Math.round(((endMs - dueMs) * this.#options.run.ledger.sent) / Math.max(dueMs, 1));
    this.#end(this.#options.run.tier1s.ready.length === 0 ? 'noTier1' : undefined);
  }

  #isForsaken(nowMs: number): boolean {
    const { run } = this.#options;
    if (run.tier1s.ready.length > 0) this.#withoutTier1SinceMs = Number.POSITIVE_INFINITY;
    else this.#withoutTier1SinceMs = Math.min(this.#withoutTier1SinceMs, nowMs);
    const isUp = !run.isDown;
    if (isUp && nowMs - this.#withoutTier1SinceMs > patienceMs) return !this.#end('noTier1');
    const waited = nowMs - this.startedAtMs > receiptPatienceMs;
    if (isUp && waited && run.ledger.sent > 0 && run.servers.all.length === 1) return !this.#end('noReceipts');
    return false;
  }

  #end(why?: EarlyEnd): false {
    this.#hasEnded = true;
    this.earlyEnd = why;
    return false;
  }

  async #pause(mayGoOn: boolean): Promise<void> {
    const { run, bus, clock, concurrency } = this.#options;
    if (run.upstream.isStuck && bus.writable) {
      await this.#wait(turnMs);
    } else if (!bus.writable) {
      this.#writable ??= bus.whenWritable().finally(() => (this.#writable = undefined));
      await this.#wait(stuckMs, this.#writable);
    } else if (mayGoOn) await new Promise<void>((resolve) => clock.defer(resolve));
    else await this.#wait(turnMs, concurrency === undefined ? undefined : new Promise((wake) => (this.#wake = wake)));
  }

  /** Waits for `ms`, for `earlier`, or for the end of the run. */
  async #wait(ms: number, earlier?: Promise<void>): Promise<void> {
    const { clock } = this.#options;
    let timer: { cancel(): void } | undefined;
    const late = new Promise<void>((resolve) => (timer = clock.setTimer(ms, resolve)));
    try {
      await Promise.race(earlier === undefined ? [late] : [late, earlier]);
    } catch {
      // The bus was closed: by somebody who does not want this run to go on.
      this.#end('closed');
    } finally {
      timer?.cancel();
    }
  }

  /** Everything that is on its way arrives, or is given up. */
  async #settle(): Promise<void> {
    const { run, clock, onTurn } = this.#options;
    const giveUpAtMs = clock.monotonicMs() + settleTimeoutMs;
    for (;;) {
      const nowMs = clock.monotonicMs();
      run.upstream.flush(nowMs, 0);
      run.tick(nowMs);
      onTurn?.();
      const isSaid = nowMs - this.sentAtMs > lastWordMs && !run.upstream.isStuck;
      if ((run.isQuiet(nowMs) && isSaid) || nowMs > giveUpAtMs || this.earlyEnd === 'closed') break;
      await new Promise<void>((resolve) => void clock.setTimer(10, resolve));
    }
    run.finish(clock.monotonicMs());
  }
}
