// How the NATS client is set up for us: what may be chosen, and what never may be left at the client's default.

import { type ConnectionOptions, credsAuthenticator, nkeyAuthenticator } from 'nats';
import type { Clock } from '../../base/clock.ts';

/** `nkey` is the seed of a user's key: the server knows its public half only, and it never travels. */
export type NatsLogin =
  | { user: string; password: string }
  | { token: string }
  | { credentials: string }
  | { nkey: string };

export interface NatsOptions {
  /** `nats://host:port` or `tls://host:port`; several of one cluster separated by commas. No password in it. */
  url: string;
  /** Shown in the server's connection list, e.g. `flowherd tier1 lb-1 data`. */
  name: string;
  /** How to log in; take it from the environment or a file, never from the command line. Default: not at all. */
  auth?: NatsLogin;
  /** Files in PEM; `{}` asks for TLS with the system's authorities. Default: `{}` for `tls://`, else what the server demands. */
  tls?: { caFile?: string; certFile?: string; keyFile?: string };
  /** Prefix of the subjects answers come to. Give each role its own where permissions are in force. Default `_INBOX`. */
  inboxPrefix?: string;
  /** May buckets be created where they are missing? Default true. Say false for roles without that permission. */
  createBuckets?: boolean;
  /** Of created buckets: `file` survives a restart of the server, `memory` does not. Default `file`. */
  storage?: 'file' | 'memory';
  /** Of created buckets: how many servers keep a copy, 1, 3 or 5. Default 1. */
  replicas?: number;
  /** Unconfirmed bytes at which the bus stops being writable. Default `limits.busWindowBytes`. */
  windowBytes?: number;
  /** Longest wait for an answer of the key-value store. Default 2,000. */
  requestTimeoutMs?: number;
  /** How often a silent server is asked whether it lives; two missing answers end the connection. Default 2,500. */
  pingIntervalMs?: number;
  clock?: Clock;
}

export function clientOptions(options: NatsOptions, servers: string[], timeoutMs: number): ConnectionOptions {
  // The client takes `tls://` for a mere spelling and would talk to a server without TLS in the clear.
  const tls = options.tls ?? (servers.some((server) => server.startsWith('tls:')) ? {} : undefined);
  return {
    servers,
    name: options.name,
    ...loginOptions(options.auth),
    ...(tls === undefined ? {} : { tls }),
    ...(options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix }),
    timeout: Math.min(2_000, timeoutMs),
    pingInterval: options.pingIntervalMs ?? 2_500,
    maxPingOut: 2,
    maxReconnectAttempts: -1,
    waitOnFirstConnect: false,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: 250,
    reconnectJitter: 500,
    reconnectJitterTLS: 500,
    noAsyncTraces: true,
  };
}

function loginOptions(auth: NatsLogin | undefined): Partial<ConnectionOptions> {
  if (auth === undefined) return {};
  const bytes = (text: string) => new TextEncoder().encode(text);
  if ('credentials' in auth) return { authenticator: credsAuthenticator(bytes(auth.credentials)) };
  if ('nkey' in auth) return { authenticator: nkeyAuthenticator(bytes(auth.nkey)) };
  return 'token' in auth ? { token: auth.token } : { user: auth.user, pass: auth.password };
}
