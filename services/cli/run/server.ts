// `flowherd server`: the server of an actor that runs elsewhere with `--egress bus`. It takes accepted packets from the bus
// and hands them to a handler, as if the actor were in this process.

import { randomInt } from 'node:crypto';
import { Command } from 'commander';
import type { Logger } from 'pino';
import { systemClock } from '../../../shared/base/clock.ts';
import { subjectsOf } from '../../../shared/bus/subjects.ts';
import type { LocalEgress } from '../../dssl/egress/local.ts';
import { RemoteServer } from '../../dssl/egress/remote/remote.ts';
import { counted } from '../../ops/numbers.ts';
import { addHandlerOptions, checkHandler, type HandlerOptions, openHandler } from '../process/egress.ts';
import { type Environment, environmentHelp, type LogTarget } from '../process/environment.ts';
import { handlerLog, serviceLog, tellReport } from '../process/log.ts';
import { nameOption } from '../process/parse.ts';
import { handlerPatienceMs, within } from '../process/patience.ts';
import { addBusOptions, connectLine, type ServiceOptions } from '../process/service.ts';
import { onSignals } from '../process/signals.ts';

interface ServerOptions extends HandlerOptions, Pick<ServiceOptions, 'bus' | 'cluster' | 'json'> {
  readonly of: string;
}

const example = `
Examples:
  $ FLOWHERD_SECRET=s3cret npx flowherd dssl --server s1 --egress bus
  $ npx flowherd server --of s1 --handler flow-stats      # on other hardware, by the same NATS server

The actor joins its group when its server listens. Packets are delivered at most once; what is lost on the way is counted
at both ends. It ends on SIGINT or SIGTERM.
${environmentHelp}`;

export function serverCommand(environment: () => Environment): Command {
  const command = new Command('server')
    .summary('a server on other hardware than its actor: takes its packets from the bus')
    .description(
      'The server of an actor that runs elsewhere with --egress bus: takes its packets from the bus and hands them to a handler.',
    )
    .addOption(nameOption('--of <server>', 'name of the server, as its actor has it').makeOptionMandatory());
  return addBusOptions(addHandlerOptions(command))
    .option('--json', 'what it came to, as JSON, when it ends')
    .addHelpText('after', example)
    .action((options: ServerOptions) => runServer(options, environment()));
}

async function runServer(options: ServerOptions, environment: Environment): Promise<void> {
  await checkHandler(options);
  const log = serviceLog(options.of, environment.logLevel, environment.logTo);
  const subjects = subjectsOf(options.cluster);
  const { bus } = await connectLine('server', 'data', options.bus, environment, log);
  let egress: LocalEgress | undefined;
  let remote: RemoteServer | undefined;
  try {
    // The group is its actor's to choose.
    egress = await openHandler(options, { server: options.of, group: '', log, tunnels: false, protectsFlows: false });
    await egress.start();
    remote = new RemoteServer({
      server: options.of,
      life: randomInt(1, 2 ** 47),
      egress,
      bus,
      subjects,
      clock: systemClock,
      log: handlerLog(log),
    });
    await remote.start();
    log.info({ handler: options.handler, subject: subjects.out(options.of) }, 'listening');
    await new Promise<void>((resolve) => {
      onSignals((signal) => {
        log.info({ signal }, 'ending');
        resolve();
      });
    });
  } finally {
    await remote?.stop();
    if (egress !== undefined && !(await within(handlerPatienceMs, egress.stop()))) {
      log.warn('the handler did not stop in time; it is left behind');
    }
    await bus.close();
  }
  tellCounts(options, egress, remote, log, environment.logTo);
}

function tellCounts(
  options: ServerOptions,
  egress: LocalEgress,
  remote: RemoteServer,
  log: Logger,
  logTo: LogTarget | undefined,
): void {
  const { packets, bytes, flowsStarted, handlerErrors, packetsLost } = egress.stats;
  const report = {
    server: options.of,
    packets,
    bytes,
    flows: flowsStarted,
    handlerErrors,
    packetsLost,
    remote: remote.report(),
    handler: egress.report(),
  };
  tellReport(
    log,
    logTo,
    options.json === true,
    report,
    () =>
      `${options.of}: ${counted(packets, 'packet')} of ${counted(flowsStarted, 'flow')}, ${counted(remote.lostDeliveries, 'delivery', 'deliveries')} lost on the bus.\n`,
  );
}
