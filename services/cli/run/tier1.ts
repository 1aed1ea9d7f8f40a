// `flowherd tier1`: the stateless first tier as a process of its own. Traffic comes from captures or live (inputs.ts); the
// frames go into the logs of a cluster's groups on a NATS server.

import { randomBytes } from 'node:crypto';
import { Command, Option } from 'commander';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import type { MapFollower } from '../../../shared/config/store.ts';
import { notEnteredInWords } from '../../../shared/flow/tunnelCounts.ts';
import { count, counted } from '../../ops/numbers.ts';
import { Tier1Actor } from '../../tier1/actor.ts';
import { feedCapture } from '../../tier1/ingress/capture.ts';
import { followSettings } from '../config/liveSettings.ts';
import { keyerFor } from '../config/settings.ts';
import { Health } from '../operate/health.ts';
import { type Environment, environmentHelp } from '../process/environment.ts';
import { Inputs } from '../process/inputs.ts';
import { serviceLog, tellReport } from '../process/log.ts';
import { collect, nameOption, parseSpeed } from '../process/parse.ts';
import { addServiceOptions, connectCluster, connectionConditions, type ServiceOptions } from '../process/service.ts';
import { onSignals } from '../process/signals.ts';
import { type CaptureRead, captureNotes } from './captureNotes.ts';

interface Tier1Options extends ServiceOptions {
  readonly input: readonly string[];
  readonly speed: 'max' | number;
  readonly packetTime?: 'live' | 'capture';
  readonly name: string;
}

const example = `
Examples:
  $ FLOWHERD_SECRET=s3cret npx flowherd tier1 --input capture.pcap --bus nats://127.0.0.1:4222
  $ tcpdump -i eth0 -w - | FLOWHERD_SECRET=s3cret npx flowherd tier1 --input -
  $ FLOWHERD_SECRET=s3cret npx flowherd tier1 --input udp://192.0.2.10:53 --input 'udp://[2001:db8::10]:53'
  $ FLOWHERD_SECRET=s3cret npx flowherd tier1 --input bus

It waits until every group has a server, then sends. When later a whole group is silent or has no server left, its flows
go to the other groups until it is back. Captures wait while a log takes nothing, or a server is half of its log behind; what is
live and finds no room for long is dropped and counted. It ends when its captures do, or on SIGINT or SIGTERM; with a live
input only on a signal. The input "bus" takes packets that others on the same NATS server send, such as "flowherd traffic".
${environmentHelp}`;

export function tier1Command(environment: () => Environment): Command {
  const command = new Command('tier1')
    .summary('the stateless first tier as a process: packets in, frames to the groups')
    .description(
      'The stateless first tier as a process of its own: reads packets and sends each to the group it belongs to.',
    )
    .requiredOption(
      '--input <source>',
      'capture to read, "-" for standard input, udp://host:port to take datagrams there, "bus" for packets from the bus; may be repeated',
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
        'time that packets carry: when they came in, or when they were captured (default: "capture" for files, else "live")',
      ).choices(['live', 'capture']),
    )
    .addOption(nameOption('--name <name>', 'name of this tier 1').default('tier1'));
  return addServiceOptions(command)
    .addHelpText('after', example)
    .action((options: Tier1Options) => runTier1(options, environment()));
}

async function runTier1(options: Tier1Options, environment: Environment): Promise<void> {
  const inputs = new Inputs(options.input);
  const isLive = inputs.isLive || options.input.includes('-');
  if (inputs.isLive && options.packetTime === 'capture') {
    throw new FlowherdError(errorCodes.badConfig, '--packet-time capture: packets of a live input have no other time');
  }
  await inputs.check();
  const log = serviceLog(options.name, environment.logLevel, environment.logTo);
  const health = new Health([...connectionConditions, 'views', 'served', 'log']);
  const { subjects, map, store, dataBus, controlBus, secret } = await connectCluster(
    'tier1',
    options,
    environment,
    log,
    health,
  );
  const { ageMs, bytes } = map.log.retention;
  const tier1 = new Tier1Actor({
    tier1Id: lifeOf(options.name),
    map,
    keyer: keyerFor(map, secret),
    subjects,
    dataBus,
    controlBus,
    clock: systemClock,
    packetTime: options.packetTime ?? (isLive ? 'live' : 'capture'),
    lag: { bytes: bytes / 2, ms: ageMs / 2 },
    log,
  });
  const ended = new AbortController();
  const release = onSignals((signal) => {
    log.info({ signal }, 'ending');
    ended.abort();
  });
  let following: MapFollower | undefined;
  try {
    following = await followSettings({ store, map, log, onSettings: (settings) => tier1.retune(settings) });
    tier1.retune(following.map.settings);
    await tier1.start();
    health.check('views', () => true);
    health.check('served', () => tier1.missing.length === 0 || `no server in ${tier1.missing.join(', ')}`);
    health.check('log', () => tier1.isReady || 'a log takes no frames');
    await inputs.open({ tier1, subjects, bus: dataBus, controlBus, clock: systemClock, log });
    log.info(
      { groups: map.groups.map(({ id }) => id), cluster: options.cluster },
      'waiting for a server in every group',
    );
    await Promise.race([tier1.whenServed(), aborted(ended.signal)]);
    if (inputs.isLive && !ended.signal.aborted) log.info({ tier1: tier1.id }, `taking packets from ${inputs.senders}`);
    let before: CaptureRead | undefined;
    for (const file of inputs.captures) {
      if (ended.signal.aborted) break;
      const { packets, problem, times, unread } = await feedCapture(tier1, file, {
        speed: options.speed,
        packetTime: tier1.packetTime,
        clock: systemClock,
        stop: ended.signal,
      });
      log.info({ file, packets, ...(problem === undefined ? {} : { problem }) }, 'input read');
      for (const note of captureNotes({ file, times, unread }, before)) log.warn({ file }, note);
      before = { file, times, unread };
    }
    if (inputs.isLive) await aborted(ended.signal);
  } finally {
    health.stop();
    following?.stop();
    await inputs.stop();
    release();
    await tier1.stop();
    await Promise.all([dataBus.close(), controlBus.close()]);
  }
  const { received, distributed, dropped, tunnels } = tier1.distributor;
  const { mapping, gossipFaults, mirrorFaults } = tier1;
  const report = {
    packets: { read: received, distributed, dropped, diverted: mapping.diverted },
    tunnels,
    groups: { timesMappedOut: mapping.timesOut, mappedOut: mapping.out, gossipFaults, mirrorFaults },
    inputs: inputs.report(),
  };
  tellReport(log, environment.logTo, options.json === true, report, () => {
    const drops = Object.entries(dropped).map(([cause, number]) => `  ${count(number)} dropped: ${cause}\n`);
    const detour =
      mapping.diverted > 0
        ? `  ${count(mapping.diverted)} of them to other groups than the map's, which were gone\n`
        : '';
    const closed = notEnteredInWords(tunnels).map((words) => `  tunnels not entered: ${words}\n`);
    return `${counted(received, 'packet')} read, ${count(distributed)} distributed.\n${detour}${drops.join('')}${closed.join('')}`;
  });
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
