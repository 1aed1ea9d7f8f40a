// How long a flow may be silent before it is forgotten, by protocol and state. If the owner forgot a flow before the others did, nobody would
// accept its next packet; the other way round, two would. So the limits are part of a group's rules, alike on every
// replica, and count the line's time.
//
//   opening       only its start was seen, or of a protocol without one a single packet: it may be a flood
//   established   packets of it have followed
//   half-closed   one side has ended it, and the other may go on sending
//   closing       both sides have ended it; late copies of their last packets still find its server
//   reset         one side has reset it, if that is true: it may turn out to be alive
//
// Sources of the defaults: RFC 5382 REQ-5 (TCP: 2 h 4 min established, 4 min for what is opening or closing), RFC 5597 (DCCP alike),
// RFC 4787 REQ-5 (UDP: five minutes), RFC 5508 REQ-2 (ICMP: 60 s). Floods are made of starts, which give way first where the table is full.

import { isRecord, isWhole } from '../base/validate.ts';

/** Defaults in seconds. What is in no other row is `other`: also what holds several protocols, such as a subscriber or the sessions between two GTP peers. */
export const defaultIdle = {
  'tcp-opening': 240,
  'tcp-established': 7_440,
  'tcp-half-closed': 900,
  'tcp-closing': 60,
  'tcp-reset': 240,
  'sctp-opening': 60,
  'sctp-established': 900,
  'sctp-closing': 60,
  'sctp-reset': 240,
  'dccp-opening': 240,
  'dccp-established': 7_440,
  'dccp-half-closed': 900,
  'dccp-closing': 60,
  'dccp-reset': 240,
  'udp-opening': 120,
  'udp-established': 300,
  'icmp-opening': 60,
  'icmp-established': 60,
  'non-ip-opening': 60,
  'non-ip-established': 300,
  'other-opening': 60,
  'other-established': 600,
} as const;

export type IdleName = keyof typeof defaultIdle;

/** Seconds by name. */
export type IdleLimits = Readonly<Record<IdleName, number>>;

export const idleNames = Object.keys(defaultIdle) as readonly IdleName[];
/** A week. */
export const mostIdleSeconds = 604_800;

/** Reads limits, in the order of the names; what is missing has its default. Undefined when they are none. */
export function readIdle(value: unknown): IdleLimits | undefined {
  if (value === undefined) return defaultIdle;
  if (!isRecord(value) || !Object.keys(value).every((name) => Object.hasOwn(defaultIdle, name))) return undefined;
  const limits = { ...defaultIdle, ...value };
  if (!idleNames.every((name) => isWhole(limits[name], 1, mostIdleSeconds))) return undefined;
  return Object.fromEntries(idleNames.map((name) => [name, limits[name]])) as IdleLimits;
}

const seconds = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** Reads `tcp-established=2h4m` or `udp-established=300`; otherwise says what is wanted. */
export function parseIdle(text: string): { readonly name: IdleName; readonly seconds: number } | string {
  const [name, value = '', ...rest] = text.split('=');
  if (!Object.hasOwn(defaultIdle, name)) return `there is no idle limit ${name}; there are ${idleNames.join(', ')}`;
  if (rest.length > 0 || !/^(?:\d+|(?:\d+[smhd])+)$/.test(value)) {
    return `an idle limit is written ${name}=90, ${name}=5m or ${name}=2h4m`;
  }
  let sum = /^\d+$/.test(value) ? Number(value) : 0;
  for (const [, count, unit] of value.matchAll(/(\d+)([smhd])/g))
    sum += Number(count) * seconds[unit as keyof typeof seconds];
  if (!isWhole(sum, 1, mostIdleSeconds)) return `${name} must be from 1 second to 7 days`;
  return { name: name as IdleName, seconds: sum };
}
