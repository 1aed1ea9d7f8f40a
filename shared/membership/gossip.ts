// What members of a group tell each other, and tier 1, about themselves and each other, apart from packets: that they live,
// where they stand, how far they have come with the log, how busy they are, and whom they have not heard for a while.
//
//   beat     [ version, 1, server, incarnation, beat ]                    on beat.<group>.<server>, several a second
//   state    [ version, 2, server, incarnation, beat, state, view, line, load, digests, protection ]
//                                                                         on gossip.<group>, about once a second
//   suspect  [ version, 3, from, server, incarnation, isSure ]            on gossip.<group>, when something is wrong
//   line     [ state, epoch number, epoch id, position, lag, lagMs, handled ]
//
// A beat goes only to the few members that watch its sender (failureDetector.ts), so a member sends and hears as many of
// them in a group of a thousand as in one of ten. A state goes to the whole group and to tier 1, and the larger the group,
// the rarer it is sent (`stateEveryMs`), so what a member hears of all others stays the same too.
//
// A state carries a state, a load, or both: nil stands for the part that is not there. `view` is the number of the view that the
// sender has; 0 for none. `protection` is there where flows have backups (protection.ts). `digests` has three numbers for each slice of the flow table that was summed since the state before: slice,
// position, digest. Numbers of beats go up by one within a life and count states too. A member that hears that it is
// suspected answers with a state at once.

import { Packr } from 'msgpackr';
import { isWhole } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';
import { flattenLoad, type Load, readLoad } from './load.ts';
import { flattenProtection, type ProtectionReport, readProtection } from './protection.ts';
import type { Life } from './transitions.ts';

const version = 3;
const messageBytesMax = 8_192;
/** Digests in one state at most, the newest. */
export const digestsMax = 192;
const packr = new Packr({ useRecords: false });

/** `leaving`: no member any more, still deciding the last packets. `restarting`: will be back as another life. */
export const liveStates = ['joining', 'active', 'draining', 'leaving', 'restarting'] as const;
export type LiveState = (typeof liveStates)[number];

/** `following`: applies the log. `fetching`: fetches state from a peer. `broken`: holds state, but the log is another one. `empty`: holds none. */
export const lineStates = ['following', 'fetching', 'broken', 'empty'] as const;
export type LineState = (typeof lineStates)[number];

/** How far a member has come with the log. */
export interface LineReport {
  readonly state: LineState;
  readonly epochNumber: number;
  /** '' for none. */
  readonly epoch: string;
  /** Of the last entry applied, within that epoch. */
  readonly position: number;
  /** Entries that wait in the log behind it, and how old the one applied last was by then. */
  readonly lag: number;
  readonly lagMs: number;
  /** Its server is done with the packets of all entries up to this position; 0 when that is not known. */
  readonly handled: number;
}

/** Sum of one slice of the flow table just before the entry at `position`. */
export interface SliceDigest {
  readonly slice: number;
  readonly position: number;
  readonly digest: number;
}

/** I live. */
export interface Beat extends Life {
  readonly kind: 'beat';
  readonly beat: number;
}

/** I live, stand here, and am so busy. */
export interface StateMessage extends Life {
  readonly kind: 'state';
  readonly beat: number;
  readonly state: LiveState | undefined;
  readonly view: number;
  readonly line: LineReport | undefined;
  readonly load: Load | undefined;
  readonly digests: readonly SliceDigest[];
  /** Undefined where flows have no backups, or the sender does not say. */
  readonly protection?: ProtectionReport | undefined;
}

/** I have not heard this life for a while. `isSure`: for so long that it is dead, as far as I alone can tell. */
export interface Suspicion extends Life {
  readonly kind: 'suspect';
  readonly from: string;
  readonly isSure: boolean;
}

export type GossipMessage = Beat | StateMessage | Suspicion;

export function encodeGossip(message: GossipMessage): Uint8Array {
  const { kind, server, incarnation } = message;
  if (kind === 'beat') return Uint8Array.from(packr.pack([version, 1, server, incarnation, message.beat]));
  if (kind === 'suspect') {
    return Uint8Array.from(packr.pack([version, 3, message.from, server, incarnation, message.isSure]));
  }
  const { beat, state, view, line, load, digests, protection } = message;
  const stateCode = state === undefined ? null : liveStates.indexOf(state);
  const flat = load === undefined ? null : flattenLoad(load);
  const sums = digests.slice(-digestsMax).flatMap(({ slice, position, digest }) => [slice, position, digest]);
  const fields = [version, 2, server, incarnation, beat, stateCode, view, line ? flatLine(line) : null, flat, sums];
  return Uint8Array.from(packr.pack(protection === undefined ? fields : [...fields, flattenProtection(protection)]));
}

function flatLine({ state, epochNumber, epoch, position, lag, lagMs, handled }: LineReport): unknown[] {
  return [lineStates.indexOf(state), epochNumber, epoch, position, lag, Math.round(lagMs), handled];
}

/** Reads a message; undefined when it is none that this version knows. The bytes come from the network. */
export function decodeGossip(message: Uint8Array): GossipMessage | undefined {
  if (message.length > messageBytesMax) return undefined;
  let fields: unknown;
  try {
    fields = packr.unpack(message);
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields[0] !== version) return undefined;
  if (fields[1] === 1 && fields.length === 5) return readBeat(fields);
  if (fields[1] === 2 && (fields.length === 10 || fields.length === 11)) return readState(fields);
  if (fields[1] === 3 && fields.length === 6) return readSuspicion(fields);
  return undefined;
}

/** Pause between two states of a member in a group of so many: each member hears some hundred a second at most. */
export function stateEveryMs(members: number, leastMs: number): number {
  return Math.max(leastMs, members * 10);
}

function readBeat([, , server, incarnation, beat]: unknown[]): Beat | undefined {
  if (!isServer(server) || !isCount(incarnation) || !isCount(beat)) return undefined;
  return { kind: 'beat', server, incarnation, beat };
}

function readState([, , server, incarnation, beat, stateCode, view, flat, flatLoad, sums, safety]: unknown[]):
  | StateMessage
  | undefined {
  if (!isServer(server) || !isCount(incarnation) || !isCount(beat) || !isCount(view)) return undefined;
  if (stateCode !== null && !isWhole(stateCode, 0, liveStates.length - 1)) return undefined;
  const load = flatLoad === null ? undefined : readLoad(flatLoad);
  const line = flat === null ? undefined : readLine(flat);
  const digests = readDigests(sums);
  if ((flatLoad !== null && load === undefined) || (flat !== null && line === undefined)) return undefined;
  const protection = safety === undefined ? undefined : readProtection(safety);
  if (digests === undefined || (safety !== undefined && protection === undefined)) return undefined;
  const state = stateCode === null ? undefined : liveStates[stateCode];
  const said = { kind: 'state', server, incarnation, beat, state, view, line, load, digests } as const;
  return protection === undefined ? said : { ...said, protection };
}

function readLine(value: unknown): LineReport | undefined {
  if (!Array.isArray(value) || value.length !== 7) return undefined;
  const [stateCode, epochNumber, epoch, position, lag, lagMs, handled] = value;
  if (!isWhole(stateCode, 0, lineStates.length - 1) || typeof epoch !== 'string' || epoch.length > 64) return undefined;
  if (!isCount(epochNumber) || !isCount(position) || !isCount(lag) || !isCount(lagMs)) return undefined;
  if (!isCount(handled)) return undefined;
  return { state: lineStates[stateCode], epochNumber, epoch, position, lag, lagMs, handled };
}

function readDigests(value: unknown): SliceDigest[] | undefined {
  if (!Array.isArray(value) || value.length % 3 !== 0 || value.length > 3 * digestsMax) return undefined;
  const digests: SliceDigest[] = [];
  for (let at = 0; at < value.length; at += 3) {
    const [slice, position, digest] = [value[at], value[at + 1], value[at + 2]];
    if (!isWhole(slice, 0, 255) || !isCount(position) || !isCount(digest)) return undefined;
    digests.push({ slice, position, digest });
  }
  return digests;
}

function readSuspicion([, , from, server, incarnation, isSure]: unknown[]): Suspicion | undefined {
  if (!isServer(from) || !isServer(server) || !isCount(incarnation) || typeof isSure !== 'boolean') return undefined;
  return { kind: 'suspect', from, server, incarnation, isSure };
}

function isServer(value: unknown): value is string {
  return typeof value === 'string' && isName(value);
}

function isCount(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
