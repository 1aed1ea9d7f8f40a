// `flowherd dssl`: one DSSL actor with its server as a process of its own. It joins a group, takes the packets of its flows
// from the group's log, and hands them to its server (egress.ts). A signal makes it drain and leave; so does its view. When
// the others remove it though it lives, or the log went on without it, it comes back (dssl/lives.ts).

import { Command, Option } from 'commander';
import type { Logger } from 'pino';
import type { ClusterSettings } from '../../../shared/config/settings.ts';
import type { MapFollower } from '../../../shared/config/store.ts';
import { followSettings } from '../config/liveSettings.ts';
import { Health } from '../operate/health.ts';
import { addEgressOptions, checkEgress } from '../process/egress.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { serviceLog } from '../process/log.ts';
import { LoopDelay } from '../process/loopDelay.ts';
import { Machine } from '../process/machineLoad.ts';
import { wholeNumber } from '../process/parse.ts';
import { serverOption, uniqueServerName } from '../process/serverName.ts';
import { addServiceOptions, connectCluster, connectionConditions, type ServiceOptions } from '../process/service.ts';
import { onSignals } from '../process/signals.ts';
import { Thermometer } from '../process/thermometer.ts';
import type { LifeOptions } from './dssl/life.ts';
import type { Lives } from './dssl/lives.ts';
import { tellCounts } from './dssl/report.ts';
import { memberOfOption, type RoleOptions, rolesOf, standbyForOption } from './dssl/roles.ts';
import { Seats } from './dssl/seats.ts';

type DsslOptions = Omit<ServiceOptions, 'group'> & Omit<LifeOptions, 'backendAddress'> & RoleOptions;

const example = `
Examples:
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --member-of g1 --handler flow-stats
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server lab-7 --handler ./my-server.ts --handler-option port=9000
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server ns1 --backend udp://192.0.2.53:53
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server s1 --egress bus      # and elsewhere: npx flowherd server --of s1
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server b1 --member-of g1 --standby-for s1
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server spare --member-of all --standby-for all

SIGINT or SIGTERM drains: no new flows, the old ones to their end, at most --drain-seconds; a second signal ends it at once.
A server that the others removed because they did not hear it, or that its group's log has left too far behind, gives up
its flows and comes back as a new life.
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
    .addOption(memberOfOption())
    .addOption(standbyForOption())
    .addOption(
      new Option('--weight <n>', 'share of new flows relative to the others')
        .default(100)
        .argParser(wholeNumber(0, 65_535)),
    )
    .addOption(
      new Option('--drain-seconds <n>', 'longest drain, on a signal or because the view says so')
        .default(30)
        .argParser(wholeNumber(0, 86_400)),
    )
    .option(
      '--temperature-file <path>',
      'a file that says how warm the server is, in degrees Celsius or thousandths (default: the hottest sensor of the machine)',
    )
    .option('--receipts', 'answer a traffic generator for each of its packets ("flowherd traffic")');
  return addServiceOptions(addEgressOptions(command))
    .addHelpText('after', example)
    .action((options: DsslOptions) => runDssl(options, environment()));
}

async function runDssl(asked: DsslOptions, environment: Environment): Promise<void> {
  const options = await checkEgress(asked);
  const server = options.server || uniqueServerName();
  const log = serviceLog(server, environment.logLevel, environment.logTo);
  const loop = new LoopDelay();
  const health = new Health([...connectionConditions, 'subscribed', 'member', 'log'], loop);
  const cluster = await connectCluster('dssl', asked as ServiceOptions, environment, log, health);
  loop.start();
  const thermometer = new Thermometer({ file: options.temperatureFile, log });
  void thermometer.refresh();
  const machine = new Machine({ loop, thermometer });
  const ended = new AbortController();
  let seats: Seats | undefined;
  let following: MapFollower | undefined;
  try {
    const context = { options, cluster, machine, log, ended: ended.signal };
    const all = new Seats(context, rolesOf(options, server, cluster.map));
    seats = all;
    health.check('subscribed', () => all.settled.every(({ current }) => current?.hasServed === true) || 'not yet');
    health.check('member', () => first(all.settled.map(membership)));
    health.check('log', () => first(all.settled.map(({ current }) => current?.followsLog() ?? 'not yet')));
    onSignals((signal) => {
      for (const lives of all.settled) tellSignal(signal, lives, options.drainSeconds, log);
      ended.abort();
    });
    const { store, map } = cluster;
    const retune = (settings: ClusterSettings): void => all.retune(following?.map ?? map, settings);
    following = await followSettings({ store, map, log, onSettings: retune });
    await all.run(following.map);
  } finally {
    health.stop();
    loop.stop();
    following?.stop();
    const { dataBus, controlBus, gossipBus } = cluster;
    await Promise.all([dataBus, controlBus, gossipBus].map((bus) => bus.close()));
    for (const { counts, ...seat } of seats?.ended.values() ?? [])
      tellCounts({ ...seat, asJson: options.json === true }, counts, log, environment.logTo);
  }
}

/** The first that is wrong. */
function first(conditions: readonly (true | string)[]): true | string {
  return conditions.find((condition) => condition !== true) ?? true;
}

function membership({ current }: Lives): true | string {
  if (current?.actor === undefined || !current.hasServed) return 'not yet';
  const { phase } = current.actor;
  return phase === 'active' || phase === 'draining' || `the server is ${phase}`;
}

function tellSignal(signal: string, lives: Lives, seconds: number, log: Logger): void {
  const actor = lives.current?.actor;
  const isMember = actor !== undefined && actor.phase !== 'left';
  if (isMember) log.info({ signal, flows: actor.ownFlows, seconds }, 'draining');
  else log.info({ signal }, 'ending');
}
