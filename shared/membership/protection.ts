// How safe the flows of a server are, and what it has taken over from servers that died: what members say of it in gossip (gossip.ts), for
// operators. Nothing is decided by it.

import { isWhole } from '../base/validate.ts';

export interface ProtectionReport {
  /** Flows of the server that have not ended, and those of them behind whom no member stands. */
  readonly flows: number;
  readonly unprotected: number;
  /** Flows that went on here when their servers had gone. */
  readonly promoted: number;
  /** Servers whose packets it hands out at the moment: 0 or 1. */
  readonly replaying: number;
  /** Servers that it was an heir of, packets that it has replayed for them, and those that it could not. */
  readonly replays: number;
  readonly replayed: number;
  readonly unreplayed: number;
  /** Servers of which it did not remember everything. */
  readonly partial: number;
}

const names = [
  'flows',
  'unprotected',
  'promoted',
  'replaying',
  'replays',
  'replayed',
  'unreplayed',
  'partial',
] as const satisfies readonly (keyof ProtectionReport)[];
/** Later versions may say more, but not without end. */
const mostFields = 32;

export function flattenProtection(report: ProtectionReport): number[] {
  return names.map((name) => report[name]);
}

/** Reads what `flattenProtection` made; undefined when it is nothing of the kind. The value comes from the network. */
export function readProtection(value: unknown): ProtectionReport | undefined {
  if (!Array.isArray(value) || value.length < names.length || value.length > mostFields) return undefined;
  if (!value.every((each) => isWhole(each, 0, Number.MAX_SAFE_INTEGER))) return undefined;
  return Object.fromEntries(names.map((name, at) => [name, value[at]])) as unknown as ProtectionReport;
}

/** The sum of several servers' reports. */
export function sumProtection(reports: readonly ProtectionReport[]): ProtectionReport {
  const sumOf = (name: keyof ProtectionReport) => reports.reduce((sum, report) => sum + report[name], 0);
  return Object.fromEntries(names.map((name) => [name, sumOf(name)])) as unknown as ProtectionReport;
}
