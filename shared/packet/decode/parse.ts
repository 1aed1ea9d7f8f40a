// Reads one packet, from its first byte to its ports, in one pass.
//
// A packet is a window [start, end) of a buffer and a link type. Nothing is copied, nothing outside the window is read,
// nothing throws, and every loop is bounded: the bytes come from strangers. What a packet lacks is said by a Reason;
// how much of it matters depends on the key that is wanted, so the parser goes on as far as it can.
import { Fragment, type Headers, type IpLayer, Network, parseLimits } from './headers.ts';
import { readIpv4 } from './ipv4.ts';
import { readIpv6 } from './ipv6.ts';
import { readLink } from './link/link.ts';
import { Reason } from './reasons.ts';
import { isIcmpError, readTransport } from './transport.ts';
import { enterTunnel } from './tunnels/enter.ts';
import { Outcome } from './tunnels/kinds.ts';
import { type TunnelPorts, usualTunnelPorts } from './tunnels/ports.ts';

/**
 * Parses the packet in `buffer[start, end)` of LINKTYPE `linkType` into `headers`. With `inner`, `headers.keyed` is the
 * innermost IP header that can be reached through tunnels, otherwise the outermost; a table of ports stands for true, and
 * says which ports are tunnels'. `headers.passage` tells what was met on the way.
 *
 * Returns Reason.NONE for a packet that could be read as far as its kind goes; that includes packets that are not IP
 * (`headers.outer.version` is 0). Otherwise the first fault; `reasons[code].needs` tells which keys it costs.
 */
export function parse(
  buffer: Uint8Array,
  start: number,
  end: number,
  linkType: number,
  headers: Headers,
  inner: boolean | TunnelPorts,
): number {
  const { link, outer } = headers;
  headers.keyed = outer;
  outer.version = 0;
  headers.quoted.version = 0;
  headers.passage.clear();
  if (end > buffer.length || start < 0 || !(start < end)) {
    link.network = Network.NON_IP;
    link.vlanCount = 0;
    link.macs = -1;
    return Reason.EMPTY;
  }
  const linkReason = readLink(buffer, start, end, linkType, link);
  if (linkReason !== Reason.NONE) return linkReason;
  if (link.network === Network.NON_IP) return Reason.NONE;
  const reason = readIp(buffer, link.payload, end, link.network, false, outer);
  if (reason !== Reason.NONE) return reason;
  if (inner !== false) followTunnels(buffer, headers, inner === true ? usualTunnelPorts : inner);
  const { keyed } = headers;
  // Of a fragmented error only the first piece quotes anything, and all pieces have to be keyed alike.
  if (keyed.fragment === Fragment.WHOLE && isIcmpError(keyed)) readQuoted(buffer, headers);
  return keyed.problem;
}

function readIp(
  buffer: Uint8Array,
  offset: number,
  end: number,
  network: number,
  quoted: boolean,
  layer: IpLayer,
): number {
  layer.version = 0;
  let version = network;
  if (network === Network.BY_NIBBLE) {
    version = offset < end ? buffer[offset] >> 4 : 0;
    if (version !== 4 && version !== 6) return Reason.IP_VERSION;
  }
  const reason =
    version === 4 ? readIpv4(buffer, offset, end, quoted, layer) : readIpv6(buffer, offset, end, quoted, layer);
  if (reason === Reason.NONE) readTransport(buffer, layer, quoted);
  return reason;
}

/**
 * Goes inwards while there is a tunnel. A fragment of a tunnel's packet is not entered, not even the first: the later
 * ones cannot be, and all fragments of a datagram have to be keyed alike. A damaged inner packet ends the way inwards.
 */
function followTunnels(buffer: Uint8Array, headers: Headers, ports: TunnelPorts): void {
  const { scratchA, scratchB, scratchLink, passage } = headers;
  let layer = headers.outer;
  while (layer.problem === Reason.NONE) {
    let outcome = enterTunnel(buffer, layer, scratchLink, ports);
    if (outcome === Outcome.NONE) break;
    const next = layer === scratchA ? scratchB : scratchA;
    if (outcome === Outcome.ENTERED) {
      if (passage.depth === parseLimits.tunnels) outcome = Outcome.NESTING;
      else if (!readInner(buffer, headers, layer.end, next)) outcome = Outcome.DAMAGED;
    }
    if (outcome !== Outcome.ENTERED) {
      passage.closed = scratchLink.tunnel;
      passage.outcome = outcome;
      break;
    }
    passage.enter(scratchLink);
    layer = next;
  }
  headers.keyed = layer;
}

function readInner(buffer: Uint8Array, { scratchLink }: Headers, end: number, layer: IpLayer): boolean {
  const reason = readIp(buffer, scratchLink.payload, end, scratchLink.network, false, layer);
  return reason === Reason.NONE && layer.problem === Reason.NONE;
}

/** The packet that an ICMP error is about starts eight bytes into it (RFC 792, RFC 4443). */
function readQuoted(buffer: Uint8Array, headers: Headers): void {
  const { keyed, quoted } = headers;
  if (readIp(buffer, keyed.payload + 8, keyed.end, Network.BY_NIBBLE, true, quoted) !== Reason.NONE) quoted.version = 0;
}
