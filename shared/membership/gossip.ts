// What members of a group tell each other, and tier 1, about themselves and each other, apart from packets: that they live,
// where they stand, how busy they are, and whom they have not heard for a while.
//
//   beat     [ version, 1, server, incarnation, beat ]                    on beat.<server>, several a second
//   state    [ version, 2, server, incarnation, beat, state, view, load ]    on gossip.<group>, about once a second
//   suspect  [ version, 3, from, server, incarnation, isSure ]            on gossip.<group>, when something is wrong
//
// A beat goes only to the few members that watch its sender (failureDetector.ts), so a member sends and hears as many of
// them in a group of a thousand as in one of ten. A state goes to the whole group and to tier 1, and the larger the group,
// the rarer it is sent (`stateEveryMs`), so what a member hears of all others stays the same too.
//
// A state carries a state, a load, or both: nil stands for the part that is not there. `view` is the newest view that the
// sender has; 0 for none. Numbers of beats go up by one within a life and count states too. Whoever hears that it is
// suspected answers with a state at once.

import { Packr } from 'msgpackr';
import { isWhole } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';
import { flattenLoad, type Load, readLoad } from './load.ts';
import type { Life } from './transitions.ts';

const version = 1;
const messageBytesMax = 4_096;
const packr = new Packr({ useRecords: false });

/** `leaving`: no member any more, still deciding the last packets. `restarting`: will be back as another life. */
export const liveStates = ['joining', 'active', 'draining', 'leaving', 'restarting'] as const;
export type LiveState = (typeof liveStates)[number];

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
  readonly load: Load | undefined;
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
  const { beat, state, view, load } = message;
  const stateCode = state === undefined ? null : liveStates.indexOf(state);
  const flat = load === undefined ? null : flattenLoad(load);
  return Uint8Array.from(packr.pack([version, 2, server, incarnation, beat, stateCode, view, flat]));
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
  if (fields[1] === 2 && fields.length === 8) return readState(fields);
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

function readState([, , server, incarnation, beat, stateCode, view, flat]: unknown[]): StateMessage | undefined {
  if (!isServer(server) || !isCount(incarnation) || !isCount(beat) || !isCount(view)) return undefined;
  if (stateCode !== null && !isWhole(stateCode, 0, liveStates.length - 1)) return undefined;
  const load = flat === null ? undefined : readLoad(flat);
  if (flat !== null && load === undefined) return undefined;
  const state = stateCode === null ? undefined : liveStates[stateCode];
  return { kind: 'state', server, incarnation, beat, state, view, load };
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
