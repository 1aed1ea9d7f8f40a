// Packets that say what they belong to: GTP messages of both planes, SIP over UDP and TCP, QUIC with long and short headers,
// DHCPv6. As `udp` or `tcp` parts of packet descriptions.

import type { PacketSpec } from '../../shared/packet/encode/build.ts';

const text = (value: string) => new TextEncoder().encode(value);
const word = (value: number) => [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
const half = (value: number) => [value >> 8, value & 255];

/** GTPv1 with elements as they stand. Type 255 is user data on port 2152; 16 and 17 create a PDP context on 2123. */
export function gtp1(type: number, teid: number, elements: readonly number[] = []): Uint8Array {
  return Uint8Array.of(0x32, type, ...half(elements.length + 4), ...word(teid), 0, 1, 0, 0, ...elements);
}

/** GTPv2-C: 32 and 33 create a session. */
export function gtp2(type: number, teid: number, elements: readonly number[] = []): Uint8Array {
  return Uint8Array.of(0x48, type, ...half(elements.length + 8), ...word(teid), 0, 0, 1, 0, ...elements);
}

/** The sender's endpoint, as version 2 and version 1 write it. */
export const endpoint2 = (teid: number): number[] => [87, 0, 9, 0, 0x8a, ...word(teid), 192, 0, 2, 1];
export const endpoint1 = (teid: number): number[] => [17, ...word(teid)];
export const imsi2: readonly number[] = [1, 0, 8, 0, 0, 1, 0, 1, 0, 0, 0, 0xf1];
export const imsi1: readonly number[] = [2, 0, 1, 0, 1, 0, 0, 0, 0xf1];
/** The subscriber's IPv4 address: PDN Address Allocation, End User Address. */
export const allocated4 = (address: readonly number[]): number[] => [79, 0, 5, 0, 1, ...address];
export const allocated6 = (address: readonly number[]): number[] => [79, 0, 18, 0, 2, 64, ...address];
export const allocatedBoth = (six: readonly number[], four: readonly number[]): number[] => [
  ...[79, 0, 22, 0, 3, 64],
  ...six,
  ...four,
];
export const endUser4 = (address: readonly number[]): number[] => [128, 0, 6, 0xf1, 0x21, ...address];

export const userPorts = { sourcePort: 2152, targetPort: 2152 };
export const controlPorts = { sourcePort: 2123, targetPort: 2123 };

/** A SIP message with this header field among others. */
export function sip(field: string, first = 'INVITE sip:bob@example.org SIP/2.0'): string {
  const before = [
    'Via: SIP/2.0/UDP pc33.example.org;branch=z9hG4bK776',
    'Max-Forwards: 70',
    'From: <sip:a@example.org>;tag=1',
  ];
  return [first, ...before, field, 'CSeq: 1 INVITE', 'Content-Length: 0', '', ''].join('\r\n');
}

/** A QUIC packet with a long header. */
export function quicLong(target: readonly number[], source: readonly number[], version = 1, first = 0xc3): Uint8Array {
  const ids = [target.length, ...target, source.length, ...source];
  return Uint8Array.of(first, ...word(version), ...ids, 0, ...new Array<number>(24).fill(7));
}

/** One with a short header, to the owner of the id. */
export function quicShort(target: readonly number[]): Uint8Array {
  return Uint8Array.of(0x5b, ...target, ...new Array<number>(24).fill(9));
}

/** A DHCPv6 message from a client of that DUID, passed on by so many relays. */
export function dhcp6(type: number, duid: readonly number[], relays = 0): Uint8Array {
  let message = [type, 0, 0, 7, 0, 8, 0, 2, 0, 0, 0, 1, 0, duid.length, ...duid];
  for (let relay = 0; relay < relays; relay++) {
    message = [12, relay, ...new Array<number>(32).fill(relay), 0, 9, ...half(message.length), ...message];
  }
  return Uint8Array.from(message);
}

/** One of everything, between any two ends: parts of a packet description. */
export const identified: readonly Partial<PacketSpec>[] = [
  { udp: { ...userPorts, payload: gtp1(255, 1, [69, 0]) } },
  { udp: { ...userPorts, payload: gtp1(255, 2, [69, 0]) } },
  { udp: { ...userPorts, payload: gtp1(26, 0, [16, 0, 0, 0, 1, 133, 0, 4, 192, 0, 2, 1]) } },
  { udp: { ...userPorts, payload: gtp1(1, 0) } },
  { udp: { ...controlPorts, payload: gtp2(32, 0, [...imsi2, ...endpoint2(1), ...allocated4([10, 0, 0, 1])]) } },
  { udp: { ...controlPorts, payload: gtp2(33, 1, [2, 0, 2, 0, 16, 0, ...allocated4([10, 0, 0, 2])]) } },
  { udp: { ...controlPorts, payload: gtp1(16, 0, [...imsi1, ...endpoint1(1), ...endUser4([10, 0, 0, 1])]) } },
  { udp: { sourcePort: 5060, targetPort: 5060, payload: text(sip('Call-ID: one@example.org')) } },
  { udp: { sourcePort: 5060, targetPort: 5060, payload: text(sip('i: two', 'SIP/2.0 200 OK')) } },
  { tcp: { sourcePort: 5060, targetPort: 5062, payload: text(sip('Call-ID: one@example.org')) } },
  { tcp: { sourcePort: 5060, targetPort: 5062, payload: 'v=0\r\n' } },
  { udp: { sourcePort: 1000, targetPort: 443, payload: quicLong([1, 2, 3, 4, 5, 6, 7, 8], []) } },
  { udp: { sourcePort: 443, targetPort: 1000, payload: quicLong([], [1, 2, 3, 4, 5, 6, 7, 8]) } },
  { udp: { sourcePort: 2000, targetPort: 443, payload: quicShort([1, 2, 3, 4, 5, 6, 7, 8]) } },
  { udp: { sourcePort: 443, targetPort: 1000, payload: quicShort([1, 2, 3, 4, 5, 6, 7, 8]) } },
  { udp: { sourcePort: 546, targetPort: 547, payload: dhcp6(1, [0, 1, 0, 1, 9, 9]) } },
];
