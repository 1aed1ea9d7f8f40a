// A histogram of durations that takes weighted values: thousands of packets share one latency, because they share a frame.
// Buckets grow by an eighth of a doubling, so a percentile is right to about 9 %.

const bucketsPerDoubling = 8;
const smallest = 1e-3;

export class Histogram {
  readonly #counts = new Float64Array(40 * bucketsPerDoubling);
  #total = 0;

  /** Notes `weight` values of `value` (any unit, positive). */
  record(value: number, weight: number): void {
    const bucket = Math.ceil(Math.log2(Math.max(value, smallest) / smallest) * bucketsPerDoubling);
    this.#counts[Math.min(bucket, this.#counts.length - 1)] += weight;
    this.#total += weight;
  }

  get total(): number {
    return this.#total;
  }

  /** The value that `share` (0 to 1) of all values do not exceed; 0 when there are none. */
  percentile(share: number): number {
    let left = this.#total * share;
    if (left === 0) return 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      left -= this.#counts[bucket];
      if (left <= 0) return smallest * 2 ** (bucket / bucketsPerDoubling);
    }
    return smallest * 2 ** (this.#counts.length / bucketsPerDoubling);
  }
}
