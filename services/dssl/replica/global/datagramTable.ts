// Which flow a fragmented datagram belongs to.
//
// Only the first fragment carries the ports; the later ones name the datagram (addresses, protocol, identification).
// The first fragment teaches the table datagram hash to flow hash and the flags of the packet, for as long as fragments
// of it may still arrive. An identification comes round again sooner or later, so the newest first fragment counts.

import { limits } from '../../../../shared/base/limits.ts';
import { msPerTick } from '../ticks.ts';
import { FifoTable } from './fifoTable.ts';

export class DatagramTable {
  readonly table: FifoTable;

  /** Knows `capacity` datagrams, the oldest forgotten first, for `windowMs` of the line's time. */
  constructor(capacity: number = limits.knownDatagrams, windowMs: number = limits.knownDatagramMs) {
    this.table = new FifoTable(capacity, Math.floor(windowMs / msPerTick), 3);
  }

  /** Position of a datagram (int32 hash halves) for the readers below, valid until the next change, or -1. */
  find(hi: number, lo: number): number {
    return this.table.find(hi, lo);
  }

  /** Learns from a first fragment: the flow it belongs to and its frame flags (u16). */
  learn(hi: number, lo: number, tick: number, flowHi: number, flowLo: number, flags: number): void {
    this.table.add(hi, lo, tick, flowHi, flowLo, flags);
  }

  flowHi(position: number): number {
    return this.table.value(position, 0);
  }

  flowLo(position: number): number {
    return this.table.value(position, 1);
  }

  flags(position: number): number {
    return this.table.value(position, 2);
  }
}
