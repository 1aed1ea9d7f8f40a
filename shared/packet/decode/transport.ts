// The first bytes behind an IP header: ports, TCP flags, the first SCTP chunk, the DCCP packet type, ICMP types.
//
// Only what a key or a start flag needs is read. A header that the capture cut is good as far as it goes: four bytes
// give the ports of every protocol that has some, but those of SCTP are believed only if its common header is whole.
import { u16 } from '../bytes.ts';
import { Fragment, type IpLayer } from './headers.ts';
import { Reason } from './reasons.ts';

export const Protocol = {
  ICMP: 1,
  IPV4: 4,
  TCP: 6,
  UDP: 17,
  DCCP: 33,
  IPV6: 41,
  GRE: 47,
  ESP: 50,
  ICMPV6: 58,
  ETHERIP: 97,
  L2TP: 115,
  SCTP: 132,
  UDP_LITE: 136,
  MPLS: 137,
  ETHERNET: 143,
} as const;

/** Bytes of the SCTP common header and of a chunk's header (RFC 9260 section 3). */
const sctpHeader = 12;
const sctpChunkHeader = 4;

/**
 * Fills the upper-protocol fields of `layer`; sets `layer.problem` where they ought to be there and are not. `quoted` is
 * a packet inside an ICMP error, of which eight bytes have to do (RFC 792).
 */
export function readTransport(buffer: Uint8Array, layer: IpLayer, quoted: boolean): void {
  layer.sourcePort = -1;
  layer.targetPort = -1;
  layer.tcpFlags = -1;
  layer.messageType = -1;
  layer.echoId = -1;
  if (layer.fragment === Fragment.LATER || layer.problem !== Reason.NONE) return;
  const offset = layer.payload;
  const left = layer.end - offset;
  switch (layer.protocol) {
    case Protocol.UDP:
    case Protocol.TCP:
    case Protocol.SCTP:
    case Protocol.DCCP:
    case Protocol.UDP_LITE:
      if (left < 4 || (left < sctpHeader && layer.protocol === Protocol.SCTP && !quoted)) {
        layer.problem = Reason.L4_CUT;
        return;
      }
      layer.sourcePort = (buffer[offset] << 8) | buffer[offset + 1];
      layer.targetPort = (buffer[offset + 2] << 8) | buffer[offset + 3];
      if (layer.protocol !== Protocol.UDP) readTypes(buffer, offset, left, layer);
      return;
    case Protocol.ICMP:
    case Protocol.ICMPV6:
      readIcmp(buffer, offset, left, layer);
      return;
  }
}

function readTypes(buffer: Uint8Array, offset: number, left: number, layer: IpLayer): void {
  if (layer.protocol === Protocol.TCP) {
    // A header without its window field, or shorter than the least header by its own word, is a remnant whose flags are
    // not believed (RFC 9293 section 3.1).
    if (left < 16) return;
    const word = u16(buffer, offset + 12);
    if (word >= 0x5000) layer.tcpFlags = word & 0xfff;
  } else if (layer.protocol === Protocol.SCTP) {
    // A chunk's length includes its header.
    if (left < sctpHeader + sctpChunkHeader || u16(buffer, offset + 14) < sctpChunkHeader) return;
    layer.messageType = buffer[offset + sctpHeader];
  }
  // Reserved bits, type, extended sequence number bit (RFC 4340 section 5.1).
  else if (layer.protocol === Protocol.DCCP && left >= 9) layer.messageType = (buffer[offset + 8] >> 1) & 15;
}

function readIcmp(buffer: Uint8Array, offset: number, left: number, layer: IpLayer): void {
  if (left < 1) {
    layer.problem = Reason.L4_CUT;
    return;
  }
  const type = buffer[offset];
  layer.messageType = type;
  const echo = layer.protocol === Protocol.ICMP ? type === 8 || type === 0 : type === 128 || type === 129;
  if (!echo) return;
  if (left < 6) layer.problem = Reason.L4_CUT;
  else layer.echoId = u16(buffer, offset + 4);
}

/** Whether `layer` is an ICMP or ICMPv6 error, which quotes the packet it is about from its ninth byte on. */
export function isIcmpError(layer: IpLayer): boolean {
  const type = layer.messageType;
  if (layer.protocol === Protocol.ICMP) return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
  return layer.protocol === Protocol.ICMPV6 && type >= 1 && type <= 4;
}
