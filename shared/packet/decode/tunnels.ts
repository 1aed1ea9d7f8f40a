// Finds the packet inside a tunnel: IP in IP, 6in4, GRE, EtherIP, MPLS in IP, GTP-U, VXLAN and Geneve.
//
// Each function looks at one layer and says where the next one starts and what it is. Tunnels on UDP are recognised by
// the port they are sent to and by their header, since a port alone may be anybody's.
import { i32, u16 } from '../bytes.ts';
import { EtherType, readEthernet, readEtherType, readMpls } from './ethernet.ts';
import { type IpLayer, type LinkLayer, Network } from './headers.ts';
import { Reason } from './reasons.ts';
import { Protocol } from './transport.ts';

export const TunnelPort = { GTP_V0: 3386, GTP_U: 2152, VXLAN: 4789, VXLAN_LINUX: 8472, GENEVE: 6081 } as const;

/** Whether UDP to this port may be a tunnel. */
export function isTunnelPort(port: number): boolean {
  switch (port) {
    case TunnelPort.GTP_V0:
    case TunnelPort.GTP_U:
    case TunnelPort.VXLAN:
    case TunnelPort.VXLAN_LINUX:
    case TunnelPort.GENEVE:
      return true;
    default:
      return false;
  }
}

/** Largest number of GTP-U extension headers followed. */
const gtpExtensions = 16;

/**
 * Looks for a packet inside `layer`. Where there is one, fills `link.payload` and `link.network` and returns true; it
 * ends at `layer.end`.
 */
export function enterTunnel(buffer: Uint8Array, layer: IpLayer, link: LinkLayer): boolean {
  link.network = Network.NON_IP;
  link.payload = layer.payload;
  link.vlanCount = 0;
  link.macs = 0;
  const { payload, end } = layer;
  switch (layer.protocol) {
    case Protocol.IPV4:
      link.network = Network.IPV4;
      return true;
    case Protocol.IPV6:
      link.network = Network.IPV6;
      return true;
    case Protocol.GRE:
      return enterGre(buffer, payload, end, link);
    case Protocol.ETHERIP:
      // RFC 3378: a two-byte header, version 3.
      return (
        end - payload > 2 && buffer[payload] === 0x30 && found(readEthernet(buffer, payload + 2, end, link, 0), link)
      );
    case Protocol.MPLS:
      return found(readMpls(buffer, payload, end, link, 0), link);
    case Protocol.UDP:
      return layer.targetPort >= 0 && enterUdp(buffer, payload + 8, end, layer.targetPort, link);
    default:
      return false;
  }
}

function found(reason: number, link: LinkLayer): boolean {
  return reason === Reason.NONE && link.network !== Network.NON_IP;
}

/** GRE (RFC 2784, 2890): optional checksum, key and sequence; version 1 is PPTP's (RFC 2637). */
function enterGre(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): boolean {
  if (end - offset < 4) return false;
  const flags = u16(buffer, offset);
  const type = u16(buffer, offset + 2);
  const sequence = (flags >> 12) & 1;
  if ((flags & 7) === 1) {
    const next = offset + 8 + (sequence << 2) + (((flags >> 7) & 1) << 2);
    return next < end && found(readEtherType(buffer, next, end, EtherType.PPP, link, 0), link);
  }
  // The routing field of RFC 1701 has no length of its own that could be trusted.
  if ((flags & 0x4007) !== 0) return false;
  const next = offset + 4 + (((flags >> 15) + ((flags >> 13) & 1) + sequence) << 2);
  return next < end && found(readEtherType(buffer, next, end, type, link, 0), link);
}

function enterUdp(buffer: Uint8Array, offset: number, end: number, port: number, link: LinkLayer): boolean {
  if (end - offset < 8) return false;
  switch (port) {
    case TunnelPort.GTP_U:
    case TunnelPort.GTP_V0:
      return enterGtp(buffer, offset, end, link);
    case TunnelPort.VXLAN:
    case TunnelPort.VXLAN_LINUX:
      // RFC 7348: the flag for a valid network identifier is set, the reserved bytes are zero; Ethernet follows.
      if ((i32(buffer, offset) & ~0x08000000) !== 0 || buffer[offset] !== 0x08) return false;
      return found(readEthernet(buffer, offset + 8, end, link, 0), link);
    case TunnelPort.GENEVE: {
      // RFC 8926: version 0, length of the options in words, EtherType.
      if (buffer[offset] >> 6 !== 0) return false;
      const next = offset + 8 + ((buffer[offset] & 0x3f) << 2);
      return next < end && found(readEtherType(buffer, next, end, u16(buffer, offset + 2), link, 0), link);
    }
    default:
      return false;
  }
}

/** GTP-U (3GPP TS 29.281, and 29.060 for version 0): user data is message 255, IP by its first nibble. */
function enterGtp(buffer: Uint8Array, offset: number, end: number, link: LinkLayer): boolean {
  const flags = buffer[offset];
  if (buffer[offset + 1] !== 255 || (flags & 0x10) === 0) return false;
  let next = offset + 20;
  if (flags >> 5 === 1) {
    next = offset + 8;
    if ((flags & 7) !== 0) next += 4;
    if ((flags & 4) !== 0) {
      // Each extension header ends with the type of the next one; its first byte is its length in words.
      for (let count = 0; next - 1 < end && buffer[next - 1] !== 0; count++) {
        if (count === gtpExtensions || next >= end || buffer[next] === 0) return false;
        next += buffer[next] << 2;
      }
    }
  } else if (flags >> 5 !== 0) {
    return false;
  }
  if (next >= end) return false;
  link.payload = next;
  link.network = Network.BY_NIBBLE;
  return true;
}
