// The options that say how packets are keyed: the same names for a cluster and for `dissect`, which shows what a cluster does.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { errorCodes, FlowherdError, reasonOf } from '../../../shared/base/errors.ts';
import type { KeySettings } from '../../../shared/config/map.ts';
import { cidLengthMax, defaultCidLength } from '../../../shared/flow/identifiers.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import {
  defaultGroupKey,
  flowKeyPolicies,
  groupKeyPolicies,
  type WithinPart,
  withinParts,
} from '../../../shared/flow/policies.ts';
import { TunnelPorts } from '../../../shared/packet/decode/tunnels/ports.ts';
import { wholeNumber } from '../process/parse.ts';

/** Values of the options that `addKeyOptions` defines, as commander hands them over. */
export interface KeyChoice {
  readonly key: KeySettings['flow'];
  readonly groupKey?: KeySettings['group'];
  readonly directed?: boolean;
  readonly tunnel: KeySettings['tunnel'];
  readonly tunnelPort: readonly string[];
  readonly within: readonly WithinPart[];
  readonly subscribers: readonly string[];
  readonly cidLength?: number;
}

/** How packets are keyed where nothing is asked for. */
export const usualKeys: KeyChoice = { key: 'five-tuple', tunnel: 'outer', tunnelPort: [], within: [], subscribers: [] };

/** The options' names here. */
export const keyChoices = [
  'key',
  'groupKey',
  'directed',
  'tunnel',
  'tunnelPort',
  'within',
  'subscribers',
  'cidLength',
] as const satisfies readonly (keyof KeyChoice)[];

/** Adds the options. `usual`: the values where nothing is asked for. */
export function addKeyOptions(command: Command, usual: KeyChoice = usualKeys): Command {
  return command
    .addOption(new Option('--key <policy>', 'what makes packets one flow').choices(flowKeyPolicies).default(usual.key))
    .addOption(
      new Option('--group-key <policy>', 'what the group is chosen by; coarser than the flow key').choices(
        groupKeyPolicies,
      ),
    )
    .option('--directed', 'keep the two directions of a conversation apart')
    .addOption(
      new Option('--tunnel <which>', 'key by the outermost or the innermost IP header')
        .choices(['outer', 'inner'])
        .default(usual.tunnel),
    )
    .addOption(
      new Option('--tunnel-port <kind=port>', 'UDP port of a tunnel in place of its usual ones; may be repeated')
        .default(usual.tunnelPort, 'none')
        .argParser(collectTunnelPort),
    )
    .addOption(
      new Option(
        '--within <parts>',
        'tell flows apart by VLAN ids too (vlan), by networks of tunnels (vni), or both (vlan,vni)',
      )
        .default(usual.within, 'none')
        .argParser(collectWithin),
    )
    .addOption(
      new Option('--subscribers <network>', 'network of subscribers, such as 10.0.0.0/8; may be repeated')
        .default(usual.subscribers, 'none')
        .argParser(collectNetworks),
    )
    .addOption(
      new Option(
        '--cid-length <bytes>',
        `bytes of a QUIC connection id that count, for the key quic-cid (default: ${defaultCidLength})`,
      ).argParser(wholeNumber(1, cidLengthMax)),
    );
}

/** What a cluster's map says of its keys, less the secret's fingerprint. What nobody asked for is not there, as in older maps. */
export function keySettings(
  choice: KeyChoice,
  group: KeySettings['group'] = choice.groupKey ?? defaultGroupKey(choice.key),
): Omit<KeySettings, 'secretFingerprint'> {
  return {
    flow: choice.key,
    group,
    symmetric: choice.directed !== true,
    tunnel: choice.tunnel,
    ...(choice.tunnelPort.length === 0 ? {} : { tunnelPorts: choice.tunnelPort }),
    ...(choice.within.length === 0 ? {} : { within: choice.within }),
    subscriberNetworks: choice.subscribers,
    ...(choice.cidLength === undefined ? {} : { cidLength: choice.cidLength }),
  };
}

/** What a keyer is made with. */
export function keyOptionsOf(keys: Omit<KeySettings, 'secretFingerprint'>, secret: string): KeyOptions {
  const { flow, group, symmetric, tunnel, tunnelPorts = [], within = [], subscriberNetworks, cidLength } = keys;
  return {
    secret,
    flowKey: flow,
    groupKey: group,
    symmetric,
    tunnel,
    tunnelPorts,
    within,
    subscriberNetworks,
    ...(cidLength === undefined ? {} : { cidLength }),
  };
}

/** The keyer for these keys. Throws a FlowherdError `bad-config` when they do not go together. */
export function keyerOf(keys: Omit<KeySettings, 'secretFingerprint'>, secret: string): FlowKeyer {
  try {
    return new FlowKeyer(keyOptionsOf(keys, secret));
  } catch (error) {
    throw new FlowherdError(errorCodes.badConfig, reasonOf(error), error);
  }
}

function collectTunnelPort(text: string, former: readonly string[] = []): readonly string[] {
  const all = [...former, text];
  try {
    new TunnelPorts(all);
  } catch (error) {
    throw new InvalidArgumentError(reasonOf(error));
  }
  return all;
}

/** Repeated, or with commas between them. */
function collectNetworks(text: string, former: readonly string[] = []): readonly string[] {
  return [...former, ...text.split(',').map((network) => network.trim())];
}

/** In the order of the list, so that two clusters that were asked for the same are the same. */
function collectWithin(text: string, former: readonly WithinPart[] = []): readonly WithinPart[] {
  const asked = text.split(',').map((part) => part.trim());
  const unknown = asked.find((part) => !withinParts.some((each) => each === part));
  if (unknown !== undefined) throw new InvalidArgumentError(`'${unknown}' is none of ${withinParts.join(', ')}`);
  return withinParts.filter((part) => asked.includes(part) || former.includes(part));
}
