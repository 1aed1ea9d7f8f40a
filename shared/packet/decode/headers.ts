// What `parse` finds in a packet: numbers only, and offsets into the packet's own buffer instead of copies. One object
// is made once and filled again for every packet, so that reading a packet allocates nothing.
//
// A packet has one link layer, one outermost IP header, and sometimes further ones: inside tunnels, and the header that
// an ICMP error quotes. All IP headers have the same shape here (IpLayer).

/** VLAN tags, MPLS labels, tunnels or IPv6 extension headers beyond these are not followed. */
export const parseLimits = { vlanTags: 8, mplsLabels: 16, linkLayers: 6, tunnels: 8, extensionHeaders: 32 } as const;

/** What follows a link header. */
export const Network = { NON_IP: 0, IPV4: 4, IPV6: 6, BY_NIBBLE: 1 } as const;

/** The link header, from the packet's first byte to the network header. */
export class LinkLayer {
  /** Index into `linkKinds`. */
  kind = 0;
  /** Offset of the outermost Ethernet destination address (the source follows); -1 where there is none. */
  macs = -1;
  /** Offset and length (at most 8) of the source address on links that give only that (SLL); length 0 = none. */
  address = 0;
  addressLength = 0;
  /** EtherType, or the link's own protocol number, of what follows; below 1536 also an LLC DSAP or an address family. */
  protocol = 0;
  /** VLAN ids from the outermost inwards, up to the first IP header. */
  vlanCount = 0;
  readonly vlans = new Uint16Array(parseLimits.vlanTags);
  /** Of a tunnel that led here: its kind (tunnels/kinds.ts), and its network identifier (VNI); -1 where it has none. */
  tunnel = 0;
  vni = -1;
  /** Where the network header starts, and which it is (Network). */
  payload = 0;
  network: number = Network.NON_IP;
}

/** How much of its datagram a packet is. An IPv6 packet with an atomic fragment header is whole (RFC 6946). */
export const Fragment = { WHOLE: 0, FIRST: 1, LATER: 2 } as const;

/** One IP header, and what the first bytes behind it say. */
export class IpLayer {
  /** 4, 6, or 0 where there is no usable IP header; then the rest means nothing. */
  version = 0;
  /** Offsets of the header and of the two addresses. */
  offset = 0;
  source = 0;
  target = 0;
  /** Protocol number after IPv6 extension headers, and after AH; the last one known where the chain is cut. */
  protocol = 0;
  /** Where the upper protocol starts, and where the IP packet (or the capture, if earlier) ends. */
  payload = 0;
  end = 0;
  /** Fragment, byte offset, more-fragments bit (0 or 1) and identification as an int32. */
  fragment: number = Fragment.WHOLE;
  fragmentOffset = 0;
  moreFragments = 0;
  fragmentId = 0;
  /** Reason why the upper protocol's header cannot be read; 0 if it can, or if there is none to read (later fragments). */
  problem = 0;
  /** Ports of TCP, UDP, UDP-Lite, SCTP and DCCP; both -1 where the packet has none. */
  sourcePort = -1;
  targetPort = -1;
  /** The twelve flag bits of TCP, or -1. */
  tcpFlags = -1;
  /** Type of the ICMP(v6) message, of the first SCTP chunk or of the DCCP packet, or -1. */
  messageType = -1;
  /** Identifier of an ICMP(v6) echo, or -1. */
  echoId = -1;
}

/** What was met on the way inwards from the outermost IP header: tunnels, and the VLAN tags and network identifiers in them. */
export class Passage {
  /** Kinds of the tunnels that were entered, from the outermost inwards. */
  depth = 0;
  readonly tunnels = new Uint8Array(parseLimits.tunnels);
  /** A tunnel whose packet was not entered: its kind, and why (Outcome); both 0 where there is none. */
  closed = 0;
  outcome = 0;
  /** VLAN ids inside tunnels; those outside are in the link layer. */
  vlanCount = 0;
  readonly vlans = new Uint16Array(parseLimits.tunnels * parseLimits.vlanTags);
  vniCount = 0;
  readonly vnis = new Int32Array(parseLimits.tunnels);

  clear(): void {
    this.depth = 0;
    this.closed = 0;
    this.outcome = 0;
    this.vlanCount = 0;
    this.vniCount = 0;
  }

  /** One tunnel further in. `link` is what is between its header and the IP header that was found there. */
  enter(link: LinkLayer): void {
    this.tunnels[this.depth++] = link.tunnel;
    for (let tag = 0; tag < link.vlanCount; tag++) this.vlans[this.vlanCount++] = link.vlans[tag];
    if (link.vni >= 0) this.vnis[this.vniCount++] = link.vni;
  }
}

/** Everything `parse` finds in one packet. Valid until the next call with the same object. */
export class Headers {
  readonly link = new LinkLayer();
  /** The outermost IP header. */
  readonly outer = new IpLayer();
  /** The IP header that keys are made from: `outer`, or the innermost one where tunnels are followed. */
  keyed: IpLayer = this.outer;
  /** The header quoted by an ICMP error in `keyed`; version 0 where there is none. */
  readonly quoted = new IpLayer();
  /** What lies between the two. */
  readonly passage = new Passage();
  /** For following tunnels: two layers to alternate, and a link layer to overwrite. */
  readonly scratchA = new IpLayer();
  readonly scratchB = new IpLayer();
  readonly scratchLink = new LinkLayer();
}
