// `flowherd dssl`: one DSSL actor with its server as a process of its own. It joins a group, takes the packets of its flows
// from the bus, and hands them to its server (egress.ts). A signal makes it drain and leave.

import { randomBytes, randomInt } from 'node:crypto';
import { hostname } from 'node:os';
import { Command, Option } from 'commander';
import type { Logger } from 'pino';
import type { KeyValue } from '../../shared/bus/bus.ts';
import { systemClock } from '../../shared/clock.ts';
import type { ClusterMap } from '../../shared/cluster/map.ts';
import { decodeView } from '../../shared/cluster/view.ts';
import { errorCodes, FlowherdError } from '../../shared/errors.ts';
import { viewKey } from '../../shared/subjects.ts';
import { DsslActor } from '../dssl/actor.ts';
import { count } from './cluster/words.ts';
import { addEgressOptions, checkEgress, type EgressOptions, type OpenedEgress, openEgress } from './egress.ts';
import { type Environment, environmentHelp } from './environment.ts';
import { serviceLog } from './log.ts';
import { nameOption, wholeNumber } from './parse.ts';
import { handlerPatienceMs, within } from './patience.ts';
import { addServiceOptions, connectCluster, onSignals, type ServiceOptions } from './service.ts';

interface DsslOptions extends Omit<ServiceOptions, 'group'>, EgressOptions {
  readonly memberOf?: string;
  readonly weight: number;
  readonly maxFlows: number;
  readonly drainSeconds: number;
}

const example = `
Examples:
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --member-of g1 --handler flow-stats
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server lab-7 --handler ./my-server.ts --handler-option port=9000
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server ns1 --backend udp://192.0.2.53:53
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server s1 --egress bus      # and elsewhere: npx flowherd server --of s1

SIGINT or SIGTERM drains: no new flows, the old ones to their end, at most --drain-seconds; a second signal ends it at once.
${environmentHelp}`;

export function dsslCommand(environment: () => Environment): Command {
  const command = new Command('dssl')
    .summary(
      'one DSSL actor and its server as a process: the packets of its flows go to a handler, a UDP server, or elsewhere',
    )
    .description(
      'One DSSL actor and its server as a process of its own: takes the packets of its flows and hands them to its server.',
    )
    .addOption(nameOption('--server <name>', 'name of the server (default: made from the host name)'))
    .addOption(nameOption('--member-of <group>', 'group to join (default: the one with the fewest members)'))
    .addOption(
      new Option('--weight <n>', 'share of new flows relative to the others')
        .default(100)
        .argParser(wholeNumber(0, 65_535)),
    )
    .addOption(
      new Option('--max-flows <n>', 'entries of the flow table')
        .default(4_000_000)
        .argParser(wholeNumber(1, 200_000_000)),
    )
    .addOption(
      new Option('--drain-seconds <n>', 'longest drain on a signal').default(30).argParser(wholeNumber(0, 86_400)),
    );
  return addServiceOptions(addEgressOptions(command))
    .addHelpText('after', example)
    .action((options: DsslOptions) => runDssl(options, environment()));
}

async function runDssl(options: DsslOptions, environment: Environment): Promise<void> {
  checkEgress(options);
  const server =
    options.server ??
    `${hostname()
      .replace(/[^A-Za-z0-9_-]/g, '-')
      .slice(0, 50)}-${randomBytes(3).toString('hex')}`;
  const log = serviceLog(server, environment.logLevel);
  const { subjects, map, dataBus, controlBus } = await connectCluster(
    'dssl',
    options as ServiceOptions,
    environment,
    log,
  );
  let opened: OpenedEgress | undefined;
  let actor: DsslActor | undefined;
  try {
    const group = await chooseGroup(await controlBus.openKeyValue(subjects.bucket), map, options.memberOf);
    const incarnation = randomInt(2 ** 47);
    opened = await openEgress(options, { server, group, incarnation, bus: dataBus, subjects, log });
    const { egress } = opened;
    await egress.start();
    actor = new DsslActor({
      birth: { group, cluster: map.cluster, placement: map.placement, seed: map.seed, rules: map.rules },
      candidate: { server, incarnation, weight: options.weight },
      maxFlows: options.maxFlows,
      subjects,
      dataBus,
      controlBus,
      egress,
      clock: systemClock,
      log,
    });
    const running = actor;
    const signalled = new Promise<void>((resolve) => {
      onSignals((signal) => {
        log.info({ signal, flows: running.core.ownFlows, seconds: options.drainSeconds }, 'draining');
        resolve();
      });
    });
    await actor.start();
    log.info({ group, to: opened.to }, 'joined');
    await Promise.race([signalled, actor.whenRemoved()]);
    await actor.drain(options.drainSeconds * 1_000);
  } finally {
    actor?.stop();
    if (opened !== undefined && !(await within(handlerPatienceMs, opened.egress.stop()))) {
      log.warn('the handler did not stop in time; it is left behind');
    }
    await Promise.all([dataBus.close(), controlBus.close()]);
  }
  tellCounts(server, actor, opened, options.json === true, log);
}

/** The group asked for, or the one with the fewest members. Rejects with `bad-config` when there is no such group. */
async function chooseGroup(store: KeyValue, map: ClusterMap, wanted: string | undefined): Promise<string> {
  const ids = map.groups.map(({ id }) => id);
  if (wanted !== undefined) {
    if (ids.includes(wanted)) return wanted;
    throw new FlowherdError(
      errorCodes.badConfig,
      `there is no group ${wanted} in this cluster; its groups are ${ids.join(', ')}`,
    );
  }
  const sizes = await Promise.all(
    ids.map(async (id) => {
      const entry = await store.get(viewKey(id));
      return (entry && decodeView(entry.value)?.members.length) ?? 0;
    }),
  );
  return ids[sizes.indexOf(Math.min(...sizes))];
}

function tellCounts(
  server: string,
  actor: DsslActor,
  { egress, part }: OpenedEgress,
  asJson: boolean,
  log: Logger,
): void {
  const { core } = actor;
  const { packets, bytes, flowsStarted, packetsLost } = egress.stats;
  const handlerErrors = egress.stats.handlerErrors ?? 0;
  const { lostFrames, repeatedFrames } = core.streams;
  const report = {
    server,
    packets,
    bytes,
    flows: flowsStarted,
    flowsLeft: core.ownFlows,
    handlerErrors,
    packetsLost,
    verdicts: core.verdicts,
    frames: { ...core.counters, lost: lostFrames, repeated: repeatedFrames },
    [part]: egress.report(),
  };
  log.info({ packets, flows: flowsStarted, flowsLeft: core.ownFlows, lostFrames }, 'left');
  process.stdout.write(
    asJson
      ? `${JSON.stringify(report, null, 2)}\n`
      : `${server}: ${count(packets)} packets of ${count(flowsStarted)} flows, ${count(core.ownFlows)} flows left behind, ${count(lostFrames)} frames lost on the bus.\n`,
  );
}
