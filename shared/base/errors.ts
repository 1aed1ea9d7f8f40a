// One error class for the control plane: things that people or callers must act on. The data plane does not throw, it
// counts a drop. A caller switches on `code`, a person reads `message`, and `cause` keeps what the library said.

/** Every code there is, with what it means. Add here, never invent one at the place of the throw. */
export const errorCodes = {
  /** No server answered at the address, in the time allowed. */
  busUnreachable: 'bus-unreachable',
  /** The server answered and refused the name, password, token or certificate, or a subject. */
  busRefused: 'bus-refused',
  /** The connection is down at the moment; it is being re-established in the background. */
  busDisconnected: 'bus-disconnected',
  /** The connection was closed for good. */
  busClosed: 'bus-closed',
  /** No answer in time. A write may or may not have happened: read before writing again. */
  busTimeout: 'bus-timeout',
  /** A message or value above what the bus carries. */
  messageTooBig: 'message-too-big',
  /** The server has no key-value store (JetStream is off, or has no leader). */
  storeUnavailable: 'store-unavailable',
  /** The bucket, or the map in it, does not exist, and this login may not make it. */
  storeMissing: 'store-missing',
  /** The key-value store answered with an error that has no code of its own here. */
  storeFailed: 'store-failed',
  /** The group's log does not exist, and this login may not make it. */
  logMissing: 'log-missing',
  /** A cluster, group, server, key or subject name outside its grammar. */
  badName: 'bad-name',
  /** A setting that is missing, of the wrong type, out of range, or at odds with another one. */
  badConfig: 'bad-config',
  /** A file that cannot be read or is not what it should be. */
  badFile: 'bad-file',
  /** A stored or received document (view, map, message) that does not have its shape. */
  badDocument: 'bad-document',
  /** An operation that the present state does not allow. */
  badState: 'bad-state',
  /** Something would exceed a limit of limits.ts. */
  limitExceeded: 'limit-exceeded',
  /** A device or socket of the operating system failed. */
  ioFailed: 'io-failed',
} as const;

export type ErrorCode = (typeof errorCodes)[keyof typeof errorCodes];

/** `message` is one line for people: what failed, why, and what to do where that is known. */
export class FlowherdError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'FlowherdError';
    this.code = code;
  }
}

/** True for a FlowherdError, of that code where one is given. */
export function isFlowherdError(error: unknown, code?: ErrorCode): error is FlowherdError {
  return error instanceof FlowherdError && (code === undefined || error.code === code);
}

/** What a caught value says, in one line. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.split('\n', 1)[0];
}
