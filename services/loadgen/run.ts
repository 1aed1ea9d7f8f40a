// One run of the traffic generator without its shell: packets go out through `publish`, hello messages and receipts come
// in, and what is known of every packet is in the ledger. Pure: the time is an argument.

import { limits } from '../../shared/base/limits.ts';
import { decodeHello } from '../../shared/messages/hello.ts';
import { Receipt, receiptVerdicts, runName } from '../../shared/messages/receipt.ts';
import { Histogram } from '../ops/histogram.ts';
import type { PacketKey } from './flowBook.ts';
import { Answer, Ledger } from './ledger.ts';
import { Servers } from './servers.ts';
import { Tier1s } from './tier1s.ts';
import { Upstream } from './upstream.ts';

const repeated = receiptVerdicts.indexOf('repeated');

export interface RunOptions {
  /** Tells the packets of this run from others': 32 bits, drawn at random. */
  readonly id: number;
  /** Packets that can be unsettled at once, at least; memory is some 26 bytes for each. */
  readonly capacity: number;
  readonly graceMs: number;
  publish(tier1: string, frame: Uint8Array): boolean;
}

/** A generated packet, at the start of `buffer`. */
export interface OutgoingPacket {
  readonly buffer: Uint8Array;
  readonly length: number;
  readonly flow: number;
  /** From the other side. */
  readonly isReply: boolean;
  readonly isLast: boolean;
  /** What the cluster sees in it. */
  key(): PacketKey;
}

/**
 * When no packet is answered for so long that was sent later than all that were, the logs of the cluster stand still: tier 1s hold
 * frames back, at most for `limits.appendAgeMs`. Packets are not given up meanwhile.
 */
const standstillMs = 500;
export const longestStandstillMs: number = limits.appendAgeMs + 3_000;

export class Run {
  readonly id: number;
  /** The run's name on the bus, and the name of this sender. */
  readonly name: string;
  readonly sender: string;
  readonly ledger: Ledger;
  readonly servers = new Servers();
  readonly tier1s: Tier1s;
  readonly upstream: Upstream;
  /** From handing a frame to the bus until the server has the packet, and the receipt's way back. */
  readonly latencyMs = new Histogram();
  /** Packets handed over earlier are not in the figures. */
  measureFromMs = Number.POSITIVE_INFINITY;
  /** Packets accepted of those in the figures. */
  measured = 0;
  /** Messages that were no receipts or hellos. */
  badMessages = 0;
  receiptMessages = 0;
  /** Packets that heirs of dead servers have handed out. */
  replayed = 0;
  /** This process's own connection is broken, was at any time, and when it was mended last. */
  isDown = false;
  wasDown = false;
  mendedAtMs = Number.NEGATIVE_INFINITY;
  readonly #receipt = new Receipt();
  /** When the newest packet that was answered was handed to the bus, and when its answer came. */
  #answeredMs = Number.NEGATIVE_INFINITY;
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  #standstillUntilMs = Number.NEGATIVE_INFINITY;
  /** How long the receipt at hand has waited at its server. */
  #lingeredMs = 0;

  constructor(options: RunOptions) {
    this.id = options.id;
    this.name = runName(options.id);
    this.sender = `traffic-${this.name}`;
    this.tier1s = new Tier1s(this.sender);
    this.ledger = new Ledger({
      capacity: 2 ** Math.ceil(Math.log2(options.capacity)),
      graceMs: options.graceMs,
      onMove: (from, _to, nowMs, gapMs, isAgain) => {
        const waitedMs = gapMs === undefined ? undefined : gapMs - this.#lingeredMs;
        this.servers.moved({ from, gapMs: waitedMs, isAgain }, nowMs);
      },
    });
    this.upstream = new Upstream({ sender: this.sender, ledger: this.ledger, publish: options.publish });
  }

  /** True when a packet may be sent: there is a tier 1, the bus takes more, and the ledger has room. */
  get maySend(): boolean {
    return this.tier1s.ready.length > 0 && !this.upstream.isStuck && this.ledger.hasRoom;
  }

  /** Sends a packet and returns its id; the caller has asked `maySend`. */
  send(packet: OutgoingPacket, nowMs: number): number {
    const { flows } = this.ledger;
    const row = flows.sends(packet.flow, nowMs, packet.isReply, packet.key);
    const tier1 = this.tier1s.route(flows, row);
    if (tier1 === undefined) throw new Error('sent a packet while no tier 1 takes any');
    const id = this.ledger.add(row, tier1.number, flows.isFirst, packet.isLast);
    this.upstream.add(tier1, id, packet.buffer, packet.length, nowMs);
    return id;
  }

  /** The connection broke. */
  down(): void {
    this.isDown = true;
    this.wasDown = true;
  }

  /** It was mended: nobody could be heard meanwhile, which says nothing about them. */
  up(nowMs: number): void {
    this.isDown = false;
    this.mendedAtMs = nowMs;
    this.tier1s.excuse(nowMs);
    this.servers.excuse(nowMs);
  }

  onHello(message: Uint8Array, nowMs: number): void {
    const hello = decodeHello(message);
    if (hello === undefined) this.badMessages++;
    else this.tier1s.heard(hello, nowMs);
  }

  onReceipt(message: Uint8Array, nowMs: number): void {
    const receipt = this.#receipt;
    if (!receipt.decode(message)) {
      this.badMessages++;
      return;
    }
    this.receiptMessages++;
    const server = this.servers.heard(receipt, nowMs);
    if (server === undefined) return;
    const { ledger } = this;
    for (let row = 0; row < receipt.count; row++) {
      const verdict = receipt.verdict(row);
      const id = receipt.id(row);
      const flow = receipt.flow(row);
      this.#lingeredMs = receipt.waitedMs(row);
      if (verdict === repeated) this.replayed++;
      if (verdict > 0 && verdict !== repeated) {
        if (verdict < receiptVerdicts.length) ledger.refuse(id, flow, verdict);
        else ledger.strange++;
      } else if (ledger.accept(id, flow, server.number, nowMs, verdict === repeated) === Answer.once) {
        const { handedOverAtMs } = ledger;
        if (handedOverAtMs > this.#answeredMs) {
          this.#answeredMs = handedOverAtMs;
          this.#answeredAtMs = nowMs;
        }
        if (handedOverAtMs < this.measureFromMs) continue;
        this.measured++;
        this.latencyMs.record(nowMs - this.#lingeredMs - handedOverAtMs, 1);
      }
    }
  }

  /** Time passes: tier 1s fall silent, frames and packets grow old. */
  tick(nowMs: number): void {
    this.upstream.flush(nowMs);
    if (this.isDown) return;
    this.tier1s.expire(nowMs);
    if (this.#standsStill(nowMs)) this.#standstillUntilMs = nowMs;
    this.ledger.settle(nowMs, Math.max(this.mendedAtMs, this.#standstillUntilMs));
  }

  #standsStill(nowMs: number): boolean {
    const isBehind = this.tier1s.all.some(({ sentAtMs, state }) => state !== 'silent' && sentAtMs > this.#answeredMs);
    // A cluster that has not answered at all is none whose logs stand still.
    if (!isBehind || this.#answeredAtMs === Number.NEGATIVE_INFINITY) return false;
    const silentMs = nowMs - Math.max(this.#answeredAtMs, this.mendedAtMs);
    return silentMs > standstillMs && silentMs < longestStandstillMs;
  }

  /** All is known that will be: nothing is on its way any more. */
  isQuiet(nowMs: number): boolean {
    return this.ledger.underWay === 0 && !this.servers.hasOpenMoves(nowMs);
  }

  finish(nowMs: number): void {
    this.ledger.settleAll();
    this.servers.finish(nowMs);
  }
}
