// What a tier 1 that takes packets from the bus says of itself on `hello.<tier1>`, four times a second: whether it wants
// packets, and what became of those it got. Whoever sends packets finds its tier 1s by these messages, and learns from
// them what was lost or dropped before a packet came to a group.
//
//   [ version, tier1, state, received, faults, dropped, senders ]
//
//   dropped   [ cause, count, ... ] of all packets from the bus, so far
//   senders   [ [ name, received, lostFrames, dropped ], ... ] the same for each sender heard lately
//
// Counters never go back: one life of a tier 1 has one name. What leaves in a frame with others' packets can only be
// dropped with them, so `sharedCauses` are in the first list alone.

import { Packr } from 'msgpackr';
import { limits } from '../base/limits.ts';
import { isOneOf, isWhole } from '../base/validate.ts';
import { isName } from '../bus/subjects.ts';

const version = 1;
const messageBytesMax = 64 * 1024;
const causesMax = 64;
const packr = new Packr({ useRecords: false });

/**
 * `waiting`: some group has no server yet. `ready`: send. `leaving`: send no more, what is under way is still taken.
 * `ended`: this was the last message, and its counters are final.
 */
export const helloStates = ['waiting', 'ready', 'leaving', 'ended'] as const;
export type HelloState = (typeof helloStates)[number];

/** Causes of whole frames on their way to a log: the packets of several senders are in them. */
export const sharedCauses = ['log-down', 'log-full'] as const;

export interface HelloSender {
  readonly name: string;
  /** Packets of this sender that came out of its frames. */
  readonly received: number;
  /** Its frames that never came, by the holes in their numbers. */
  readonly lostFrames: number;
  /** Packets of this sender that went no further, by cause. */
  readonly dropped: Readonly<Record<string, number>>;
}

export interface Hello {
  readonly tier1: string;
  readonly state: HelloState;
  /** Packets that came from the bus. */
  readonly received: number;
  /** Messages that were no frames. */
  readonly faults: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly senders: readonly HelloSender[];
}

export function encodeHello({ tier1, state, received, faults, dropped, senders }: Hello): Uint8Array {
  const rows = senders.map((each) => [each.name, each.received, each.lostFrames, flat(each.dropped)]);
  const fields = [version, tier1, helloStates.indexOf(state), received, faults, flat(dropped), rows];
  return Uint8Array.from(packr.pack(fields));
}

/** Reads a message; undefined when it is none that this version knows. The bytes come from the network. */
export function decodeHello(message: Uint8Array): Hello | undefined {
  if (message.length > messageBytesMax) return undefined;
  let fields: unknown;
  try {
    fields = packr.unpack(message);
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields.length !== 7 || fields[0] !== version) return undefined;
  const [, tier1, stateCode, received, faults, flatDropped, rows] = fields;
  const state = isWhole(stateCode, 0, helloStates.length - 1) ? helloStates[stateCode] : undefined;
  const dropped = causes(flatDropped);
  if (typeof tier1 !== 'string' || !isName(tier1) || !isOneOf(helloStates, state)) return undefined;
  if (!isCount(received) || !isCount(faults) || dropped === undefined) return undefined;
  if (!Array.isArray(rows) || rows.length > limits.inputSenders) return undefined;
  const senders: HelloSender[] = [];
  for (const row of rows) {
    const sender = readSender(row);
    if (sender === undefined) return undefined;
    senders.push(sender);
  }
  return { tier1, state, received, faults, dropped, senders };
}

function readSender(row: unknown): HelloSender | undefined {
  if (!Array.isArray(row) || row.length !== 4) return undefined;
  const [name, received, lostFrames, flatDropped] = row;
  const dropped = causes(flatDropped);
  if (typeof name !== 'string' || name.length > 64 || dropped === undefined) return undefined;
  if (!isCount(received) || !isCount(lostFrames)) return undefined;
  return { name, received, lostFrames, dropped };
}

function flat(counts: Readonly<Record<string, number>>): unknown[] {
  return Object.entries(counts).flat();
}

function causes(value: unknown): Record<string, number> | undefined {
  if (!Array.isArray(value) || value.length % 2 !== 0 || value.length > 2 * causesMax) return undefined;
  const pairs: [string, number][] = [];
  for (let at = 0; at < value.length; at += 2) {
    const [cause, count] = [value[at], value[at + 1]];
    if (typeof cause !== 'string' || !isName(cause) || !isCount(count)) return undefined;
    pairs.push([cause, count]);
  }
  return Object.fromEntries(pairs);
}

function isCount(value: unknown): value is number {
  return isWhole(value, 0, Number.MAX_SAFE_INTEGER);
}
