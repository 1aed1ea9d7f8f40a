// The idle limits of a group's rules, as its flow table reads them.

import { protocolClasses } from '../../../shared/flow/frameFlags.ts';
import { defaultIdle, type IdleLimits, type IdleName } from '../../../shared/membership/idleLimits.ts';
import { FlowState, idleIndexOf, idleLimitCount, noServer, packInfo, protocolClassCount } from './flows/entry.ts';
import { msPerTick } from './ticks.ts';

const suffixes = {
  [FlowState.unconfirmed]: 'opening',
  [FlowState.established]: 'established',
  [FlowState.closing]: 'closing',
  [FlowState.halfClosedByFirst]: 'half-closed',
  [FlowState.halfClosedBySecond]: 'half-closed',
  [FlowState.resetByFirst]: 'reset',
  [FlowState.resetBySecond]: 'reset',
} as const;

/** Limits in ticks, at `idleIndexOf` of an entry. A state that a protocol does not have counts as established. */
export function idleTicksOf(limits: IdleLimits): Int32Array {
  const ticks = new Int32Array(idleLimitCount);
  for (let protocolClass = 0; protocolClass < protocolClassCount; protocolClass++) {
    const known = protocolClasses[protocolClass];
    const name = known !== undefined && `${known}-established` in defaultIdle ? known : 'other';
    for (const state of Object.values(FlowState)) {
      const wanted = `${name}-${suffixes[state]}`;
      const limit = (wanted in defaultIdle ? wanted : `${name}-established`) as IdleName;
      ticks[idleIndexOf(packInfo(noServer, noServer, state, protocolClass))] = (limits[limit] * 1_000) / msPerTick;
    }
  }
  return ticks;
}

/** After so much silence every flow is forgotten. */
export function longestIdleMs(limits: IdleLimits): number {
  return 1_000 * Math.max(...Object.values(limits));
}
