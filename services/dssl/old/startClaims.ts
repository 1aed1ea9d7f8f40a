// What a member says after a change of views: which flows it took shortly before and after.
//
// Tier 1s learn of a view at different moments. When a client's packets come through two of them just then (the router in
// front has hashed anew), two members may each take the same start, by one view each; and by Fig. 6 nobody else has the
// flow in a table that could be compared. So each says what it took near the change, and who has taken the same says so
// (twoOwners.ts). Twice for each change: soon, and again when the last tier 1 must have heard of the view.

import type { Decider } from '../replica/decide.ts';
import { FlowState, ownerOf, stateOf } from '../replica/flows/entry.ts';
import { ageTicks } from '../replica/ticks.ts';
import { RowKind, RowQueue, rowsPerChunk } from './sync.ts';

/** When it is said after the change, and how long before the change what is said may have begun. */
const soonMs = 400;
const lateMs = 2_500;
const beforeTicks = 20;
/** Starts looked at in one tick. */
const startsPerTick = 8_192;

export class StartClaims {
  readonly #decider: Decider;
  readonly #self: number;
  #fromTick = 0;
  /** When to speak next; infinite for never. */
  #soonAtMs = Number.POSITIVE_INFINITY;
  #lateAtMs = Number.POSITIVE_INFINITY;
  #cursor = -1;
  #left = 0;

  constructor(decider: Decider, self: number) {
    this.#decider = decider;
    this.#self = self;
  }

  /** The view has changed; `tick` is the packet time. Changes that follow each other fast are spoken of together. */
  onChange(tick: number, nowMs: number): void {
    const isQuiet = this.#soonAtMs === Number.POSITIVE_INFINITY && this.#lateAtMs === Number.POSITIVE_INFINITY;
    if (isQuiet && this.#cursor === -1) this.#fromTick = (tick - beforeTicks) | 0;
    if (this.#soonAtMs === Number.POSITIVE_INFINITY) this.#soonAtMs = nowMs + soonMs;
    this.#lateAtMs = nowMs + lateMs;
  }

  /** Rows to be said now; undefined for none. `tick` is the earliest packet time to which tier 1s have come. */
  next(tick: number, nowMs: number): Uint8Array | undefined {
    if (this.#cursor === -1 && !this.#isDue(nowMs)) return undefined;
    const rows = new RowQueue();
    this.#collect(rows);
    // The second time only what has begun since the first, by whatever clock.
    if (this.#cursor === -1) this.#fromTick = (tick - beforeTicks) | 0;
    return rows.count === 0 ? undefined : rows.takeChunk();
  }

  /** Nothing is known for certain: what was to be said is not. */
  reset(): void {
    this.#cursor = -1;
  }

  #isDue(nowMs: number): boolean {
    if (nowMs >= this.#soonAtMs) this.#soonAtMs = Number.POSITIVE_INFINITY;
    else if (nowMs >= this.#lateAtMs) this.#lateAtMs = Number.POSITIVE_INFINITY;
    else return false;
    this.#cursor = 0;
    this.#left = rowsPerChunk;
    return true;
  }

  #collect(rows: RowQueue): void {
    const { recentStarts, table, tick: now } = this.#decider;
    const add = (hi: number, lo: number, tick: number, position: number): void => {
      if (this.#left === 0 || recentStarts.ownerAt(position) !== this.#self) return;
      if (ageTicks(now, tick) > recentStarts.windowTicks) return;
      const handle = table.peek(hi, lo);
      if (handle === -1) return;
      const info = table.info(handle);
      if (ownerOf(info) !== this.#self || stateOf(info) === FlowState.closing) return;
      this.#left--;
      const kind = recentStarts.inTableAt(position) ? RowKind.startInTable : RowKind.start;
      const protocolClass = recentStarts.protocolClassAt(position);
      const view = recentStarts.viewAt(position);
      rows.add({ kind, hi, lo, tick, state: FlowState.unconfirmed, protocolClass, owner: 0, view });
    };
    this.#cursor = recentStarts.scan(this.#cursor, startsPerTick, add, this.#fromTick);
    if (this.#left === 0) this.#cursor = -1;
  }
}
