// What a member says of how busy it is: the load vector of Fig. 11. Policies turn it into weights (weights.ts); people read
// it with `flowherd status`.

import { isWhole } from '../base/validate.ts';

export interface Load {
  /** Flows that the server holds. */
  readonly flows: number;
  /** New flows, packets and bytes accepted a second, over the last few seconds. */
  readonly newFlows: number;
  readonly packets: number;
  readonly bytes: number;
  /** How late the actor's event loop is, in milliseconds. */
  readonly loopDelayMs: number;
  /** Processor time of the process: 1 is one core, wholly busy. */
  readonly cpu: number;
  /** Resident memory of the process in bytes. */
  readonly memoryBytes: number;
  /** How full the flow table is, 0 to 1. */
  readonly tableFill: number;
  /** Degrees Celsius; undefined where nothing tells. */
  readonly temperature: number | undefined;
  /** What the handler says of itself: 0 is idle, 1 is all it can do, more is overload; undefined when it says nothing. */
  readonly handler: number | undefined;
  /** Latency and lost share (0 to 1) of what the handler serves, as it measures them; undefined when it does not. */
  readonly latencyMs: number | undefined;
  readonly loss: number | undefined;
}

/** Every load by its name, in the order in which they travel. */
export const loadNames = [
  'flows',
  'newFlows',
  'packets',
  'bytes',
  'loopDelayMs',
  'cpu',
  'memoryBytes',
  'tableFill',
  'temperature',
  'handler',
  'latencyMs',
  'loss',
] as const satisfies readonly (keyof Load)[];
export type LoadName = (typeof loadNames)[number];

/** Loads that a weight may follow: how busy a member is now. */
export const blendNames = loadNames;

/** Loads that not every server can tell. */
const mayBeMissing: readonly LoadName[] = ['temperature', 'handler', 'latencyMs', 'loss'];

/** A load as numbers for a message: thousandths, so that small integers stay small; nil for what is not known. */
export function flattenLoad(load: Load): (number | null)[] {
  return loadNames.map((name) => {
    const value = load[name];
    return value === undefined ? null : Math.round(value * 1_000);
  });
}

/** Reads what `flattenLoad` made; undefined when it is no load. Further numbers are those of a newer version. */
export function readLoad(value: unknown): Load | undefined {
  if (!Array.isArray(value) || value.length < loadNames.length) return undefined;
  const load: Partial<Record<LoadName, number | undefined>> = {};
  for (const [index, name] of loadNames.entries()) {
    const number: unknown = value[index];
    if (number === null && mayBeMissing.includes(name)) load[name] = undefined;
    else if (isWhole(number, name === 'temperature' ? -300_000 : 0, Number.MAX_SAFE_INTEGER))
      load[name] = number / 1_000;
    else return undefined;
  }
  return load as Load;
}
