// A view is what a group has agreed on: who its members are, how new flows are placed among them, by which rules.
//
// It is a part of the replicated state of the group. Commands in the group's log change it (log/records/command.ts, transitions.ts), and
// every replica makes the same change at the same position, so nobody writes views and nobody waits for one. A copy of the
// newest one is kept in the key-value store for those that read no log (mirror.ts).

import { limits } from '../base/limits.ts';
import { isOneOf, isRecord, isWhole } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';
import { defaultIdle, type IdleLimits, readIdle } from './idleLimits.ts';

/** `joining` observes and accepts nothing new; `draining` keeps its flows and gets no new ones. */
export const memberStates = ['joining', 'active', 'draining'] as const;
export type MemberState = (typeof memberStates)[number];

export interface Member {
  /** Name of the server, unique in the cluster but for one that moves, which is in two groups: [A-Za-z0-9_-]{1,64}. */
  readonly server: string;
  /** Tells the lives of a server apart, so that a restarted one is not mistaken for the old one. */
  readonly incarnation: number;
  /** Server number in flow entries: the log's order of joins gives it, so it is the same on every replica. */
  readonly number: number;
  readonly state: MemberState;
  /** Share of new flows relative to the other members: an integer from 0 (none) to 65535. */
  readonly weight: number;
  /** The weight that was configured, and that a policy of weights departs from. */
  readonly base: number;
  /** Flows this member held when the view was made; what `fewest-flows` places by. */
  readonly flows: number;
  /** Only of a standby (standbys.ts): the names of the servers that it stands for; empty for all of the group. */
  readonly standsFor?: readonly string[];
  /** Name of the server whose place a standby has taken. */
  readonly inPlaceOf?: string;
  /** Name of the group that the server is on its way to: it joins that one, and drains here when it is active there. */
  readonly movesTo?: string;
}

export const placementNames = [
  'rendezvous',
  'maglev',
  'modulo',
  'weighted-random',
  'round-robin',
  'weighted-round-robin',
  'fewest-flows',
] as const;
export type PlacementName = (typeof placementNames)[number];

/**
 * What happens to the flows of a server that dies or leaves before they have ended. `none`: they are lost, or placed anew. Else each has a backup, and
 * goes on there: with `active-active` the second choice of the same placement, with `active-passive` and `n-plus-m` a standby (standbys.ts).
 */
export const availabilityNames = ['none', 'active-active', 'active-passive', 'n-plus-m'] as const;
export type AvailabilityName = (typeof availabilityNames)[number];

/** How the replicas of the group decide; part of the view because all of them must do the same with the same entry. */
export interface GroupRules {
  /**
   * Method for flows whose start shows in the packet (type 1). `fig-6` remembers own flows only; `fig-7` keeps the
   * elsewhere table for them too. Flows of type 2 always go by Fig. 7.
   */
  readonly typeOneMethod: 'fig-6' | 'fig-7';
  /** The variant of Fig. 6 that asks the flow table before it asks whether the packet starts a flow. */
  readonly tableFirst: boolean;
  /**
   * A type-1 packet in mid-flow that no member knows: `ignore` (the patent's) or `adopt` (placed as if it were the
   * start). Adopting needs the elsewhere table, so it needs `fig-7`: under Fig. 6 nobody can tell an unknown flow from
   * one that another member holds.
   */
  readonly midFlow: 'ignore' | 'adopt';
  /** Flows that the group's table holds at most, of all servers together; by Fig. 6, own flows of each server. */
  readonly maxFlows: number;
  /** How long a flow may be silent before it is forgotten. */
  readonly idle: IdleLimits;
  readonly availability: AvailabilityName;
  /** What flows age by: the log's stamps, or the time that packets carry (a capture that is played faster or slower). */
  readonly time: 'log' | 'capture';
}

export const defaultRules: GroupRules = {
  typeOneMethod: 'fig-7',
  tableFirst: false,
  midFlow: 'ignore',
  maxFlows: 1_000_000,
  idle: defaultIdle,
  availability: 'none',
  time: 'log',
};

/** What the first view of a group is made of. */
export interface GroupBirth {
  readonly group: string;
  readonly placement: PlacementName;
  /** Seed of the placement, u32. */
  readonly seed: number;
  readonly rules: GroupRules;
}

export interface View extends GroupBirth {
  /** Goes up by one with each change; 0 before the first member. */
  readonly number: number;
  readonly members: readonly Member[];
}

/** The view of a group that never had a member. */
export function emptyView({ group, placement, seed, rules }: GroupBirth): View {
  return { group, number: 0, placement, seed, rules, members: [] };
}

/** Reads a view that was parsed already; undefined when it is none. Unknown fields are dropped, so that newer writers may add some. */
export function readView(value: unknown): View | undefined {
  const birth = readBirth(value);
  if (birth === undefined || !isRecord(value)) return undefined;
  const { number, members } = value;
  if (!isWhole(number, 0, Number.MAX_SAFE_INTEGER)) return undefined;
  if (!Array.isArray(members) || members.length > limits.groupMembers || !members.every(isMember)) return undefined;
  return {
    ...birth,
    number,
    members: members.map(
      ({ server, incarnation, number, state, weight, base, flows, standsFor, inPlaceOf, movesTo }) => ({
        ...{ server, incarnation, number, state, weight, base, flows },
        ...(standsFor === undefined ? {} : { standsFor: [...standsFor] }),
        ...(inPlaceOf === undefined ? {} : { inPlaceOf }),
        ...(movesTo === undefined ? {} : { movesTo }),
      }),
    ),
  };
}

export function readBirth(value: unknown): GroupBirth | undefined {
  if (!isRecord(value)) return undefined;
  const { group, placement, seed, rules } = value;
  if (typeof group !== 'string' || !isName(group) || !isWhole(seed, 0, 0xffffffff)) return undefined;
  const known = readRules(rules);
  if (!isOneOf(placementNames, placement) || known === undefined) return undefined;
  return { group, placement, seed, rules: known };
}

/** Reads rules; undefined when they are none, or cannot be. */
export function readRules(value: unknown): GroupRules | undefined {
  if (!isRecord(value)) return undefined;
  const { typeOneMethod, tableFirst, midFlow, maxFlows, availability = 'none', time } = value;
  const idle = readIdle(value.idle);
  if (!isOneOf(['fig-6', 'fig-7'] as const, typeOneMethod) || typeof tableFirst !== 'boolean') return undefined;
  if (!isOneOf(['ignore', 'adopt'] as const, midFlow) || !isOneOf(['log', 'capture'] as const, time)) return undefined;
  if (!isWhole(maxFlows, 1, limits.tableFlows) || !isOneOf(availabilityNames, availability)) return undefined;
  if (idle === undefined) return undefined;
  const rules = { typeOneMethod, tableFirst, midFlow, maxFlows, idle, availability, time };
  return rulesProblem(rules) === undefined ? rules : undefined;
}

/** Why these rules cannot be, in one sentence, or undefined when they can. */
export function rulesProblem(rules: GroupRules): string | undefined {
  if (rules.midFlow === 'adopt' && rules.typeOneMethod === 'fig-6') {
    return 'adopting mid-flow packets needs the elsewhere table: use it with method fig-7';
  }
  return undefined;
}

export function findMember(view: View, server: string): Member | undefined {
  return view.members.find((member) => member.server === server);
}

function isMember(value: unknown): value is Member {
  return (
    isRecord(value) &&
    typeof value.server === 'string' &&
    isName(value.server) &&
    isWhole(value.incarnation, 0, Number.MAX_SAFE_INTEGER) &&
    isWhole(value.number, 0, limits.knownServers - 2) &&
    isOneOf(memberStates, value.state) &&
    isWhole(value.weight, 0, 65_535) &&
    isWhole(value.base, 0, 65_535) &&
    isWhole(value.flows, 0, Number.MAX_SAFE_INTEGER) &&
    (value.standsFor === undefined || isStandsFor(value.standsFor)) &&
    (value.inPlaceOf === undefined || isNameText(value.inPlaceOf)) &&
    (value.movesTo === undefined || isNameText(value.movesTo))
  );
}

/** Whether these can be the names of the servers that a standby stands for. */
export function isStandsFor(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= limits.groupMembers && value.every(isNameText);
}

function isNameText(value: unknown): value is string {
  return typeof value === 'string' && isName(value);
}
