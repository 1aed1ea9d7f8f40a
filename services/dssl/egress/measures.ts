// What an egress can tell of the server behind it without asking it: latency by the answers that come back, and the share of
// packets that did not get there. Both are of the time since they were read last, about a second.

/** A mean that begins anew each time it is read. */
export class MeanSince {
  #sum = 0;
  #count = 0;

  add(value: number): void {
    this.#sum += value;
    this.#count++;
  }

  /** Undefined when nothing was added. */
  take(): number | undefined {
    const mean = this.#count === 0 ? undefined : this.#sum / this.#count;
    this.#sum = 0;
    this.#count = 0;
    return mean;
  }
}

/** The share that one running total has in another, since it was read last. */
export class ShareSince {
  #part = 0;
  #whole = 0;

  /** 0 to 1; undefined when the whole has not grown. */
  take(part: number, whole: number): number | undefined {
    const parts = part - this.#part;
    const wholes = whole - this.#whole;
    this.#part = part;
    this.#whole = whole;
    return wholes > 0 ? Math.min(1, Math.max(0, parts / wholes)) : undefined;
  }
}
