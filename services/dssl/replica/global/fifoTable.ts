// A bounded memory of recent things: 64-bit hash to a few words, each kept for a fixed time after it was recorded.
//
// Records lie in a ring in the order they came; a small hash index beside it says where. Time never goes back, so the oldest
// record is the next one to end, and `expire` takes what is over from the ring's tail. Beyond `capacity` the oldest gives way.
//
//   index   [ . 3 . . 1 2 ]            position + 1 of a record, at hashLo's low bits or just behind; 0 is free
//   ring    [ 4 | 5 | 6 | . | . | 3 ]  records by number modulo the ring's length
//             next ──► ▲       ▲ first
//   record  { hashHi, hashLo, tick, living, value words... }
//
// Ring and index begin small and double as needed, up to what `capacity` takes. Nothing but the content shows outside: what is
// forgotten depends on how many records came since, which the record's number tells, so a table that was restored from
// another one's living records goes on exactly as that one does.

import { mix32 } from '../../../../shared/hash/mix.ts';
import { isOver } from '../ticks.ts';

const head = 4;
const firstSlots = 32;

export class FifoTable {
  /** Records that gave way although their time was not over: the capacity is too small for the rate. */
  overwritten = 0;
  readonly #capacity: number;
  readonly #windowTicks: number;
  readonly #valueWords: number;
  readonly #stride: number;
  #slots = firstSlots;
  #ring: Int32Array;
  #index: Int32Array;
  /** Numbers of the oldest record that may live, and of the next one. */
  #first = 0;
  #next = 0;
  #size = 0;
  #sum = 0;

  /** `capacity` records of `valueWords` int32 values, each found for `windowTicks` ticks after it was added. */
  constructor(capacity: number, windowTicks: number, valueWords: number) {
    if (!(capacity >= 1 && capacity <= 1 << 24)) throw new RangeError(`capacity out of range: ${capacity}`);
    this.#capacity = capacity;
    this.#windowTicks = windowTicks;
    this.#valueWords = valueWords;
    this.#stride = head + valueWords;
    this.#ring = new Int32Array(this.#slots * this.#stride);
    this.#index = new Int32Array(2 * this.#slots);
  }

  /** Forgets what is over at `tick`. To be called whenever the tick has moved on, before anything is looked up. */
  expire(tick: number): void {
    const ring = this.#ring;
    for (; this.#first < this.#next; this.#first++) {
      const position = this.#first & (this.#slots - 1);
      const at = position * this.#stride;
      if (ring[at + 3] === 0) continue;
      if (!isOver(tick, ring[at + 2], this.#windowTicks)) return;
      this.#unlink(this.#slotOf(ring[at], ring[at + 1]), position);
    }
  }

  /** Position of the record of this hash (int32 halves), or -1. Valid until the next change. */
  find(hi: number, lo: number): number {
    const slot = this.#slotOf(hi, lo);
    return slot < 0 ? -1 : this.#index[slot] - 1;
  }

  /** Records a hash anew, in place of what was recorded for it. */
  add(hi: number, lo: number, tick: number, value0: number, value1 = 0, value2 = 0): void {
    this.remove(hi, lo);
    if (this.#next - this.#first === this.#capacity) this.#giveWay();
    if (this.#next - this.#first === this.#slots) this.#double();
    this.#put(this.#next++, hi, lo, tick, value0, value1, value2);
  }

  /** Forgets a hash; whether it was recorded. */
  remove(hi: number, lo: number): boolean {
    const slot = this.#slotOf(hi, lo);
    if (slot < 0) return false;
    this.#unlink(slot, this.#index[slot] - 1);
    return true;
  }

  value(position: number, word: number): number {
    return this.#ring[position * this.#stride + head + word];
  }

  setValue(position: number, word: number, value: number): void {
    const at = position * this.#stride;
    this.#sum = (this.#sum - this.#mixOf(at)) | 0;
    this.#ring[at + head + word] = value;
    this.#sum = (this.#sum + this.#mixOf(at)) | 0;
  }

  get size(): number {
    return this.#size;
  }

  /** A sum over all records, whatever the ring's length: equal tables have equal ones. u32. */
  get fingerprint(): number {
    return mix32(this.#sum ^ mix32(this.#next | 0)) >>> 0;
  }

  /** Number of the next record; with `records` all that `restore` needs. */
  get next(): number {
    return this.#next;
  }

  /** All records, the oldest first: [how many came since, hi, lo, tick, values...] each. */
  records(): Int32Array {
    const words = new Int32Array(this.#size * this.#stride);
    let to = 0;
    for (let number = this.#first; number < this.#next; number++) {
      const at = (number & (this.#slots - 1)) * this.#stride;
      if (this.#ring[at + 3] === 0) continue;
      words[to] = this.#next - number;
      words[to + 1] = this.#ring[at];
      words[to + 2] = this.#ring[at + 1];
      words[to + 3] = this.#ring[at + 2];
      for (let word = 0; word < this.#valueWords; word++) words[to + head + word] = this.#ring[at + head + word];
      to += this.#stride;
    }
    return words;
  }

  /** Fills an empty table; false, and unusable, when these are no records that `records` could have given. */
  restore(next: number, words: Int32Array, tick: number): boolean {
    const stride = this.#stride;
    if (words.length % stride !== 0 || !Number.isSafeInteger(next) || next < 0) return false;
    const span = words.length === 0 ? 0 : words[0];
    if (span < 0 || span > this.#capacity || span > next) return false;
    this.#first = next - span;
    this.#next = next;
    while (this.#slots < span) this.#enlarge();
    let before = span + 1;
    for (let at = 0; at < words.length; at += stride) {
      const [since, hi, lo, then] = words.subarray(at, at + head);
      if (since >= before || since < 1 || this.#slotOf(hi, lo) >= 0) return false;
      if (isOver(tick, then, this.#windowTicks)) return false;
      before = since;
      this.#put(next - since, hi, lo, then, words[at + 4], words[at + 5], words[at + 6]);
    }
    return true;
  }

  #put(number: number, hi: number, lo: number, tick: number, value0: number, value1: number, value2: number): void {
    const ring = this.#ring;
    const position = number & (this.#slots - 1);
    const at = position * this.#stride;
    ring[at] = hi;
    ring[at + 1] = lo;
    ring[at + 2] = tick;
    ring[at + 3] = 1 + (number & 0x3fff_ffff);
    if (this.#valueWords > 0) ring[at + 4] = value0;
    if (this.#valueWords > 1) ring[at + 5] = value1;
    if (this.#valueWords > 2) ring[at + 6] = value2;
    this.#link(position, lo);
    this.#size++;
    this.#sum = (this.#sum + this.#mixOf(at)) | 0;
  }

  #link(position: number, lo: number): void {
    const mask = this.#index.length - 1;
    let slot = lo & mask;
    while (this.#index[slot] !== 0) slot = (slot + 1) & mask;
    this.#index[slot] = position + 1;
  }

  /** The oldest record makes room. */
  #giveWay(): void {
    const position = this.#first & (this.#slots - 1);
    const at = position * this.#stride;
    if (this.#ring[at + 3] !== 0) {
      this.overwritten++;
      this.#unlink(this.#slotOf(this.#ring[at], this.#ring[at + 1]), position);
    }
    this.#first++;
  }

  #double(): void {
    const ring = this.#ring;
    const { slots, stride } = { slots: this.#slots, stride: this.#stride };
    this.#enlarge();
    for (let number = this.#first; number < this.#next; number++) {
      const from = (number & (slots - 1)) * stride;
      const position = number & (this.#slots - 1);
      this.#ring.set(ring.subarray(from, from + stride), position * stride);
      if (ring[from + 3] !== 0) this.#link(position, ring[from + 1]);
    }
  }

  /** Twice the room, and nothing in it. */
  #enlarge(): void {
    this.#slots *= 2;
    this.#ring = new Int32Array(this.#slots * this.#stride);
    this.#index = new Int32Array(2 * this.#slots);
  }

  /** Index slot that names the record of this hash, or -1. */
  #slotOf(hi: number, lo: number): number {
    const mask = this.#index.length - 1;
    for (let slot = lo & mask; this.#index[slot] !== 0; slot = (slot + 1) & mask) {
      const at = (this.#index[slot] - 1) * this.#stride;
      if (this.#ring[at] === hi && this.#ring[at + 1] === lo) return slot;
    }
    return -1;
  }

  #mixOf(at: number): number {
    const ring = this.#ring;
    let sum = 0;
    for (let word = 0; word < this.#stride; word++) sum = mix32(sum ^ ring[at + word]) + word;
    return sum;
  }

  /** Takes a record out; later slots of its run in the index move up where that brings them nearer to their home. */
  #unlink(slot: number, position: number): void {
    const index = this.#index;
    const mask = index.length - 1;
    const at = position * this.#stride;
    this.#sum = (this.#sum - this.#mixOf(at)) | 0;
    this.#ring[at + 3] = 0;
    this.#size--;
    let gap = slot;
    for (let next = (gap + 1) & mask; index[next] !== 0; next = (next + 1) & mask) {
      const home = this.#ring[(index[next] - 1) * this.#stride + 1] & mask;
      if (((next - home) & mask) < ((next - gap) & mask)) continue;
      index[gap] = index[next];
      gap = next;
    }
    index[gap] = 0;
  }
}
