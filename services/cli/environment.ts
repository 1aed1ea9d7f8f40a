// What the environment may say: secrets and how to log in. They are never taken from the command line, where every user of
// the machine could read them.

import { readFileSync } from 'node:fs';
import type { NatsOptions } from '../../shared/bus/nats.ts';
import { errorCodes, FlowherdError, reasonOf } from '../../shared/errors.ts';

export interface Environment {
  /** Keys the hashes of flows; the same at every tier 1 of a cluster. */
  readonly secret: string | undefined;
  readonly auth: NatsOptions['auth'];
  /** As pino names them: trace, debug, info, warn, error, fatal, silent. */
  readonly logLevel: string;
}

export const environmentHelp = `
Environment:
  FLOWHERD_SECRET or FLOWHERD_SECRET_FILE   keys the flow hashes; the same everywhere in the cluster
  NATS_USER and NATS_PASSWORD, NATS_TOKEN, or NATS_CREDS_FILE   how to log in at the NATS server
  FLOWHERD_LOG   level of the log: debug, info (default), warn, error, silent`;

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** Reads the variables; throws a FlowherdError that names the variable which is wrong. */
export function readEnvironment(variables: Readonly<Record<string, string | undefined>>): Environment {
  const logLevel = variables.FLOWHERD_LOG || 'info';
  if (!logLevels.includes(logLevel)) {
    throw new FlowherdError(errorCodes.badConfig, `FLOWHERD_LOG=${logLevel}: use one of ${logLevels.join(', ')}`);
  }
  const secret = variables.FLOWHERD_SECRET || fileIn(variables, 'FLOWHERD_SECRET_FILE');
  return { secret, auth: authIn(variables), logLevel };
}

function authIn(variables: Readonly<Record<string, string | undefined>>): NatsOptions['auth'] {
  const { NATS_USER: user, NATS_PASSWORD: password, NATS_TOKEN: token } = variables;
  const credentials = fileIn(variables, 'NATS_CREDS_FILE');
  if (credentials !== undefined) return { credentials };
  if (token) return { token };
  if (user && password !== undefined) return { user, password };
  if (user || password) throw new FlowherdError(errorCodes.badConfig, 'NATS_USER and NATS_PASSWORD go together');
  return undefined;
}

function fileIn(variables: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  const path = variables[name];
  if (!path) return undefined;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new FlowherdError(errorCodes.badConfig, `${name}: ${path} cannot be read (${reasonOf(error)})`, error);
  }
}
