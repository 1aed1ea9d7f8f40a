// Ethernet and what may stand between an Ethernet header and IP: VLAN tags in any number (802.1Q, 802.1ad, QinQ),
// provider backbone bridging, MPLS, PPPoE and PPP, LLC and SNAP.
//
// All of it is a chain of EtherTypes, so one loop walks it and ends at a network header. An Ethernet frame can occur
// again inside (pseudowires, 802.1ah); the MAC pair stays the outermost one, the VLAN ids add up.
import { i32, u16 } from '../bytes.ts';
import { type LinkLayer, Network, parseLimits } from './headers.ts';
import { Reason } from './reasons.ts';

export const EtherType = {
  IPV4: 0x0800,
  VLAN: 0x8100,
  IPV6: 0x86dd,
  PPP: 0x880b,
  MPLS: 0x8847,
  MPLS_UPSTREAM: 0x8848,
  PPPOE_SESSION: 0x8864,
  SERVICE_VLAN: 0x88a8,
  BACKBONE: 0x88e7,
  VN_TAG: 0x8926,
  E_TAG: 0x893f,
  QINQ_OLD: 0x9100,
  QINQ_OLD2: 0x9200,
  BRIDGED: 0x6558,
  TRILL: 0x22f3,
  FABRIC_PATH: 0x8903,
  CISCO_METADATA: 0x8909,
  HSR: 0x892f,
} as const;

/** Protocol numbers of PPP that lead to IP. */
const PppProtocol = { IPV4: 0x0021, IPV6: 0x0057, MPLS: 0x0281, MPLS_MULTICAST: 0x0283 } as const;

/** Length fields are at most this; EtherTypes start at 1536 (IEEE 802.3 clause 3.2.6). */
const maxLengthField = 1500;

/** Bytes of Cisco's inter-switch link header. */
const interSwitchHeader = 26;

/** Reads an Ethernet header at `offset` and all that follows it up to the network header. Returns a Reason. */
export function readEthernet(buffer: Uint8Array, offset: number, end: number, link: LinkLayer, depth: number): number {
  if (end - offset < 14) return Reason.LINK_HEADER_CUT;
  if (link.macs < 0) link.macs = offset;
  const type = (buffer[offset + 12] << 8) | buffer[offset + 13];
  if (type === EtherType.IPV4) {
    link.protocol = type;
    link.payload = offset + 14;
    link.network = Network.IPV4;
    return Reason.NONE;
  }
  if (type <= maxLengthField && isInterSwitchLink(buffer, offset)) {
    return readInnerEthernet(buffer, offset + interSwitchHeader, end, link, depth);
  }
  return readEtherType(buffer, offset + 14, end, type, link, depth);
}

/** Continues at `offset` with what the EtherType (or 802.3 length) `type` announces. Returns a Reason. */
export function readEtherType(
  buffer: Uint8Array,
  offset: number,
  end: number,
  type: number,
  link: LinkLayer,
  depth: number,
): number {
  let tags = 0;
  while (tags++ <= parseLimits.vlanTags) {
    link.protocol = type;
    link.payload = offset;
    switch (type) {
      case EtherType.IPV4:
        link.network = Network.IPV4;
        return Reason.NONE;
      case EtherType.IPV6:
        link.network = Network.IPV6;
        return Reason.NONE;
      case EtherType.VLAN:
      case EtherType.SERVICE_VLAN:
      case EtherType.QINQ_OLD:
      case EtherType.QINQ_OLD2:
        if (end - offset < 4) return Reason.LINK_HEADER_CUT;
        if (link.vlanCount < parseLimits.vlanTags) link.vlans[link.vlanCount++] = u16(buffer, offset) & 0xfff;
        type = u16(buffer, offset + 2);
        offset += 4;
        break;
      case EtherType.VN_TAG:
      case EtherType.HSR:
        // Tag control, sequence number, EtherType (IEC 62439-3).
        if (end - offset < 6) return Reason.LINK_HEADER_CUT;
        type = u16(buffer, offset + 4);
        offset += 6;
        break;
      case EtherType.E_TAG:
      case EtherType.CISCO_METADATA:
        if (end - offset < 8) return Reason.LINK_HEADER_CUT;
        type = u16(buffer, offset + 6);
        offset += 8;
        break;
      case EtherType.BACKBONE:
        return readInnerEthernet(buffer, offset + 4, end, link, depth);
      case EtherType.BRIDGED:
        return readInnerEthernet(buffer, offset, end, link, depth);
      case EtherType.FABRIC_PATH:
        // Forwarding tag and time to live, then the frame.
        return readInnerEthernet(buffer, offset + 2, end, link, depth);
      case EtherType.TRILL:
        // RFC 6325 section 3: flags with the length of the options in words, two nicknames, the options, the frame.
        if (end - offset < 6) return Reason.LINK_HEADER_CUT;
        return readInnerEthernet(buffer, offset + 6 + (((u16(buffer, offset) >> 6) & 31) << 2), end, link, depth);
      case EtherType.MPLS:
      case EtherType.MPLS_UPSTREAM:
        return readMpls(buffer, offset, end, link, depth);
      case EtherType.PPP:
        return readPpp(buffer, offset, end, link);
      case EtherType.PPPOE_SESSION:
        // RFC 2516: version and type, code, session id, length, then PPP.
        if (end - offset < 6) return Reason.LINK_HEADER_CUT;
        return readPpp(buffer, offset + 6, end, link);
      default:
        if (type <= maxLengthField) {
          const snap = readLlc(buffer, offset, end, link);
          if (snap < 0) return Reason.NONE;
          type = snap;
          offset = link.payload;
          break;
        }
        link.network = Network.NON_IP;
        return Reason.NONE;
    }
  }
  return Reason.LINK_NESTING;
}

/**
 * LLC (IEEE 802.2): IP under SAP 0x06, an EtherType behind SNAP (RFC 1042), or something that is not IP. Returns the
 * EtherType to go on with at `link.payload`, or -1 when the network header is settled.
 */
function readLlc(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  link.network = Network.NON_IP;
  if (end - offset < 3) return -1;
  const dsap = buffer[offset];
  const unnumbered = buffer[offset + 2] === 0x03;
  link.protocol = dsap;
  if (dsap === 0x06 && unnumbered) {
    link.payload = offset + 3;
    link.network = Network.IPV4;
    return -1;
  }
  if (dsap !== 0xaa || buffer[offset + 1] !== 0xaa || !unnumbered || end - offset < 8) return -1;
  const organization = (buffer[offset + 3] << 16) | u16(buffer, offset + 4);
  if (organization !== 0 && organization !== 0x0000f8) return -1;
  const type = u16(buffer, offset + 6);
  if (type <= maxLengthField) return -1;
  link.payload = offset + 8;
  return type;
}

/**
 * MPLS (RFC 3032): nothing in the label stack says what it carries, so the first nibble behind it has to (RFC 4928):
 * 4 and 6 are IP; 0 is the control word of a pseudowire (RFC 4385) and 1 its associated channel. A pseudowire is taken
 * for Ethernet (RFC 4448) where an EtherType we know stands in the right place, with or without the control word.
 */
export function readMpls(buffer: Uint8Array, offset: number, end: number, link: LinkLayer, depth: number): number {
  let labels = 0;
  let bottom = false;
  while (!bottom) {
    if (labels++ === parseLimits.mplsLabels) return Reason.LINK_NESTING;
    if (end - offset < 4) return Reason.LINK_HEADER_CUT;
    bottom = (buffer[offset + 2] & 1) === 1;
    offset += 4;
  }
  link.payload = offset;
  link.network = Network.NON_IP;
  if (offset >= end) return Reason.NONE;
  const nibble = buffer[offset] >> 4;
  if (nibble === 4 || nibble === 6) {
    link.network = nibble === 4 ? Network.IPV4 : Network.IPV6;
    return Reason.NONE;
  }
  if (nibble === 1) {
    // The channel's type is a PPP number, that of IP too (RFC 4385 section 5, RFC 5085 section 5.1).
    const channel = end - offset < 4 ? 0 : u16(buffer, offset + 2);
    if (channel !== PppProtocol.IPV4 && channel !== PppProtocol.IPV6) return Reason.NONE;
    link.payload = offset + 4;
    link.network = channel === PppProtocol.IPV4 ? Network.IPV4 : Network.IPV6;
    return Reason.NONE;
  }
  // An Ethernet control word is 16 zero bits and a sequence number; MAC addresses seldom begin so.
  if (nibble === 0 && looksLikeEthernet(buffer, offset + 4, end) && u16(buffer, offset) === 0) {
    return readInnerEthernet(buffer, offset + 4, end, link, depth);
  }
  if (looksLikeEthernet(buffer, offset, end)) return readInnerEthernet(buffer, offset, end, link, depth);
  return Reason.NONE;
}

/** Reads a PPP header (RFC 1661, 1662) at `offset`, with or without address and control bytes and with a compressed protocol field. */
export function readPpp(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset >= 2 && buffer[offset] === 0xff && buffer[offset + 1] === 0x03) offset += 2;
  if (offset >= end) return Reason.LINK_HEADER_CUT;
  let protocol = buffer[offset++];
  // An odd first byte is the whole number: the protocol field was compressed (RFC 1661 section 6.5).
  if ((protocol & 1) === 0) {
    if (offset >= end) return Reason.LINK_HEADER_CUT;
    protocol = u16(buffer, offset++ - 1);
  }
  link.protocol = protocol;
  link.payload = offset;
  if (protocol === PppProtocol.MPLS || protocol === PppProtocol.MPLS_MULTICAST)
    return readMpls(buffer, offset, end, link, 0);
  link.network =
    protocol === PppProtocol.IPV4 ? Network.IPV4 : protocol === PppProtocol.IPV6 ? Network.IPV6 : Network.NON_IP;
  return Reason.NONE;
}

/** Cisco's ISL puts a whole frame behind a header of its own, whose first five bytes are 01:00:0c:00:00. */
function isInterSwitchLink(buffer: Uint8Array, offset: number): boolean {
  return i32(buffer, offset) === 0x01000c00 && buffer[offset + 4] === 0;
}

function looksLikeEthernet(buffer: Uint8Array, offset: number, end: number): boolean {
  if (end - offset < 14) return false;
  const type = u16(buffer, offset + 12);
  return (
    type === EtherType.IPV4 || type === EtherType.IPV6 || type === EtherType.VLAN || type === EtherType.SERVICE_VLAN
  );
}

/** An Ethernet frame inside the link layer. */
function readInnerEthernet(buffer: Uint8Array, offset: number, end: number, link: LinkLayer, depth: number): number {
  if (depth >= parseLimits.linkLayers) return Reason.LINK_NESTING;
  return readEthernet(buffer, offset, end, link, depth + 1);
}
