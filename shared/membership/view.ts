// A view is what a group has agreed on: who its members are, how new flows are placed among them, by which rules.
//
// Modules of a group decide alone, packet by packet, and may never both accept. They agree because every frame names the
// view tier 1 held when it built the frame, and every module decides that frame by that view, not by the newest it
// knows. So a view must be immutable, its number must never be used twice, and everything a decision needs must be in
// it. The key-value store makes the numbers unique: a view is written only by compare-and-set on its predecessor.

import { limits } from '../base/limits.ts';
import { isOneOf, isRecord, isWhole, parseJson } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';

/** `joining` observes and accepts nothing new; `draining` keeps its flows and gets no new ones. */
export const memberStates = ['joining', 'active', 'draining'] as const;
export type MemberState = (typeof memberStates)[number];

export interface Member {
  /** Name of the server, unique in the cluster: [A-Za-z0-9_-]{1,64}. */
  readonly server: string;
  /** Tells the lives of a server apart, so that a restarted one is not mistaken for the old one. */
  readonly incarnation: number;
  readonly state: MemberState;
  /** Share of new flows relative to the other members: an integer from 0 (none) to 65535. */
  readonly weight: number;
  /** The weight that was configured, and that a policy of weights departs from. */
  readonly base: number;
  /** Flows this member held when the view was made; what `fewest-flows` places by. */
  readonly flows: number;
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

/** How the modules of the group decide; part of the view because all of them must do the same for the same frame. */
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
}

export const defaultRules: GroupRules = { typeOneMethod: 'fig-6', tableFirst: false, midFlow: 'ignore' };

export interface View {
  readonly group: string;
  /** Identity of the key-value store's life: a store that was emptied starts again at 1 under another one. */
  readonly cluster: string;
  readonly number: number;
  readonly placement: PlacementName;
  /** Seed of the placement, u32, the same for the whole life of the group. */
  readonly seed: number;
  readonly rules: GroupRules;
  readonly members: readonly Member[];
}

/** Views are written as JSON: they are few, and an operator reads them with any key-value client. */
export function encodeView(view: View): Uint8Array {
  return Buffer.from(JSON.stringify(view));
}

/** Reads a view; undefined when the bytes are not one. Unknown fields are dropped, so that newer writers may add some. */
export function decodeView(bytes: Uint8Array): View | undefined {
  const value = parseJson(bytes);
  if (!isRecord(value)) return undefined;
  const { group, cluster, number, placement, seed, rules, members } = value;
  if (typeof group !== 'string' || !isName(group) || typeof cluster !== 'string') return undefined;
  if (!isWhole(number, 1, Number.MAX_SAFE_INTEGER) || !isWhole(seed, 0, 0xffffffff)) return undefined;
  if (!isOneOf(placementNames, placement) || !isRules(rules)) return undefined;
  if (!Array.isArray(members) || members.length > limits.groupMembers || !members.every(isMember)) return undefined;
  const { typeOneMethod, tableFirst, midFlow } = rules;
  return {
    group,
    cluster,
    number,
    placement,
    seed,
    rules: { typeOneMethod, tableFirst, midFlow },
    members: members.map(({ server, incarnation, state, weight, base, flows }) => ({
      server,
      incarnation,
      state,
      weight,
      // Views written before weights could move have none.
      base: base ?? weight,
      flows,
    })),
  };
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
    isOneOf(memberStates, value.state) &&
    isWhole(value.weight, 0, 65_535) &&
    (value.base === undefined || isWhole(value.base, 0, 65_535)) &&
    isWhole(value.flows, 0, Number.MAX_SAFE_INTEGER)
  );
}

function isRules(value: unknown): value is GroupRules {
  return (
    isRecord(value) &&
    isOneOf(['fig-6', 'fig-7'] as const, value.typeOneMethod) &&
    typeof value.tableFirst === 'boolean' &&
    isOneOf(['ignore', 'adopt'] as const, value.midFlow) &&
    rulesProblem(value as unknown as GroupRules) === undefined
  );
}
