// Marks in packets, by which a benchmark tells what became of each: the last twelve bytes hold the time at which tier 1 was given
// the packet (float64, the machine's monotonic clock in milliseconds) and its number (u32, from 0).

import { createHistogram } from 'node:perf_hooks';
import type { Egress } from '../../../services/dssl/egress/egress.ts';
import { machineMs } from './clock.ts';
import type { MarksReport } from './roles.ts';

const markBytes = 12;

/** Writes the mark into a packet that ends at `end`. */
export function mark(view: DataView, end: number, number: number, nowMs: number): void {
  view.setFloat64(end - markBytes, nowMs, true);
  view.setUint32(end - 4, number, true);
}

/** An egress that keeps account of marked packets. */
export class MarkEgress implements Egress {
  packets = 0;
  #numbers = new Uint8Array(1 << 16);
  #repeated = 0;
  /** In microseconds. */
  readonly #latency = createHistogram();
  #data: DataView = new DataView(new ArrayBuffer(0));
  #nowMs = 0;
  #isEmpty = true;
  #lastMs = Number.NaN;
  #pause = { fromMs: 0, toMs: 0 };

  begin(data: Uint8Array): void {
    this.#data = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.#nowMs = machineMs();
    this.#isEmpty = true;
  }

  add(offset: number, length: number): void {
    const end = offset + length;
    this.#isEmpty = false;
    this.packets++;
    this.#take(this.#data.getUint32(end - 4, true));
    const latencyMs = this.#nowMs - this.#data.getFloat64(end - markBytes, true);
    this.#latency.record(Math.max(1, Math.round(1_000 * latencyMs)));
  }

  end(): void {
    if (this.#isEmpty) return;
    const { toMs, fromMs } = this.#pause;
    if (this.#nowMs - this.#lastMs > toMs - fromMs) this.#pause = { fromMs: this.#lastMs, toMs: this.#nowMs };
    this.#lastMs = this.#nowMs;
  }

  flowStarted(): void {}

  flowEnded(): void {}

  /** Latency and the longest pause between packets count from now on. */
  watch(): void {
    this.#latency.reset();
    this.#lastMs = machineMs();
    this.#pause = { fromMs: this.#lastMs, toMs: this.#lastMs };
  }

  get report(): MarksReport {
    const ms = (share: number) => this.#latency.percentile(share) / 1_000;
    return {
      numbers: Buffer.from(this.#numbers).toString('base64'),
      repeated: this.#repeated,
      latencyMs: { p50: ms(50), p99: ms(99), max: this.#latency.max / 1_000 },
      pause: this.#pause,
    };
  }

  #take(number: number): void {
    const at = number >>> 3;
    if (at >= this.#numbers.length) {
      const more = new Uint8Array(Math.max(at + 1, 2 * this.#numbers.length));
      more.set(this.#numbers);
      this.#numbers = more;
    }
    const bit = 1 << (number & 7);
    if (this.#numbers[at] & bit) this.#repeated++;
    this.#numbers[at] |= bit;
  }
}

/** How many packets were got, and how many by more than one server or more than once. */
export function tally(reports: readonly MarksReport[]): { readonly got: number; readonly double: number } {
  const seen = reports.map(({ numbers }) => Buffer.from(numbers, 'base64'));
  const length = Math.max(0, ...seen.map((each) => each.length));
  let got = 0;
  let double = reports.reduce((sum, { repeated }) => sum + repeated, 0);
  for (let at = 0; at < length; at++) {
    let any = 0;
    for (const numbers of seen) {
      const bits = numbers[at] ?? 0;
      double += bitsIn(any & bits);
      any |= bits;
    }
    got += bitsIn(any);
  }
  return { got, double };
}

function bitsIn(byte: number): number {
  let bits = 0;
  for (let left = byte; left > 0; left &= left - 1) bits++;
  return bits;
}
