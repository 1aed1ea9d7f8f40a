// The options that say what the generator sends, and what they mean to it.

import { type Command, Option } from 'commander';
import type { GeneratorOptions } from '../../../loadgen/generator/generator.ts';
import { mixNames } from '../../../loadgen/generator/mixes.ts';
import { readMix, readSizes } from '../../../loadgen/generator/options.ts';
import { wholeNumber } from '../../process/parse.ts';

/** Values of the options that `addPacketOptions` defines, as commander hands them over. */
export interface PacketOptions {
  readonly seed: number;
  readonly rate: number;
  readonly flowsPerSecond?: number;
  readonly flowPps: number;
  readonly flood?: number;
  readonly mix?: string;
  readonly protocols?: string;
  readonly flows?: number;
  readonly packetBytes?: string;
  readonly packetsPerFlow?: string;
  readonly bytesPerFlow?: string;
  readonly arrivals: 'even' | 'poisson';
  readonly replies?: boolean;
  readonly clients: number;
  readonly targets: number;
  readonly ipv6Percent: number;
  readonly vlan: readonly number[];
}

/** Adds them, in a section of the help of their own. `--seed` is one of the cluster's options. */
export function addPacketOptions(command: Command): Command {
  return command
    .optionsGroup('Options of the packets:')
    .addOption(new Option('--rate <n>', 'packets a second').default(10_000).argParser(wholeNumber(1, 5_000_000)))
    .addOption(
      new Option('--flows-per-second <n>', 'in place of --rate: new flows a second')
        .argParser(wholeNumber(1, 1_000_000))
        .conflicts('rate'),
    )
    .addOption(
      new Option('--flow-pps <n>', 'with it: packets a second of one flow')
        .default(10)
        .argParser(wholeNumber(1, 100_000)),
    )
    .addOption(
      new Option(
        '--flows <n>',
        'flows at once (default: 1000); with --flows-per-second the most there may be (default: 100000)',
      ).argParser(wholeNumber(1, 2 ** 24)),
    )
    .addOption(new Option('--mix <name>', `what kinds of flows: ${mixNames.join(', ')} (default: "web")`))
    .addOption(new Option('--protocols <list>', 'in place of --mix: such as tcp:70,udp/53:25,icmp:5, with shares'))
    .addOption(new Option('--packet-bytes <sizes>', 'in place of the mix: 128, 64-1500, imix, pareto:64:1500:1.2'))
    .addOption(new Option('--packets-per-flow <sizes>', 'in place of the mix, likewise; 0: flows without end'))
    .addOption(
      new Option('--bytes-per-flow <sizes>', 'in place of packets: as many as make up so many bytes').conflicts(
        'packetsPerFlow',
      ),
    )
    .addOption(new Option('--flood <n>', 'SYNs a second of ever new clients beside that').argParser(flood))
    .addOption(new Option('--arrivals <kind>', 'gaps between packets').choices(['even', 'poisson']).default('even'))
    .option('--replies', 'packets of the other side too')
    .addOption(new Option('--clients <n>', 'client addresses').default(65_536).argParser(wholeNumber(1, 2 ** 24)))
    .addOption(new Option('--targets <n>', 'addresses they talk to').default(4).argParser(wholeNumber(1, 2 ** 24)))
    .addOption(
      new Option('--ipv6-percent <n>', 'of 100 flows, how many are IPv6').default(20).argParser(wholeNumber(0, 100)),
    )
    .addOption(
      new Option('--vlan <id>', 'VLAN tag; may be repeated, outermost first')
        .default([], 'none')
        .argParser((text: string, former: readonly number[]) => [...former, wholeNumber(0, 4_094)(text)]),
    );
}

const flood = wholeNumber(1, 5_000_000);

/** Throws FlowherdError bad-config for words that cannot be read; the generator itself does for what cannot go together. */
export function generatorOptionsFrom(options: PacketOptions): GeneratorOptions {
  const { seed, rate, flowsPerSecond, flowPps, arrivals, replies, clients, targets, ipv6Percent, vlan } = options;
  const { mix, protocols, packetBytes, packetsPerFlow, bytesPerFlow } = options;
  return {
    seed,
    flows: options.flows ?? (flowsPerSecond === undefined ? 1_000 : manyFlows),
    mix: readMix({ mix, protocols, packetBytes, packetsPerFlow }),
    arrivals,
    replies: replies === true,
    clients,
    targets,
    ipv6Percent,
    vlans: vlan,
    ...(flowsPerSecond === undefined ? { ratePps: rate } : { flowsPerSecond, flowPps }),
    ...(bytesPerFlow === undefined ? {} : { bytesPerFlow: readSizes('--bytes-per-flow', bytesPerFlow) }),
    ...(options.flood === undefined ? {} : { flood: { ratePps: options.flood } }),
  };
}

const manyFlows = 100_000;

/** Packets a second that these options may come to, so that the ledger has room for them. */
export function mostPps(options: PacketOptions): number {
  const { rate, flowsPerSecond, flowPps, flows = manyFlows, flood: floodPps = 0 } = options;
  return floodPps + (flowsPerSecond === undefined ? rate : flows * flowPps);
}
