// How many entries of a flow table each owner has, and how many of those are of flows that have ended; and of one owner, who stands behind its
// flows that have not. Counted when entries come, go and change, so that a packet costs nothing.

import { hasEnded } from '../flowLife.ts';
import { backupOf, noBackup, noServer, ownerOf, stateOf } from './entry.ts';

/** Flows of a server that have not ended, and those of them behind whom nobody stands. */
export interface Protection {
  readonly flows: number;
  readonly unprotected: number;
}

export class OwnerCounts {
  #entries = new Int32Array(64);
  #ended = new Int32Array(64);
  #watched = noServer;
  /** Flows of the watched owner by their backup. */
  #behind = new Int32Array(0);

  /** An entry with this info word has come (1) or gone (-1). */
  add(info: number, change: number): void {
    const owner = ownerOf(info);
    if (owner >= this.#entries.length) this.#grow(owner);
    this.#entries[owner] += change;
    if (hasEnded(stateOf(info))) this.#ended[owner] += change;
    else if (owner === this.#watched) this.#stand(backupOf(info), change);
  }

  of(owner: number): number {
    return owner < this.#entries.length ? this.#entries[owner] : 0;
  }

  endedOf(owner: number): number {
    return owner < this.#ended.length ? this.#ended[owner] : 0;
  }

  /** The backups of this owner's flows are counted from here on; true when it is another one, whose entries are to be shown to `note`. */
  watch(owner: number): boolean {
    if (owner === this.#watched) return false;
    this.#watched = owner;
    this.#behind.fill(0);
    return this.of(owner) > 0;
  }

  /** An entry that was there before its owner was watched. */
  note(info: number): void {
    if (ownerOf(info) === this.#watched && !hasEnded(stateOf(info))) this.#stand(backupOf(info), 1);
  }

  /** Of the owner that is watched; `members`: server numbers that can stand behind a flow. */
  protection(members: readonly number[]): Protection {
    const flows = this.of(this.#watched) - this.endedOf(this.#watched);
    const safe = members.reduce((sum, number) => sum + (this.#behind[number] ?? 0), 0);
    return { flows, unprotected: flows - safe };
  }

  get bytes(): number {
    return this.#entries.byteLength + this.#ended.byteLength + this.#behind.byteLength;
  }

  #stand(backup: number, change: number): void {
    if (backup === noBackup) return;
    if (backup >= this.#behind.length) this.#behind = longer(this.#behind, Math.max(64, 2 * backup));
    this.#behind[backup] += change;
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
