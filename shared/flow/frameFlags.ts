// The flags column of a frame: what tier 1 saw in a packet, in sixteen bits, so that an actor decides without parsing.
//
//    15          12 11           8 7   6   5   4   3   2   1   0
//   +--------------+--------------+---+---+---+---+---+---+---+---+
//   |protocol class|  link kind   |HSH|AGG|SID|DGR|LFR|END|STA|TY1|
//   +--------------+--------------+---+---+---+---+---+---+---+---+
//
// The link kind tells a server how to read the packet's first bytes; the protocol class picks the idle limit of its flow.

export const FrameFlags = {
  /** The flow's start can be seen in the packets themselves (TCP, SCTP, ...); all other flows are type 2. */
  TYPE1: 1 << 0,
  /** This packet starts a flow (or, with AGGREGATE, a session inside one). */
  START: 1 << 1,
  /**
   * Its sender ends the flow: its side has said its last (or, with AGGREGATE, a session inside the flow ends). An SCTP SHUTDOWN
   * COMPLETE is the last word of both. See RESET.
   */
  END: 1 << 2,
  /** A fragment without ports: its hash is the datagram's, not the flow's. */
  LATER_FRAGMENT: 1 << 3,
  /** The row carries no packet but names the datagram of the next row's packet. Set by the framer, not by the keyer. */
  DATAGRAM: 1 << 4,
  /** Which of the two ends sent it: set for the one whose address and port come second in the key. 0 in keys with a direction. */
  SIDE: 1 << 5,
  /** Several sessions share this flow, so a start or an end seen in it is not the flow's own. */
  AGGREGATE: 1 << 6,
  /**
   * The answer to a start (TCP SYN+ACK, SCTP INIT ACK, DCCP Response) where both directions are one flow, or an ICMP error about the
   * flow: it confirms nothing. Together with END, see RESET.
   */
  HANDSHAKE: 1 << 7,
} as const;

/** Both bits: the whole flow is over at once, if that is true (TCP RST, SCTP ABORT, DCCP Reset). */
export const RESET: number = FrameFlags.END | FrameFlags.HANDSHAKE;

export const linkKindShift = 8;
export const protocolClassShift = 12;

/**
 * All three, and nothing else has all three: the packet is a flow of its own (key `packet`), which starts and ends with it. It is
 * placed by the present view, and no table has it.
 */
export const SINGLE: number = FrameFlags.AGGREGATE | FrameFlags.START | FrameFlags.END;

/** Whether a packet with these flags is a flow of its own. */
export function isSingle(flags: number): boolean {
  return (flags & SINGLE) === SINGLE;
}

/** LINKTYPE numbers (tcpdump.org/linktypes.html) by link kind. Kinds that read alike share one entry: 12 and 14 are 101. */
export const linkKinds = [1, 113, 276, 101, 228, 229, 0, 108, 9, 50, 51, 104, 239, 226, 117] as const;

/** What the idle limits are chosen by; at most sixteen. An ICMP error carries the class of the flow it is about. */
export const protocolClasses = [
  'other',
  'tcp',
  'udp',
  'sctp',
  'dccp',
  'icmp',
  'gtp-c',
  'radius',
  'dhcp',
  'non-ip',
] as const;
export type ProtocolClassName = (typeof protocolClasses)[number];

export const ProtocolClass = {
  OTHER: 0,
  TCP: 1,
  UDP: 2,
  SCTP: 3,
  DCCP: 4,
  ICMP: 5,
  GTP_C: 6,
  RADIUS: 7,
  DHCP: 8,
  NON_IP: 9,
} as const;

/** The LINKTYPE number by which a server reads a packet with these flags; 101 (raw IP) also stands for 12 and 14. */
export function linkTypeOf(flags: number): number {
  return linkKinds[(flags >> linkKindShift) & 15] ?? -1;
}

/** The name of the protocol class in these flags. */
export function protocolClassOf(flags: number): ProtocolClassName {
  return protocolClasses[(flags >> protocolClassShift) & 15] ?? 'other';
}
