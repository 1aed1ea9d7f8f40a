// Which entries this server has been handed already, though the replica applies them once more.
//
// A log whose server was started again may have lost its last entries. Who had read them takes the state of a peer that had not, and applies what
// the two have in common a second time, from where the peer stands. Its packets have been with the server for long. So the marks of the entries that
// were handed out last are kept, by position: an entry with the same mark at the same position is the same one.

/** Positions whose marks are kept: more than a log loses at once. */
const kept = 4_096;

export class Handed {
  readonly #positions = new Float64Array(kept);
  readonly #marks = new Float64Array(kept);

  /** Notes the entry, with this mark at this position. True when it was noted before. */
  note(position: number, mark: number): boolean {
    const at = position % kept;
    const isAgain = this.#positions[at] === position && this.#marks[at] === mark;
    this.#positions[at] = position;
    this.#marks[at] = mark;
    return isAgain;
  }
}
