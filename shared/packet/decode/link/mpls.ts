// MPLS (RFC 3032), and what may be behind a label stack: IP, an Ethernet pseudowire with or without control word (RFC 4448),
// or its associated channel (RFC 4385).
import { u16 } from '../../bytes.ts';
import { type LinkLayer, Network, parseLimits } from '../headers.ts';
import { Reason } from '../reasons.ts';
import { readInnerEthernet } from './ethernet.ts';
import { PppProtocol } from './etherType.ts';
import { enoughPoints, ethernetPoints, fullPoints, ipv4Points, ipv6Points } from './evidence.ts';

/** Bytes of a pseudowire's control word, and of an associated channel's header. */
const controlWord = 4;

/**
 * Reads the label stack at `offset` and what it carries; returns a Reason. Nothing in the stack says what that is, so the
 * reading that fits best is taken, and none (not IP) where none fits. Of a control word only the first four bits count, which
 * are zero; the rest is ignored on receipt (RFC 4448 section 4.6).
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
  const frame = ethernetPoints(buffer, offset, end);
  if (nibble === 0) {
    const behindWord = ethernetPoints(buffer, offset + controlWord, end);
    if (behindWord > 0 && behindWord >= frame) {
      return readInnerEthernet(buffer, offset + controlWord, end, link, depth);
    }
  }
  const ip = nibble === 4 ? ipv4Points(buffer, offset, end) : nibble === 6 ? ipv6Points(buffer, offset, end) : 0;
  const channel = nibble === 1 ? channelPoints(buffer, offset, end) : 0;
  const isFrame = frame > ip || (frame === ip && frame < fullPoints);
  if (frame > 0 && isFrame && frame >= channel) return readInnerEthernet(buffer, offset, end, link, depth);
  if (ip >= enoughPoints) {
    link.network = nibble === 4 ? Network.IPV4 : Network.IPV6;
  } else if (channel > 0) {
    link.payload = offset + controlWord;
    link.network = channelProtocol(buffer, offset, end) === PppProtocol.IPV4 ? Network.IPV4 : Network.IPV6;
  }
  return Reason.NONE;
}

/** Points for an associated channel with IP in it: version 0, and a type that is a PPP number (RFC 4385 section 5). */
function channelPoints(buffer: Uint8Array, offset: number, end: number): number {
  const protocol = channelProtocol(buffer, offset, end);
  if (protocol !== PppProtocol.IPV4 && protocol !== PppProtocol.IPV6) return 0;
  const payload = offset + controlWord;
  if (payload >= end) return 1;
  return 1 + (protocol === PppProtocol.IPV4 ? ipv4Points(buffer, payload, end) : ipv6Points(buffer, payload, end));
}

/** Type of the channel; -1 where the header is another one. */
function channelProtocol(buffer: Uint8Array, offset: number, end: number): number {
  return end - offset < controlWord || (buffer[offset] & 15) !== 0 ? -1 : u16(buffer, offset + 2);
}
