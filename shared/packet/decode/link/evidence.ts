// How much the bytes behind an MPLS label stack look like an IP packet, and how much like an Ethernet frame.
//
// Nothing in a label stack says what it carries, and the first four bits do not tell either: the MAC address that an Ethernet
// pseudowire begins with may start with any digit (RFC 8469 collects what goes wrong). So each reading gets points for what
// fits: header length, total length against what is there, checksum, payload length, a known EtherType and what must stand
// behind it. The reading with more points is taken (mpls.ts). A packet that the capture cut has fewer points, and is read
// all the same.
import { i32, u16 } from '../../bytes.ts';
import { internetChecksum } from '../../checksum.ts';
import { parseLimits } from '../headers.ts';
import { EtherType, maxLengthField, PppProtocol } from './etherType.ts';

/** A header checksum that is right: one in 65,536 would be by chance. */
const checksumPoints = 3;
/** An EtherType that we know, where one has to be. */
const typePoints = 2;
/** A frame check sequence, or padding of a short frame, behind a packet. */
const trailerBytes = 6;
const shortFrame = 64;
/** What SNAP with an EtherType begins with, and its length with that type. */
const snapStart = 0xaaaa_0300 | 0;
const snapHeader = 8;
/** Eight bytes each, behind the first eight: hop-by-hop options that routers look at are a few. */
const mostOptionWords = 8;

/** So many points of a packet without an EtherType before it say that it is one. */
export const enoughPoints = 3;
/** So many, all that there are, leave no doubt. */
export const fullPoints = 5;

/**
 * Points for IPv4 (RFC 791) at `offset`: 0 where it cannot be, 5 where header length, total length and checksum are right. A
 * checksum may be wrong all the same, where a router did not count it again, or 0, where a network card was to fill it in; then
 * the total length, a header without options and a usual protocol have to do.
 */
export function ipv4Points(buffer: Uint8Array, offset: number, end: number): number {
  const left = end - offset;
  if (left < 1 || buffer[offset] >> 4 !== 4) return 0;
  const headerLength = (buffer[offset] & 15) << 2;
  if (headerLength < 20) return 0;
  if (left < 20) return 1;
  const totalLength = u16(buffer, offset + 2);
  if (totalLength !== 0 && totalLength < headerLength) return 0;
  const rest = left - totalLength;
  const isWithin = totalLength !== 0 && rest >= 0;
  if (headerLength <= left && internetChecksum(buffer, offset, offset + headerLength) === 0) {
    return 1 + checksumPoints + (isWithin ? 1 : 0);
  }
  if (isWithin && u16(buffer, offset + 10) === 0) return enoughPoints;
  const fits = isWithin && rest <= trailerBytes ? 2 : 0;
  return 1 + fits + (headerLength === 20 ? 1 : 0) + (isUsual(buffer[offset + 9]) ? 1 : 0);
}

/**
 * Points for IPv6 (RFC 8200) at `offset`: 0 where it cannot be, 5 where it ends with the packet, leads to a usual protocol and
 * goes between usual addresses.
 */
export function ipv6Points(buffer: Uint8Array, offset: number, end: number): number {
  const left = end - offset;
  if (left < 1 || buffer[offset] >> 4 !== 6) return 0;
  if (left < 40) return 1;
  const payloadLength = u16(buffer, offset + 4);
  const rest = left - 40 - payloadLength;
  const fits = payloadLength > 0 && rest >= 0 && rest <= trailerBytes ? 2 : 0;
  const usual = isUsualAddress(buffer[offset + 8]) && isUsualAddress(buffer[offset + 24]) ? 1 : 0;
  return 1 + fits + usual + (isUsualNext(buffer, offset + 6, offset + 40, end) ? 1 : 0);
}

/**
 * First byte of a global, unique local, link-local or multicast address, or of one that begins with zeros (RFC 4291, RFC 4193),
 * or of a segment identifier (RFC 9602).
 */
function isUsualAddress(first: number): boolean {
  return first >> 5 === 1 || first >= 0xfc || first === 0 || first === 0x5f;
}

/** Hop-by-hop options are 0, which many a byte is by chance, so what they lead to counts. */
function isUsualNext(buffer: Uint8Array, at: number, payload: number, end: number): boolean {
  if (buffer[at] !== 0) return isUsual(buffer[at]);
  return end - payload >= 2 && isUsual(buffer[payload]) && buffer[payload + 1] <= mostOptionWords;
}

/**
 * Points for an Ethernet frame at `offset`: 0 where no EtherType or length that we know stands in its place, or where what it
 * announces is not there. VLAN tags and PPPoE may stand between; a tag counts as a type, since a tagged frame reads like a
 * control word before an untagged one.
 */
export function ethernetPoints(buffer: Uint8Array, offset: number, end: number): number {
  if (end - offset < 14) return 0;
  let at = offset + 12;
  for (let tags = 0; tags <= parseLimits.vlanTags; tags++) {
    if (end - at < 2) return (tags + 1) * typePoints;
    const type = u16(buffer, at);
    if (!isTag(type)) {
      const points = typedPoints(buffer, at + 2, end, type, end - offset <= shortFrame);
      return points === 0 ? 0 : points + tags * typePoints;
    }
    at += 4;
  }
  return 0;
}

function isTag(type: number): boolean {
  switch (type) {
    case EtherType.VLAN:
    case EtherType.SERVICE_VLAN:
    case EtherType.QINQ_OLD:
    case EtherType.QINQ_OLD2:
      return true;
    default:
      return false;
  }
}

/** Points for what the EtherType or length `type` announces at `at`. */
function typedPoints(buffer: Uint8Array, at: number, end: number, type: number, isShort: boolean): number {
  switch (type) {
    case EtherType.IPV4:
      return behind(at, end, ipv4Points(buffer, at, end));
    case EtherType.IPV6:
      return behind(at, end, ipv6Points(buffer, at, end));
    case EtherType.PPPOE_SESSION:
      return pppoePoints(buffer, at, end);
    case EtherType.ARP:
      // RFC 826: Ethernet addresses for IPv4 addresses.
      if (end - at < 4) return typePoints;
      return u16(buffer, at) === 1 && u16(buffer, at + 2) === EtherType.IPV4 ? typePoints + checksumPoints : 0;
    default:
      if (type <= maxLengthField) return lengthPoints(buffer, at, end, type, isShort);
      return isCommon(type) ? typePoints : 0;
  }
}

/** A type we know, and points of what stands behind it; what must stand there and does not refutes the type. */
function behind(at: number, end: number, points: number): number {
  if (at >= end) return typePoints;
  return points === 0 ? 0 : typePoints + points;
}

/** PPPoE (RFC 2516): version and type 1, code 0, session, length, then PPP. */
function pppoePoints(buffer: Uint8Array, at: number, end: number): number {
  if (end - at < 8) return typePoints;
  if (buffer[at] !== 0x11 || buffer[at + 1] !== 0) return 0;
  const protocol = u16(buffer, at + 6);
  if (protocol === PppProtocol.IPV4) return behind(at + 8, end, ipv4Points(buffer, at + 8, end));
  if (protocol === PppProtocol.IPV6) return behind(at + 8, end, ipv6Points(buffer, at + 8, end));
  return typePoints + 1;
}

/**
 * A length (IEEE 802.3) that is what is there, and LLC behind it: SNAP, spanning tree, IS-IS or NetWare. SNAP with an EtherType
 * (RFC 1042) is six bytes that have to be right, so it will do where the capture cut the frame.
 */
function lengthPoints(buffer: Uint8Array, at: number, end: number, length: number, isShort: boolean): number {
  const left = end - at;
  if (length > left && left >= snapHeader && i32(buffer, at) === snapStart && u16(buffer, at + 4) === 0) {
    return typePoints + 1;
  }
  if (length < 3 || length > left || (length < left && !isShort)) return 0;
  const sap = u16(buffer, at);
  return sap === 0xaaaa || sap === 0x4242 || sap === 0xfefe || sap === 0xe0e0 ? typePoints + 1 : 1;
}

/** Protocols and next headers that nearly all packets have. IPv6 hop-by-hop is 0, which many a byte is by chance. */
function isUsual(protocol: number): boolean {
  switch (protocol) {
    case 1:
    case 4:
    case 6:
    case 17:
    case 41:
    case 43:
    case 44:
    case 47:
    case 50:
    case 51:
    case 58:
    case 60:
    case 89:
    case 132:
      return true;
    default:
      return false;
  }
}

/** EtherTypes that an Ethernet frame may carry and that say nothing more: MPLS, PPPoE discovery, LLDP, 802.1X, ... */
function isCommon(type: number): boolean {
  switch (type) {
    case EtherType.MPLS:
    case EtherType.MPLS_UPSTREAM:
    case EtherType.BACKBONE:
    case EtherType.NSH:
    case EtherType.TRILL:
    case 0x8809:
    case 0x8863:
    case 0x888e:
    case 0x88cc:
    case 0x88e5:
    case 0x88f7:
    case 0x8902:
    case 0x9000:
      return true;
    default:
      return false;
  }
}
