// A real nats-server for tests: on a free loopback port, with JetStream in a directory of its own, ended by the pid that
// was started here. Where no binary is found the tests that need one are skipped with a line that says how to get one;
// under CI that is a failure.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const howToGet = 'no nats-server: run .ci/install-nats-server, or name one in FLOWHERD_NATS_SERVER';

/** The binary: FLOWHERD_NATS_SERVER, else what `.ci/install-nats-server` fetched, else PATH, else where Debian puts it. */
export function findNatsServer(): string | undefined {
  const named = process.env.FLOWHERD_NATS_SERVER;
  if (named !== undefined && named !== '') return named;
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const places = [join(import.meta.dirname, '../../.cache'), ...folders, '/usr/sbin', '/usr/local/bin'];
  return places.map((folder) => join(folder, 'nats-server')).find((path) => existsSync(path));
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
  /** More arguments for its command line. */
  args?: readonly string[];
  /** Default: one that is free. */
  port?: number;
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
    const server = new NatsServer(options.port ?? (await freePort()), options);
    await server.start();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Its process id; 0 while it is stopped. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Starts it (again), on the same port and the same storage. */
  async start(): Promise<void> {
    const binary = findNatsServer();
    if (binary === undefined) throw new Error(howToGet);
    const args = ['-a', '127.0.0.1', '-p', String(this.port), ...(this.#options.args ?? [])];
    if (this.#options.jetStream !== false) args.push('-js', '-sd', this.#folder);
    if (this.#options.config !== undefined) args.push('-c', this.#options.config);
    const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    // A test file that dies must not leave its server behind.
    const endWithUs = (): void => void child.kill('SIGKILL');
    process.once('exit', endWithUs);
    child.once('exit', () => process.removeListener('exit', endWithUs));
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

  /** Stops it in its tracks (SIGSTOP): still connected, and silent. Resolves when the system says that it stands still. */
  async freeze(): Promise<void> {
    this.#process?.kill('SIGSTOP');
    const stat = `/proc/${this.#process?.pid}/stat`;
    // The state is the field after the name in parentheses; T is "stopped".
    while (!/\) T /.test(readFileSync(stat, 'latin1'))) await new Promise((resolve) => setImmediate(resolve));
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
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

/** Servers that form a cluster; resolves when each accepts connections, which may be before they have a leader. */
export async function startNatsCluster(count: number): Promise<NatsServer[]> {
  const ports = new Set<number>();
  while (ports.size < 2 * count) ports.add(await freePort());
  const [clients, routes] = [[...ports].slice(0, count), [...ports].slice(count)];
  const addresses = routes.map((port) => `nats://127.0.0.1:${port}`);
  return Promise.all(
    clients.map((port, at) => {
      const cluster = ['--cluster_name', 'test', '--cluster', addresses[at], '--routes', addresses.join(',')];
      return NatsServer.start({ port, args: ['--name', `n${at}`, ...cluster] });
    }),
  );
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
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A TCP line to a server that a test can cut and mend, while the server and other lines go on. */
export class CuttableLine {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut = false;

  private constructor(targetPort: number) {
    this.#server = createServer((near) => {
      if (this.#cut) {
        near.destroy();
        return;
      }
      const far = connect(targetPort, '127.0.0.1');
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.once('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  static async to(targetPort: number): Promise<CuttableLine> {
    const line = new CuttableLine(targetPort);
    await new Promise<void>((resolve) => line.#server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  get url(): string {
    const address = this.#server.address();
    return `nats://127.0.0.1:${address === null || typeof address === 'string' ? 0 : address.port}`;
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}
