// What a service says of itself over HTTP, for whoever watches over it:
//   /healthz   it lives: 200, or 503 when its event loop was held up for long
//   /readyz    it does its work: 200, or 503 and which condition fails
// Both answer with JSON, from the first moment on, also while there is no NATS server yet. Nothing else is served, nothing
// is taken in, and without --http no port is opened.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { InvalidArgumentError, Option } from 'commander';
import type { Logger } from 'pino';
import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import { withZone } from '../../../shared/base/udpAddress.ts';
import { LoopDelay } from '../process/loopDelay.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** True when a condition holds, else what is missing, in a few words. */
export type Condition = () => true | string;

/** The option of every service. */
export function httpOption(): Option {
  return new Option('--http <[host:]port>', 'answer /healthz and /readyz there; a port alone is one of 127.0.0.1')
    .env('FLOWHERD_HTTP')
    .argParser(parseListenAddress);
}

/** A loop that was held up longer than this makes the process count as ill. */
const stallMs = 5_000;

export class Health {
  readonly #conditions = new Map<string, Condition>();
  readonly #loop: LoopDelay;
  #server: Server | undefined;

  /** Names of the conditions for being ready, in order. None of them holds until `check` says how to find out. */
  constructor(conditions: readonly string[], loop: LoopDelay = new LoopDelay()) {
    this.#loop = loop;
    for (const name of conditions) this.#conditions.set(name, () => 'not yet');
  }

  /** Serves at `address`; without one, nothing. Rejects with `bad-config` or `io-failed`. */
  async serve(address: ListenAddress | undefined, log: Pick<Logger, 'info'>): Promise<void> {
    if (address === undefined) return;
    const server = createServer((request, response) => this.#answer(request, response));
    server.requestTimeout = 5_000;
    server.headersTimeout = 5_000;
    server.maxConnections = 64;
    await listen(server, address);
    this.#server = server;
    this.#loop.start();
    // Answering must not keep a process alive whose work is done.
    server.unref();
    const bound = server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : address.port;
    log.info(`answering /healthz and /readyz at http://${hostInUrl(address.host)}:${port}`);
  }

  /** How to find out whether the condition `name` holds. */
  check(name: string, condition: Condition): void {
    if (!this.#conditions.has(name)) throw new Error(`no condition ${name} was named`);
    this.#conditions.set(name, condition);
  }

  readiness(): { readonly ready: boolean; readonly conditions: object; readonly failing: object } {
    const conditions: Record<string, boolean> = {};
    const failing: Record<string, string> = {};
    for (const [name, condition] of this.#conditions) {
      const answer = condition();
      conditions[name] = answer === true;
      if (answer !== true) failing[name] = answer;
    }
    return { ready: Object.keys(failing).length === 0, conditions, failing };
  }

  stop(): void {
    this.#loop.stop();
    this.#server?.close();
    this.#server?.closeAllConnections();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '').split('?', 1)[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') reply(request, response, 405, { error: 'GET it' });
    else if (path === '/readyz') {
      const readiness = this.readiness();
      reply(request, response, readiness.ready ? 200 : 503, readiness);
    } else if (path === '/healthz') {
      const delayMs = this.#loop.worstMs;
      const healthy = delayMs < stallMs;
      const uptimeSeconds = Math.floor(process.uptime());
      reply(request, response, healthy ? 200 : 503, { healthy, uptimeSeconds, eventLoopDelayMs: Math.round(delayMs) });
    } else reply(request, response, 404, { error: 'there are /healthz and /readyz' });
  }
}

function reply(request: IncomingMessage, response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    connection: 'close',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : `${JSON.stringify(body)}\n`);
}

function listen(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.on('error', (error: NodeJS.ErrnoException) => {
      const where = `${hostInUrl(host)}:${port}`;
      if (error.code === 'EADDRINUSE') {
        const text = `--http ${where} is in use by another process: choose another port, or 0 for any`;
        reject(new FlowherdError(errorCodes.ioFailed, text, error));
      } else if (['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN'].includes(error.code ?? '')) {
        const text = `--http ${where}: this machine has no address ${host}`;
        reject(new FlowherdError(errorCodes.badConfig, text, error));
      } else {
        reject(new FlowherdError(errorCodes.ioFailed, `--http ${where}: ${reasonOf(error)}`, error));
      }
    });
    server.listen(port, host, resolve);
  });
}

/** `host:port`, `[ipv6]:port`, or a port of the loopback interface. Nothing is nothing: an empty variable is an unset one. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  if (text === '') return undefined;
  const [, bracketed, plain = '127.0.0.1', digits] = /^(?:\[([^[\]]+)\]:|([^:\s[\]/]+):)?(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed === undefined ? plain : withZone(bracketed);
  const port = Number(digits);
  if (digits === undefined || host === undefined || port > 65_535) {
    throw new InvalidArgumentError(
      'an address such as 127.0.0.1:8080 or [::1]:8080, or a port, is wanted, with a port from 0 to 65535',
    );
  }
  return { host, port };
}

function hostInUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
