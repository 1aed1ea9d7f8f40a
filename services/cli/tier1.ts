// `flowherd tier1`: the stateless first tier as a process of its own. Traffic comes from captures or, live, from standard
// input or from the bus; the frames go to the groups of a cluster on a NATS server.

import { randomBytes } from 'node:crypto';
import { Command, Option } from 'commander';
import { systemClock } from '../../shared/clock.ts';
import { Tier1Actor } from '../tier1/actor.ts';
import { feedCapture } from '../tier1/ingress/capture.ts';
import { SubjectIngress } from '../tier1/ingress/subject.ts';
import { keyerFor } from './cluster/settings.ts';
import { count } from './cluster/words.ts';
import { type Environment, environmentHelp } from './environment.ts';
import { serviceLog } from './log.ts';
import { collect, nameOption, parseSpeed } from './parse.ts';
import { addServiceOptions, connectCluster, onSignals, type ServiceOptions } from './service.ts';

interface Tier1Options extends ServiceOptions {
  readonly input: readonly string[];
  readonly speed: 'max' | number;
  readonly packetTime?: 'live' | 'capture';
  readonly name: string;
}

/** The input that is no file. */
const bus = 'bus';

const example = `
Examples:
  $ FLOWHERD_SECRET=s3cret npx flowherd tier1 --input capture.pcap --bus nats://127.0.0.1:4222
  $ tcpdump -i eth0 -w - | FLOWHERD_SECRET=s3cret npx flowherd tier1 --input -
  $ FLOWHERD_SECRET=s3cret npx flowherd tier1 --input bus

It waits until every group has a server, then sends. It ends when the input does, or on SIGINT or SIGTERM. The input "bus"
takes packets that others on the same NATS server send, such as "flowherd traffic"; it goes on until a signal.
${environmentHelp}`;

export function tier1Command(environment: () => Environment): Command {
  const command = new Command('tier1')
    .summary('the stateless first tier as a process: packets in, frames to the groups')
    .description(
      'The stateless first tier as a process of its own: reads packets and sends each to the group it belongs to.',
    )
    .requiredOption(
      '--input <source>',
      'capture to read, "-" for standard input, "bus" for packets from the bus; may be repeated',
      collect,
    )
    .addOption(
      new Option('--speed <factor>', '"max", or a factor on the pace of the capture')
        .default('max')
        .argParser(parseSpeed),
    )
    .addOption(
      new Option(
        '--packet-time <clock>',
        'time that packets carry: when they came in, or when they were captured (default: "live" for "-" and "bus", else "capture")',
      ).choices(['live', 'capture']),
    )
    .addOption(nameOption('--name <name>', 'name of this tier 1').default('tier1'));
  return addServiceOptions(command)
    .addHelpText('after', example)
    .action((options: Tier1Options) => runTier1(options, environment()));
}

async function runTier1(options: Tier1Options, environment: Environment): Promise<void> {
  const log = serviceLog(options.name, environment.logLevel);
  const captures = options.input.filter((input) => input !== bus);
  const isLive = captures.length < options.input.length || captures.includes('-');
  const { subjects, map, dataBus, controlBus, secret } = await connectCluster('tier1', options, environment, log);
  const tier1 = new Tier1Actor({
    tier1Id: lifeOf(options.name),
    map,
    keyer: keyerFor(map, secret),
    subjects,
    dataBus,
    controlBus,
    clock: systemClock,
    packetTime: options.packetTime ?? (isLive ? 'live' : 'capture'),
  });
  let ingress: SubjectIngress | undefined;
  const ended = new AbortController();
  const release = onSignals((signal) => {
    log.info({ signal }, 'ending');
    ended.abort();
  });
  try {
    await tier1.start();
    if (options.input.includes(bus)) {
      ingress = await SubjectIngress.open({ tier1, subjects, bus: dataBus, controlBus, clock: systemClock });
    }
    log.info(
      { groups: map.groups.map(({ id }) => id), cluster: options.cluster },
      'waiting for a server in every group',
    );
    await Promise.race([tier1.whenServed(), aborted(ended.signal)]);
    if (ingress !== undefined && !ended.signal.aborted) log.info({ tier1: tier1.id }, 'taking packets from the bus');
    for (const file of captures) {
      if (ended.signal.aborted) break;
      const { packets, problem } = await feedCapture(tier1, file, {
        speed: options.speed,
        packetTime: tier1.packetTime,
        clock: systemClock,
        stop: ended.signal,
      });
      log.info({ file, packets, ...(problem === undefined ? {} : { problem }) }, 'input read');
    }
    if (ingress !== undefined) await aborted(ended.signal);
  } finally {
    await ingress?.stop();
    release();
    await tier1.stop();
    await Promise.all([dataBus.close(), controlBus.close()]);
  }
  tellCounts(tier1, ingress, options.json === true);
}

function tellCounts(tier1: Tier1Actor, ingress: SubjectIngress | undefined, asJson: boolean): void {
  const { received, distributed, dropped } = tier1.distributor;
  if (asJson) {
    const inputs = ingress === undefined ? {} : { [bus]: ingress.report() };
    process.stdout.write(`${JSON.stringify({ packets: { read: received, distributed, dropped }, inputs }, null, 2)}\n`);
    return;
  }
  process.stdout.write(`${count(received)} packets read, ${count(distributed)} distributed.\n`);
  for (const [cause, number] of Object.entries(dropped)) process.stdout.write(`  ${count(number)} dropped: ${cause}\n`);
  const { lostFrames = 0, faulty = 0 } = ingress?.feed ?? {};
  if (lostFrames + faulty > 0) {
    process.stdout.write(
      `  ${count(lostFrames)} frames from the bus never came, ${count(faulty)} messages were no frames\n`,
    );
  }
}

/** Sequences begin anew with every life of a tier 1, so every life has a name of its own. */
function lifeOf(name: string): string {
  return `${name.slice(0, 55)}-${randomBytes(4).toString('hex')}`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
