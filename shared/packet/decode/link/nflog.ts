// NFLOG: packets that a rule of the Linux firewall sent to a log group (LINKTYPE_NFLOG, tcpdump.org/linktypes/LINKTYPE_NFLOG.html).
//
//   family u8 | version u8 = 0 | group u16 |  then attributes: length u16, with these four bytes | type u16 | value, padded to 4
//
// Attributes are in the byte order of the machine that captured, which nothing states: it shows in the first of them.
import { u16 } from '../../bytes.ts';
import { type LinkLayer, Network } from '../headers.ts';
import { Reason } from '../reasons.ts';
import { readEtherType } from './ethernet.ts';

const Attribute = { PACKET_HEADER: 1, HARDWARE_ADDRESS: 8, PAYLOAD: 9 } as const;
/** The kernel knows about twenty types; a larger number was read in the wrong order. */
const attributesMost = 64;
const headerBytes = 4;
/** Families of Linux: IPv4, and IPv6. */
const inet = 2;
const inet6 = 10;

/** Reads the log message at `offset`; fills `link` and returns a Reason. One without a packet is not IP. */
export function readNflog(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): number {
  if (end - offset < headerBytes) return Reason.LINK_HEADER_CUT;
  const family = buffer[offset];
  let at = offset + headerBytes;
  const isLittle = isAttribute(buffer, at, end, true);
  let etherType = -1;
  for (let count = 0; count < attributesMost; count++) {
    if (at >= end) return Reason.NONE;
    // The packet comes last, and the capture may have cut it: then its length reaches beyond the end.
    if (end - at < headerBytes) return Reason.LINK_HEADER_CUT;
    const length = order16(buffer, at, isLittle);
    if (length < headerBytes) return Reason.LINK_HEADER_CUT;
    const value = at + headerBytes;
    switch (order16(buffer, at + 2, isLittle) & 0x7fff) {
      case Attribute.PACKET_HEADER:
        if (end - value >= 2) etherType = u16(buffer, value);
        break;
      case Attribute.HARDWARE_ADDRESS:
        if (end - value < 12) break;
        link.address = value + 4;
        link.addressLength = Math.min(u16(buffer, value), 8);
        break;
      case Attribute.PAYLOAD:
        return readPayload(buffer, value, end, family, etherType, link);
    }
    at += (length + 3) & ~3;
  }
  return Reason.LINK_NESTING;
}

/** A packet of a bridge has what its EtherType says; of others the family tells. */
function readPayload(
  buffer: Uint8Array,
  offset: number,
  end: number,
  family: number,
  etherType: number,
  link: LinkLayer,
): number {
  link.payload = offset;
  link.protocol = family;
  if (family === inet || family === inet6) link.network = Network.BY_NIBBLE;
  else if (etherType >= 1536) return readEtherType(buffer, offset, end, etherType, link, 0);
  return Reason.NONE;
}

function isAttribute(buffer: Uint8Array, at: number, end: number, isLittle: boolean): boolean {
  if (end - at < headerBytes) return false;
  return order16(buffer, at, isLittle) >= headerBytes && (order16(buffer, at + 2, isLittle) & 0x7fff) < attributesMost;
}

function order16(buffer: Uint8Array, at: number, isLittle: boolean): number {
  return isLittle ? buffer[at] | (buffer[at + 1] << 8) : u16(buffer, at);
}
