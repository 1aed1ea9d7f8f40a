// IPv6 (RFC 8200) and its chain of extension headers.
//
// The chain is where IPv6 parsers break: lengths lead past the packet, headers repeat without end, a fragment header cuts
// the chain in two. The walk is bounded, never leaves the packet, and where it gives up the addresses are still good.
import { i32, u16 } from '../bytes.ts';
import { Fragment, type IpLayer, parseLimits } from './headers.ts';
import { Reason } from './reasons.ts';
import { Protocol } from './transport.ts';

const NextHeader = {
  HOP_BY_HOP: 0,
  ROUTING: 43,
  FRAGMENT: 44,
  AUTHENTICATION: 51,
  DESTINATION: 60,
  SHIM6: 140,
} as const;

/** The jumbo payload option (RFC 2675): type, and length of its value. */
const jumboOption = 0xc204;

/** Reads an IPv6 header at `offset` into `layer`; like `readIpv4`. */
export function readIpv6(buffer: Uint8Array, offset: number, end: number, quoted: boolean, layer: IpLayer): number {
  if (end - offset < 40) return Reason.IPV6_HEADER_CUT;
  if (buffer[offset] >> 4 !== 6) return Reason.IP_VERSION;
  const payloadLength = u16(buffer, offset + 4);
  layer.version = 6;
  layer.offset = offset;
  layer.source = offset + 8;
  layer.target = offset + 24;
  const hasLength = !quoted && payloadLength !== 0;
  readChain(buffer, layer, hasLength ? Math.min(end, offset + 40 + payloadLength) : end);
  if (hasLength || quoted) return Reason.NONE;
  const isOpen = hasJumboOption(buffer, offset, end) ? u16(buffer, offset + 44) !== 0 : isUncut(buffer, layer);
  if (!isOpen) readChain(buffer, layer, offset + 40);
  return Reason.NONE;
}

/** Reads the next headers of a packet that ends at `end`. */
function readChain(buffer: Uint8Array, layer: IpLayer, end: number): void {
  layer.protocol = buffer[layer.offset + 6];
  layer.payload = layer.offset + 40;
  layer.end = end;
  layer.fragment = Fragment.WHOLE;
  layer.fragmentOffset = 0;
  layer.moreFragments = 0;
  layer.fragmentId = 0;
  layer.problem = isExtension(layer.protocol) ? walkExtensions(buffer, layer) : Reason.NONE;
}

/**
 * A packet that was captured before its network card cut it into segments has a payload length of 0 and no jumbo option: TCP
 * or UDP follow, and reach to the end. Where both ports are 0 it is the padding of a short frame, and there is no payload.
 */
function isUncut(buffer: Uint8Array, layer: IpLayer): boolean {
  const isCutByCards = layer.protocol === Protocol.TCP || layer.protocol === Protocol.UDP;
  if (!isCutByCards || layer.problem !== Reason.NONE || layer.fragment !== Fragment.WHOLE) return false;
  return layer.end - layer.payload >= 4 && i32(buffer, layer.payload) !== 0;
}

/** Moves `layer.protocol` and `layer.payload` behind the extension headers. Returns a Reason. */
function walkExtensions(buffer: Uint8Array, layer: IpLayer): number {
  for (let count = 0; count < parseLimits.extensionHeaders; count++) {
    const protocol = layer.protocol;
    if (!isExtension(protocol)) return Reason.NONE;
    const offset = layer.payload;
    const left = layer.end - offset;
    if (protocol === NextHeader.FRAGMENT) {
      if (left < 8) return Reason.IPV6_EXTENSION_CUT;
      readFragment(buffer, offset, layer);
      if (layer.fragment === Fragment.LATER) return Reason.NONE;
      continue;
    }
    if (left < 2) return Reason.IPV6_EXTENSION_CUT;
    const words = buffer[offset + 1];
    const length = protocol === NextHeader.AUTHENTICATION ? (words + 2) << 2 : (words + 1) << 3;
    layer.protocol = buffer[offset];
    if (length > left) {
      layer.payload = layer.end;
      return Reason.IPV6_EXTENSION_CUT;
    }
    layer.payload = offset + length;
  }
  return isExtension(layer.protocol) ? Reason.IPV6_EXTENSION_LIMIT : Reason.NONE;
}

function readFragment(buffer: Uint8Array, offset: number, layer: IpLayer): void {
  const field = u16(buffer, offset + 2);
  layer.protocol = buffer[offset];
  layer.payload = offset + 8;
  // Offset 0 and nothing more to come is a whole packet, an "atomic" fragment (RFC 6946).
  if ((field & 0xfff9) === 0) return;
  layer.fragmentOffset = field & 0xfff8;
  layer.moreFragments = field & 1;
  layer.fragment = layer.fragmentOffset === 0 ? Fragment.FIRST : Fragment.LATER;
  layer.fragmentId = i32(buffer, offset + 4);
}

/**
 * A payload length of 0 stands for "to the end" in a jumbogram: a hop-by-hop header comes first, and in it the length,
 * above 65535, in an option whose alignment puts it first (RFC 2675).
 */
function hasJumboOption(buffer: Uint8Array, offset: number, end: number): boolean {
  return buffer[offset + 6] === NextHeader.HOP_BY_HOP && end - offset >= 48 && u16(buffer, offset + 42) === jumboOption;
}

/**
 * Mobility and HIP messages are not among them: they are headers by form, but nothing may follow them yet (RFC 6275
 * section 6.1.1, RFC 7401 section 5.1), so they are the protocol.
 */
function isExtension(protocol: number): boolean {
  switch (protocol) {
    case NextHeader.HOP_BY_HOP:
    case NextHeader.ROUTING:
    case NextHeader.FRAGMENT:
    case NextHeader.AUTHENTICATION:
    case NextHeader.DESTINATION:
    case NextHeader.SHIM6:
      return true;
    default:
      return false;
  }
}
