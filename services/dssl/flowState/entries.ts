// States of flows as they go from one member to another: one after the other, in chunks of which each can be read by itself.
//
//   0               4               8               12
//   +---------------+---------------+---------------+--------------------
//   |    hashHi     |    hashLo     |    length     |  bytes ...             length -1: nothing is kept; -2: the flow is not at the sender
//   +---------------+---------------+---------------+--------------------

import { limits } from '../../../shared/base/limits.ts';

/** What a member has for a flow: bytes, nothing, or not even the flow. */
export type SaidState = Uint8Array | 'nothing' | 'foreign';

const headBytes = 12;

export class EntryWriter {
  readonly #chunks: Uint8Array[] = [];
  #chunk = new Uint8Array(limits.flowStatesChunkBytes);
  #view = new DataView(this.#chunk.buffer);
  #at = 0;

  /** A state is at most `limits.flowStateBytes` long, so it fits an empty chunk. */
  add(hi: number, lo: number, state: SaidState): void {
    const length = typeof state === 'string' ? 0 : state.length;
    if (this.#at + headBytes + length > this.#chunk.length) this.#turn();
    this.#view.setInt32(this.#at, hi, true);
    this.#view.setInt32(this.#at + 4, lo, true);
    this.#view.setInt32(this.#at + 8, state === 'nothing' ? -1 : state === 'foreign' ? -2 : length, true);
    if (typeof state !== 'string') this.#chunk.set(state, this.#at + headBytes);
    this.#at += headBytes + length;
  }

  /** At least one chunk, which may be empty. */
  finish(): readonly Uint8Array[] {
    this.#turn();
    return this.#chunks;
  }

  #turn(): void {
    this.#chunks.push(this.#chunk.slice(0, this.#at));
    this.#at = 0;
  }
}

/** Shows the entries of a chunk; false, perhaps after some, when it is none. */
export function readEntries(bytes: Uint8Array, visit: (hi: number, lo: number, state: SaidState) => void): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  while (at < bytes.length) {
    if (at + headBytes > bytes.length) return false;
    const length = view.getInt32(at + 8, true);
    const from = at + headBytes;
    if (length < -2 || from + length > bytes.length) return false;
    const state = length === -1 ? 'nothing' : length === -2 ? 'foreign' : bytes.slice(from, from + length);
    visit(view.getInt32(at, true), view.getInt32(at + 4, true), state);
    at = from + Math.max(0, length);
  }
  return true;
}
