// Holes in numbered streams of messages. The bus delivers at most once and says nothing about what it lost, so senders
// number what they send from 1, and a receiver that meets number n + 2 behind n knows that one is missing. What was lost
// before the first one heard cannot be known.

export class Sequences {
  /** Messages that are missing, by the holes. */
  lost = 0;
  /** Messages that came again or too late. */
  repeated = 0;
  readonly #last = new Map<string, number>();
  readonly #maxSenders: number;

  /** Remembers that many senders; the one that was heard first is forgotten for a new one. */
  constructor(maxSenders: number) {
    this.#maxSenders = maxSenders;
  }

  /** Takes the number of a message in. False for a repeat, which must not take effect again. */
  arrive(sender: string, sequence: number): boolean {
    const last = this.#last.get(sender);
    if (last === undefined) {
      if (this.#last.size >= this.#maxSenders) {
        for (const [oldest] of this.#last) {
          this.#last.delete(oldest);
          break;
        }
      }
    } else {
      if (sequence <= last) {
        this.repeated++;
        return false;
      }
      this.lost += sequence - last - 1;
    }
    this.#last.set(sender, sequence);
    return true;
  }
}
