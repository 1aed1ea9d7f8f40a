// How long a flow may be silent before it is forgotten. If the owner forgot a flow before the others did, nobody would
// accept its next packet; the other way round, two would. So the limits are the same everywhere and count frame time,
// never a module's own clock.

import { type ProtocolClassName, protocolClasses } from '../../../shared/flow/frameFlags.ts';
import { FlowState } from './flows/entry.ts';

type IdleMs = readonly [number, number, number];

/** Milliseconds of silence allowed, by protocol class: [unconfirmed, established, closing]. */
const idleMs: Partial<Record<ProtocolClassName, IdleMs>> & { readonly other: IdleMs } = {
  // A handshake that never completes goes quickly; an established connection may pause as long as a person does.
  tcp: [30_000, 900_000, 10_000],
  sctp: [30_000, 900_000, 10_000],
  dccp: [30_000, 300_000, 10_000],
  // Request and answer within seconds; a stream of them keeps itself alive.
  udp: [30_000, 180_000, 10_000],
  icmp: [30_000, 60_000, 10_000],
  'non-ip': [60_000, 300_000, 10_000],
  // Also what holds several protocols: a subscriber, a pair of nodes, the sessions between two GTP peers.
  other: [60_000, 600_000, 10_000],
};

/** Idle limits in ticks of 100 ms, at [protocol class * 4 + state], as the flow table reads them. */
export const idleTicks: Int32Array = Int32Array.from({ length: 16 * 4 }, (_, index) => {
  const name = protocolClasses[index >> 2] ?? 'other';
  return (idleMs[name] ?? idleMs.other)[Math.min(index & 3, FlowState.closing)] / 100;
});

/** The longest limit of all, in milliseconds: a flow silent for longer is forgotten by everybody. */
export const longestIdleMs: number = Math.max(...Object.values(idleMs).flat());
