// Finds the packet inside a tunnel (kinds.ts lists them).
//
// Each function looks at one layer and says where the next one starts and what it is, or why it does not go on. Bits that a
// receiver has to ignore are ignored.
import { Fragment, type IpLayer, type LinkLayer, Network } from '../headers.ts';
import { readEthernet, readEtherType } from '../link/ethernet.ts';
import { EtherType } from '../link/etherType.ts';
import { readMpls } from '../link/mpls.ts';
import { Reason } from '../reasons.ts';
import { Protocol } from '../transport.ts';
import { enterGre } from './gre.ts';
import { Outcome, Tunnel, tunnelKinds } from './kinds.ts';
import type { TunnelPorts } from './ports.ts';
import { enterUdp } from './udp.ts';

/**
 * Looks for a packet inside `layer`. Returns an Outcome; for any but NONE `link.tunnel` is the kind of tunnel (an index of
 * `tunnelKinds`). When it is ENTERED, `link.payload` and `link.network` say where the packet is; it ends at `layer.end`.
 */
export function enterTunnel(buffer: Uint8Array, layer: IpLayer, link: LinkLayer, ports: TunnelPorts): number {
  const { protocol, payload, end } = layer;
  const kind = protocol === Protocol.UDP ? udpKind(layer, ports) : kindOf(protocol);
  if (kind === Tunnel.NONE) return Outcome.NONE;
  link.tunnel = kind;
  if (layer.fragment !== Fragment.WHOLE) return Outcome.FRAGMENT;
  if (!tunnelKinds[kind].isEntered) return Outcome.UNREAD;
  link.network = Network.NON_IP;
  link.payload = payload;
  link.vlanCount = 0;
  link.macs = 0;
  link.vni = -1;
  return protocol === Protocol.UDP
    ? enterUdp(buffer, payload + 8, end, link, enterProtocol)
    : enterProtocol(buffer, payload, end, protocol, link);
}

/** Ports of a UDP packet are not known in a later fragment: whether it is a tunnel's does not show. */
function udpKind(layer: IpLayer, ports: TunnelPorts): number {
  return layer.targetPort < 0 ? Tunnel.NONE : ports.kindOf(layer.sourcePort, layer.targetPort);
}

function kindOf(protocol: number): number {
  switch (protocol) {
    case Protocol.IPV4:
      return Tunnel.IPIP;
    case Protocol.IPV6:
      return Tunnel.IP6;
    case Protocol.GRE:
      return Tunnel.GRE;
    case Protocol.ETHERIP:
      return Tunnel.ETHERIP;
    case Protocol.MPLS:
      return Tunnel.MPLS_IP;
    case Protocol.ESP:
      return Tunnel.ESP;
    case Protocol.L2TP:
      return Tunnel.L2TP3;
    default:
      return Tunnel.NONE;
  }
}

/** What the IP protocol number `protocol` announces at `payload`; GUE has such a number as well. Returns an Outcome. */
function enterProtocol(buffer: Uint8Array, payload: number, end: number, protocol: number, link: LinkLayer): number {
  link.payload = payload;
  switch (protocol) {
    case Protocol.IPV4:
      link.network = Network.IPV4;
      return Outcome.ENTERED;
    case Protocol.IPV6:
      link.network = Network.IPV6;
      return Outcome.ENTERED;
    case Protocol.GRE:
      return enterGre(buffer, payload, end, link);
    case Protocol.ETHERIP:
      // RFC 3378: a two-byte header, version 3.
      if (end - payload < 2) return Outcome.DAMAGED;
      if (buffer[payload] >> 4 !== 3) return Outcome.OTHER_HEADER;
      return outcomeOf(readEthernet(buffer, payload + 2, end, link, 0), link);
    case Protocol.ETHERNET:
      return outcomeOf(readEtherType(buffer, payload, end, EtherType.BRIDGED, link, 0), link);
    case Protocol.MPLS:
      return outcomeOf(readMpls(buffer, payload, end, link, 0), link);
    default:
      return Outcome.NOT_IP;
  }
}

/** What a reader of link headers found, as an Outcome. */
export function outcomeOf(reason: number, link: LinkLayer): number {
  if (reason === Reason.LINK_NESTING) return Outcome.NESTING;
  if (reason !== Reason.NONE) return Outcome.DAMAGED;
  return link.network === Network.NON_IP ? Outcome.NOT_IP : Outcome.ENTERED;
}
