// `flowherd dssl`: one DSSL actor with its server as a process of its own. It joins a group, takes the packets of its flows
// from the bus, and hands them to its server (egress.ts). A signal makes it drain and leave.

import { randomInt } from 'node:crypto';
import { Command, Option } from 'commander';
import type { Logger } from 'pino';
import { systemClock } from '../../shared/clock.ts';
import type { MapFollower } from '../../shared/cluster/store.ts';
import type { DsslActor } from '../dssl/actor.ts';
import type { ReceiptEgress } from '../dssl/egress/receipts.ts';
import { removalOf, type TakenPlace, takePlace } from '../dssl/place.ts';
import type { DecisionAudit } from '../dssl/rows.ts';
import { followSettings } from './cluster/liveSettings.ts';
import { count } from './cluster/words.ts';
import { addEgressOptions, checkEgress, type EgressOptions, type OpenedEgress, openEgress } from './egress.ts';
import { type Environment, environmentHelp, type LogTarget } from './environment.ts';
import { Health } from './health.ts';
import { serviceLog, tellReport } from './log.ts';
import { nameOption, wholeNumber } from './parse.ts';
import { handlerPatienceMs, leavePatienceMs, within } from './patience.ts';
import { receiptsOver } from './receipts.ts';
import { serverOption, uniqueServerName } from './serverName.ts';
import { addServiceOptions, connectCluster, connectionConditions, type ServiceOptions } from './service.ts';
import { onSignals } from './signals.ts';

interface DsslOptions extends Omit<ServiceOptions, 'group'>, EgressOptions {
  readonly memberOf?: string;
  readonly weight: number;
  readonly maxFlows: number;
  readonly drainSeconds: number;
  readonly receipts?: boolean;
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
      new Option('--max-flows <n>', 'entries of the flow table')
        .default(4_000_000)
        .argParser(wholeNumber(1, 200_000_000)),
    )
    .addOption(
      new Option('--drain-seconds <n>', 'longest drain on a signal').default(30).argParser(wholeNumber(0, 86_400)),
    )
    .option('--receipts', 'answer a traffic generator for each of its packets ("flowherd traffic")');
  return addServiceOptions(addEgressOptions(command))
    .addHelpText('after', example)
    .action((options: DsslOptions) => runDssl(options, environment()));
}

async function runDssl(options: DsslOptions, environment: Environment): Promise<void> {
  checkEgress(options);
  const server = options.server || uniqueServerName();
  const log = serviceLog(server, environment.logLevel, environment.logTo);
  const health = new Health([...connectionConditions, 'subscribed', 'member']);
  const { subjects, map, store, dataBus, controlBus } = await connectCluster(
    'dssl',
    options as ServiceOptions,
    environment,
    log,
    health,
  );
  const incarnation = randomInt(2 ** 47);
  const ended = new AbortController();
  let place: TakenPlace | undefined;
  let opened: OpenedEgress | undefined;
  let receipts: ReceiptEgress | undefined;
  let wasRemoved = false;
  let following: MapFollower | undefined;
  try {
    const signalled = new Promise<void>((resolve) => {
      onSignals((signal) => {
        const flows = place?.actor.core.ownFlows ?? 0;
        log.info({ signal, flows, seconds: options.drainSeconds }, 'draining');
        ended.abort();
        resolve();
      });
    });
    following = await followSettings({ store, map, log });
    place = await takePlace({
      map,
      memberOf: options.memberOf,
      stop: ended.signal,
      candidate: { server, incarnation, weight: options.weight },
      maxFlows: options.maxFlows,
      subjects,
      dataBus,
      controlBus,
      clock: systemClock,
      log,
      ...(options.receipts ? { audit: lateAudit(() => receipts?.audit) } : {}),
    });
    if (place === undefined) return log.info('ended before it was a member');
    const { group, actor } = place;
    opened = await openEgress(options, { server, group, incarnation, bus: dataBus, subjects, log });
    const started = opened.egress.start();
    await Promise.race([started, signalled]);
    if (ended.signal.aborted) {
      // Whatever it waits for: nothing was placed here yet.
      started.catch(() => undefined);
      await place.giveBack();
      return log.info('ended before it was active');
    }
    if (options.receipts) {
      receipts = receiptsOver({
        inner: opened.egress,
        server,
        group,
        incarnation,
        clock: systemClock,
        bus: dataBus,
        subjects,
        core: () => actor.core,
      });
    }
    place.serve(receipts ?? opened.egress);
    health.check('subscribed', () => true);
    health.check('member', () => {
      const { phase } = actor.core;
      return phase === 'active' || phase === 'draining' || `the server is ${phase}`;
    });
    log.info({ group, to: opened.to }, 'joined');
    await Promise.race([signalled, actor.whenRemoved()]);
    wasRemoved = !ended.signal.aborted;
    const drainMs = options.drainSeconds * 1_000;
    if (!wasRemoved && !(await within(drainMs + leavePatienceMs, actor.drain(drainMs)))) {
      log.warn('could not write that the server leaves: it stays a member, until it comes back under its name');
      process.exitCode = 1;
    }
    receipts?.leave();
  } catch (error) {
    await place?.giveBack();
    throw error;
  } finally {
    health.stop();
    following?.stop();
    place?.actor.stop();
    receipts?.stop();
    if (opened !== undefined && !(await within(handlerPatienceMs, opened.egress.stop()))) {
      log.warn('the handler did not stop in time; it is left behind');
    }
    await Promise.all([dataBus.close(), controlBus.close()]);
  }
  tellCounts(server, place.actor, opened, receipts, options.json === true, log, environment.logTo);
  if (wasRemoved) throw removalOf(place.actor);
}

/** The actor is made before it is known where its packets go, and hears frames before its server is ready. */
function lateAudit(audit: () => DecisionAudit | undefined): DecisionAudit {
  return {
    onFrame: (...frame) => audit()?.onFrame(...frame),
    onLate: (...verdict) => audit()?.onLate(...verdict),
  };
}

function tellCounts(
  server: string,
  actor: DsslActor,
  { egress, part }: OpenedEgress,
  receipts: ReceiptEgress | undefined,
  asJson: boolean,
  log: Logger,
  logTo: LogTarget | undefined,
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
    ...(receipts === undefined ? {} : { receipts: { rows: receipts.rows, unanswered: receipts.unanswered } }),
    [part]: egress.report(),
  };
  log.info({ packets, flows: flowsStarted, flowsLeft: core.ownFlows, lostFrames }, 'left');
  tellReport(
    log,
    logTo,
    asJson,
    report,
    () =>
      `${server}: ${count(packets)} packets of ${count(flowsStarted)} flows, ${count(core.ownFlows)} flows left behind, ${count(lostFrames)} frames lost on the bus.\n`,
  );
}
