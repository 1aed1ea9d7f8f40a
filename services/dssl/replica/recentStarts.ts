// The flows that began in the last few seconds, and who got them.
//
// A start may be sent twice: the client heard nothing and repeats its SYN. If the view changed in between, the second
// copy may be placed at another member than the first, and two servers would hold one connection. So every module
// remembers for a moment where each start went, and a repeated one goes there again. The time runs from the first
// start: a tuple that is used again later is a new flow, however often its start is repeated.
//
// And a module that missed frames asks its peers what began in them (sync.ts). That is why flows without a visible start
// are remembered here too.

import { limits } from '../../../shared/base/limits.ts';
import { FifoTable, type RecordVisitor } from './fifoTable.ts';
import { ageTicks, msPerTick } from './ticks.ts';

// A record's value: owner 12 bits, protocol class 4, whether it is in the flow tables 1.
const ownerMask = 0xfff;
const classShift = 12;
const inTableBit = 1 << 16;

export class RecentStarts {
  readonly #table: FifoTable;
  readonly windowTicks: number;

  /** Remembers `capacity` starts, the oldest forgotten first, for `windowMs` of packet time. */
  constructor(capacity: number = limits.recentStarts, windowMs: number = limits.recentStartMs) {
    this.windowTicks = Math.floor(windowMs / msPerTick);
    this.#table = new FifoTable(capacity, this.windowTicks, 2);
  }

  /** Server number that got the start of this flow (int32 hash halves), or -1 when none is remembered. */
  find(hi: number, lo: number, tick: number): number {
    const position = this.#table.find(hi, lo, tick);
    return position < 0 ? -1 : this.#table.value(position, 0) & ownerMask;
  }

  /**
   * Remembers a start. One that went to the same owner keeps the time of its first copy; another owner begins anew.
   * `inTable`: the flow went into the flow table of every module, and not only of its owner's (Fig. 7). `view`: number of
   * the view by which it was placed.
   */
  record(
    hi: number,
    lo: number,
    tick: number,
    owner: number,
    protocolClass: number,
    inTable: boolean,
    view: number,
  ): void {
    const known = this.#table.find(hi, lo, tick);
    // One that a peer heard of earlier than this module did: its time runs out earlier too.
    const isRepeated = known >= 0 && (this.#table.value(known, 0) & ownerMask) === owner;
    if (isRepeated && ageTicks(tick, this.#table.tick(known)) >= 0) return;
    const position = this.#table.add(hi, lo, tick);
    this.#table.setValue(position, 0, owner | (protocolClass << classShift) | (inTable ? inTableBit : 0));
    this.#table.setValue(position, 1, view | 0);
  }

  /** Packet time of a start that is remembered, and number of the view by which it was placed; undefined for none. */
  describe(hi: number, lo: number, tick: number): { readonly tick: number; readonly view: number } | undefined {
    const position = this.#table.find(hi, lo, tick);
    return position < 0 ? undefined : { tick: this.#table.tick(position), view: this.viewAt(position) };
  }

  /** A start that is remembered went to somebody else, by that view. Its time runs on. */
  correct(hi: number, lo: number, tick: number, owner: number, view: number): void {
    const position = this.#table.find(hi, lo, tick);
    if (position < 0) return;
    this.#table.setValue(position, 0, (this.#table.value(position, 0) & ~ownerMask) | owner);
    this.#table.setValue(position, 1, view | 0);
  }

  /** Forgets a start; whether there was one. */
  remove(hi: number, lo: number): boolean {
    return this.#table.remove(hi, lo);
  }

  /**
   * Looks at up to `limit` starts from `cursor` (0 at first), in the order they were recorded, and shows them; only
   * those of `earliestTick` or later if that is given. Returns the next cursor, or -1 at the end.
   */
  scan(cursor: number, limit: number, visit: RecordVisitor, earliestTick?: number): number {
    return this.#table.scan(cursor, limit, visit, earliestTick);
  }

  /** Owner of the start that `scan` shows at `position`. */
  ownerAt(position: number): number {
    return this.#table.value(position, 0) & ownerMask;
  }

  /** Number of the view by which it was placed, modulo 2^32. */
  viewAt(position: number): number {
    return this.#table.value(position, 1) >>> 0;
  }

  protocolClassAt(position: number): number {
    return (this.#table.value(position, 0) >>> classShift) & 15;
  }

  inTableAt(position: number): boolean {
    return (this.#table.value(position, 0) & inTableBit) !== 0;
  }

  get size(): number {
    return this.#table.size;
  }

  /** Starts forgotten before their time because there were too many. */
  get overwritten(): number {
    return this.#table.overwritten;
  }

  /** Whether every start since `tick` is still remembered, as seen at `now`. */
  reachesBack(tick: number, now: number): boolean {
    const { overwrittenTick } = this.#table;
    if (overwrittenTick !== undefined && ageTicks(overwrittenTick, tick) >= 0) return false;
    return ageTicks(now, tick) <= this.windowTicks;
  }
}
