// The options that say what the generator sends, read and checked in one place.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { reasonOf } from '../../../shared/errors.ts';
import type { GeneratorOptions } from '../../tier1/ingress/generator.ts';
import { type MixName, mixNames, parseSizes, type Sizes } from '../../tier1/ingress/generatorMixes.ts';
import { wholeNumber } from '../parse.ts';

/** Values of the options that `addPacketOptions` defines, as commander hands them over. */
export interface PacketOptions {
  readonly seed: number;
  readonly rate: number;
  readonly mix: MixName;
  readonly flows: number;
  readonly packetBytes?: Sizes;
  readonly packetsPerFlow?: Sizes;
  readonly arrivals: 'even' | 'poisson';
  readonly replies?: boolean;
  readonly clients: number;
  readonly targets: number;
  readonly ipv6Percent: number;
}

const sizes = (text: string): Sizes => {
  try {
    return parseSizes(text);
  } catch (error) {
    throw new InvalidArgumentError(reasonOf(error));
  }
};

/** Adds them, in a section of the help of their own. `--seed` is defined by the cluster's options. */
export function addPacketOptions(command: Command): Command {
  return command
    .optionsGroup('Options of the packets:')
    .addOption(new Option('--rate <n>', 'packets a second').default(10_000).argParser(wholeNumber(1, 5_000_000)))
    .addOption(new Option('--mix <name>', 'what kinds of flows').choices(mixNames).default('web'))
    .addOption(new Option('--flows <n>', 'flows at once').default(1_000).argParser(wholeNumber(1, 2 ** 24)))
    .addOption(
      new Option('--packet-bytes <sizes>', 'in place of the mix: 128, 64-1500, imix, pareto:64:1500:1.2').argParser(
        sizes,
      ),
    )
    .addOption(
      new Option('--packets-per-flow <sizes>', 'in place of the mix, likewise; 0: flows without end').argParser(sizes),
    )
    .addOption(new Option('--arrivals <kind>', 'gaps between packets').choices(['even', 'poisson']).default('even'))
    .option('--replies', 'packets of the other side too')
    .addOption(new Option('--clients <n>', 'client addresses').default(65_536).argParser(wholeNumber(1, 2 ** 24)))
    .addOption(new Option('--targets <n>', 'addresses they talk to').default(4).argParser(wholeNumber(1, 2 ** 24)))
    .addOption(
      new Option('--ipv6-percent <n>', 'of 100 flows, how many are IPv6').default(20).argParser(wholeNumber(0, 100)),
    );
}

export function generatorOptionsFrom(options: PacketOptions): GeneratorOptions {
  const { seed, rate, mix, flows, packetBytes, packetsPerFlow, arrivals, replies, clients, targets, ipv6Percent } =
    options;
  return {
    seed,
    flows,
    mix,
    ratePps: rate,
    arrivals,
    replies: replies === true,
    clients,
    targets,
    ipv6Percent,
    ...(packetBytes === undefined ? {} : { packetBytes }),
    ...(packetsPerFlow === undefined ? {} : { packetsPerFlow }),
  };
}
