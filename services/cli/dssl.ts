// `flowherd dssl`: one DSSL actor with its server as a process of its own. It joins a group, takes the packets of its flows
// from the bus, and hands them to the server's handler. A signal makes it drain and leave.

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
import { loadHandler } from '../dssl/egress/load.ts';
import { LocalEgress } from '../dssl/egress/local.ts';
import type { ReceiptEgress } from '../dssl/egress/receipts.ts';
import { count } from './cluster/words.ts';
import { type Environment, environmentHelp } from './environment.ts';
import { handlerLog, serviceLog } from './log.ts';
import { collect, nameOption, pairsOf, wholeNumber } from './parse.ts';
import { handlerPatienceMs, within } from './patience.ts';
import { receiptsOver } from './receipts.ts';
import { addServiceOptions, connectCluster, onSignals, type ServiceOptions } from './service.ts';

interface DsslOptions extends Omit<ServiceOptions, 'group'> {
  readonly server?: string;
  readonly memberOf?: string;
  readonly weight: number;
  readonly handler: string;
  readonly handlerOption: readonly string[];
  readonly maxFlows: number;
  readonly drainSeconds: number;
  readonly receipts?: boolean;
}

const example = `
Examples:
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --member-of g1 --handler flow-stats
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server lab-7 --handler ./my-server.ts --handler-option port=9000

SIGINT or SIGTERM drains: no new flows, the old ones to their end, at most --drain-seconds; a second signal ends it at once.
${environmentHelp}`;

export function dsslCommand(environment: () => Environment): Command {
  const command = new Command('dssl')
    .summary('one DSSL actor and its server as a process: the packets of its flows go to a handler')
    .description(
      'One DSSL actor and its server as a process of its own: takes the packets of its flows and hands them to a handler.',
    )
    .addOption(nameOption('--server <name>', 'name of the server (default: made from the host name)'))
    .addOption(nameOption('--member-of <group>', 'group to join (default: the one with the fewest members)'))
    .addOption(
      new Option('--weight <n>', 'share of new flows relative to the others')
        .default(100)
        .argParser(wholeNumber(0, 65_535)),
    )
    .addOption(
      new Option(
        '--handler <module>',
        'what the server does: counting, flow-stats, pcap, or a module of yours',
      ).default('counting'),
    )
    .addOption(
      new Option('--handler-option <name=value>', 'given to the handler; may be repeated')
        .default([], 'none')
        .argParser(collect),
    )
    .addOption(
      new Option('--max-flows <n>', 'entries of the flow table')
        .default(4_000_000)
        .argParser(wholeNumber(1, 200_000_000)),
    )
    .addOption(
      new Option('--drain-seconds <n>', 'longest drain on a signal').default(30).argParser(wholeNumber(0, 86_400)),
    )
    .option('--receipts', 'answer a traffic generator for each of its packets ("flowherd traffic")');
  return addServiceOptions(command)
    .addHelpText('after', example)
    .action((options: DsslOptions) => runDssl(options, environment()));
}

async function runDssl(options: DsslOptions, environment: Environment): Promise<void> {
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
  let egress: LocalEgress | undefined;
  let actor: DsslActor | undefined;
  let receipts: ReceiptEgress | undefined;
  try {
    const group = await chooseGroup(await controlBus.openKeyValue(subjects.bucket), map, options.memberOf);
    const context = {
      server,
      group,
      log: handlerLog(log),
      options: pairsOf('--handler-option', options.handlerOption),
    };
    const handler = await loadHandler(options.handler, process.cwd(), context);
    egress = new LocalEgress({
      handler,
      name: options.handler,
      log: context.log,
      nowMs: () => systemClock.monotonicMs(),
    });
    await egress.start();
    const incarnation = randomInt(2 ** 47);
    const clock = systemClock;
    if (options.receipts) {
      const core = () => actor?.core;
      receipts = receiptsOver({ inner: egress, server, group, incarnation, clock, bus: dataBus, subjects, core });
    }
    actor = new DsslActor({
      birth: { group, cluster: map.cluster, placement: map.placement, seed: map.seed, rules: map.rules },
      candidate: { server, incarnation, weight: options.weight },
      maxFlows: options.maxFlows,
      subjects,
      dataBus,
      controlBus,
      egress: receipts ?? egress,
      clock,
      log,
      ...(receipts === undefined ? {} : { audit: receipts.audit }),
    });
    const running = actor;
    const signalled = new Promise<void>((resolve) => {
      onSignals((signal) => {
        log.info({ signal, flows: running.core.ownFlows, seconds: options.drainSeconds }, 'draining');
        resolve();
      });
    });
    await actor.start();
    log.info({ group, handler: options.handler }, 'joined');
    await Promise.race([signalled, actor.whenRemoved()]);
    await actor.drain(options.drainSeconds * 1_000);
    receipts?.leave();
  } finally {
    actor?.stop();
    receipts?.stop();
    if (egress !== undefined && !(await within(handlerPatienceMs, egress.stop()))) {
      log.warn('the handler did not stop in time; it is left behind');
    }
    await Promise.all([dataBus.close(), controlBus.close()]);
  }
  tellCounts(server, actor, egress, receipts, options.json === true, log);
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
  egress: LocalEgress,
  receipts: ReceiptEgress | undefined,
  asJson: boolean,
  log: Logger,
): void {
  const { core } = actor;
  const { packets, bytes, flowsStarted, handlerErrors, packetsLost } = egress.stats;
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
    ...(receipts === undefined ? {} : { receipts: { rows: receipts.rows, unanswered: receipts.unanswered } }),
    handler: egress.report(),
  };
  log.info({ packets, flows: flowsStarted, flowsLeft: core.ownFlows, lostFrames }, 'left');
  process.stdout.write(
    asJson
      ? `${JSON.stringify(report, null, 2)}\n`
      : `${server}: ${count(packets)} packets of ${count(flowsStarted)} flows, ${count(core.ownFlows)} flows left behind, ${count(lostFrames)} frames lost on the bus.\n`,
  );
}
