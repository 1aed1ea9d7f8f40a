// `flowherd keys`: makes what the users of a narrow NATS server log in with, a folder for each reader:
//
//   <dir>/tier1/   nats.nk   the seed of its key (NATS_NKEY_FILE)       <dir>/nats/   keys.conf   what deploy/nats/nats.conf
//                  secret    the cluster's secret (FLOWHERD_SECRET_FILE)                           includes: public halves
//   <dir>/dssl/, <dir>/admin/   the same
//   <dir>/cli/     nats.nk
//
// Nobody needs to read another one's folder; in containers each is a volume of its own. What is there stays: only what is
// missing is made, so it can be run before every start, and again after it was broken off anywhere.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { makeUserSeed, publicKeyOf } from '../../../shared/bus/nats/keys.ts';
import { type Role, roles } from '../../../shared/bus/subjects.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { KeyFolder, readKeyFile } from '../process/keyFolder.ts';
import { serviceLog, tellReport } from '../process/log.ts';
import { wholeNumber } from '../process/parse.ts';

interface KeysOptions {
  readonly dir: string;
  readonly gid?: number;
  readonly certs?: string;
  readonly nodes?: readonly string[];
  readonly json?: boolean;
}

/** Roles that key packets, or compare what others key with. */
const secretHolders = ['tier1', 'dssl', 'admin'] as const satisfies readonly Role[];

const example = `
Examples:
  $ npx flowherd keys --dir deploy/nats/keys
  $ cd deploy/nats && nats-server -c nats.conf

Nothing secret is printed. To change a key, remove its file, run this again, and restart the NATS server.
${environmentHelp}`;

export function keysCommand(environment: () => Environment): Command {
  return new Command('keys')
    .summary('make the keys by which tier 1, servers, tools and the administrator log in at NATS')
    .description('Makes the keys by which tier 1, servers, tools and the administrator log in at NATS, and the secret.')
    .requiredOption('--dir <folder>', 'where they are kept, a folder for each reader in it')
    .addOption(
      new Option('--gid <n>', 'group that may read them besides the owner').argParser(wholeNumber(0, 2 ** 31 - 1)),
    )
    .addOption(
      new Option('--certs <folder>', 'TLS with server.pem, server-key.pem and ca.pem from there')
        .env('FLOWHERD_KEYS_CERTS')
        .argParser((text) => text || undefined),
    )
    .addOption(
      new Option('--nodes <host,...>', 'the NATS servers of a cluster, which then share a password for their routes')
        .env('FLOWHERD_KEYS_NODES')
        .argParser(parseNodes),
    )
    .option('--json', 'which were made, as JSON')
    .addHelpText('after', example)
    .action((options: KeysOptions) => {
      const { logLevel, logTo } = environment();
      const log = serviceLog('keys', logLevel, logTo);
      const made = makeKeys(options);
      tellReport(log, logTo, options.json === true, { made }, () =>
        made.length === 0 ? 'all keys are there already\n' : `made ${made.join(', ')}\n`,
      );
    });
}

/** Makes what is missing. Returns what that was, by the files' names. Throws a FlowherdError. */
export function makeKeys({ dir, gid, certs, nodes }: KeysOptions): string[] {
  const made: string[] = [];
  const folderOf = (name: string) => new KeyFolder(join(dir, name), gid, (file) => made.push(`${name}/${file}`));
  const folders = Object.fromEntries(roles.map((role) => [role, folderOf(role)])) as Record<Role, KeyFolder>;
  const publicKeys = roles.map((role) => {
    const seed = folders[role].keep('nats.nk', makeUserSeed);
    return [role, publicKeyIn(join(dir, role, 'nats.nk'), seed)] as const;
  });
  keepSecret(dir, folders);
  const nats = folderOf('nats');
  if (certs !== undefined) {
    const authority = readKeyFile(join(certs, 'ca.pem'));
    for (const role of roles) folders[role].write('ca.pem', authority);
    nats.write('ca.pem', authority);
    for (const file of ['server.pem', 'server-key.pem']) nats.write(file, readKeyFile(join(certs, file)));
  }
  const password = nodes === undefined ? '' : nats.keep('routes-password', newSecret);
  nats.write('keys.conf', serverConfig(publicKeys, certs !== undefined, nodes ?? [], password));
  return made;
}

/** One secret in several folders. Whoever writes the first folder first decides, also between two runs at once. */
function keepSecret(dir: string, folders: Record<Role, KeyFolder>): void {
  const present = secretHolders.map((role) => folders[role].read('secret')).find((secret) => secret !== undefined);
  const secret = folders[secretHolders[0]].keep('secret', () => present ?? newSecret());
  for (const role of secretHolders) {
    if (folders[role].keep('secret', () => secret) === secret) continue;
    const [one, other] = [join(dir, secretHolders[0], 'secret'), join(dir, role, 'secret')];
    throw new FlowherdError(
      errorCodes.badFile,
      `${one} and ${other} hold different secrets: remove the wrong one, and run this again`,
    );
  }
}

/** 256 bits, in characters that need no quoting anywhere. */
function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

function publicKeyIn(path: string, seed: string): string {
  try {
    return publicKeyOf(seed);
  } catch (error) {
    if (!(error instanceof FlowherdError)) throw error;
    const text = `${path} is ${error.message}: remove it, and run this again`;
    throw new FlowherdError(errorCodes.badFile, text, error);
  }
}

/** What deploy/nats/nats.conf includes. Paths in it are relative to where nats-server is started: beside nats.conf. */
function serverConfig(
  publicKeys: readonly (readonly [Role, string])[],
  hasTls: boolean,
  nodes: readonly string[],
  password: string,
): string {
  const tls = (indent: string) =>
    [
      'tls {',
      '  cert_file: "keys/nats/server.pem"',
      '  key_file: "keys/nats/server-key.pem"',
      '  ca_file: "keys/nats/ca.pem"',
      '}',
    ].map((line) => indent + line);
  const lines = [
    '# Written by "flowherd keys"; what is changed here is lost. Public halves: the seeds are with the users.',
    ...publicKeys.map(([role, key]) => `${role.toUpperCase()}_KEY: ${key}`),
  ];
  if (hasTls) lines.push(...tls(''));
  if (nodes.length > 0) {
    lines.push('cluster {', '  name: flowherd', '  listen: "0.0.0.0:6222"');
    lines.push(`  authorization { user: routes, password: "${password}", timeout: 5 }`, '  routes: [');
    lines.push(...nodes.map((node) => `    "nats://routes:${password}@${node}:6222"`), '  ]');
    if (hasTls) lines.push(...tls('  '));
    lines.push('}');
  }
  return `${lines.join('\n')}\n`;
}

function parseNodes(text: string): readonly string[] | undefined {
  if (text === '') return undefined;
  const nodes = text.split(',');
  // They become part of a configuration file: nothing but names of hosts.
  if (nodes.every((node) => /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(node))) return nodes;
  throw new InvalidArgumentError('names of hosts, with commas between them, are wanted');
}
