// The cluster map: what every tier 1 and every actor must hold in common before the first packet. It names the groups and
// fixes how packets are keyed; two tier 1s that keyed alike packets differently would send one flow to two groups.
// Whoever comes first writes it; all others take it as it is.

import { limits } from '../base/limits.ts';
import { isOneOf, isRecord, isWhole, parseJson } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';
import { cidLengthMax } from '../flow/identifiers.ts';
import {
  type FlowKeyPolicy,
  flowKeyPolicies,
  type GroupKeyPolicy,
  groupKeyPolicies,
  type WithinPart,
  withinParts,
} from '../flow/policies.ts';
import type { LogSettings } from '../log/log.ts';
import {
  type AvailabilityName,
  availabilityNames,
  defaultRules,
  type GroupBirth,
  type GroupRules,
  type PlacementName,
  placementNames,
  readRules,
} from '../membership/view.ts';
import { TunnelPorts } from '../packet/decode/tunnels/ports.ts';
import { type ClusterSettings, settingsSchema } from './settings.ts';

/** Which flows a group takes (Fig. 10). */
export const servedTypes = ['type-1', 'type-2', 'both'] as const;
export type ServedTypes = (typeof servedTypes)[number];

export interface GroupSettings {
  readonly id: string;
  /** Share of the flow keys relative to the other groups: an integer from 0 (none) to 65535. */
  readonly weight: number;
  /** Types of flows the group takes. */
  readonly serves: ServedTypes;
  /** VLAN of the group's multicast domain where it is carried on Ethernet; 0 for none. */
  readonly vlan: number;
  /** What becomes of flows whose server dies; undefined where the rules of all groups say it. */
  readonly availability?: AvailabilityName;
}

/** What the first view of a group is made of. */
export function birthOf({ groups, placement, seed, rules }: ClusterMap, group: string): GroupBirth {
  const { availability = rules.availability } = groups.find(({ id }) => id === group) ?? {};
  return { group, placement, seed, rules: { ...rules, availability } };
}

export const groupSelections = ['hash', 'weighted', 'source-last-byte'] as const;
export type GroupSelection = (typeof groupSelections)[number];

export interface KeySettings {
  readonly flow: FlowKeyPolicy;
  readonly group: GroupKeyPolicy;
  /** True when both directions of a conversation are one flow. */
  readonly symmetric: boolean;
  /** Key by the outermost IP header, or by the innermost one a tunnel carries. */
  readonly tunnel: 'outer' | 'inner';
  /** UDP ports of tunnels in place of the usual ones, such as 'vxlan=14789'; undefined for none, as `within`. */
  readonly tunnelPorts?: readonly string[];
  /** What of a packet's surroundings belongs to every key: its VLANs, the networks of its tunnels. */
  readonly within?: readonly WithinPart[];
  /** Subscribers' networks in CIDR notation, for the flow key `subscriber`. */
  readonly subscriberNetworks: readonly string[];
  /** Bytes of a QUIC connection id that count; undefined for the usual number. */
  readonly cidLength?: number;
  /** Tells whether another module keys with the same secret, without giving it away: 16 hex digits. */
  readonly secretFingerprint: string;
}

/** What `parse` is to be told so that it finds the header that these keys are made of: the tunnels' ports, or not to enter any. */
export function tunnelsOf({ tunnel, tunnelPorts }: Pick<KeySettings, 'tunnel' | 'tunnelPorts'>): TunnelPorts | false {
  return tunnel === 'inner' && new TunnelPorts(tunnelPorts);
}

export interface ClusterMap {
  readonly version: number;
  /** Identity of this life of the key-value store; every view carries it. */
  readonly cluster: string;
  readonly groupSelection: GroupSelection;
  readonly groups: readonly GroupSettings[];
  readonly keys: KeySettings;
  /** What the first view of a group is made with. */
  readonly placement: PlacementName;
  readonly rules: GroupRules;
  readonly seed: number;
  /** How the groups' logs are kept: what their streams are made with. */
  readonly log: LogSettings;
  /** What may change while the cluster runs; with each change `version` goes up. */
  readonly settings: ClusterSettings;
  /** Who changed the map last, for people; undefined as long as it is as it was made. */
  readonly changed?: MapChange;
}

export interface MapChange {
  readonly by: string;
  readonly atMs: number;
  readonly what: string;
}

/** The map with other parts, as its next version. */
export function changedMap(
  map: ClusterMap,
  parts: Partial<Pick<ClusterMap, 'settings'>>,
  changed: MapChange,
): ClusterMap {
  return { ...map, ...parts, version: map.version + 1, changed };
}

/** On file, with one copy: seconds of traffic, at most a quarter of a gigabyte. */
export const defaultLogSettings: LogSettings = {
  retention: { ageMs: 10_000, bytes: 256 * 1024 * 1024 },
  storage: 'file',
  replicas: 1,
};

export function encodeMap(map: ClusterMap): Uint8Array {
  return Buffer.from(JSON.stringify(map));
}

/** Reads a cluster map; undefined when the bytes are not one. */
export function decodeMap(bytes: Uint8Array): ClusterMap | undefined {
  const value = parseJson(bytes);
  if (!isRecord(value)) return undefined;
  const settings = settingsSchema.safeParse(value.settings ?? {});
  if (!settings.success) return undefined;
  // A map that an older version wrote lacks the newer rules.
  const rules = readRules({ ...defaultRules, ...(isRecord(value.rules) ? value.rules : {}) });
  const map = { ...value, rules, log: value.log ?? defaultLogSettings, settings: settings.data };
  return isMap(map) ? map : undefined;
}

function isMap(value: Record<string, unknown>): value is Record<string, unknown> & ClusterMap {
  return (
    isWhole(value.version, 1, Number.MAX_SAFE_INTEGER) &&
    typeof value.cluster === 'string' &&
    isOneOf(groupSelections, value.groupSelection) &&
    Array.isArray(value.groups) &&
    value.groups.length > 0 &&
    value.groups.length <= limits.groups &&
    value.groups.every(isGroup) &&
    isKeys(value.keys) &&
    isOneOf(placementNames, value.placement) &&
    isRecord(value.rules) &&
    isLog(value.log) &&
    isWhole(value.seed, 0, 0xffffffff) &&
    (value.changed === undefined || isChange(value.changed))
  );
}

/** The last moment that a date can have. */
const latestMs = 8.64e15;

function isChange(value: unknown): value is MapChange {
  return (
    isRecord(value) &&
    typeof value.by === 'string' &&
    isWhole(value.atMs, 0, latestMs) &&
    typeof value.what === 'string'
  );
}

function isGroup(value: unknown): value is GroupSettings {
  return (
    isRecord(value) &&
    typeof value.id === 'string' &&
    isName(value.id) &&
    isWhole(value.weight, 0, 65_535) &&
    isOneOf(servedTypes, value.serves) &&
    isWhole(value.vlan, 0, 4_094) &&
    (value.availability === undefined || isOneOf(availabilityNames, value.availability))
  );
}

function isLog(value: unknown): value is LogSettings {
  return (
    isRecord(value) &&
    isRecord(value.retention) &&
    isWhole(value.retention.ageMs, 1_000, 3_600_000) &&
    isWhole(value.retention.bytes, 1_048_576, 2 ** 40) &&
    isOneOf(['file', 'memory'] as const, value.storage) &&
    (value.replicas === 1 || value.replicas === 3 || value.replicas === 5)
  );
}

function isKeys(value: unknown): value is KeySettings {
  return (
    isRecord(value) &&
    isOneOf(flowKeyPolicies, value.flow) &&
    isOneOf(groupKeyPolicies, value.group) &&
    typeof value.symmetric === 'boolean' &&
    isOneOf(['outer', 'inner'] as const, value.tunnel) &&
    (value.tunnelPorts === undefined || isTexts(value.tunnelPorts)) &&
    (value.within === undefined ||
      (Array.isArray(value.within) && value.within.every((each) => isOneOf(withinParts, each)))) &&
    isTexts(value.subscriberNetworks) &&
    (value.cidLength === undefined || isWhole(value.cidLength, 1, cidLengthMax)) &&
    typeof value.secretFingerprint === 'string'
  );
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}
