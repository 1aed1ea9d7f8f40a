// Ethernet and what may stand between an Ethernet header and IP: VLAN tags in any number (802.1Q, 802.1ad, QinQ),
// provider backbone bridging, MPLS (mpls.ts), service headers (nsh.ts), PPPoE and PPP, LLC and SNAP.
//
// All of it is a chain of EtherTypes, so one loop walks it and ends at a network header. An Ethernet frame can occur
// again inside (pseudowires, 802.1ah); the MAC pair stays the outermost one, the VLAN ids add up.
import { i32, u16 } from '../../bytes.ts';
import { type LinkLayer, Network, parseLimits } from '../headers.ts';
import { Reason } from '../reasons.ts';
import { EtherType, maxLengthField, NextProtocol, PppProtocol } from './etherType.ts';
import { readMpls } from './mpls.ts';
import { readNextProtocol } from './nsh.ts';

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
      case EtherType.NSH:
        return readNextProtocol(buffer, offset, end, NextProtocol.NSH, link, depth);
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

/** An Ethernet frame inside the link layer. */
export function readInnerEthernet(
  buffer: Uint8Array,
  offset: number,
  end: number,
  link: LinkLayer,
  depth: number,
): number {
  if (depth >= parseLimits.linkLayers) return Reason.LINK_NESTING;
  return readEthernet(buffer, offset, end, link, depth + 1);
}
