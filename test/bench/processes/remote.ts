// A process of a benchmark as its parent sees it: it is started with a part to play (roles.ts), and the methods of that part are
// called by messages.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RoleName, RoleOptions, Roles } from './roles.ts';

export interface Call {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}
export type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly error: string };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

type Arguments<M> = M extends (...args: infer A) => unknown ? A : never;
type Result<M> = M extends (...args: never[]) => Promise<infer R> ? R : never;

const childFile = fileURLToPath(new URL('./child.ts', import.meta.url));

export class Remote<Name extends RoleName> {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #nextId = 1;

  private constructor(role: Name, options: RoleOptions, nodeOptions: readonly string[]) {
    this.name = options.name;
    this.#child = fork(childFile, [role, JSON.stringify(options)], {
      execArgv: ['--expose-gc', ...nodeOptions],
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    this.#child.on('message', (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ('error' in answer) waiting?.reject(new Error(`${role} ${options.name}: ${answer.error}`));
      else waiting?.resolve(answer.value);
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        for (const { reject } of this.#waiting.values())
          reject(new Error(`the process of ${role} ${options.name} ended with ${code ?? signal}`));
        this.#waiting.clear();
        resolve();
      });
    });
  }

  /** Starts the process; resolves when it is connected. */
  static async start<Name extends RoleName>(
    role: Name,
    options: RoleOptions,
    nodeOptions: readonly string[] = [],
  ): Promise<Remote<Name>> {
    const remote = new Remote(role, options, nodeOptions);
    await new Promise<unknown>((resolve, reject) => remote.#waiting.set(0, { resolve, reject }));
    return remote;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  call<M extends keyof Roles[Name] & string>(
    method: M,
    ...args: Arguments<Roles[Name][M]>
  ): Promise<Result<Roles[Name][M]>> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (value) => resolve(value as Result<Roles[Name][M]>), reject });
      this.#child.send({ id, method, args } satisfies Call, (error) => {
        if (error === null) return;
        this.#waiting.delete(id);
        reject(error);
      });
    });
  }

  /** Ends the process at once, as if it had died; resolves when it is gone. */
  kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    return this.#ended;
  }

  /** Lets the process end by itself; resolves when it is gone. */
  stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    return this.#ended;
  }
}
