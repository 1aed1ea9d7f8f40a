// The command line as child processes, as users start it: waits for what their logs say, never for time to pass.

import { type ChildProcess, spawn } from 'node:child_process';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

export const program: string = fileURLToPath(new URL('../../services/cli/flowherd.js', import.meta.url));

const running = new Set<ChildProcess>();
/** A test that fails half-way leaves processes behind, and these would keep the test file from ending. */
const endAll = (): void => {
  for (const child of running) child.kill('SIGKILL');
};
after(endAll);
process.once('exit', endAll);

export class Service {
  stdout = '';
  /** Messages of the log so far. */
  readonly messages: string[] = [];
  /** Its lines with all their fields, those that were JSON. */
  readonly records: Record<string, unknown>[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<number>;
  #waiting: { readonly pattern: RegExp; readonly resolve: (message: string) => void; times: number }[] = [];
  #partial = '';

  constructor(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, [program, ...args], {
      env: { ...process.env, FLOWHERD_SECRET: 'test', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(this.#child);
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => this.#read(chunk.toString()));
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', (code) => {
        running.delete(this.#child);
        resolve(code ?? -1);
      });
    });
  }

  /** Its process id; the command line is one process. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /**
   * Resolves when the log has said something that matches, so many times from the start or yet to come; rejects when the
   * process ends.
   */
  says(pattern: RegExp, times = 1): Promise<string> {
    const said = this.messages.filter((message) => pattern.test(message));
    if (said.length >= times) return Promise.resolve(said[times - 1]);
    const left = times - said.length;
    const told = new Promise<string>((resolve) => this.#waiting.push({ pattern, resolve, times: left }));
    const ended = this.#ended.then((code) => {
      throw new Error(`ended with ${code} before it said ${pattern}:\n${this.messages.join('\n')}`);
    });
    ended.catch(() => undefined);
    return Promise.race([told, ended]);
  }

  /** Resolves when standard output holds something that matches; rejects when the process ends first. */
  prints(pattern: RegExp): Promise<void> {
    const printed = new Promise<void>((resolve) => {
      const look = (): void => {
        if (!pattern.test(this.stdout)) return;
        this.#child.stdout?.off('data', look);
        resolve();
      };
      this.#child.stdout?.on('data', look);
      look();
    });
    const ended = this.#ended.then((code) => {
      throw new Error(`ended with ${code} before it printed ${pattern}:\n${this.stdout}`);
    });
    ended.catch(() => undefined);
    return Promise.race([printed, ended]);
  }

  /** The exit code. */
  ended(): Promise<number> {
    return this.#ended;
  }

  /** Asks it to end, and resolves to its exit code. */
  end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    this.#child.kill(signal);
    return this.#ended;
  }

  /** Sends a signal that need not end it. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  #read(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) {
      const record = recordOf(line);
      const message = record === undefined ? line : String(record.msg);
      if (record !== undefined) this.records.push(record);
      this.messages.push(message);
      this.#waiting = this.#waiting.filter((waiting) => {
        if (!waiting.pattern.test(message) || --waiting.times > 0) return true;
        waiting.resolve(message);
        return false;
      });
    }
  }
}

function recordOf(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
