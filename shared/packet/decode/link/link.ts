// From a link type number to the network header. The numbers are those of capture files
// (tcpdump.org/linktypes.html); live ingresses use the same ones.
import { u16 } from '../../bytes.ts';
import { type LinkLayer, Network } from '../headers.ts';
import { Reason } from '../reasons.ts';
import { readEthernet, readEtherType, readPpp } from './ethernet.ts';
import { EtherType } from './etherType.ts';
import { readNflog } from './nflog.ts';

export const LinkType = {
  NULL: 0,
  ETHERNET: 1,
  PPP: 9,
  RAW_BSD: 12,
  RAW_OPENBSD: 14,
  PPP_SERIAL: 50,
  PPP_ETHER: 51,
  RAW: 101,
  C_HDLC: 104,
  IEEE802_11: 105,
  LOOP: 108,
  LINUX_SLL: 113,
  PFLOG: 117,
  PRISM: 119,
  RADIOTAP: 127,
  AVS: 163,
  IPNET: 226,
  IPV4: 228,
  IPV6: 229,
  NFLOG: 239,
  LINUX_SLL2: 276,
} as const;

/** The Linux device type (ARPHRD) of netlink monitors: the protocol field of their cooked header is a netlink family. */
const netlinkDevice = 824;

/** Indexes into `linkKinds` (frameFlags.ts). */
const Kind = {
  ETHERNET: 0,
  SLL: 1,
  SLL2: 2,
  RAW: 3,
  IPV4: 4,
  IPV6: 5,
  NULL: 6,
  LOOP: 7,
  PPP: 8,
  PPP_SERIAL: 9,
  PPP_ETHER: 10,
  C_HDLC: 11,
  NFLOG: 12,
  IPNET: 13,
  PFLOG: 14,
};

/** Reads the link header at `offset`; fills `link` and returns a Reason. */
export function readLink(buffer: Uint8Array, offset: number, end: number, linkType: number, link: LinkLayer): number {
  link.macs = -1;
  link.addressLength = 0;
  link.vlanCount = 0;
  link.kind = Kind.ETHERNET;
  if (linkType === LinkType.ETHERNET) return readEthernet(buffer, offset, end, link, 0);
  link.protocol = 0;
  link.payload = offset;
  link.network = Network.NON_IP;
  switch (linkType) {
    case LinkType.LINUX_SLL:
      return readCooked(buffer, offset, end, link);
    case LinkType.LINUX_SLL2:
      return readCooked2(buffer, offset, end, link);
    case LinkType.RAW:
    case LinkType.RAW_BSD:
    case LinkType.RAW_OPENBSD:
      link.kind = Kind.RAW;
      link.network = Network.BY_NIBBLE;
      return Reason.NONE;
    case LinkType.IPV4:
      link.kind = Kind.IPV4;
      link.protocol = EtherType.IPV4;
      link.network = Network.IPV4;
      return Reason.NONE;
    case LinkType.IPV6:
      link.kind = Kind.IPV6;
      link.protocol = EtherType.IPV6;
      link.network = Network.IPV6;
      return Reason.NONE;
    case LinkType.NULL:
    case LinkType.LOOP:
      link.kind = linkType === LinkType.NULL ? Kind.NULL : Kind.LOOP;
      return readLoopback(buffer, offset, end, link);
    case LinkType.PPP:
    case LinkType.PPP_SERIAL:
      link.kind = linkType === LinkType.PPP ? Kind.PPP : Kind.PPP_SERIAL;
      // Both names are also used for Cisco HDLC, which begins with its unicast or broadcast address.
      if (buffer[offset] === 0x0f || buffer[offset] === 0x8f) return readCiscoHdlc(buffer, offset, end, link);
      return readPpp(buffer, offset, end, link);
    case LinkType.PPP_ETHER:
      link.kind = Kind.PPP_ETHER;
      return readEtherType(buffer, offset, end, EtherType.PPPOE_SESSION, link, 0);
    case LinkType.C_HDLC:
      link.kind = Kind.C_HDLC;
      return readCiscoHdlc(buffer, offset, end, link);
    case LinkType.NFLOG:
      link.kind = Kind.NFLOG;
      return readNflog(buffer, offset, end, link);
    case LinkType.IPNET:
      // Solaris: version, family, hardware type, length, two interfaces, two zones.
      link.kind = Kind.IPNET;
      return readFamily(buffer, offset, end, 24, link);
    case LinkType.PFLOG:
      // OpenBSD: length of the header without its padding, family, and what the firewall did.
      link.kind = Kind.PFLOG;
      return readFamily(buffer, offset, end, (buffer[offset] + 3) & ~3, link);
    case LinkType.IEEE802_11:
    case LinkType.RADIOTAP:
    case LinkType.PRISM:
    case LinkType.AVS:
      return Reason.LINK_80211;
    default:
      return Reason.LINK_TYPE;
  }
}

/** A header of `length` bytes whose second one is an address family: 2 is IPv4 everywhere, IPv6 is 24, 26, 28 or 30. */
function readFamily(buffer: Uint8Array, offset: number, end: number, length: number, link: LinkLayer): number {
  if (end - offset < length || length < 2) return Reason.LINK_HEADER_CUT;
  const family = buffer[offset + 1];
  link.protocol = family;
  link.payload = offset + length;
  if (family === 2) link.network = Network.IPV4;
  else if (family === 24 || family === 26 || family === 28 || family === 30) link.network = Network.IPV6;
  return Reason.NONE;
}

/** Cisco HDLC: address, control, EtherType. */
function readCiscoHdlc(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 4) return Reason.LINK_HEADER_CUT;
  return readEtherType(buffer, offset + 4, end, u16(buffer, offset + 2), link, 0);
}

/** Linux cooked capture: packet type, ARPHRD, address length, address (8 bytes), protocol. */
function readCooked(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  link.kind = Kind.SLL;
  if (end - offset < 16) return Reason.LINK_HEADER_CUT;
  link.address = offset + 6;
  link.addressLength = Math.min(u16(buffer, offset + 4), 8);
  return readCookedPayload(buffer, offset + 16, end, u16(buffer, offset + 2), u16(buffer, offset + 14), link);
}

/** Its second version: protocol, reserved, interface index, ARPHRD, packet type, address length, address (8 bytes). */
function readCooked2(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  link.kind = Kind.SLL2;
  if (end - offset < 20) return Reason.LINK_HEADER_CUT;
  link.address = offset + 12;
  link.addressLength = Math.min(buffer[offset + 11], 8);
  return readCookedPayload(buffer, offset + 20, end, u16(buffer, offset + 8), u16(buffer, offset), link);
}

function readCookedPayload(
  buffer: Uint8Array,
  offset: number,
  end: number,
  hardware: number,
  protocol: number,
  link: LinkLayer,
): number {
  link.protocol = protocol;
  link.payload = offset;
  if (hardware === netlinkDevice) return Reason.NONE;
  // 4 is an LLC header without a length; the other small numbers are private to Linux.
  if (protocol !== 4 && protocol < 1536) return Reason.NONE;
  return readEtherType(buffer, offset, end, protocol, link, 0);
}

/**
 * BSD loopback: an address family in four bytes, in the byte order of the capturing machine (or of the network, LOOP).
 * IPv4 is 2 everywhere; IPv6 is 24, 28 or 30 on the BSDs, 10 on Linux, 23 on Windows. Some tunnel devices give every
 * packet as family 2, some write an EtherType there.
 */
function readLoopback(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 4) return Reason.LINK_HEADER_CUT;
  const upper = u16(buffer, offset);
  const lower = u16(buffer, offset + 2);
  const swapped = lower === 0 && link.kind === Kind.NULL;
  const family = upper === 0 ? lower : swapped ? ((upper & 0xff) << 8) | (upper >> 8) : -1;
  link.protocol = family & 0xffff;
  link.payload = offset + 4;
  if (family === 2) link.network = Network.BY_NIBBLE;
  else if (family === 24 || family === 28 || family === 30 || family === 10 || family === 23)
    link.network = Network.IPV6;
  else if (family >= 1536) return readEtherType(buffer, offset + 4, end, family, link, 0);
  return Reason.NONE;
}
