// Which slices of the flow table a replica does not hold at the position that it is at.
//
// A replica that is being restored has the global state first, and then slice by slice, each as it was at a position q that may
// lie ahead of the replica's own. Until the replica has come to q, what the log says about that slice is in it already, and rows
// of it are passed over; a slice that is missing altogether is one whose q is not known.
//
//   global part at 100 ── 101 ── ... ── 140 ── 141 ── ...
//   slice 7 at 140         passed over ───────► decided
//
// With each such slice comes the mark of the entry at q. Another entry there means that the slice belongs to another line of
// the log; it is missing again then.

import { sliceCount } from '../flows/directory.ts';

export class AbsentSlices {
  /** Whether any slice is not held at the present position. The usual answer is no, and costs one comparison a packet. */
  some = false;
  missing = 0;
  /** By slice: rows up to this position are passed over. */
  readonly #until = new Float64Array(sliceCount);
  readonly #marks = new Float64Array(sliceCount);
  #position = 0;
  #last = 0;

  /** The entry at this position is about to be applied. */
  begin(position: number): void {
    this.#position = position;
    this.some = position <= this.#last;
  }

  /** Whether rows of this slice are passed over at the present position. */
  covers(slice: number): boolean {
    return this.#position <= this.#until[slice];
  }

  /** -1 when none is missing. */
  get firstMissing(): number {
    for (let slice = 0; slice < sliceCount; slice++) if (this.isMissing(slice)) return slice;
    return -1;
  }

  isMissing(slice: number): boolean {
    return this.#until[slice] === Number.POSITIVE_INFINITY;
  }

  /** Position that the content of a slice belongs to when the replica is at `position`. */
  positionOf(slice: number, position: number): number {
    return Math.max(this.#until[slice], position);
  }

  /** The mark that the entry at that position must have; `mark` where it is the present one. */
  markOf(slice: number, position: number, mark: number): number {
    return this.#until[slice] > position ? this.#marks[slice] : mark;
  }

  /** All slices are held at the present position. */
  reset(): void {
    this.#until.fill(0);
    this.#last = 0;
    this.missing = 0;
    this.some = false;
  }

  setMissing(slice: number): void {
    this.setAhead(slice, Number.POSITIVE_INFINITY, 0);
  }

  setAllMissing(): void {
    for (let slice = 0; slice < sliceCount; slice++) this.setMissing(slice);
  }

  /** The slice is held as it is behind the entry at this position, which has this mark. */
  setAhead(slice: number, position: number, mark: number): void {
    const former = this.#until[slice];
    if (this.isMissing(slice)) this.missing--;
    this.#until[slice] = position;
    this.#marks[slice] = mark;
    if (this.isMissing(slice)) this.missing++;
    if (position >= this.#last) this.#last = position;
    else if (former === this.#last && this.missing === 0)
      this.#last = this.#until.reduce((last, until) => Math.max(last, until), 0);
    this.some = this.#position <= this.#last;
  }

  /** Slices whose content belongs to the entry at this position, although that has another mark. */
  mismatched(position: number, mark: number): readonly number[] {
    if (position > this.#last) return none;
    const slices: number[] = [];
    for (let slice = 0; slice < sliceCount; slice++) {
      if (this.#until[slice] === position && this.#marks[slice] !== mark) slices.push(slice);
    }
    return slices;
  }
}

const none: readonly number[] = [];
