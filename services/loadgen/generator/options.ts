// What people write on a command line about generated traffic, read into what the generator takes. A word that cannot be
// read throws `bad-config` with one line that names the option and says what to write.

import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { type FlowClass, type MixName, mixes, mixNames, type Protocol, protocols, usualPorts } from './mixes.ts';
import { parseSizes, type Sizes } from './sizes.ts';

export interface MixWords {
  /** `--mix`: the name of a mix; default `web`. */
  readonly mix?: string | undefined;
  /** `--protocols`, in place of a mix: see readProtocols(). */
  readonly protocols?: string | undefined;
  /** `--packet-bytes` and `--packets-per-flow`, in place of what the mix says: see parseSizes(). */
  readonly packetBytes?: string | undefined;
  readonly packetsPerFlow?: string | undefined;
}

/** The classes of flows that these words mean. */
export function readMix(words: MixWords): FlowClass[] {
  const { mix, packetBytes, packetsPerFlow } = words;
  if (mix !== undefined && words.protocols !== undefined)
    throw problem('--mix and --protocols', 'both say what kinds of flows there are, so give one of them');
  const classes = words.protocols === undefined ? mixes[readMixName(mix ?? 'web')] : readProtocols(words.protocols);
  const sizes = {
    ...(packetBytes === undefined ? {} : { packetBytes: readSizes('--packet-bytes', packetBytes) }),
    ...(packetsPerFlow === undefined ? {} : { packetsPerFlow: readSizes('--packets-per-flow', packetsPerFlow) }),
  };
  return classes.map((flowClass) => ({ ...flowClass, ...sizes }));
}

/** The name of a mix. */
export function readMixName(text: string): MixName {
  const found = mixNames.find((name) => name === text);
  if (found === undefined) throw problem(`--mix ${text}`, `there are ${mixNames.join(', ')}`);
  return found;
}

/** Sizes as parseSizes() reads them, for the option of that name. */
export function readSizes(option: string, text: string): Sizes {
  try {
    return parseSizes(text);
  } catch {
    throw problem(`${option} ${text}`, 'write 128, 64-1500, imix or pareto:2:10000:1.2');
  }
}

const largestShare = 1_000_000;
/** Of ten packets of mobile traffic, one is signalling. */
const gtpShares: readonly (readonly [Protocol, number])[] = [
  ['gtp-u', 9],
  ['gtp-c', 1],
];

/**
 * Classes from `tcp:70,udp:25,icmp:5`: protocols, each with its share of packets and of flows (an integer, default 1),
 * and perhaps a port (`udp/53:25`). `gtp` stands for both of its kinds. Flows have a heavy tail, packets are IMIX.
 */
export function readProtocols(text: string): FlowClass[] {
  const option = `--protocols ${text}`;
  return text.split(',').flatMap((word) => {
    const parts = /^([a-z-]+)(?:\/(\d{1,5}))?(?::(\d{1,7}))?$/.exec(word.trim());
    if (parts === null) throw problem(option, `'${word}' is not like tcp, tcp:70 or udp/53:25`);
    const [, name, port, share = '1'] = parts;
    if (Number(share) < 1 || Number(share) > largestShare)
      throw problem(option, `the share in '${word}' is not from 1 to ${largestShare}`);
    if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535))
      throw problem(option, `the port in '${word}' is not from 1 to 65535`);
    const kinds = name === 'gtp' ? gtpShares : protocols.filter((one) => one === name).map((one) => [one, 10] as const);
    if (kinds.length === 0) throw problem(option, `there is no '${name}', but ${protocols.join(', ')} and gtp`);
    return kinds.map(([protocol, part]) => ({
      name: protocol,
      protocol,
      targetPort: port === undefined || protocol === 'gtp-c' ? usualPorts[protocol] : Number(port),
      flowShare: Number(share) * part,
      packetShare: Number(share) * part,
      packetsPerFlow: { kind: 'pareto', min: 4, max: 2_000, shape: 1.2 } as const,
      packetBytes: parseSizes('imix'),
    }));
  });
}

function problem(what: string, why: string): FlowherdError {
  return new FlowherdError(errorCodes.badConfig, `${what}: ${why}`);
}
