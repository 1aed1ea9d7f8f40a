// What the environment may say: secrets and how to log in, and what a container image sets for good. Secrets are never taken
// from the command line, where every user of the machine could read them.

import { accessSync, constants, readFileSync } from 'node:fs';
import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import type { NatsOptions } from '../../../shared/bus/nats/nats.ts';
import { inboxPrefixOf, type Role } from '../../../shared/bus/subjects.ts';
import { settingVariables } from '../config/config.ts';

export interface Environment {
  /** Keys the hashes of flows; the same at every tier 1 of a cluster. */
  readonly secret: string | undefined;
  readonly auth: NatsOptions['auth'];
  /** Variables that may be settings of a new cluster (cluster/config.ts). */
  readonly settings?: Readonly<Record<string, string>>;
  readonly tls?: NatsOptions['tls'];
  /** As pino names them: trace, debug, info, warn, error, fatal, silent. */
  readonly logLevel: string;
  /** Default: stderr. */
  readonly logTo?: LogTarget;
}

/** Where a service's log goes. The report of its end goes to standard output in any case, into the log where that is there. */
export type LogTarget = 'stderr' | 'stdout';

export const environmentHelp = `
Environment:
  FLOWHERD_SECRET or FLOWHERD_SECRET_FILE   keys the flow hashes; the same everywhere in the cluster
  NATS_USER and NATS_PASSWORD or NATS_PASSWORD_FILE, NATS_TOKEN, NATS_NKEY_FILE (a seed), or NATS_CREDS_FILE
                                 how to log in at the NATS server
  NATS_CA_FILE                   TLS: authorities of the server's certificate (default: the system's)
  NATS_CERT_FILE, NATS_KEY_FILE  TLS: the certificate to show to the server
  FLOWHERD_CONFIG, FLOWHERD_WATCHING_BEAT_MS, ...
                                 settings of a new cluster; see "flowherd settings --help"
  FLOWHERD_LOG                   level of the log: debug, info (default), warn, error, silent
  FLOWHERD_LOG_TO                stderr (default), or stdout: then the report is the log's last line`;

type Variables = Readonly<Record<string, string | undefined>>;

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** Reads the variables; throws a FlowherdError that names the variable which is wrong. */
export function readEnvironment(variables: Variables): Environment {
  const logLevel = variables.FLOWHERD_LOG || 'info';
  if (!logLevels.includes(logLevel)) {
    throw new FlowherdError(errorCodes.badConfig, `FLOWHERD_LOG=${logLevel}: use one of ${logLevels.join(', ')}`);
  }
  const logTo = variables.FLOWHERD_LOG_TO || 'stderr';
  if (logTo !== 'stderr' && logTo !== 'stdout') {
    throw new FlowherdError(errorCodes.badConfig, `FLOWHERD_LOG_TO=${logTo}: use stderr or stdout`);
  }
  const secret = variables.FLOWHERD_SECRET || fileIn(variables, 'FLOWHERD_SECRET_FILE');
  const settings = settingVariables(variables);
  return { secret, auth: authIn(variables), settings, tls: tlsIn(variables), logLevel, logTo };
}

/** How a process of that role reaches its NATS server. */
export function busOptionsOf(
  environment: Pick<Environment, 'auth' | 'tls'>,
  role: Role,
): Pick<NatsOptions, 'auth' | 'tls' | 'inboxPrefix'> {
  const { auth, tls } = environment;
  return {
    inboxPrefix: inboxPrefixOf(role),
    ...(auth === undefined ? {} : { auth }),
    ...(tls === undefined ? {} : { tls }),
  };
}

function authIn(variables: Variables): NatsOptions['auth'] {
  const { NATS_USER: user, NATS_TOKEN: token } = variables;
  const credentials = fileIn(variables, 'NATS_CREDS_FILE');
  if (credentials !== undefined) return { credentials };
  const nkey = fileIn(variables, 'NATS_NKEY_FILE');
  if (nkey !== undefined) {
    if (/^SU[A-Z2-7]{56}$/.test(nkey)) return { nkey };
    throw new FlowherdError(errorCodes.badConfig, "NATS_NKEY_FILE does not hold the seed of a user's key (SU...)");
  }
  if (token) return { token };
  const password = variables.NATS_PASSWORD ?? fileIn(variables, 'NATS_PASSWORD_FILE');
  if (user && password !== undefined) return { user, password };
  if (user || password) {
    throw new FlowherdError(errorCodes.badConfig, 'NATS_USER and NATS_PASSWORD (or NATS_PASSWORD_FILE) go together');
  }
  return undefined;
}

function tlsIn(variables: Variables): NatsOptions['tls'] {
  const caFile = readablePath(variables, 'NATS_CA_FILE');
  const certFile = readablePath(variables, 'NATS_CERT_FILE');
  const keyFile = readablePath(variables, 'NATS_KEY_FILE');
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new FlowherdError(errorCodes.badConfig, 'NATS_CERT_FILE and NATS_KEY_FILE go together');
  }
  if (caFile === undefined && certFile === undefined) return undefined;
  return {
    ...(caFile === undefined ? {} : { caFile }),
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
  };
}

/** The path in a variable, once it is known that the file can be read: the NATS client would not say which one cannot. */
function readablePath(variables: Variables, name: string): string | undefined {
  const path = variables[name];
  if (!path) return undefined;
  try {
    accessSync(path, constants.R_OK);
    return path;
  } catch (error) {
    throw cannotRead(name, path, error);
  }
}

function fileIn(variables: Variables, name: string): string | undefined {
  const path = variables[name];
  if (!path) return undefined;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw cannotRead(name, path, error);
  }
}

function cannotRead(name: string, path: string, error: unknown): FlowherdError {
  return new FlowherdError(errorCodes.badConfig, `${name}: ${path} cannot be read (${reasonOf(error)})`, error);
}
