// Logs of the commands: services write JSON lines with pino; the commands that print a report keep quiet.

import pino, { type Logger } from 'pino';
import type { ActorLog } from '../../dssl/actor.ts';
import type { HandlerLog } from '../../dssl/egress/handlers/handler.ts';
import type { LogTarget } from './environment.ts';

/** Says nothing. */
export const quietLog: ActorLog = { info: () => undefined, warn: () => undefined };

/** JSON lines. On standard error by default, so that standard output is free for reports. `level` as pino names them. */
export function serviceLog(name: string, level: string, to?: LogTarget): Logger {
  return pino({ name, level }, pino.destination(to === 'stdout' ? 1 : 2));
}

/**
 * What a service came to, when it ends: for people, or as JSON. Where the log is on standard output it is a line of the
 * log, because whoever collects that expects nothing but lines of JSON.
 */
export function tellReport(
  log: Logger,
  to: LogTarget | undefined,
  asJson: boolean,
  report: Readonly<Record<string, unknown>>,
  words: () => string,
): void {
  if (to === 'stdout') log.info({ report }, 'report');
  else process.stdout.write(asJson ? `${JSON.stringify(report, null, 2)}\n` : words());
}

/** The log as handlers see it: the message first. */
export function handlerLog(log: ActorLog): HandlerLog {
  return {
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.warn(fields, message),
  };
}
