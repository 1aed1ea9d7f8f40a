// `flowherd init`: makes a cluster before anybody joins it: its key-value bucket, the map in it, and the log of each group. Services
// make these by themselves where their logins may; where logins are narrow, this is the administrator's part, and services wait
// for it. Doing it again makes what is missing and leaves the rest.

import { Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError, isFlowherdError } from '../../../shared/base/errors.ts';
import type { BucketInfo, Bus } from '../../../shared/bus/bus.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { settleMap } from '../../../shared/config/store.ts';
import type { GroupLog, LogSettings } from '../../../shared/log/log.ts';
import { askedSettings } from '../config/config.ts';
import { addClusterOptions, type ClusterOptions, differences, mapFromOptions } from '../config/settings.ts';
import { busOptionsOf, type Environment, environmentHelp } from '../process/environment.ts';
import { serviceLog, tellReport } from '../process/log.ts';
import { addBusOptions, secretOf } from '../process/service.ts';
import { whenMade } from '../process/whenMade.ts';

interface InitOptions extends ClusterOptions {
  readonly bus: string;
  readonly cluster: string;
  readonly storage: 'file' | 'memory';
  readonly replicas: number;
  readonly json?: boolean;
}

export interface InitReport {
  readonly [field: string]: unknown;
  readonly cluster: string;
  readonly bucket: { readonly name: string } & BucketInfo;
  readonly map: { readonly created: boolean; readonly groups: readonly string[] };
  /** How the groups' logs are kept, and those that this made. */
  readonly logs: LogSettings & { readonly created: readonly string[] };
  /** What was asked for and is otherwise in the cluster, which keeps what it has. */
  readonly differing: readonly string[];
}

const example = `
Examples:
  $ FLOWHERD_SECRET_FILE=secret npx flowherd init --groups 4
  $ FLOWHERD_SECRET_FILE=secret npx flowherd init --config cluster.json      # {"watching": {"beatMs": 50}}
  $ NATS_NKEY_FILE=admin/nats.nk FLOWHERD_SECRET_FILE=admin/secret npx flowherd init --bus nats://nats:4222 --replicas 3
  $ FLOWHERD_SECRET_FILE=secret npx flowherd init --log-storage memory --log-seconds 5 --log-megabytes 128

What is there already is left as it is, and said; the exit code is 0 then too. The logs have as many copies as the bucket unless
--log-replicas says otherwise. Each group's log takes --log-megabytes of the NATS server's JetStream. A log in memory is gone when
its NATS server ends: members make it anew where their logins may, else run this again.
${environmentHelp}`;

export function initCommand(environment: () => Environment): Command {
  const command = new Command('init')
    .summary('make a cluster: its key-value bucket, its map, and the logs of its groups')
    .description(
      'Makes a cluster: its key-value bucket, the map of its groups, and their logs. For logins that may; see "flowherd keys".',
    )
    .addOption(
      new Option('--storage <kind>', 'of the bucket: "file" survives a restart of the NATS server')
        .choices(['file', 'memory'])
        .default('file'),
    )
    .addOption(
      new Option('--replicas <n>', 'NATS servers that keep a copy of the bucket')
        .env('FLOWHERD_REPLICAS')
        .default(1)
        .argParser(parseReplicas),
    )
    .option('--json', 'what there is now, as JSON');
  return addClusterOptions(addBusOptions(command))
    .addHelpText('after', example)
    .action(async (options: InitOptions) => {
      const read = environment();
      const log = serviceLog('init', read.logLevel, read.logTo);
      const report = await init(options, read, (reason, waitedMs) =>
        log.warn({ reason, waitedMs }, 'waiting for the NATS server'),
      );
      tellReport(log, read.logTo, options.json === true, report, () => inWords(report));
    });
}

async function init(
  options: InitOptions,
  environment: Environment,
  onWait: (reason: string, waitedMs: number) => void,
): Promise<InitReport> {
  const subjects = subjectsOf(options.cluster);
  const asked = askedSettings(options.config, environment.settings);
  const { given = [] } = options;
  const followsBucket = given.includes('replicas') && !given.includes('logReplicas');
  const wanted = followsBucket ? { ...options, logReplicas: options.replicas } : options;
  const proposal = mapFromOptions(wanted, secretOf(environment), asked);
  const bus = await openBus(options.bus, {
    name: 'flowherd init',
    ...busOptionsOf(environment, 'admin'),
    storage: options.storage,
    replicas: options.replicas,
    first: { onRetry: ({ reason, waitMs }) => onWait(reason, waitMs) },
  });
  try {
    // A server that is too old to keep logs is said before anything is made on it.
    await bus.openLog(options.cluster, proposal.groups[0].id);
    let isBucketNew = false;
    const made: string[] = [];
    const [bucket, map] = await whenMade(
      async () => {
        const store = await bus.openKeyValue(subjects.bucket);
        // What an attempt has made it has made, also when the next step failed.
        isBucketNew ||= store.bucket.created;
        const settled = await settleMap(store, proposal);
        await makeLogs(bus, options.cluster, settled, made);
        return [{ ...store.bucket, created: isBucketNew }, settled] as const;
      },
      { clock: systemClock, onWait, isMaker: true },
    );
    const differing = (['storage', 'replicas'] as const).filter(
      (name) => given.includes(name) && options[name] !== bucket[name],
    );
    return {
      cluster: options.cluster,
      bucket: { name: subjects.bucket, ...bucket },
      map: { created: map === proposal, groups: map.groups.map(({ id }) => id) },
      logs: { ...map.log, created: made },
      differing: [...differing, ...differences(proposal, map, given, asked)],
    };
  } catch (error) {
    if (!isFlowherdError(error, errorCodes.busRefused)) throw error;
    throw new FlowherdError(error.code, `making a cluster takes the administrator's login: ${error.message}`, error);
  } finally {
    await bus.close();
  }
}

/** Makes the logs that are missing, and adds the names of their groups to `made`. Those that are there keep what the map says. */
async function makeLogs(
  bus: Bus,
  cluster: string,
  { groups, log: settings }: ClusterMap,
  made: string[],
): Promise<void> {
  for (const { id } of groups) {
    const isMissing = !(await isThere(await bus.openLog(cluster, id)));
    const log = await bus.openLog(cluster, id, settings);
    await log.make();
    if (isMissing) made.push(id);
  }
}

async function isThere(log: GroupLog): Promise<boolean> {
  try {
    await log.bounds();
    return true;
  } catch (error) {
    if (isFlowherdError(error, errorCodes.logMissing)) return false;
    throw error;
  }
}

function parseReplicas(text: string): number {
  if (['1', '3', '5'].includes(text)) return Number(text);
  throw new InvalidArgumentError('1, 3 or 5 is wanted');
}

function inWords({ cluster, bucket, map, logs, differing }: InitReport): string {
  const happened = (created: boolean) => (created ? 'made' : 'there already');
  const copies = (replicas: number) => `${replicas} ${replicas === 1 ? 'copy' : 'copies'}`;
  const { ageMs, bytes } = logs.retention;
  const kept = `${logs.storage}, ${copies(logs.replicas)}, the last ${ageMs / 1_000} s or ${Math.round(bytes / 2 ** 20)} MiB each`;
  const lines = [
    `cluster ${cluster}: bucket ${bucket.name} ${happened(bucket.created)} (${bucket.storage}, ${copies(bucket.replicas)}), map ${happened(map.created)} (groups ${map.groups.join(', ')})`,
    `logs (${kept}): ${logs.created.length === 0 ? 'there already' : `made for ${logs.created.join(', ')}`}`,
  ];
  if (differing.length > 0) lines.push(`it keeps its own ${differing.join(', ')}, which are not what was asked for`);
  if (differing.some((part) => part.startsWith('settings.'))) lines.push('"flowherd settings set" changes settings');
  return `${lines.join('\n')}\n`;
}
