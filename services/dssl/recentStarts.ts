// Flow starts of the last few seconds, and who got them.
//
// A start may be sent twice: the client heard nothing and repeats its SYN. If the view changed in between, the second
// copy may be placed at another member than the first, and two servers would hold one connection. So every module
// remembers for a moment where each start went, and a repeated one goes there again. The time runs from the first
// start: a tuple that is used again later is a new flow, however often its start is repeated.

import { limits } from '../../shared/limits.ts';
import { FifoTable, type RecordVisitor } from './fifoTable.ts';
import { msPerTick } from './ticks.ts';

export class RecentStarts {
  readonly #table: FifoTable;

  /** Remembers `capacity` starts, the oldest forgotten first, for `windowMs` of packet time. */
  constructor(capacity: number = limits.recentStarts, windowMs: number = limits.recentStartMs) {
    this.#table = new FifoTable(capacity, Math.floor(windowMs / msPerTick), 1);
  }

  /** Server number that got the start of this flow (int32 hash halves), or -1 when none is remembered. */
  find(hi: number, lo: number, tick: number): number {
    const position = this.#table.find(hi, lo, tick);
    return position < 0 ? -1 : this.#table.value(position, 0);
  }

  /** Remembers a start. One that went to the same owner keeps the time of its first copy; another owner begins anew. */
  record(hi: number, lo: number, tick: number, owner: number): void {
    const known = this.#table.find(hi, lo, tick);
    if (known >= 0 && this.#table.value(known, 0) === owner) return;
    this.#table.setValue(this.#table.add(hi, lo, tick), 0, owner);
  }

  /** Forgets a start; whether there was one. */
  remove(hi: number, lo: number): boolean {
    return this.#table.remove(hi, lo);
  }

  /** Shows up to `limit` starts, oldest first, from `cursor` (0 at first); returns the next cursor, or -1 at the end. */
  scan(cursor: number, limit: number, visit: RecordVisitor): number {
    return this.#table.scan(cursor, limit, visit);
  }

  /** Owner of the start that `scan` shows at `position`. */
  ownerAt(position: number): number {
    return this.#table.value(position, 0);
  }

  get size(): number {
    return this.#table.size;
  }

  /** Starts forgotten before their time because there were too many. */
  get overwritten(): number {
    return this.#table.overwritten;
  }
}
