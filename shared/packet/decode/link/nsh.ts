// The network service header (RFC 8300), which tells a chain of services what a packet is to go through. What the chain is
// does not matter here, so its metadata is stepped over by the length that the header says.
import { type LinkLayer, Network } from '../headers.ts';
import { Reason } from '../reasons.ts';
import { readInnerEthernet } from './ethernet.ts';
import { EtherType, NextProtocol } from './etherType.ts';
import { readMpls } from './mpls.ts';

/** Base header and service path header. */
const leastHeader = 8;
/** Service headers within each other beyond these are not followed. */
const mostHeaders = 4;

/**
 * Continues at `offset` with what `next` announces, in the numbers of RFC 8300 section 2.2. Returns a Reason; what is not
 * read, and what is a message of the chain itself (the O bit), is not IP.
 */
export function readNextProtocol(
  buffer: Uint8Array,
  offset: number,
  end: number,
  next: number,
  link: LinkLayer,
  depth: number,
): number {
  for (let headers = 0; headers <= mostHeaders; headers++) {
    link.payload = offset;
    link.network = Network.NON_IP;
    link.protocol = next;
    switch (next) {
      case NextProtocol.IPV4:
        link.protocol = EtherType.IPV4;
        link.network = Network.IPV4;
        return Reason.NONE;
      case NextProtocol.IPV6:
        link.protocol = EtherType.IPV6;
        link.network = Network.IPV6;
        return Reason.NONE;
      case NextProtocol.ETHERNET:
        return readInnerEthernet(buffer, offset, end, link, depth);
      case NextProtocol.MPLS:
        return readMpls(buffer, offset, end, link, depth);
      case NextProtocol.NSH: {
        // Version, O bit, time to live, length in words; metadata type; next protocol.
        if (end - offset < leastHeader) return Reason.LINK_HEADER_CUT;
        const first = buffer[offset];
        const length = (buffer[offset + 1] & 0x3f) << 2;
        if (first >> 6 !== 0 || (first & 0x20) !== 0 || length < leastHeader) return Reason.NONE;
        next = buffer[offset + 3];
        offset += length;
        break;
      }
      default:
        return Reason.NONE;
    }
  }
  return Reason.LINK_NESTING;
}
