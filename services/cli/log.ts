// Logs of the commands: services write JSON lines with pino; the commands that print a report keep quiet.

import pino, { type Logger } from 'pino';
import type { ActorLog } from '../dssl/actor.ts';
import type { HandlerLog } from '../dssl/egress/handler.ts';

/** Says nothing. */
export const quietLog: ActorLog = { info: () => undefined, warn: () => undefined };

/** JSON lines on standard error, so that standard output is free for packets and reports. `level` as pino names them. */
export function serviceLog(name: string, level: string): Logger {
  return pino({ name, level }, pino.destination(2));
}

/** The log as handlers see it: the message first. */
export function handlerLog(log: ActorLog): HandlerLog {
  return {
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.warn(fields, message),
  };
}
