// A bounded memory of recent things: 64-bit hash to a few words, each kept for a fixed time after it was recorded.
//
// Records lie in a ring in the order they came; a small hash index beside it says where. A new record takes the place
// of the oldest one, so what is forgotten when the memory is too small depends on the order of recording and on nothing
// else, and no record ever has to be searched for to make room. Nothing is allocated after construction.
//
//   index   [ . 3 . . 1 2 ]       position + 1 of a record, at hashLo's low bits or just behind; 0 is free
//   ring    [ r3 | r0 | r1 | r2 ] the next record overwrites the oldest, r0
//              ▲ next
//   record  { hashHi, hashLo, tick, value words... }
//
// A removed record stays in the ring until it is overwritten; it is dead because the index does not name it any more.

import { ageTicks, isOver } from './ticks.ts';

/** Sees one record; `position` gives its values. Must not change the table. */
export type RecordVisitor = (hi: number, lo: number, tick: number, position: number) => void;

const head = 3;

export class FifoTable {
  /** Records pushed out although their time was not over: the capacity is too small for the rate. */
  overwritten = 0;
  /** Tick of the newest one of them. */
  overwrittenTick: number | undefined;
  readonly #capacity: number;
  readonly #windowTicks: number;
  readonly #stride: number;
  readonly #ring: Int32Array;
  readonly #index: Int32Array;
  readonly #mask: number;
  #next = 0;
  #recorded = 0;
  #size = 0;

  /** `capacity` records of `valueWords` int32 values, each found for `windowTicks` ticks after it was added. */
  constructor(capacity: number, windowTicks: number, valueWords: number) {
    if (!(capacity >= 1 && capacity <= 1 << 24)) throw new RangeError(`capacity out of range: ${capacity}`);
    this.#capacity = capacity;
    this.#windowTicks = windowTicks;
    this.#stride = head + valueWords;
    this.#ring = new Int32Array(capacity * this.#stride);
    // At most half full.
    const slots = 2 ** Math.ceil(Math.log2(2 * capacity));
    this.#index = new Int32Array(slots);
    this.#mask = slots - 1;
  }

  /** Position of the record of this hash (int32 halves), or -1. A record whose time is over is removed. */
  find(hi: number, lo: number, tick: number): number {
    const slot = this.#slotOf(hi, lo);
    if (slot < 0) return -1;
    const position = this.#index[slot] - 1;
    if (!isOver(tick, this.#ring[position * this.#stride + 2], this.#windowTicks)) return position;
    this.#unlink(slot);
    return -1;
  }

  /** Records a hash anew, in place of what was recorded for it. Returns the position, whose values the caller sets. */
  add(hi: number, lo: number, tick: number): number {
    this.remove(hi, lo);
    const position = this.#next;
    const at = position * this.#stride;
    if (this.#recorded >= this.#capacity) this.#overwrite(position, tick);
    this.#ring[at] = hi;
    this.#ring[at + 1] = lo;
    this.#ring[at + 2] = tick;
    let slot = lo & this.#mask;
    while (this.#index[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#index[slot] = position + 1;
    this.#next = position + 1 === this.#capacity ? 0 : position + 1;
    this.#recorded++;
    this.#size++;
    return position;
  }

  /** Forgets a hash; whether it was recorded. */
  remove(hi: number, lo: number): boolean {
    const slot = this.#slotOf(hi, lo);
    if (slot < 0) return false;
    this.#unlink(slot);
    return true;
  }

  tick(position: number): number {
    return this.#ring[position * this.#stride + 2];
  }

  value(position: number, word: number): number {
    return this.#ring[position * this.#stride + head + word];
  }

  setValue(position: number, word: number, value: number): void {
    this.#ring[position * this.#stride + head + word] = value;
  }

  /**
   * Looks at up to `limit` records from `cursor` (0 at first), in the order they came, and shows them, whether
   * or not their time is over; only those of `earliestTick` or later if that is given. Returns the next cursor, or -1 at
   * the end. A record that lives during the whole scan is met exactly once.
   */
  scan(cursor: number, limit: number, visit: RecordVisitor, earliestTick?: number): number {
    const ring = this.#ring;
    let sequence = Math.max(cursor, this.#recorded - this.#capacity);
    for (let left = Math.max(1, limit); left > 0 && sequence < this.#recorded; left--, sequence++) {
      const position = sequence % this.#capacity;
      const at = position * this.#stride;
      // Old ones are most, and told by their ticks alone.
      if (earliestTick !== undefined && ageTicks(ring[at + 2], earliestTick) < 0) continue;
      if (this.#isLinked(position)) visit(ring[at], ring[at + 1], ring[at + 2], position);
    }
    return sequence < this.#recorded ? sequence : -1;
  }

  /** Records held, those included whose time is over but that nobody has asked for since. */
  get size(): number {
    return this.#size;
  }

  /** Index slot that names the record of this hash, or -1. */
  #slotOf(hi: number, lo: number): number {
    for (let slot = lo & this.#mask; this.#index[slot] !== 0; slot = (slot + 1) & this.#mask) {
      const at = (this.#index[slot] - 1) * this.#stride;
      if (this.#ring[at] === hi && this.#ring[at + 1] === lo) return slot;
    }
    return -1;
  }

  #isLinked(position: number): boolean {
    const at = position * this.#stride;
    const slot = this.#slotOf(this.#ring[at], this.#ring[at + 1]);
    return slot >= 0 && this.#index[slot] === position + 1;
  }

  #overwrite(position: number, tick: number): void {
    const at = position * this.#stride;
    const slot = this.#slotOf(this.#ring[at], this.#ring[at + 1]);
    if (slot < 0 || this.#index[slot] !== position + 1) return;
    if (ageTicks(tick, this.#ring[at + 2]) <= this.#windowTicks) {
      this.overwritten++;
      this.overwrittenTick = this.#ring[at + 2];
    }
    this.#unlink(slot);
  }

  /** Takes a slot out of the index; later slots of its run move up where that brings them nearer to their home. */
  #unlink(slot: number): void {
    const index = this.#index;
    const mask = this.#mask;
    let gap = slot;
    for (let next = (gap + 1) & mask; index[next] !== 0; next = (next + 1) & mask) {
      const home = this.#ring[(index[next] - 1) * this.#stride + 1] & mask;
      if (((next - home) & mask) < ((next - gap) & mask)) continue;
      index[gap] = index[next];
      gap = next;
    }
    index[gap] = 0;
    this.#size--;
  }
}
