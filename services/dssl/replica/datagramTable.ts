// Which flow a fragmented datagram belongs to.
//
// Only the first fragment carries the ports; the later ones name the datagram (addresses, protocol, identification).
// The first fragment teaches the table datagram hash to flow hash and the flags of the packet, for as long as fragments
// of it may still arrive. An identification comes round again sooner or later, so the newest first fragment counts.

import { limits } from '../../../shared/base/limits.ts';
import { FifoTable } from './fifoTable.ts';
import { msPerTick } from './ticks.ts';

export class DatagramTable {
  readonly #table: FifoTable;

  /** Knows `capacity` datagrams, the oldest forgotten first, for `windowMs` of packet time. */
  constructor(capacity: number = limits.knownDatagrams, windowMs: number = limits.knownDatagramMs) {
    this.#table = new FifoTable(capacity, Math.floor(windowMs / msPerTick), 3);
  }

  /** Position of a datagram (int32 hash halves) for the readers below, valid until the next call of `learn`, or -1. */
  find(hi: number, lo: number, tick: number): number {
    return this.#table.find(hi, lo, tick);
  }

  /** Learns from a first fragment: the flow it belongs to and its frame flags (u16). */
  learn(hi: number, lo: number, tick: number, flowHi: number, flowLo: number, flags: number): void {
    const position = this.#table.add(hi, lo, tick);
    this.#table.setValue(position, 0, flowHi);
    this.#table.setValue(position, 1, flowLo);
    this.#table.setValue(position, 2, flags);
  }

  flowHi(position: number): number {
    return this.#table.value(position, 0);
  }

  flowLo(position: number): number {
    return this.#table.value(position, 1);
  }

  flags(position: number): number {
    return this.#table.value(position, 2);
  }

  get size(): number {
    return this.#table.size;
  }

  /** Datagrams forgotten before their time because there were too many. */
  get overwritten(): number {
    return this.#table.overwritten;
  }
}
