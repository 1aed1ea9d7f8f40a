// Tunnels on UDP: GTP-U, VXLAN and VXLAN-GPE, Geneve, GUE, MPLS in UDP, TZSP and L2TP.
import { u16 } from '../../bytes.ts';
import { type LinkLayer, Network } from '../headers.ts';
import { readEthernet, readEtherType, readPpp } from '../link/ethernet.ts';
import { NextProtocol } from '../link/etherType.ts';
import { readMpls } from '../link/mpls.ts';
import { readNextProtocol } from '../link/nsh.ts';
import { outcomeOf } from './enter.ts';
import { Outcome, Tunnel } from './kinds.ts';

/** Largest number of GTP-U extension headers followed, and of tags before a frame in TZSP. */
const gtpExtensions = 16;
const tzspTags = 64;

/** What an IP protocol number announces; given by enter.ts, since GUE carries such a number. */
type EnterProtocol = (buffer: Uint8Array, payload: number, end: number, protocol: number, link: LinkLayer) => number;

/** Reads the header of the tunnel `link.tunnel` at `offset`, behind the UDP header; returns an Outcome. */
export function enterUdp(
  buffer: Uint8Array,
  offset: number,
  end: number,
  link: LinkLayer,
  enterProtocol: EnterProtocol,
): number {
  if (offset >= end) return Outcome.CONTROL;
  switch (link.tunnel) {
    case Tunnel.GTP_U:
      return enterGtp(buffer, offset, end, link);
    case Tunnel.VXLAN:
      // RFC 7348 section 5: the flag for a valid network identifier is set; all other bits are ignored on receipt.
      if (end - offset < 8) return Outcome.DAMAGED;
      if ((buffer[offset] & 0x08) === 0) return Outcome.OTHER_HEADER;
      link.vni = networkIdentifier(buffer, offset);
      return outcomeOf(readEthernet(buffer, offset + 8, end, link, 0), link);
    case Tunnel.VXLAN_GPE:
      return enterVxlanGpe(buffer, offset, end, link);
    case Tunnel.GENEVE:
      return enterGeneve(buffer, offset, end, link);
    case Tunnel.GUE:
      return enterGue(buffer, offset, end, link, enterProtocol);
    case Tunnel.MPLS_UDP:
      return outcomeOf(readMpls(buffer, offset, end, link, 0), link);
    case Tunnel.TZSP:
      return enterTzsp(buffer, offset, end, link);
    case Tunnel.L2TP:
      return enterL2tp(buffer, offset, end, link);
    default:
      return Outcome.NONE;
  }
}

/** The 24 bits that VXLAN, VXLAN-GPE and Geneve have in the same place. */
function networkIdentifier(buffer: Uint8Array, offset: number): number {
  return (buffer[offset + 4] << 16) | u16(buffer, offset + 5);
}

/**
 * VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe section 3): flags R R version(2) I P B O, and the next protocol in the fourth byte if P
 * is set; else Ethernet follows. O marks messages of the tunnel itself.
 */
function enterVxlanGpe(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 8) return Outcome.DAMAGED;
  const flags = buffer[offset];
  if ((flags & 0x30) !== 0 || (flags & 0x0c) === 0) return Outcome.OTHER_HEADER;
  if ((flags & 0x01) !== 0) return Outcome.CONTROL;
  if ((flags & 0x08) !== 0) link.vni = networkIdentifier(buffer, offset);
  const next = (flags & 0x04) === 0 ? NextProtocol.ETHERNET : buffer[offset + 3];
  return outcomeOf(readNextProtocol(buffer, offset + 8, end, next, link, 0), link);
}

/** Geneve (RFC 8926 section 3.4): version 0, length of the options in words, O for control packets, EtherType, identifier. */
function enterGeneve(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 8) return Outcome.DAMAGED;
  if (buffer[offset] >> 6 !== 0) return Outcome.OTHER_HEADER;
  if ((buffer[offset + 1] & 0x80) !== 0) return Outcome.CONTROL;
  const next = offset + 8 + ((buffer[offset] & 0x3f) << 2);
  if (next >= end) return Outcome.DAMAGED;
  link.vni = networkIdentifier(buffer, offset);
  return outcomeOf(readEtherType(buffer, next, end, u16(buffer, offset + 2), link, 0), link);
}

/**
 * GUE (draft-ietf-intarea-gue-09 section 3): variant 0 has a C bit, a length of its fields in words, and an IP protocol number
 * (for control messages a type); in variant 1 the first bits are those of an IP packet.
 */
function enterGue(
  buffer: Uint8Array,
  offset: number,
  end: number,
  link: LinkLayer,
  enterProtocol: EnterProtocol,
): number {
  const first = buffer[offset];
  if (first >> 6 === 1) {
    if (first >> 4 !== 4 && first >> 4 !== 6) return Outcome.OTHER_HEADER;
    link.payload = offset;
    link.network = Network.BY_NIBBLE;
    return Outcome.ENTERED;
  }
  if (first >> 6 !== 0) return Outcome.OTHER_HEADER;
  if ((first & 0x20) !== 0) return Outcome.CONTROL;
  const next = offset + 4 + ((first & 0x1f) << 2);
  if (next >= end) return Outcome.DAMAGED;
  const outcome = enterProtocol(buffer, next, end, buffer[offset + 1], link);
  // Whatever it carries, the tunnel is this one.
  link.tunnel = Tunnel.GUE;
  return outcome;
}

/**
 * TZSP: version 1, type, encapsulated protocol, then tags: 0 is padding and 1 the last one, each of a single byte; others have
 * a length. Types 0 and 1 carry a packet, the others are the sensor's own.
 */
function enterTzsp(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 5) return Outcome.DAMAGED;
  if (buffer[offset] !== 1) return Outcome.OTHER_HEADER;
  if (buffer[offset + 1] > 1) return Outcome.CONTROL;
  if (u16(buffer, offset + 2) !== 1) return Outcome.UNREAD;
  let at = offset + 4;
  for (let tags = 0; tags < tzspTags && at < end; tags++) {
    const tag = buffer[at++];
    if (tag === 1) return outcomeOf(readEthernet(buffer, at, end, link, 0), link);
    if (tag === 0) continue;
    if (at >= end) return Outcome.DAMAGED;
    at += 1 + buffer[at];
  }
  return at < end ? Outcome.NESTING : Outcome.DAMAGED;
}

/**
 * L2TP version 2 (RFC 2661 section 3.1): T marks control messages; L, S and O say that a length, sequence numbers and an offset
 * are there; tunnel and session identifiers always are. Then PPP. The remaining bits of the first word are ignored.
 */
function enterL2tp(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 6) return Outcome.DAMAGED;
  const flags = u16(buffer, offset);
  if ((flags & 0x000f) !== 2) return Outcome.OTHER_HEADER;
  if ((flags & 0x8000) !== 0) return Outcome.CONTROL;
  let at = offset + 2 + (flags & 0x4000 ? 2 : 0) + 4 + (flags & 0x0800 ? 4 : 0);
  if ((flags & 0x0200) !== 0) {
    if (end - at < 2) return Outcome.DAMAGED;
    at += 2 + u16(buffer, at);
  }
  return outcomeOf(readPpp(buffer, at, end, link), link);
}

/** GTP-U (3GPP TS 29.281, and 29.060 for version 0): user data is message 255, IP by its first nibble. */
function enterGtp(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < 8) return Outcome.DAMAGED;
  const flags = buffer[offset];
  if (flags >> 5 > 1 || (flags & 0x10) === 0) return Outcome.OTHER_HEADER;
  if (buffer[offset + 1] !== 255) return Outcome.CONTROL;
  let next = offset + 20;
  if (flags >> 5 === 1) {
    next = offset + 8;
    if ((flags & 7) !== 0) next += 4;
    if ((flags & 4) !== 0) {
      // Each extension header ends with the type of the next one; its first byte is its length in words.
      for (let count = 0; next - 1 < end && buffer[next - 1] !== 0; count++) {
        if (count === gtpExtensions || next >= end || buffer[next] === 0) return Outcome.DAMAGED;
        next += buffer[next] << 2;
      }
    }
  }
  if (next >= end) return Outcome.DAMAGED;
  link.payload = next;
  link.network = Network.BY_NIBBLE;
  return Outcome.ENTERED;
}
