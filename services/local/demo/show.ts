// Where the demo speaks: a terminal gets a picture that is redrawn, anything else gets a line now and then and no escape
// codes, and with JSON asked for nothing is said but the report.

import type { WriteStream } from 'node:tty';
import { eventLine, progressLine, renderScreen, type Scene, type ScreenOptions, wrap } from './screen.ts';
import { LiveScreen } from './terminal.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const progressEverySeconds = 2;

export class Show {
  readonly #out: WriteStream;
  readonly #quiet: boolean;
  readonly #screen: LiveScreen | undefined;
  readonly #colour: boolean;
  readonly #unicode: boolean;
  #nextProgress = 0;
  #eventsTold = 0;

  /** `environment`: NO_COLOR, TERM and the locale variables are asked. */
  constructor(out: WriteStream, quiet: boolean, environment: Environment) {
    const { NO_COLOR, TERM, LC_ALL, LC_CTYPE, LANG } = environment;
    this.#out = out;
    this.#quiet = quiet;
    // https://no-color.org: any value but the empty one.
    this.#colour = NO_COLOR === undefined || NO_COLOR === '';
    this.#unicode = /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '');
    this.#screen = !quiet && out.isTTY && TERM !== 'dumb' ? new LiveScreen(out) : undefined;
  }

  /** A sentence before the pictures begin. */
  say(text: string): void {
    if (this.#quiet) return;
    const lines = this.#screen === undefined ? [text] : wrap(text, Math.min(this.#screen.columns, 120) - 1);
    this.#out.write(`${lines.join('\n')}\n`);
  }

  /** The state now; to be called about five times a second, and at the end. */
  picture(scene: Scene): void {
    if (this.#quiet) return;
    if (this.#screen !== undefined) {
      const { columns, rows } = this.#screen;
      const options: ScreenOptions = { columns, rows, colour: this.#colour, unicode: this.#unicode };
      this.#screen.draw(renderScreen(scene, options));
      return;
    }
    for (const event of scene.events.slice(this.#eventsTold)) this.#out.write(`${eventLine(event)}\n`);
    this.#eventsTold = scene.events.length;
    if (scene.snapshot.seconds < this.#nextProgress) return;
    this.#nextProgress = Math.floor(scene.snapshot.seconds / progressEverySeconds + 1) * progressEverySeconds;
    this.#out.write(`${progressLine(scene)}\n`);
  }

  end(): void {
    this.#screen?.end();
  }
}
