// `flowherd init`: makes a cluster before anybody joins it. Services make it by themselves where their logins may; where
// logins are narrow, this is the administrator's part, and services wait for it. Doing it again changes nothing.

import { Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError, isFlowherdError } from '../../../shared/base/errors.ts';
import type { BucketInfo } from '../../../shared/bus/bus.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import { settleMap } from '../../../shared/config/store.ts';
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
  /** What was asked for and is otherwise in the cluster, which keeps what it has. */
  readonly differing: readonly string[];
}

const example = `
Examples:
  $ FLOWHERD_SECRET_FILE=secret npx flowherd init --groups 4
  $ FLOWHERD_SECRET_FILE=secret npx flowherd init --config cluster.json      # {"watching": {"beatMs": 50}}
  $ NATS_NKEY_FILE=admin/nats.nk FLOWHERD_SECRET_FILE=admin/secret npx flowherd init --bus nats://nats:4222 --replicas 3

What is there already is left as it is, and said; the exit code is 0 then too.
${environmentHelp}`;

export function initCommand(environment: () => Environment): Command {
  const command = new Command('init')
    .summary('make a cluster: its key-value bucket and its map')
    .description(
      'Makes a cluster: its key-value bucket and the map of its groups. For logins that may; see "flowherd keys".',
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
  const proposal = mapFromOptions(options, secretOf(environment), asked);
  const bus = await openBus(options.bus, {
    name: 'flowherd init',
    ...busOptionsOf(environment, 'admin'),
    storage: options.storage,
    replicas: options.replicas,
    first: { onRetry: ({ reason, waitMs }) => onWait(reason, waitMs) },
  });
  try {
    const [bucket, map] = await whenMade(
      async () => {
        const store = await bus.openKeyValue(subjects.bucket);
        return [store.bucket, await settleMap(store, proposal)] as const;
      },
      { clock: systemClock, onWait, isMaker: true },
    );
    const { given = [] } = options;
    const differing = (['storage', 'replicas'] as const).filter(
      (name) => given.includes(name) && options[name] !== bucket[name],
    );
    return {
      cluster: options.cluster,
      bucket: { name: subjects.bucket, ...bucket },
      map: { created: map === proposal, groups: map.groups.map(({ id }) => id) },
      differing: [...differing, ...differences(proposal, map, given, asked)],
    };
  } catch (error) {
    if (!isFlowherdError(error, errorCodes.busRefused)) throw error;
    throw new FlowherdError(error.code, `making a cluster takes the administrator's login: ${error.message}`, error);
  } finally {
    await bus.close();
  }
}

function parseReplicas(text: string): number {
  if (['1', '3', '5'].includes(text)) return Number(text);
  throw new InvalidArgumentError('1, 3 or 5 is wanted');
}

function inWords({ cluster, bucket, map, differing }: InitReport): string {
  const happened = (created: boolean) => (created ? 'made' : 'there already');
  const copies = `${bucket.replicas} ${bucket.replicas === 1 ? 'copy' : 'copies'}`;
  const lines = [
    `cluster ${cluster}: bucket ${bucket.name} ${happened(bucket.created)} (${bucket.storage}, ${copies}), map ${happened(map.created)} (groups ${map.groups.join(', ')})`,
  ];
  if (differing.length > 0) lines.push(`it keeps its own ${differing.join(', ')}, which are not what was asked for`);
  if (differing.some((part) => part.startsWith('settings.'))) lines.push('"flowherd settings set" changes settings');
  return `${lines.join('\n')}\n`;
}
