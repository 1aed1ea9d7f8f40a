// One running container of a test cluster: its log as it comes, its health, and the ways in which it may end.

import type { Readable } from 'node:stream';
import type { GenericContainer, StartedTestContainer } from 'testcontainers';
import { dockerode } from './docker.ts';

interface LogLine {
  readonly msg?: string;
  readonly [field: string]: unknown;
}

interface Waiting {
  readonly pattern: RegExp;
  readonly resolve: (line: LogLine) => void;
  readonly reject: (error: Error) => void;
}

export class Member {
  readonly name: string;
  /** Lines of the log so far; what is not JSON has its text as `msg`. */
  readonly log: LogLine[] = [];
  #container: StartedTestContainer | undefined;
  #waiting: Waiting[] = [];
  #partial = '';
  #ended = false;

  private constructor(name: string) {
    this.name = name;
  }

  /** Starts the container; resolves when its wait strategy is content. */
  static async start(name: string, container: GenericContainer): Promise<Member> {
    const member = new Member(name);
    const started = await container.withLogConsumer((stream) => member.#follow(stream)).start();
    member.#container = started;
    return member;
  }

  get id(): string {
    return this.#started.getId();
  }

  /** Resolves when the log has said something that matches, from the start or yet to come; rejects when it ends first. */
  says(pattern: RegExp): Promise<LogLine> {
    const said = this.log.find(({ msg }) => pattern.test(msg ?? ''));
    if (said !== undefined) return Promise.resolve(said);
    if (this.#ended) return Promise.reject(this.#silent(pattern));
    return new Promise((resolve, reject) => this.#waiting.push({ pattern, resolve, reject }));
  }

  /** Runs a command inside. */
  async run(...command: string[]): Promise<{ readonly exitCode: number; readonly output: string }> {
    const { exitCode, output } = await this.#started.exec(command);
    return { exitCode, output };
  }

  /** What the health check of the image says. */
  async probe(): Promise<{ readonly ready: boolean; readonly failing: Readonly<Record<string, string>> }> {
    const { exitCode, output } = await this.run('node', 'deploy/probe.js');
    const { ready, failing } = JSON.parse(output);
    if (ready !== (exitCode === 0)) throw new Error(`the probe ended with ${exitCode} and said ${output}`);
    return { ready, failing };
  }

  /** Resolves when it is ready. The answer may change at any moment, so it is asked again and again. */
  async whenReady(): Promise<void> {
    while (!(await this.probe()).ready) {
      // Each question is a process in the container: that takes long enough.
    }
  }

  /** The JSON that it has printed, over many lines, when it is over. */
  async printed(): Promise<unknown> {
    await this.says(/^\}$/);
    const texts = this.log.map(({ msg }) => msg);
    return JSON.parse(texts.slice(texts.indexOf('{'), texts.indexOf('}') + 1).join('\n'));
  }

  async inspect() {
    return (await dockerode()).getContainer(this.id).inspect();
  }

  /** SIGKILL, as a crash. */
  async kill(): Promise<void> {
    await (await dockerode()).getContainer(this.id).kill();
  }

  /** Stops it as Compose does, with so much grace. Resolves to the exit code, which is 137 when the grace was not enough. */
  async stop(graceSeconds: number): Promise<number> {
    await (await dockerode()).getContainer(this.id).stop({ t: graceSeconds });
    return (await this.inspect()).State.ExitCode;
  }

  get #started(): StartedTestContainer {
    if (this.#container === undefined) throw new Error(`${this.name} has not started`);
    return this.#container;
  }

  #follow(stream: Readable): void {
    stream.on('data', (chunk: Buffer | string) => {
      const lines = (this.#partial + chunk.toString()).split('\n');
      this.#partial = lines.pop() ?? '';
      for (const text of lines.filter(Boolean)) this.#hear(lineOf(text));
    });
    stream.on('end', () => {
      if (this.#partial !== '') this.#hear(lineOf(this.#partial));
      this.#ended = true;
      for (const { pattern, reject } of this.#waiting.splice(0)) reject(this.#silent(pattern));
    });
  }

  #silent(pattern: RegExp): Error {
    const said = this.log.map(({ msg }) => msg).join('\n');
    return new Error(`the log of ${this.name} ended without ${pattern}:\n${said}`);
  }

  #hear(line: LogLine): void {
    this.log.push(line);
    this.#waiting = this.#waiting.filter(({ pattern, resolve }) => {
      if (!pattern.test(line.msg ?? '')) return true;
      resolve(line);
      return false;
    });
  }
}

function lineOf(text: string): LogLine {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as LogLine;
  } catch {
    // Not every container writes JSON.
  }
  return { msg: text };
}
