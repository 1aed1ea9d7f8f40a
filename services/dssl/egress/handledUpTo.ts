// How far a server has handled the log, where its work on a batch goes on while the next ones come.
//
//   positions   ......... 40 │ 41 ......... 90 │ 91 ...
//   work         all done    │ older: 3 open   │ newer: 5 open          handled: 40
//
// Work is counted in two generations. When nothing of the older one is open any more, all up to its end is handled, and the newer one becomes
// the older. So a server that is never idle gets on all the same, a generation behind, and nothing is kept for a batch but a number.

interface Generation {
  open: number;
}

export class HandledUpTo {
  #older: Generation = { open: 0 };
  #newer: Generation = { open: 0 };
  /** Where the older generation ends. */
  #end = 0;
  #handled = 0;

  /** Some work has begun; the function is to be called when it is done. */
  begin(): () => void {
    const generation = this.#newer;
    generation.open++;
    return () => {
      generation.open--;
    };
  }

  /** How far everything is done, when the entry at this position was handed out last. */
  at(position: number): number {
    // The log is another one.
    if (position < this.#end) this.#end = this.#handled = 0;
    if (this.#older.open === 0) {
      this.#handled = this.#end;
      this.#older = this.#newer;
      this.#newer = { open: 0 };
      this.#end = position;
      if (this.#older.open === 0) this.#handled = position;
    }
    return this.#handled;
  }
}
