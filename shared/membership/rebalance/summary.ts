// What a group says of itself to those that compare groups: how many servers it has, what they do, and the sums of their loads. One
// member of a group says it, from the group's view and the loads that it has heard from the others in gossip.
//
//   summary  [ version, server, incarnation, group, view, servers, leaving, joining, draining, moving, standbys,
//              isFixed, sums, told ]
//   sums     [ one for each load, in the order of load.ts ]   thousandths
//   told     [ servers that told their load, and how many of them told each of `optionalNames` ]
//
// Sums are over the servers that take new flows, with those that are on their way to another group: until these drain, what
// they do is work of this group, and the others will do it when they are gone. So the sum, shared among the servers that stay, is
// what each of them will have. The loads of draining servers are left out. Their flows end, and nobody gets them; and a server that
// drains because it moves is at work in the other group already. It tells one load for both, which that group counts.

import { Packr } from 'msgpackr';
import { limits } from '../../base/limits.ts';
import { isWhole } from '../../base/validate.ts';
import { isName } from '../../bus/subjects.ts';
import { type Load, type LoadName, loadNames } from '../load.ts';
import { isStandby, takesFlows } from '../standbys.ts';
import type { Life } from '../transitions.ts';
import type { View } from '../view.ts';

const version = 1;
/** Room for what newer versions add. */
const messageBytesMax = 1_024;
const packr = new Packr({ useRecords: false });

/** Loads that not every server can tell: how many have told them is counted for each. */
type OptionalName = { [Name in LoadName]: undefined extends Load[Name] ? Name : never }[LoadName];
const optionalNames = ['temperature', 'handler', 'latencyMs', 'loss'] as const satisfies readonly OptionalName[];

/** One load of the servers of a group that take flows. */
export interface LoadSum {
  /** Over the servers that told it. */
  readonly sum: number;
  /** How many did. */
  readonly told: number;
}

/** A group in numbers. Standbys count as standbys alone. */
export interface GroupSummary {
  readonly group: string;
  /** Number of the view that it tells of. */
  readonly view: number;
  /** Servers that take new flows and stay. */
  readonly servers: number;
  /** Servers that take new flows and are on their way to another group. */
  readonly leaving: number;
  readonly joining: number;
  readonly draining: number;
  /** Members on their way to another group, in whichever state: those that leave, and those of them that drain already. */
  readonly moving: number;
  readonly standbys: number;
  /** Its servers cannot move to another group: its standbys stand for servers by name (transitions.ts, `move`). */
  readonly isFixed: boolean;
  /** Of `servers` and `leaving` together. */
  readonly loads: Readonly<Record<LoadName, LoadSum>>;
}

/** A summary and the life that says it. */
export interface SummaryMessage extends GroupSummary {
  readonly sender: Life;
}

/** The summary of a group. `loads` are those that were heard, by server; of servers that are not members they count for nothing. */
export function summarize(view: View, loads: ReadonlyMap<string, Load>): GroupSummary {
  const taking = view.members.filter(takesFlows);
  const standbys = view.members.filter(isStandby);
  const inState = (state: 'joining' | 'draining') =>
    view.members.filter((member) => member.state === state && !isStandby(member)).length;
  const leaving = taking.filter(({ movesTo }) => movesTo !== undefined).length;
  const known = taking.flatMap(({ server }) => loads.get(server) ?? []);
  return {
    group: view.group,
    view: view.number,
    servers: taking.length - leaving,
    leaving,
    joining: inState('joining'),
    draining: inState('draining'),
    moving: view.members.filter(({ movesTo }) => movesTo !== undefined).length,
    standbys: standbys.length,
    isFixed: view.rules.availability === 'active-passive',
    loads: byName((name) => sumOf(known.flatMap((load) => load[name] ?? []))),
  };
}

/** In whole thousandths, as it travels. */
function sumOf(values: readonly number[]): LoadSum {
  const sum = values.reduce((total, value) => total + value, 0);
  return { sum: thousandths(sum) / 1_000, told: values.length };
}

export function encodeSummary(message: SummaryMessage): Uint8Array {
  const { sender, group, view, servers, leaving, joining, draining, moving, standbys, isFixed, loads } = message;
  const sums = loadNames.map((name) => thousandths(loads[name].sum));
  const told = [loads.cpu.told, ...optionalNames.map((name) => loads[name].told)];
  const counts = [servers, leaving, joining, draining, moving, standbys];
  const fields = [version, sender.server, sender.incarnation, group, view, ...counts, isFixed, sums, told];
  return Uint8Array.from(packr.pack(fields));
}

/**
 * Reads a summary; undefined when it is none that this version knows. The bytes come from the network. Further fields, sums and counts are
 * those of a newer version.
 */
export function decodeSummary(message: Uint8Array): SummaryMessage | undefined {
  if (message.length > messageBytesMax) return undefined;
  let fields: unknown;
  try {
    fields = packr.unpack(message);
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields[0] !== version) return undefined;
  const [, server, incarnation, group, view, servers, leaving, joining, draining, moving, standbys] = fields;
  const [isFixed, sums, told] = fields.slice(11);
  if (!isNameText(server) || !isWhole(incarnation, 0, Number.MAX_SAFE_INTEGER) || !isNameText(group)) return undefined;
  if (!isWhole(view, 0, Number.MAX_SAFE_INTEGER) || typeof isFixed !== 'boolean') return undefined;
  if (![servers, leaving, joining, draining, moving, standbys].every(isCount)) return undefined;
  if (servers + leaving + joining + draining + standbys > limits.groupMembers) return undefined;
  const loads = readLoads(sums, told, servers + leaving);
  if (loads === undefined) return undefined;
  const counts = { servers, leaving, joining, draining, moving, standbys };
  return { sender: { server, incarnation }, group, view, ...counts, isFixed, loads };
}

/** `most` servers can have told their loads. */
function readLoads(sums: unknown, told: unknown, most: number): GroupSummary['loads'] | undefined {
  if (!Array.isArray(sums) || sums.length < loadNames.length) return undefined;
  if (!Array.isArray(told) || told.length < 1 + optionalNames.length) return undefined;
  if (!told.slice(0, 1 + optionalNames.length).every((count) => isWhole(count, 0, most))) return undefined;
  const isSum = (name: LoadName, sum: unknown) =>
    isWhole(sum, name === 'temperature' ? -Number.MAX_SAFE_INTEGER : 0, Number.MAX_SAFE_INTEGER);
  if (!loadNames.every((name, index) => isSum(name, sums[index]))) return undefined;
  return byName((name, index) => ({
    sum: sums[index] / 1_000,
    told: told[1 + (optionalNames as readonly LoadName[]).indexOf(name)],
  }));
}

function byName(loadOf: (name: LoadName, index: number) => LoadSum): GroupSummary['loads'] {
  const pairs = loadNames.map((name, index) => [name, loadOf(name, index)]);
  return Object.fromEntries(pairs);
}

/** Sums that are too large to be counted in thousandths are as large as can be. There is one zero. */
function thousandths(sum: number): number {
  const most = Number.MAX_SAFE_INTEGER;
  return Math.max(-most, Math.min(most, Math.round(sum * 1_000))) || 0;
}

function isNameText(value: unknown): value is string {
  return typeof value === 'string' && isName(value);
}

function isCount(value: unknown): value is number {
  return isWhole(value, 0, limits.groupMembers);
}
