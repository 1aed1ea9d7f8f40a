// How many entries of a flow table each owner has, and how many of those are of flows that have ended.

import { hasEnded } from '../flowLife.ts';
import { ownerOf, stateOf } from './entry.ts';

export class OwnerCounts {
  #entries = new Int32Array(64);
  #ended = new Int32Array(64);

  /** An entry with this info word has come (1) or gone (-1). */
  add(info: number, change: number): void {
    const owner = ownerOf(info);
    if (owner >= this.#entries.length) this.#grow(owner);
    this.#entries[owner] += change;
    if (hasEnded(stateOf(info))) this.#ended[owner] += change;
  }

  of(owner: number): number {
    return owner < this.#entries.length ? this.#entries[owner] : 0;
  }

  endedOf(owner: number): number {
    return owner < this.#ended.length ? this.#ended[owner] : 0;
  }

  get bytes(): number {
    return this.#entries.byteLength + this.#ended.byteLength;
  }

  #grow(owner: number): void {
    const length = Math.max(owner + 1, 2 * this.#entries.length);
    this.#entries = longer(this.#entries, length);
    this.#ended = longer(this.#ended, length);
  }
}

function longer(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const copy = new Int32Array(length);
  copy.set(array);
  return copy;
}
