// Whose the rows of the last seconds are: what is asked when a server has died, and others have to hand out what it had not handled.
//
//   frames   41    42    43    44  ...                  position, mark, when; the first of its rows
//            │     │     │     │
//   rows     ▪▪▪▪  ▪▪    ▪▪▪▪▪ ▪▪▪ ...                  flow, owner, backup; a ring that grows
//
// A flow entry does not say it: flows end, start again and are evicted meanwhile. A row is due at its own position; one whose packet had to wait,
// where it was decided; one that was inherited, at the removal that gave it to its heir. A server has handled what is due up to its handled
// position, so when an heir dies before it was through, its heir finds the same rows again.
//
// This is no state of the group but a memory of what was decided: it is in no snapshot and no digest, and a replica that joined later remembers
// less. `since` says from where on all is here.

import { limits } from '../../../../shared/base/limits.ts';
import type { Behind } from '../effects.ts';
import { noServer } from '../flows/entry.ts';

/** Rows of one frame that a server has inherited, in order. */
export interface DueFrame {
  readonly position: number;
  readonly mark: number;
  readonly rows: number[];
  /** Flows of the rows: for a later fragment that of its first one. */
  readonly hi: number[];
  readonly lo: number[];
  /** A server that has died may have had them. */
  readonly isRepeat: boolean;
  /** Where the rows were due. What the dead server had handled is here for the state of its flow alone. */
  readonly due: number[];
}

/** Where a frame lies; its rows are numbered from `first` on. */
interface FrameNote {
  readonly position: number;
  mark: number;
  readonly atMs: number;
  readonly tier1Id: string;
  readonly number: number;
  readonly first: number;
  readonly count: number;
  /** Where the last of its rows is due. */
  lastDue: number;
}

/** Who takes over a row of a flow whose remembered backup is this; undefined: it cannot be told. */
export type HeirOf = (hi: number, lo: number, backup: number) => number | undefined;

const firstRows = 1_024;
/** Words a row: hash, owner and backup and whether they came to the owner from one that has died, and by how much later than its position it is due. */
const wordsPerNote = 4;
const nobody = (noServer << 12) | noServer;
/** Above owner and backup: the row has been inherited. */
const fromOthers = 0x8000_0000 | 0;

export class RecentRows {
  /** All rows of frames behind this position are here. */
  since = 0;
  #frames: FrameNote[] = [];
  #oldest = 0;
  /** Number of the next row, and of the oldest one that is kept. */
  #next = 0;
  #first = 0;
  #words = new Int32Array(firstRows * wordsPerNote);

  /** Forgets everything up to this position. */
  clear(position: number): void {
    this.#frames = [];
    this.#oldest = 0;
    this.#first = this.#next;
    this.since = position;
  }

  get size(): number {
    return this.#next - this.#first;
  }

  /** A frame of so many rows comes; `logMs`: the line's time by the log. What is too old or too much goes. */
  begin(position: number, logMs: number, tier1Id: string, number: number, count: number): void {
    while (this.#oldest < this.#frames.length) {
      const { atMs } = this.#frames[this.#oldest];
      if (logMs - atMs <= limits.recentRowsMs && this.size + count <= limits.recentRows) break;
      this.#drop();
    }
    if (this.#oldest > 1_024 && this.#oldest > this.#frames.length / 2) {
      this.#frames = this.#frames.slice(this.#oldest);
      this.#oldest = 0;
    }
    while (this.size + count > this.#capacity) this.#grow();
    this.#frames.push({ position, mark: 0, atMs: logMs, tier1Id, number, first: this.#next, count, lastDue: position });
    const { first } = this.#frames[this.#frames.length - 1];
    for (let row = first; row < first + count; row++) this.#words[this.#at(row) + 2] = nobody;
    this.#next += count;
  }

  /** The frame that came last has this mark. */
  seal(mark: number): void {
    const last = this.#frames[this.#frames.length - 1];
    if (last !== undefined) last.mark = mark;
  }

  /** A row of the frame that came last is this server's. */
  note(row: number, hi: number, lo: number, owner: number, backup: number): void {
    this.#set(this.#frames[this.#frames.length - 1].first + row, hi, lo, owner, backup, 0);
  }

  /** A row that had waited is decided, at this position. Where its frame lies; 0 when that is not known. */
  noteLate(
    { tier1Id, number, row }: { readonly tier1Id: string; readonly number: number; readonly row: number },
    flow: { readonly hi: number; readonly lo: number; readonly owner: number; readonly backup: number },
    position: number,
  ): number {
    for (let at = this.#frames.length - 1; at >= this.#oldest; at--) {
      const frame = this.#frames[at];
      if (frame.number !== number || frame.tier1Id !== tier1Id) continue;
      frame.lastDue = position;
      this.#set(frame.first + row, flow.hi, flow.lo, flow.owner, flow.backup, position - frame.position);
      return frame.position;
    }
    // Its frame came before this replica, or is too old.
    this.since = Math.max(this.since, position);
    return 0;
  }

  /** This replica does not know whose a row at this position is. */
  missed(position: number): void {
    this.since = Math.max(this.since, position);
  }

  /**
   * A server has been removed at the entry `at`, and had handled the log up to `handled`. What is due behind that is its heirs' from now on; the rows
   * of one of them come out, in order. Of a server that inherits from itself, what it had from others comes behind its own of the same frame.
   * `behind`: with those that were handled and are not in the state that it has of their flows.
   */
  inherit(gone: number, handled: number, at: number, heirOf: HeirOf, heir: number, behind?: Behind): DueFrame[] {
    const due: DueFrame[] = [];
    for (let each = this.#oldest; each < this.#frames.length; each++) {
      const note = this.#frames[each];
      if (note.lastDue <= handled && behind === undefined) continue;
      const { position, mark, first, count } = note;
      let own: DueFrame | undefined;
      let others: DueFrame | undefined;
      for (let row = 0; row < count; row++) {
        const word = this.#at(first + row);
        const who = this.#words[word + 2];
        const dueAt = position + this.#words[word + 3];
        if ((who & 0xfff) !== gone || (dueAt <= handled && behind === undefined)) continue;
        const hi = this.#words[word];
        const lo = this.#words[word + 1];
        const backup = (who >>> 12) & 0xfff;
        if (dueAt <= handled && dueAt <= (behind?.stateAt(hi, lo) ?? dueAt)) continue;
        const next = heirOf(hi, lo, backup);
        if (next === undefined) {
          this.since = at;
          continue;
        }
        const isOthers = who < 0 || next !== gone;
        if (dueAt > handled) {
          note.lastDue = at;
          this.#set(first + row, hi, lo, next | (isOthers ? fromOthers : 0), backup, at - position);
        }
        if (next !== heir) continue;
        if (isOthers) others ??= newFrame(position, mark, true);
        else own ??= newFrame(position, mark, false);
        const frame = (isOthers ? others : own) as DueFrame;
        frame.rows.push(row);
        frame.hi.push(hi);
        frame.lo.push(lo);
        frame.due.push(dueAt);
      }
      if (own !== undefined) due.push(own);
      if (others !== undefined) due.push(others);
    }
    return due;
  }

  get #capacity(): number {
    return this.#words.length / wordsPerNote;
  }

  #at(row: number): number {
    return (row % this.#capacity) * wordsPerNote;
  }

  #set(row: number, hi: number, lo: number, owner: number, backup: number, dueLater: number): void {
    const at = this.#at(row);
    this.#words[at] = hi;
    this.#words[at + 1] = lo;
    this.#words[at + 2] = (backup << 12) | owner;
    this.#words[at + 3] = dueLater;
  }

  #drop(): void {
    const { position, first, count } = this.#frames[this.#oldest++];
    this.#first = first + count;
    this.since = Math.max(this.since, position);
  }

  #grow(): void {
    const former = this.#words;
    const formerCapacity = former.length / wordsPerNote;
    this.#words = new Int32Array(2 * former.length);
    for (let row = this.#first; row < this.#next; row++) {
      const from = (row % formerCapacity) * wordsPerNote;
      this.#words.set(former.subarray(from, from + wordsPerNote), this.#at(row));
    }
  }
}

function newFrame(position: number, mark: number, isRepeat: boolean): DueFrame {
  return { position, mark, rows: [], hi: [], lo: [], due: [], isRepeat };
}
