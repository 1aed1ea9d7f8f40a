// The progress bar: one line on standard error that is drawn over itself, on a terminal only; elsewhere a line that says that
// the run has begun, so that whoever reads a log knows.

import type { WriteStream } from 'node:tty';
import type { Clock } from '../../shared/base/clock.ts';
import { type Progress, progressLine } from './words.ts';

const drawEveryMs = 100;

export class Bar {
  readonly #out: WriteStream;
  readonly #clock: Clock;
  readonly #isShown: boolean;
  #drawnAtMs = Number.NEGATIVE_INFINITY;
  #isDrawn = false;

  constructor(out: WriteStream, clock: Clock, terminal: string | undefined) {
    this.#out = out;
    this.#clock = clock;
    this.#isShown = out.isTTY && terminal !== 'dumb';
  }

  /** Draws what `read` gives, when it is time to. */
  draw(read: () => Progress): void {
    const nowMs = this.#clock.monotonicMs();
    if (!this.#isShown || nowMs - this.#drawnAtMs < drawEveryMs) return;
    this.#drawnAtMs = nowMs;
    this.#isDrawn = true;
    // The last column stays free: some terminals fold the line when it is written.
    this.#out.write(`\r${progressLine(read(), (this.#out.columns || 80) - 1)}\x1b[K`);
  }

  /** Says something where no bar is drawn. */
  say(words: string): void {
    if (!this.#isShown) this.#out.write(`${words}\n`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#isDrawn) this.#out.write('\r\x1b[K');
    this.#isDrawn = false;
  }
}
