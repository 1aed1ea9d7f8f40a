// IPv4 (RFC 791), with AH (RFC 4302) stepped over.
import { u16 } from '../bytes.ts';
import { Fragment, type IpLayer, parseLimits } from './headers.ts';
import { Reason } from './reasons.ts';

const authenticationHeader = 51;

/**
 * Reads an IPv4 header at `offset` into `layer`. `quoted` is the header inside an ICMP error: routers send it back with
 * a length that need not fit what is left of the packet. Returns a Reason; `layer.version` stays 0 unless the addresses
 * are usable. Reasons that leave the addresses usable are put into `layer.problem` instead.
 */
export function readIpv4(buffer: Uint8Array, offset: number, end: number, quoted: boolean, layer: IpLayer): number {
  if (end - offset < 20) return Reason.IPV4_HEADER_CUT;
  const first = buffer[offset];
  if (first >> 4 !== 4) return Reason.IP_VERSION;
  const headerLength = (first & 15) << 2;
  if (headerLength < 20) return Reason.IPV4_HEADER_LENGTH;
  let packetEnd = end;
  if (!quoted) {
    const totalLength = (buffer[offset + 2] << 8) | buffer[offset + 3];
    if (totalLength >= headerLength) {
      if (offset + totalLength < end) packetEnd = offset + totalLength;
    } else if (totalLength !== 0) {
      return Reason.IPV4_TOTAL_LENGTH;
    }
    // A length of 0 is a packet captured before its network card cut it into segments: it reaches to the end.
  }
  layer.version = 4;
  layer.offset = offset;
  layer.source = offset + 12;
  layer.target = offset + 16;
  layer.protocol = buffer[offset + 9];
  layer.payload = offset + headerLength;
  layer.end = packetEnd;
  const fragment = (buffer[offset + 6] << 8) | buffer[offset + 7];
  if ((fragment & 0x3fff) === 0) {
    layer.fragment = Fragment.WHOLE;
    layer.fragmentOffset = 0;
    layer.moreFragments = 0;
    layer.fragmentId = 0;
  } else {
    layer.fragmentOffset = (fragment & 0x1fff) << 3;
    layer.moreFragments = (fragment >> 13) & 1;
    layer.fragment = layer.fragmentOffset === 0 ? Fragment.FIRST : Fragment.LATER;
    layer.fragmentId = u16(buffer, offset + 4);
  }
  layer.problem = Reason.NONE;
  if (layer.payload > packetEnd) {
    layer.payload = packetEnd;
    if (layer.fragment !== Fragment.LATER) layer.problem = Reason.IPV4_OPTIONS_CUT;
  } else if (layer.protocol === authenticationHeader && layer.fragment !== Fragment.LATER) {
    skipAuthentication(buffer, layer);
  }
  return Reason.NONE;
}

/** Steps over authentication headers. Where one is cut the number it gives is good, and nothing is left behind it. */
function skipAuthentication(buffer: Uint8Array, layer: IpLayer): void {
  for (let count = 0; count < parseLimits.extensionHeaders && layer.protocol === authenticationHeader; count++) {
    if (layer.end - layer.payload < 2) return;
    const next = layer.payload + ((buffer[layer.payload + 1] + 2) << 2);
    layer.protocol = buffer[layer.payload];
    layer.payload = Math.min(next, layer.end);
  }
}
