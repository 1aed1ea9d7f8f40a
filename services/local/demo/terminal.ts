// Draws lines over the ones drawn before, in the terminal's normal screen, so that the last picture stays when the demo
// ends. The cursor is hidden meanwhile, and shown again however the process ends.

import type { WriteStream } from 'node:tty';

const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';
const clearScreen = '\x1b[2J\x1b[H';

export class LiveScreen {
  readonly #out: WriteStream;
  #drawn = 0;
  #hidden = false;
  readonly #resized = () => {
    // Lines have been folded anew: what lies where is not known any more.
    this.#out.write(clearScreen);
    this.#drawn = 0;
  };
  readonly #restore = () => this.#showCursor();

  constructor(out: WriteStream) {
    this.#out = out;
    out.on('resize', this.#resized);
    process.once('exit', this.#restore);
  }

  get columns(): number {
    return this.#out.columns || 80;
  }

  get rows(): number {
    return this.#out.rows || 24;
  }

  draw(lines: readonly string[]): void {
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A\r` : '';
    // Each line clears what is left of the one before, then everything below goes: no flicker.
    this.#out.write(`${this.#hidden ? '' : hideCursor}${up}${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
    this.#hidden = true;
    this.#drawn = lines.length;
  }

  /** Leaves the last picture where it is and gives the cursor back. */
  end(): void {
    this.#out.off('resize', this.#resized);
    process.off('exit', this.#restore);
    this.#showCursor();
  }

  #showCursor(): void {
    if (!this.#hidden) return;
    this.#hidden = false;
    this.#out.write(showCursor);
  }
}
