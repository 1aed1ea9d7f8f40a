// What the two services have in common when they run as processes of their own: connecting, agreeing on the cluster map,
// saying what happens, and ending on a signal.

import type { Command } from 'commander';
import { Option } from 'commander';
import type { Logger } from 'pino';
import type { Bus } from '../../shared/bus/bus.ts';
import { openBus } from '../../shared/bus/open.ts';
import type { ClusterMap } from '../../shared/cluster/map.ts';
import { settleMap } from '../../shared/cluster/store.ts';
import { errorCodes, FlowherdError, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import { type Subjects, subjectsOf } from '../../shared/subjects.ts';
import { addClusterOptions, type ClusterOptions, mapFromOptions } from './cluster/settings.ts';
import type { Environment } from './environment.ts';

export interface ServiceOptions extends ClusterOptions {
  readonly bus: string;
  readonly cluster: string;
  readonly json?: boolean;
}

/** Where a process stands in its cluster. Frames travel on one connection, everything else on the other. */
export interface ClusterConnection {
  readonly subjects: Subjects;
  readonly map: ClusterMap;
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  readonly secret: string;
}

export function addServiceOptions(command: Command): Command {
  return addClusterOptions(addBusOptions(command));
}

/** What a process needs that takes part in a cluster without caring for its map. */
export function addBusOptions(command: Command): Command {
  return command
    .addOption(new Option('--bus <url>', 'address of the NATS server').default('nats://127.0.0.1:4222'))
    .addOption(new Option('--cluster <name>', 'name of the cluster on that server').default('default'))
    .option('--json', 'what it came to, as JSON, when it ends');
}

/**
 * Connects both connections and agrees on the cluster map: the options are what a new cluster is made with; a cluster
 * that exists keeps its map, and the log says where the options differ.
 */
export async function connectCluster(
  role: string,
  options: ServiceOptions,
  environment: Environment,
  log: Logger,
): Promise<ClusterConnection> {
  const subjects = subjectsOf(options.cluster);
  const secret = environment.secret ?? '';
  if (secret === '') {
    throw new FlowherdError(
      errorCodes.badConfig,
      'FLOWHERD_SECRET is not set: give every process of the cluster the same secret, or clients could choose their server',
    );
  }
  const proposal = mapFromOptions(options, secret);
  const open = (channel: string): Promise<Bus> => connectBus(role, channel, options.bus, environment, log);
  const buses: Bus[] = [];
  try {
    const controlBus = await open('control');
    buses.push(controlBus);
    const dataBus = await open('data');
    buses.push(dataBus);
    const map = await settleMap(await controlBus.openKeyValue(subjects.bucket), proposal);
    const differing = differences(proposal, map);
    if (differing.length > 0) {
      log.warn({ differing }, 'the cluster exists already with other settings; it keeps its own');
    }
    return { subjects, map, dataBus, controlBus, secret };
  } catch (error) {
    // An open connection would keep the process alive.
    await Promise.all(buses.map((bus) => bus.close()));
    throw error;
  }
}

/**
 * One connection, whose troubles the log tells of. Rejects with `message-too-big` when the server takes smaller messages
 * than the cluster sends: a single large packet would end the process.
 */
export async function connectBus(
  role: string,
  channel: string,
  url: string,
  environment: Environment,
  log: Logger,
): Promise<Bus> {
  const bus = await openBus(url, {
    name: `flowherd ${role} ${channel}`,
    ...(environment.auth === undefined ? {} : { auth: environment.auth }),
    first: {
      onRetry: ({ attempt, reason, waitMs }) =>
        log.warn({ attempt, reason, waitMs }, 'no NATS server yet; trying again'),
    },
  });
  if (bus.maxMessageBytes < limits.frameMaxBytes) {
    await bus.close();
    throw new FlowherdError(
      errorCodes.messageTooBig,
      `the NATS server takes messages of at most ${bus.maxMessageBytes} bytes: set its max_payload to ${limits.frameMaxBytes} or more`,
    );
  }
  followStatus(bus, channel, log);
  return bus;
}

/** Calls `onSignal` at the first SIGINT or SIGTERM; a second one ends the process at once. Returns how to stop that. */
export function onSignals(onSignal: (signal: string) => void): () => void {
  let signalled = false;
  const handle = (signal: NodeJS.Signals): void => {
    if (signalled) process.exit(130);
    signalled = true;
    onSignal(signal);
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return () => {
    process.off('SIGINT', handle);
    process.off('SIGTERM', handle);
  };
}

function followStatus(bus: Bus, channel: string, log: Logger): void {
  bus.onStatus((status) => {
    if (status.kind === 'handlerFailed') {
      log.error(
        { channel, subject: status.subject, reason: reasonOf(status.error) },
        'a message was lost to a fault here',
      );
    } else if (status.kind === 'reconnected') {
      log.info({ channel }, 'connected to NATS again');
    } else if (status.kind !== 'closed') {
      log.warn(
        { channel, ...status },
        status.kind === 'disconnected' ? 'lost the NATS server; trying to reach it' : status.kind,
      );
    }
  });
}

/** Settings in which the map of the cluster is not what this process would have made. */
function differences(proposal: ClusterMap, map: ClusterMap): string[] {
  const names = ['groupSelection', 'groups', 'keys', 'placement', 'rules', 'seed'] as const;
  return names.filter((name) => JSON.stringify(proposal[name]) !== JSON.stringify(map[name]));
}
