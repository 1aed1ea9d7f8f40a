// A real nats-server for tests: on a free loopback port, with JetStream in a directory of its own, ended by the pid that
// was started here. Where no binary is found the tests that need one are skipped with a line that says how to get one;
// under CI that is a failure.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const howToGet = 'no nats-server: run .ci/install-nats-server, or name one in FLOWHERD_NATS_SERVER';

/** The binary: FLOWHERD_NATS_SERVER, else what `.ci/install-nats-server` fetched, else PATH, else where Debian puts it. */
export function findNatsServer(): string | undefined {
  const named = process.env.FLOWHERD_NATS_SERVER;
  if (named !== undefined && named !== '') return named;
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const places = [
    join(import.meta.dirname, '../../.cache/nats-server'),
    '/usr/sbin/nats-server',
    '/usr/local/bin/nats-server',
  ];
  return [...folders.map((folder) => join(folder, 'nats-server')), ...places].find((path) => existsSync(path));
}

/** For the `skip` option of a test: false where there is a server (or CI, so that its lack fails), else the reason. */
export function skipWithoutNatsServer(): string | false {
  return findNatsServer() !== undefined || process.env.CI !== undefined ? false : howToGet;
}

export interface NatsServerOptions {
  /** Default true. */
  jetStream?: boolean;
  /** A configuration file to add; see nats-server -c. */
  config?: string;
}

export class NatsServer {
  readonly port: number;
  readonly #folder: string;
  readonly #options: NatsServerOptions;
  #process: ChildProcess | undefined;

  private constructor(port: number, options: NatsServerOptions) {
    this.port = port;
    this.#options = options;
    this.#folder = mkdtempSync(join(tmpdir(), 'flowherd-nats-'));
  }

  /** Starts a server; resolves when it accepts connections. */
  static async start(options: NatsServerOptions = {}): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), options);
    await server.start();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Starts it (again), on the same port and the same storage. */
  async start(): Promise<void> {
    const binary = findNatsServer();
    if (binary === undefined) throw new Error(howToGet);
    const args = ['-a', '127.0.0.1', '-p', String(this.port)];
    if (this.#options.jetStream !== false) args.push('-js', '-sd', this.#folder);
    if (this.#options.config !== undefined) args.push('-c', this.#options.config);
    const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    let log = '';
    await new Promise<void>((resolve, reject) => {
      const failed = (why: string) => reject(new Error(`${binary} ${args.join(' ')} ${why}\n${log}`));
      child.once('error', (error) => failed(`did not start: ${error.message}`));
      child.once('exit', (code, signal) => failed(`ended with ${code ?? signal}`));
      child.stderr?.on('data', (chunk: Buffer) => {
        if (log.length < 100_000) log += chunk.toString();
        if (log.includes('Server is ready')) resolve();
      });
    });
  }

  /** Ends it: SIGKILL by default, as a crash would. Resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await gone;
  }

  /** Forgets what was stored, as a machine that lost its disk; only while it is stopped. */
  empty(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Ends it and removes its folder. */
  async stop(): Promise<void> {
    await this.kill();
    this.empty();
  }
}

/** A TCP port of the loopback interface that nobody uses at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Opens and closes one plain connection; resolves to whether somebody listens. */
export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
