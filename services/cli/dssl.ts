// `flowherd dssl`: one DSSL actor with its server as a process of its own. It joins a group, takes the packets of its flows
// from the bus, and hands them to the server's handler. A signal makes it drain and leave.

import { randomInt } from 'node:crypto';
import { Command, Option } from 'commander';
import type { Logger } from 'pino';
import { systemClock } from '../../shared/clock.ts';
import type { DsslActor } from '../dssl/actor.ts';
import { loadHandler } from '../dssl/egress/load.ts';
import { LocalEgress } from '../dssl/egress/local.ts';
import { removalOf, type TakenPlace, takePlace } from '../dssl/place.ts';
import { count } from './cluster/words.ts';
import { type Environment, environmentHelp } from './environment.ts';
import { handlerLog, serviceLog } from './log.ts';
import { collect, nameOption, pairsOf, wholeNumber } from './parse.ts';
import { handlerPatienceMs, within } from './patience.ts';
import { serverOption, uniqueServerName } from './serverName.ts';
import { addServiceOptions, connectCluster, onSignals, type ServiceOptions } from './service.ts';

interface DsslOptions extends Omit<ServiceOptions, 'group'> {
  readonly server?: string;
  readonly memberOf?: string;
  readonly weight: number;
  readonly handler: string;
  readonly handlerOption: readonly string[];
  readonly maxFlows: number;
  readonly drainSeconds: number;
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
    .addOption(serverOption())
    .addOption(
      nameOption(
        '--member-of <group>',
        'group to join (default: its former one, else the one with the fewest members for its weight)',
      ),
    )
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
    );
  return addServiceOptions(command)
    .addHelpText('after', example)
    .action((options: DsslOptions) => runDssl(options, environment()));
}

async function runDssl(options: DsslOptions, environment: Environment): Promise<void> {
  const server = options.server || uniqueServerName();
  const log = serviceLog(server, environment.logLevel);
  const { subjects, map, dataBus, controlBus } = await connectCluster(
    'dssl',
    options as ServiceOptions,
    environment,
    log,
  );
  const ended = new AbortController();
  let place: TakenPlace | undefined;
  let egress: LocalEgress | undefined;
  let wasRemoved = false;
  try {
    const signalled = new Promise<void>((resolve) => {
      onSignals((signal) => {
        const flows = place?.actor.core.ownFlows ?? 0;
        log.info({ signal, flows, seconds: options.drainSeconds }, 'draining');
        ended.abort();
        resolve();
      });
    });
    place = await takePlace({
      map,
      memberOf: options.memberOf,
      stop: ended.signal,
      candidate: { server, incarnation: randomInt(2 ** 47), weight: options.weight },
      maxFlows: options.maxFlows,
      subjects,
      dataBus,
      controlBus,
      clock: systemClock,
      log,
    });
    if (place === undefined) return log.info('ended before it was a member');
    const { group, actor } = place;
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
    place.serve(egress);
    log.info({ group, handler: options.handler }, 'joined');
    await Promise.race([signalled, actor.whenRemoved()]);
    wasRemoved = !ended.signal.aborted;
    if (!wasRemoved) await actor.drain(options.drainSeconds * 1_000);
  } catch (error) {
    await place?.giveBack();
    throw error;
  } finally {
    place?.actor.stop();
    if (egress !== undefined && !(await within(handlerPatienceMs, egress.stop()))) {
      log.warn('the handler did not stop in time; it is left behind');
    }
    await Promise.all([dataBus.close(), controlBus.close()]);
  }
  tellCounts(server, place.actor, egress, options.json === true, log);
  if (wasRemoved) throw removalOf(place.actor);
}

function tellCounts(server: string, actor: DsslActor, egress: LocalEgress, asJson: boolean, log: Logger): void {
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
    handler: egress.report(),
  };
  log.info({ packets, flows: flowsStarted, flowsLeft: core.ownFlows, lostFrames }, 'left');
  process.stdout.write(
    asJson
      ? `${JSON.stringify(report, null, 2)}\n`
      : `${server}: ${count(packets)} packets of ${count(flowsStarted)} flows, ${count(core.ownFlows)} flows left behind, ${count(lostFrames)} frames lost on the bus.\n`,
  );
}
