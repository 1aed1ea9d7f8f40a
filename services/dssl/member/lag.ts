// How far this replica is behind the end of the log, in entries and in milliseconds.
//
// The log's clock and this machine's are not the same. So the difference between them is what it was when an entry came quickest, over the last
// ten to twenty seconds; what it is more than that now is how late entries are. A machine has two clocks, and each may miss a pause: the monotonic one
// stands still while the machine sleeps, and the other one may be set. What either of them says counts.

const spanMs = 10_000;
/** Some member ticks once a second. */
const quietMs = 2_000;

export class LagMeter {
  readonly #monotonic = new Delay();
  readonly #wall = new Delay();
  #lastStampMs = 0;

  /** An entry with this stamp was applied; `nowMs`, `wallMs`: monotonic and wall time of this machine. */
  onEntry(stampMs: number, nowMs: number, wallMs: number): void {
    this.#lastStampMs = stampMs;
    this.#monotonic.onEntry(stampMs, nowMs);
    this.#wall.onEntry(stampMs, wallMs);
  }

  /**
   * How late an entry with this stamp comes. Infinite where nothing has come for long, for nobody can tell then: the log may have another clock by
   * now, as after an election.
   */
  lateMs(stampMs: number, nowMs: number, wallMs: number): number {
    return Math.max(this.#monotonic.lateMs(stampMs, nowMs), this.#wall.lateMs(stampMs, wallMs));
  }

  /** How old the entry applied last is, when `pending` more wait; 0 when none does. */
  lagMs(pending: number, nowMs: number): number {
    if (pending === 0 || this.#lastStampMs === 0) return 0;
    return Math.max(0, this.#monotonic.behindMs(this.#lastStampMs, nowMs));
  }
}

/** By one clock. */
class Delay {
  #heardAtMs = Number.NEGATIVE_INFINITY;
  #leastNow = Number.POSITIVE_INFINITY;
  #leastBefore = Number.POSITIVE_INFINITY;
  #turnedAtMs = Number.NEGATIVE_INFINITY;

  onEntry(stampMs: number, nowMs: number): void {
    this.#heardAtMs = nowMs;
    const difference = nowMs - stampMs;
    if (nowMs - this.#turnedAtMs > spanMs || nowMs < this.#turnedAtMs) {
      this.#turnedAtMs = nowMs;
      this.#leastBefore = this.#leastNow;
      this.#leastNow = difference;
    } else if (difference < this.#leastNow) this.#leastNow = difference;
  }

  lateMs(stampMs: number, nowMs: number): number {
    return nowMs - this.#heardAtMs > quietMs ? Number.POSITIVE_INFINITY : this.behindMs(stampMs, nowMs);
  }

  /** That long ago it would have come if it had come as quickly as the quickest. */
  behindMs(stampMs: number, nowMs: number): number {
    return nowMs - stampMs - Math.min(this.#leastNow, this.#leastBefore);
  }
}
