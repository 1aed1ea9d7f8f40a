// How far the slowest member of a group is behind what tier 1 has put into its log. A log keeps the last seconds and bytes,
// and a member that falls out of it has to fetch everything anew. So inputs that can wait, which are captures, wait when a
// member lags by half of what the log keeps. Live inputs cannot.
//
//   samples, now and then:   position ──► bytes and frames stored up to there
//
//        ... 7100      7180      7260      7341 ◄─ last stored
//                        ▲ position a member gossiped: what is stored from this sample on, it may not have read
//
// Other tier 1s may write to the same log. Their frames are seen as positions between one's own, and are taken to be as
// large as one's own on average.
//
// Gossip comes once a second or less, so a healthy member seems to be behind by what was stored since. That errs on the side
// of waiting. How old the entry was that a member applied last (`lagMs`), it measures itself.
//
// Pure: positions, reports and times (monotonic milliseconds) in.

import type { LineReport } from '../../shared/membership/gossip.ts';

/** Samples within the limit; what lies before the oldest is more than that. */
const samplesWithin = 2_048;

export interface LagLimits {
  /** A member may be behind by so many bytes, */
  readonly bytes: number;
  /** and by so many milliseconds. */
  readonly ms: number;
}

interface MemberLag {
  position: number;
  lagMs: number;
  heardMs: number;
}

export class LogLag {
  readonly #limits: LagLimits;
  /** Bytes between two samples. */
  readonly #sampleBytes: number;
  /** A ring of samples: a position, and what was stored up to it. */
  readonly #positions: Float64Array;
  readonly #bytesAt: Float64Array;
  readonly #framesAt: Float64Array;
  #first = 0;
  #count = 0;
  #position = 0;
  #bytes = 0;
  #frames = 0;
  /** By life. */
  readonly #members = new Map<string, MemberLag>();

  constructor(limits: LagLimits) {
    this.#limits = limits;
    this.#sampleBytes = limits.bytes / samplesWithin;
    const samples = samplesWithin + 2;
    this.#positions = new Float64Array(samples);
    this.#bytesAt = new Float64Array(samples);
    this.#framesAt = new Float64Array(samples);
  }

  /** The log has stored a frame. */
  stored(position: number, bytes: number): void {
    // A log that was made anew counts from 1 again.
    if (position <= this.#position) this.#startAnew();
    if (this.#count === 0) this.#sample(position - 1);
    this.#position = position;
    this.#bytes += bytes;
    this.#frames++;
    const last = (this.#first + this.#count - 1) % this.#positions.length;
    if (this.#bytes - this.#bytesAt[last] >= this.#sampleBytes) this.#sample(position);
  }

  /** The lives that are members of the group; others are forgotten. */
  setMembers(lives: ReadonlySet<string>): void {
    for (const life of this.#members.keys()) if (!lives.has(life)) this.#members.delete(life);
  }

  /** A member has said how far it has come. One that does not follow the log is nobody to wait for. */
  heard(life: string, line: LineReport | undefined, nowMs: number): void {
    if (line?.state !== 'following') this.#members.delete(life);
    else this.#members.set(life, { position: line.position, lagMs: line.lagMs, heardMs: nowMs });
  }

  /** Whether a member that was heard since `sinceMs` lags too far behind. */
  isTooFar(sinceMs: number): boolean {
    for (const { position, lagMs, heardMs } of this.#members.values()) {
      if (heardMs < sinceMs) continue;
      if (lagMs > this.#limits.ms || this.bytesBehind(position) > this.#limits.bytes) return true;
    }
    return false;
  }

  /** Bytes stored behind a position, as far as samples tell: never less than there are. */
  bytesBehind(position: number): number {
    if (position >= this.#position || this.#count === 0) return 0;
    const at = this.#sampleBefore(position);
    const bytes = this.#bytes - this.#bytesAt[at];
    const frames = this.#frames - this.#framesAt[at];
    const entries = this.#position - this.#positions[at];
    return bytes * Math.max(1, entries / frames);
  }

  /** The newest sample that is not beyond `position`, or the oldest. */
  #sampleBefore(position: number): number {
    const size = this.#positions.length;
    let low = 0;
    let high = this.#count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#positions[(this.#first + middle) % size] <= position) low = middle;
      else high = middle - 1;
    }
    return (this.#first + low) % size;
  }

  #sample(position: number): void {
    const size = this.#positions.length;
    if (this.#count === size) this.#first = (this.#first + 1) % size;
    else this.#count++;
    const at = (this.#first + this.#count - 1) % size;
    this.#positions[at] = position;
    this.#bytesAt[at] = this.#bytes;
    this.#framesAt[at] = this.#frames;
  }

  #startAnew(): void {
    this.#first = 0;
    this.#count = 0;
    this.#position = 0;
    this.#bytes = 0;
    this.#frames = 0;
    // Positions of the former log say nothing about this one.
    this.#members.clear();
  }
}
