// A nats-server of the demo's own, so that a fresh machine shows the real bus where the program is there: on loopback, at a
// port the system chooses, with its storage in a folder that goes when it goes. It lives in a process group of its own:
// Ctrl-C at the terminal must reach the demo alone, which still needs the bus to end in order.

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';

/** Where packages put the program although it is not on everybody's PATH. */
const usualFolders = ['/usr/local/bin', '/usr/sbin'];

/** The program's path: the first in `searchPath` (as the variable PATH is written), else where packages put it. */
export function findNatsServer(searchPath: string): string | undefined {
  const folders = [...searchPath.split(delimiter).filter((folder) => folder !== ''), ...usualFolders];
  return folders.map((folder) => join(folder, 'nats-server')).find(isProgram);
}

export class OwnNatsServer {
  readonly url: string;
  /** Such as '2.10.27'; empty when the server did not say. */
  readonly version: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #endNow = () => this.#discard();

  private constructor(child: ChildProcess, folder: string, port: string, version: string) {
    this.#child = child;
    this.#folder = folder;
    this.url = `nats://127.0.0.1:${port}`;
    this.version = version;
    process.once('exit', this.#endNow);
  }

  /** Starts `program`; resolves when it is ready. Rejects with a FlowherdError, leaving nothing, after `timeoutMs` too. */
  static async start(program: string, timeoutMs: number): Promise<OwnNatsServer> {
    const folder = mkdtempSync(join(tmpdir(), 'flowherd-demo-'));
    const args = ['-a', '127.0.0.1', '-p', '-1', '-js', '-sd', folder];
    const child = spawn(program, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      const log = await readyLog(child, timeoutMs);
      const port = /client connections on \S*:(\d+)/.exec(log)?.[1];
      if (port === undefined) throw failed('it did not name its port');
      return new OwnNatsServer(child, folder, port, /Version:\s*v?(\S+)/.exec(log)?.[1] ?? '');
    } catch (error) {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends the server and removes its folder; resolves when both are gone. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
      this.#child.kill('SIGKILL');
      await gone;
    }
    process.off('exit', this.#endNow);
    this.#discard();
  }

  #discard(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** What the server has written by the time it is ready. */
function readyLog(child: ChildProcess, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let log = '';
    const timer = setTimeout(() => reject(failed(`it was not ready after ${timeoutMs / 1_000} s`)), timeoutMs);
    const give = (why: string) => {
      clearTimeout(timer);
      reject(failed(why));
    };
    child.once('error', (error) => give(error.message));
    child.once('exit', (code, signal) => give(`it ended with ${code ?? signal}`));
    child.stderr?.on('data', (chunk: Buffer) => {
      // Read for as long as it runs: a full pipe would block the server.
      if (log.length > 100_000) return;
      log += chunk.toString();
      if (!log.includes('Server is ready')) return;
      clearTimeout(timer);
      resolve(log);
    });
  });
}

function failed(why: string): FlowherdError {
  return new FlowherdError(errorCodes.busUnreachable, `nats-server did not start: ${why}`);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
