// What a flow table keeps about one flow besides its hash and the time it was last seen: one 32-bit word.
//
//   31     30     29..26    25..24   23..12    11..0
//   +------+------+---------+--------+---------+---------+
//   | used | high |  class  |  low   | backup  |  owner  |      high, low: the state, three bits
//   +------+------+---------+--------+---------+---------+
//
// `owner` and `backup` are server numbers, which the group's log gives out (roster.ts), not names; `class` is the protocol
// class, which chooses the idle limits together with the state.

/** How far a flow has come (flowLife.ts); idle limits differ by it. */
export const FlowState = {
  /** Only its start was seen: it may be a flood, and is the first to go when the table is full. */
  unconfirmed: 0,
  established: 1,
  /** Both sides have ended it. */
  closing: 2,
  /** The side without, or with, the flag SIDE has ended it, and the other one has not. */
  halfClosedByFirst: 3,
  halfClosedBySecond: 7,
  /** That side has reset it, if that is true. */
  resetByFirst: 4,
  resetBySecond: 5,
} as const;
export type FlowState = (typeof FlowState)[keyof typeof FlowState];

/** Why a table ended a flow by itself. */
export const EndReason = {
  /** Idle for longer than its limit. */
  expired: 0,
  /** Gave way to new flows in a full slice (evict.ts). */
  evicted: 1,
} as const;
export type EndReason = (typeof EndReason)[keyof typeof EndReason];

/** Of the eight states that three bits can name, this one is none. */
const noState = 6;

/** Server numbers are below this. */
export const serverNumbers = 4_094;
/** Nobody, where a server number is asked for. */
export const noServer = 4_095;
/** The backup of a flow that has none. */
export const noBackup: number = noServer;
export const protocolClassCount = 16;

export const usedBit: number = 0x8000_0000 | 0;

/** States times protocol classes: so many idle limits there are. */
export const idleLimitCount: number = 8 * protocolClassCount;

export function packInfo(owner: number, backup: number, state: FlowState, protocolClass: number): number {
  return usedBit | stateBits(state) | (protocolClass << 26) | (backup << 12) | owner;
}

function stateBits(state: FlowState): number {
  return ((state & 4) << 28) | ((state & 3) << 24);
}

/** The word with another state. */
export function withState(info: number, state: FlowState): number {
  return (info & ~0x4300_0000) | stateBits(state);
}

export function ownerOf(info: number): number {
  return info & 0xfff;
}

export function backupOf(info: number): number {
  return (info >>> 12) & 0xfff;
}

export function stateOf(info: number): FlowState {
  return (((info >>> 28) & 4) | ((info >>> 24) & 3)) as FlowState;
}

export function protocolClassOf(info: number): number {
  return (info >>> 26) & 15;
}

/** Index into the idle limits: bits 30 to 24 of the word as they stand. */
export function idleIndexOf(info: number): number {
  return (info >>> 24) & 127;
}

/** Whether a word that came from outside can be the info word of an entry. */
export function isInfo(info: number): boolean {
  const backup = backupOf(info);
  const state: number = stateOf(info);
  return (
    info < 0 && state !== noState && ownerOf(info) < serverNumbers && (backup < serverNumbers || backup === noBackup)
  );
}
