// What a flow table keeps about one flow besides its hash and the time it was last seen: one 32-bit word.
//
//   31     30     29..26    25..24   23..12    11..0
//   +------+------+---------+--------+---------+---------+
//   | used |   0  |  class  | state  | backup  |  owner  |
//   +------+------+---------+--------+---------+---------+
//
// `owner` and `backup` are server numbers, which the group's log gives out (roster.ts), not names; `class` is the protocol
// class that chooses the idle limits.

/** How far a flow has come; idle limits differ by it. */
export const FlowState = {
  /** Only its start was seen: it may be a flood, and is the first to go when the table is full. */
  unconfirmed: 0,
  established: 1,
  /** A flow end was seen. */
  closing: 2,
} as const;
export type FlowState = (typeof FlowState)[keyof typeof FlowState];

/** Why a table ended a flow by itself. */
export const EndReason = {
  /** Idle for longer than its limit. */
  expired: 0,
  /** Unconfirmed or closing, and gave way to new flows in a full slice. */
  evicted: 1,
} as const;
export type EndReason = (typeof EndReason)[keyof typeof EndReason];

/** Server numbers are below this. */
export const serverNumbers = 4_094;
/** Nobody, where a server number is asked for. */
export const noServer = 4_095;
/** The backup of a flow that has none. */
export const noBackup: number = noServer;
export const protocolClassCount = 16;

export const usedBit: number = 0x8000_0000 | 0;

export function packInfo(owner: number, backup: number, state: FlowState, protocolClass: number): number {
  return usedBit | (protocolClass << 26) | (state << 24) | (backup << 12) | owner;
}

export function ownerOf(info: number): number {
  return info & 0xfff;
}

export function backupOf(info: number): number {
  return (info >>> 12) & 0xfff;
}

export function stateOf(info: number): FlowState {
  return ((info >>> 24) & 3) as FlowState;
}

export function protocolClassOf(info: number): number {
  return (info >>> 26) & 15;
}

/** Index into the idle limits: protocolClass * 4 + state. */
export function idleIndexOf(info: number): number {
  return (info >>> 24) & 63;
}

/** Whether a word that came from outside can be the info word of an entry. */
export function isInfo(info: number): boolean {
  const backup = backupOf(info);
  const isOurs = info < 0 && (info & 0x4000_0000) === 0 && stateOf(info) <= FlowState.closing;
  return isOurs && ownerOf(info) < serverNumbers && (backup < serverNumbers || backup === noBackup);
}
