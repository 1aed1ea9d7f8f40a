// From what was typed on the command line to a cluster map: the options that the cluster commands share, read and checked
// in one place, so that each says the same about the same mistake.

import { createHash, randomBytes } from 'node:crypto';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import { limits } from '../../../shared/base/limits.ts';
import { isOneOf } from '../../../shared/base/validate.ts';
import { isName } from '../../../shared/bus/subjects.ts';
import type { ClusterMap, GroupSettings } from '../../../shared/config/map.ts';
import { defaultLogSettings, servedTypes } from '../../../shared/config/map.ts';
import { isSameValue, settingIn } from '../../../shared/config/tunables.ts';
import type { FlowKeyer } from '../../../shared/flow/keyer.ts';
import { defaultGroupKey } from '../../../shared/flow/policies.ts';
import type { LogSettings } from '../../../shared/log/log.ts';
import { type IdleLimits, parseIdle } from '../../../shared/membership/idleLimits.ts';
import {
  availabilityNames,
  defaultRules,
  type GroupRules,
  placementNames,
  rulesProblem,
} from '../../../shared/membership/view.ts';
import { wholeNumber } from '../process/parse.ts';
import { type AvailabilityChoice, parseAvailability, usualAvailability, withAvailability } from './availability.ts';
import { type AskedSettings, configOption, nothingAsked } from './config.ts';
import { addKeyOptions, type KeyChoice, keyChoices, keyerOf, keySettings, usualKeys } from './keys.ts';

/** Values of the options that `addClusterOptions` defines, as commander hands them over. */
export interface ClusterOptions extends KeyChoice {
  readonly groups: number;
  readonly group?: readonly GroupSettings[];
  readonly groupBy: ClusterMap['groupSelection'];
  readonly placement: ClusterMap['placement'];
  readonly method?: GroupRules['typeOneMethod'];
  readonly tableFirst?: boolean;
  readonly midFlow: GroupRules['midFlow'];
  readonly maxFlows: number;
  readonly idle: GroupRules['idle'];
  readonly availability: AvailabilityChoice;
  readonly time: GroupRules['time'];
  readonly seed: number;
  readonly logStorage: LogSettings['storage'];
  readonly logReplicas: number;
  readonly logSeconds: number;
  readonly logMegabytes: number;
  /** File with the cluster's settings. */
  readonly config?: string;
  /** Which of these were asked for, by their names here; the others have their defaults. Undefined counts as all. */
  readonly given?: readonly string[];
}

const bytesPerMegabyte = 1_048_576;

/** What a cluster is like where nothing is asked for: one that lives on, so its logs survive a restart of the NATS server. */
export const usualCluster: ClusterOptions = {
  groups: 3,
  groupBy: 'weighted',
  ...usualKeys,
  placement: 'rendezvous',
  midFlow: defaultRules.midFlow,
  maxFlows: defaultRules.maxFlows,
  idle: defaultRules.idle,
  availability: usualAvailability,
  time: defaultRules.time,
  seed: 1,
  logStorage: defaultLogSettings.storage,
  logReplicas: defaultLogSettings.replicas,
  logSeconds: defaultLogSettings.retention.ageMs / 1_000,
  logMegabytes: defaultLogSettings.retention.bytes / bytesPerMegabyte,
};

/** One that lives as long as a command does: nothing of it has to survive a restart. */
export const shortLivedCluster: ClusterOptions = { ...usualCluster, logStorage: 'memory' };

/** Adds the options that say what the cluster is like. `usual`: the values where nothing is asked for. */
export function addClusterOptions(command: Command, usual: ClusterOptions = usualCluster): Command {
  command
    .addOption(
      new Option('--groups <n>', 'number of groups, named g1, g2, ...')
        .default(usual.groups)
        .env('FLOWHERD_GROUPS')
        .argParser(wholeNumber(1, limits.groups)),
    )
    .addOption(
      new Option(
        '--group <id[:weight[:serves[:vlan]]]>',
        `a group by name; serves is ${servedTypes.join(', ')}; may be repeated, instead of --groups`,
      ).argParser(collectGroup),
    )
    .addOption(
      new Option('--group-by <method>', 'how tier 1 chooses the group')
        .choices(['hash', 'weighted', 'source-last-byte'])
        .default(usual.groupBy),
    );
  return addKeyOptions(command, usual)
    .addOption(
      new Option('--placement <policy>', 'who gets a new flow').choices(placementNames).default(usual.placement),
    )
    .addOption(
      new Option(
        '--method <figure>',
        'method for flows whose start shows (type 1): own table only, or elsewhere table too (default: "fig-7")',
      ).choices(['fig-6', 'fig-7']),
    )
    .option('--table-first', 'the variant of Fig. 6 that asks the flow table first')
    .addOption(
      new Option('--mid-flow <rule>', 'type-1 packets whose start nobody saw')
        .choices(['ignore', 'adopt'])
        .default(usual.midFlow),
    )
    .addOption(
      new Option('--max-flows <n>', "flows that a group's table holds at most; by fig-6, own flows of each server")
        .default(usual.maxFlows)
        .argParser(wholeNumber(1, limits.tableFlows)),
    )
    .addOption(
      new Option('--idle <limit>', 'how long a flow may be silent, such as tcp-established=2h4m; may be repeated')
        .default(usual.idle, 'see "Flows and their ends" in the README')
        .argParser(collectIdle),
    )
    .addOption(
      new Option(
        '--availability <how>',
        `what becomes of the flows of a server that dies: ${availabilityNames.join(', ')}; for some groups otherwise, such as none,g1=active-active`,
      )
        .default(usual.availability, `"${usual.availability.usual}"`)
        .argParser(parseAvailability),
    )
    .addOption(
      new Option('--time <which>', 'what flows age by: the stamps of the log, or the time that packets carry')
        .choices(['log', 'capture'])
        .default(usual.time),
    )
    .addOption(
      new Option('--seed <n>', 'seed of the placement').default(usual.seed).argParser(wholeNumber(0, 0xffff_ffff)),
    )
    .addOption(
      new Option('--log-storage <kind>', 'of the groups\' logs: "file" survives a restart of the NATS server')
        .choices(['file', 'memory'])
        .default(usual.logStorage),
    )
    .addOption(
      new Option('--log-replicas <n>', 'NATS servers that keep a copy of each log')
        .env('FLOWHERD_REPLICAS')
        .default(usual.logReplicas)
        .argParser(parseReplicas),
    )
    .addOption(
      new Option('--log-seconds <n>', 'how long a log keeps what it got')
        .default(usual.logSeconds)
        .argParser(wholeNumber(1, 3_600)),
    )
    .addOption(
      new Option('--log-megabytes <n>', 'how much a log keeps at most')
        .default(usual.logMegabytes)
        .argParser(wholeNumber(leastMegabytes, 1_048_576)),
    )
    .addOption(configOption())
    .hook('preAction', (_, action) => {
      const isGiven = (name: string) => !['default', undefined].includes(action.getOptionValueSource(name));
      action.setOptionValue('given', Object.keys(action.opts()).filter(isGiven));
    });
}

/** Half of a log must hold what a tier 1 has under way. */
const leastMegabytes = Math.ceil((2 * limits.appendWindowBytes) / bytesPerMegabyte) + 1;

/** The parts of a cluster map, and the options that each is made from. */
const partsOfMap = {
  groupSelection: ['groupBy'],
  groups: ['groups', 'group', 'availability'],
  keys: keyChoices,
  placement: ['placement'],
  rules: ['method', 'tableFirst', 'midFlow', 'maxFlows', 'idle', 'availability', 'time'],
  seed: ['seed'],
  log: ['logStorage', 'logReplicas', 'logSeconds', 'logMegabytes'],
} as const satisfies Partial<Record<keyof ClusterMap, readonly (keyof ClusterOptions)[]>>;

/**
 * Where the map of the cluster is not what this process was asked for: parts of it, and settings such as
 * `settings.watching.beatMs`. What nobody asked for cannot differ.
 */
export function differences(
  proposal: ClusterMap,
  map: ClusterMap,
  given: readonly string[] | undefined,
  { asked }: Pick<AskedSettings, 'asked'>,
): string[] {
  const isOther = (tunable: (typeof asked)[number]) =>
    !isSameValue(settingIn(proposal.settings, tunable), settingIn(map.settings, tunable));
  return [...differingParts(proposal, map, given), ...asked.filter(isOther).map(({ path }) => `settings.${path}`)];
}

function differingParts(proposal: ClusterMap, map: ClusterMap, given: readonly string[] | undefined): string[] {
  return (Object.keys(partsOfMap) as (keyof typeof partsOfMap)[]).filter((part) => {
    const wasAsked = given === undefined || partsOfMap[part].some((option) => given.includes(option));
    return wasAsked && JSON.stringify(proposal[part]) !== JSON.stringify(map[part]);
  });
}

/** The map that these options ask for. Throws a FlowherdError `bad-config` when they contradict each other. */
export function mapFromOptions(
  options: ClusterOptions,
  secret: string,
  { settings }: Pick<AskedSettings, 'settings'> = nothingAsked,
): ClusterMap {
  const named = options.group ?? Array.from({ length: options.groups }, (_, index) => groupSettings(`g${index + 1}`));
  const groups = withAvailability(named, options.availability);
  const { tableFirst = false, midFlow, maxFlows, idle, time } = options;
  const availability = options.availability.usual;
  // The variant that asks the table first is one of Fig. 6; asking for it is asking for that.
  const typeOneMethod = options.method ?? (tableFirst ? 'fig-6' : defaultRules.typeOneMethod);
  const rules = { typeOneMethod, tableFirst, midFlow, maxFlows, idle, availability, time };
  const problem = rulesProblem(rules);
  if (problem !== undefined) throw new FlowherdError(errorCodes.badConfig, `--mid-flow ${midFlow}: ${problem}`);
  const groupKey =
    options.groupKey ?? (options.groupBy === 'source-last-byte' ? 'source-last-byte' : defaultGroupKey(options.key));
  if ((groupKey === 'source-last-byte') !== (options.groupBy === 'source-last-byte')) {
    throw new FlowherdError(
      errorCodes.badConfig,
      '--group-by source-last-byte and --group-key source-last-byte go together only',
    );
  }
  if (options.key !== 'five-tuple' && groups.some(({ serves }) => serves !== 'both')) {
    throw new FlowherdError(
      errorCodes.badConfig,
      `a flow of the key ${options.key} holds packets of both types, so every group must serve both`,
    );
  }
  return {
    version: 1,
    cluster: randomBytes(8).toString('hex'),
    groupSelection: options.groupBy,
    groups,
    keys: { ...keySettings(options, groupKey), secretFingerprint: fingerprint(secret) },
    placement: options.placement,
    rules,
    seed: options.seed,
    log: {
      retention: { ageMs: 1_000 * options.logSeconds, bytes: bytesPerMegabyte * options.logMegabytes },
      storage: options.logStorage,
      replicas: options.logReplicas,
    },
    settings,
  };
}

/** The keyer that a map asks for. Throws a FlowherdError `bad-config` when the keys do not go together. */
export function keyerFor(map: ClusterMap, secret: string): FlowKeyer {
  return keyerOf(map.keys, secret);
}

/** Copies that NATS keeps of a bucket or of a log. */
export function parseReplicas(text: string): number {
  if (['1', '3', '5'].includes(text)) return Number(text);
  throw new InvalidArgumentError('1, 3 or 5 is wanted');
}

function collectIdle(text: string, former: IdleLimits): IdleLimits {
  const parsed = parseIdle(text);
  if (typeof parsed === 'string') throw new InvalidArgumentError(parsed);
  return { ...former, [parsed.name]: parsed.seconds };
}

function collectGroup(text: string, former: readonly GroupSettings[] = []): readonly GroupSettings[] {
  const [id, weight = '100', serves = 'both', vlan = '0', ...rest] = text.split(':');
  if (rest.length > 0 || !isName(id)) throw new InvalidArgumentError('a group is written id[:weight[:serves[:vlan]]]');
  if (!isOneOf(servedTypes, serves)) throw new InvalidArgumentError(`a group serves ${servedTypes.join(', ')}`);
  if (former.some((group) => group.id === id)) throw new InvalidArgumentError(`there are two groups ${id}`);
  if (former.length >= limits.groups) throw new InvalidArgumentError(`there are more than ${limits.groups} groups`);
  return [...former, { id, weight: wholeNumber(0, 65_535)(weight), serves, vlan: wholeNumber(0, 4_094)(vlan) }];
}

function groupSettings(id: string): GroupSettings {
  return { id, weight: 100, serves: 'both', vlan: 0 };
}

function fingerprint(secret: string): string {
  return createHash('sha256').update('flowherd secret fingerprint').update(secret).digest('hex').slice(0, 16);
}
