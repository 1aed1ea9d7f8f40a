// A Compose project as users have it, under a name of its own. Compose reads the very files of the project; whatever is needed
// from the containers is then asked of Docker, which both generations of Compose label alike.

import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { composeCommand, projectRoot } from './docker.ts';

const run = promisify(execFile);

/** The environment without what the files, or Compose, would read in it. */
const bystanders = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(?:FLOWHERD|NATS|COMPOSE)_/.test(name)),
);

/** Room for long logs. */
const large = { maxBuffer: 64 * 1024 * 1024 };

let projects = 0;

export class ComposeProject {
  readonly name: string = `flowherd-test-${process.pid}-${++projects}`;
  readonly #files: readonly string[];
  readonly #variables: Readonly<Record<string, string>>;
  readonly #endWithUs = (): void => void this.#runSync(['down', '-v', '-t', '0']);
  #isUp = false;

  /** `files` from the project's root; `variables` are set for Compose, next to those of FLOWHERD_TAG. */
  constructor(files: readonly string[], variables: Readonly<Record<string, string>> = {}) {
    this.#files = files;
    this.#variables = { FLOWHERD_TAG: 'test', ...variables };
  }

  /** What Compose makes of the files, as YAML: the part about services. */
  services(): string {
    const config = this.#runSync(['--profile', 'cli', 'config']);
    return /^services:\n(?: .*\n)+/m.exec(config)?.[0] ?? '';
  }

  /** `up -d`, with these arguments. */
  async up(...args: readonly string[]): Promise<void> {
    if (!this.#isUp) process.once('exit', this.#endWithUs);
    this.#isUp = true;
    await this.compose('up', '-d', ...args);
  }

  /** Any command of Compose; resolves to what it prints. Rejects with what it complains about. */
  async compose(...args: readonly string[]): Promise<string> {
    const [program, all] = this.#commandLine(args);
    const { stdout } = await run(program, all, { ...this.#options(), ...large });
    return stdout;
  }

  /** Ids of the containers of a service, also of those that have ended. */
  async containersOf(service: string): Promise<string[]> {
    const filters = [`com.docker.compose.project=${this.name}`, `com.docker.compose.service=${service}`];
    const args = filters.flatMap((label) => ['--filter', `label=${label}`]);
    return (await this.docker('ps', '-aq', '--no-trunc', ...args)).split('\n').filter(Boolean);
  }

  /** Resolves to the exit code of a service that runs once. */
  async ended(service: string): Promise<number> {
    const [id] = await this.containersOf(service);
    return Number(await this.docker('wait', id));
  }

  /** Resolves when all containers of a service are ready, as their health check would find them. */
  async whenReady(service: string): Promise<void> {
    const isReady = (id: string) =>
      this.docker('exec', id, 'node', 'deploy/probe.js').then(
        () => true,
        () => false,
      );
    for (const id of await this.containersOf(service)) {
      while (!(await isReady(id))) {
        // Each question is a process in the container: that takes long enough.
      }
    }
  }

  /** What all containers of a service have written so far, a line each. */
  async logOf(service: string): Promise<string[]> {
    const logs = await Promise.all((await this.containersOf(service)).map((id) => run('docker', ['logs', id], large)));
    return logs.flatMap(({ stdout, stderr }) => [stdout, stderr].flatMap((text) => text.split('\n').filter(Boolean)));
  }

  /** Any command of Docker; resolves to what it prints. */
  async docker(...args: readonly string[]): Promise<string> {
    return (await run('docker', args, large)).stdout;
  }

  /** Ends everything and removes it, volumes too. */
  async down(): Promise<void> {
    if (!this.#isUp) return;
    process.off('exit', this.#endWithUs);
    await this.compose('down', '-v', '-t', '2');
  }

  #commandLine(args: readonly string[]): [string, string[]] {
    const command = composeCommand();
    if (command === undefined)
      throw new Error('there is no docker compose, nor docker-compose: run .ci/install-docker');
    const [program, ...rest] = command;
    return [program, [...rest, '-p', this.name, ...this.#files.flatMap((file) => ['-f', file]), ...args]];
  }

  #runSync(args: readonly string[]): string {
    const [program, all] = this.#commandLine(args);
    return execFileSync(program, all, { ...this.#options(), stdio: ['ignore', 'pipe', 'pipe'] });
  }

  #options() {
    return { cwd: projectRoot, env: { ...bystanders, ...this.#variables }, encoding: 'utf8' } as const;
  }
}
