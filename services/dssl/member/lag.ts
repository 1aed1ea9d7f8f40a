// How far this replica is behind the end of the log, in entries and in milliseconds.
//
// The log's clock and this machine's are not the same. So the difference between them is what it was when an entry came quickest, over the last
// ten to twenty seconds; what it is more than that now is how late entries are.

const spanMs = 10_000;
/** Some member ticks once a second. */
const quietMs = 2_000;

export class LagMeter {
  #lastStampMs = 0;
  #heardAtMs = 0;
  #leastNow = Number.POSITIVE_INFINITY;
  #leastBefore = Number.POSITIVE_INFINITY;
  #turnedAtMs = 0;

  /** An entry with this stamp was applied; `wallMs` is this machine's time. */
  onEntry(stampMs: number, wallMs: number): void {
    this.#lastStampMs = stampMs;
    this.#heardAtMs = wallMs;
    const difference = wallMs - stampMs;
    if (wallMs - this.#turnedAtMs > spanMs || wallMs < this.#turnedAtMs) {
      this.#turnedAtMs = wallMs;
      this.#leastBefore = this.#leastNow;
      this.#leastNow = difference;
    } else if (difference < this.#leastNow) this.#leastNow = difference;
  }

  /**
   * How late an entry with this stamp comes. Where nothing has come for long, nobody can tell: the log may have another clock by now, as after an
   * election.
   */
  lateMs(stampMs: number, wallMs: number): number {
    return wallMs - this.#heardAtMs > quietMs ? Number.POSITIVE_INFINITY : this.#differenceMs(stampMs, wallMs);
  }

  #differenceMs(stampMs: number, wallMs: number): number {
    return wallMs - stampMs - Math.min(this.#leastNow, this.#leastBefore);
  }

  /** How old the entry applied last is, when `pending` more wait; 0 when none does. */
  lagMs(pending: number, wallMs: number): number {
    if (pending === 0 || this.#lastStampMs === 0) return 0;
    return Math.max(0, this.#differenceMs(this.#lastStampMs, wallMs));
  }
}
