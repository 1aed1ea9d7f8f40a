// How long a server that was removed from its group waits before it comes back. Whatever had it removed may do so again,
// and each coming and going is a view that everybody has to get; so it waits longer each time, until it stays for a while.

const leastMs = 1_000;
const mostMs = 30_000;
/** Who was a member for so long is not driven out again and again. */
const settledMs = 60_000;

export class RejoinPause {
  #nextMs = leastMs;

  /** The pause to make now, after a life that was a member for `memberMs`. */
  after(memberMs: number): number {
    const pauseMs = memberMs >= settledMs ? leastMs : this.#nextMs;
    this.#nextMs = Math.min(mostMs, 2 * pauseMs);
    return pauseMs;
  }
}
