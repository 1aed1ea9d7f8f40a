// What the two services have in common when they run as processes of their own: connecting, agreeing on the cluster map,
// saying what happens, and ending on a signal.

import type { Command } from 'commander';
import { Option } from 'commander';
import type { Logger } from 'pino';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import type { Bus, KeyValue } from '../../../shared/bus/bus.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { type Role, type Subjects, subjectsOf } from '../../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { settleMap } from '../../../shared/config/store.ts';
import { askedSettings } from '../config/config.ts';
import { addClusterOptions, type ClusterOptions, differences, mapFromOptions } from '../config/settings.ts';
import { type Health, httpOption, type ListenAddress } from '../operate/health.ts';
import { busOptionsOf, type Environment } from './environment.ts';
import { endAtSignals } from './signals.ts';
import { whenMade } from './whenMade.ts';

export interface ServiceOptions extends ClusterOptions {
  readonly bus: string;
  readonly cluster: string;
  readonly json?: boolean;
  readonly http?: ListenAddress;
}

/** What every service has to be before it can be ready; each adds its own. */
export const connectionConditions = ['connected', 'map'] as const;

/**
 * Where a process stands in its cluster. The logs of groups travel on one connection, gossip of actors on another, everything
 * else on a third: signs of life must not wait behind bulk.
 */
export interface ClusterConnection {
  readonly subjects: Subjects;
  readonly map: ClusterMap;
  /** Where the map and the mirrors of views are; on the control connection. */
  readonly store: KeyValue;
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  /** For tier 1, which only listens, the same as for control. */
  readonly gossipBus: Bus;
  readonly secret: string;
}

/** A connection, and whether it is up at the moment. */
interface Line {
  readonly bus: Bus;
  readonly isUp: boolean;
}

export function addServiceOptions(command: Command): Command {
  return addClusterOptions(
    addBusOptions(command).option('--json', 'what it came to, as JSON, when it ends').addOption(httpOption()),
  );
}

/** Where the cluster is. */
export function addBusOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--bus <url>', 'address of the NATS server').default('nats://127.0.0.1:4222').env('FLOWHERD_BUS'),
    )
    .addOption(
      new Option('--cluster <name>', 'name of the cluster on that server').default('default').env('FLOWHERD_CLUSTER'),
    );
}

/**
 * Connects and agrees on the cluster map: the options are what a new cluster is made with, where the login
 * may make one; else somebody else has to, and this waits for it. A cluster that exists keeps its map, and the log says where
 * the options differ. `health` is told how the connections and the map are.
 */
export async function connectCluster(
  role: Role,
  options: ServiceOptions,
  environment: Environment,
  log: Logger,
  health: Health,
): Promise<ClusterConnection> {
  endAtSignals(log);
  await health.serve(options.http, log);
  const subjects = subjectsOf(options.cluster);
  const secret = secretOf(environment);
  const asked = askedSettings(options.config, environment.settings);
  const proposal = mapFromOptions(options, secret, asked);
  const lines: Line[] = [];
  const open = async (channel: string): Promise<Bus> => {
    const line = await connectLine(role, channel, options.bus, environment, log);
    lines.push(line);
    return line.bus;
  };
  try {
    const controlBus = await open('control');
    const dataBus = await open('data');
    const gossipBus = role === 'dssl' ? await open('gossip') : controlBus;
    // A server that is too old to keep logs is said before anything is made on it.
    await dataBus.openLog(subjects.cluster, proposal.groups[0].id);
    health.check('connected', () => lines.every(({ isUp }) => isUp) || 'no connection to the NATS server');
    const [store, map] = await whenMade(
      async () => {
        const opened = await controlBus.openKeyValue(subjects.bucket);
        return [opened, await settleMap(opened, proposal)] as const;
      },
      {
        clock: systemClock,
        onWait: (reason, waitedMs) => log.warn({ reason, waitedMs }, 'waiting for the cluster to be made'),
      },
    );
    health.check('map', () => true);
    const differing = differences(proposal, map, options.given, asked);
    if (differing.length > 0) {
      log.warn({ differing }, 'the cluster exists already with other settings; it keeps its own');
    }
    return { subjects, map, store, dataBus, controlBus, gossipBus, secret };
  } catch (error) {
    // An open connection would keep the process alive.
    health.stop();
    await Promise.all(lines.map(({ bus }) => bus.close()));
    throw error;
  }
}

/** The cluster's secret. Throws `bad-config` when the environment has none. */
export function secretOf({ secret }: Environment): string {
  if (secret) return secret;
  throw new FlowherdError(
    errorCodes.badConfig,
    'FLOWHERD_SECRET is not set: give every process of the cluster the same secret, or clients could choose their server',
  );
}

/**
 * One connection, whose troubles the log tells of. Rejects with `message-too-big` when the server takes smaller messages
 * than the cluster sends: a single large packet would end the process.
 */
export async function connectLine(
  role: Role,
  channel: string,
  url: string,
  environment: Environment,
  log: Logger,
): Promise<Line> {
  const bus = await openBus(url, {
    name: `flowherd ${role} ${channel}`,
    ...busOptionsOf(environment, role),
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
  return followStatus(bus, channel, log);
}

/** Logs what a connection says of itself. The answer tells whether it is up. */
function followStatus(bus: Bus, channel: string, log: Logger): Line {
  const line = { bus, isUp: true };
  bus.onStatus((status) => {
    if (status.kind === 'disconnected' || status.kind === 'closed') line.isUp = false;
    else if (status.kind === 'reconnected') line.isUp = true;
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
  return line;
}
