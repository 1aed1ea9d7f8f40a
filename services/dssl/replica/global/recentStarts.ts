// Fig. 6: the flows that began in the last few seconds, and who got them.
//
// A start may be sent twice: the client heard nothing and repeats its SYN. If the view changed in between, the second copy may
// be placed at another member than the first, and two servers would hold one connection, since by Fig. 6 only its owner knows a
// flow. So every replica remembers for a moment where each start went, and a repeated one goes there again. The time runs from
// the first start: a tuple that is used again later is a new flow, however often its start is repeated.
//
// This is global state: it depends on rows and views and on no slice of the flow table.

import { limits } from '../../../../shared/base/limits.ts';
import { serverNumbers } from '../flows/entry.ts';
import { msPerTick } from '../ticks.ts';
import { FifoTable } from './fifoTable.ts';

export class RecentStarts {
  readonly table: FifoTable;

  /** Remembers `capacity` starts, the oldest forgotten first, for `windowMs` of the line's time. */
  constructor(capacity: number = limits.recentStarts, windowMs: number = limits.recentStartMs) {
    this.table = new FifoTable(capacity, Math.floor(windowMs / msPerTick), 1);
  }

  /** Server number that got the start of this flow (int32 hash halves), or -1 when none is remembered. */
  find(hi: number, lo: number): number {
    const position = this.table.find(hi, lo);
    return position < 0 ? -1 : this.table.value(position, 0);
  }

  /** See FifoTable. */
  restore(next: number, records: Int32Array, tick: number): boolean {
    for (let at = 4; at < records.length; at += 5) if (!(records[at] >>> 0 < serverNumbers)) return false;
    return this.table.restore(next, records, tick);
  }

  record(hi: number, lo: number, tick: number, owner: number): void {
    this.table.add(hi, lo, tick, owner);
  }
}
