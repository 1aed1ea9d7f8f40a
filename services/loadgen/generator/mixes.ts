// What generated traffic is made of: kinds of flows, how long they last, how large their packets are, who sends them.
//
// A mix is a list of flow classes. Each class has a share of the concurrent flows and a share of the packets: elephants
// are few flows with most of the packets, mice the other way round. Populations say where the clients are; one with few
// clients and a large share is a carrier's address translation, which is what unbalances groups. The named mixes have
// the shape of real traffic, not its contents: a DNS-like flow is one small packet to port 53, full of zeros.

import { imix, type Sizes } from './sizes.ts';

export { parseSizes, type Sizes } from './sizes.ts';

export const protocols = ['tcp', 'udp', 'sctp', 'icmp', 'gtp-u', 'gtp-c'] as const;
export type Protocol = (typeof protocols)[number];
/** Ports that parsers know what to make of. */
export const usualPorts: Readonly<Record<Protocol, number>> = {
  tcp: 443,
  udp: 443,
  sctp: 2_905,
  icmp: 0,
  'gtp-u': 443,
  'gtp-c': 2_123,
};

export interface FlowClass {
  readonly name: string;
  /** `icmp` are echoes, ICMPv6 where addresses are IPv6. */
  readonly protocol: Protocol;
  /** In a GTP-U tunnel that of the user's packets; ICMP has none. */
  readonly targetPort: number;
  /** Integer shares relative to the other classes of the mix: of the concurrent flows, and of the packets. */
  readonly flowShare: number;
  readonly packetShare: number;
  /**
   * Packets of a flow, opening and closing ones included; 0 for flows without end. A TCP flow has at least 2 (with
   * replies 4), SCTP 4 (7), GTP-C 2 (4).
   */
  readonly packetsPerFlow: Sizes;
  /**
   * Bytes of a packet from its link header on, without the Ethernet checksum; raised to what its headers need. Packets
   * that open or close a flow have the length they need, and so has all of GTP-C.
   */
  readonly packetBytes: Sizes;
  /** Packets a flow sends back to back before another flow has its turn; default 1. */
  readonly burst?: number;
  /**
   * `in-turn`: every flow at the same even rate, like voice. `random` (default): the next packet is anybody's. By flows a
   * second all are in turn.
   */
  readonly order?: 'random' | 'in-turn';
  /** Of 100 TCP flows, how many end in RST rather than FIN; default 0. */
  readonly resetPercent?: number;
}

export interface Population {
  /** First address of the clients, IPv4 or IPv6; they are counted up from it in the last 32 bits. */
  readonly source: string;
  /** Clients, at most 2^24. */
  readonly clients: number;
  /** First address of what they talk to, of the same family, and how many such addresses there are. */
  readonly target: string;
  readonly targets: number;
  /** Integer share of the flows relative to the other populations. */
  readonly share: number;
}

const endless: Sizes = { kind: 'fixed', size: 0 };
const fixed = (size: number): Sizes => ({ kind: 'fixed', size });
const uniform = (min: number, max: number): Sizes => ({ kind: 'uniform', min, max });

/** Named mixes. Shares of packets are what a client side sends; see `replies` for both directions. */
export const mixes = {
  web: [
    {
      name: 'web',
      protocol: 'tcp',
      targetPort: 443,
      flowShare: 9,
      packetShare: 9,
      packetsPerFlow: { kind: 'pareto', min: 6, max: 20_000, shape: 1.2 },
      packetBytes: { kind: 'choice', sizes: [66, 571, 1514], weights: [6, 2, 1] },
      burst: 3,
      resetPercent: 3,
    },
    {
      name: 'quic',
      protocol: 'udp',
      targetPort: 443,
      flowShare: 3,
      packetShare: 3,
      packetsPerFlow: { kind: 'pareto', min: 4, max: 20_000, shape: 1.2 },
      packetBytes: { kind: 'choice', sizes: [75, 300, 1292], weights: [6, 2, 1] },
      burst: 3,
    },
  ],
  dns: [
    {
      name: 'dns',
      protocol: 'udp',
      targetPort: 53,
      flowShare: 19,
      packetShare: 19,
      packetsPerFlow: { kind: 'choice', sizes: [1, 2], weights: [9, 1] },
      packetBytes: uniform(70, 120),
    },
    {
      name: 'dns-tcp',
      protocol: 'tcp',
      targetPort: 53,
      flowShare: 1,
      packetShare: 1,
      packetsPerFlow: uniform(4, 6),
      packetBytes: uniform(66, 140),
    },
  ],
  voip: [
    {
      // G.711 in RTP, 20 ms a packet: 160 bytes of voice, 12 of RTP, 42 of headers. Calls of half a minute to four.
      name: 'rtp',
      protocol: 'udp',
      targetPort: 16_384,
      flowShare: 20,
      packetShare: 199,
      packetsPerFlow: uniform(1_500, 12_000),
      packetBytes: fixed(214),
      order: 'in-turn',
    },
    {
      name: 'sip',
      protocol: 'udp',
      targetPort: 5_060,
      flowShare: 4,
      packetShare: 1,
      packetsPerFlow: uniform(3, 8),
      packetBytes: uniform(400, 900),
    },
    {
      name: 'signalling',
      protocol: 'sctp',
      targetPort: 2_905,
      flowShare: 1,
      packetShare: 1,
      packetsPerFlow: uniform(8, 200),
      packetBytes: uniform(100, 300),
    },
  ],
  iot: [
    {
      name: 'coap',
      protocol: 'udp',
      targetPort: 5_683,
      flowShare: 6,
      packetShare: 6,
      packetsPerFlow: uniform(1, 6),
      packetBytes: uniform(60, 140),
    },
    {
      name: 'mqtt',
      protocol: 'tcp',
      targetPort: 8_883,
      flowShare: 4,
      packetShare: 4,
      packetsPerFlow: uniform(20, 400),
      packetBytes: uniform(66, 200),
      order: 'in-turn',
      resetPercent: 10,
    },
  ],
  'elephants-and-mice': [
    {
      name: 'elephant',
      protocol: 'tcp',
      targetPort: 5_001,
      flowShare: 1,
      packetShare: 60,
      packetsPerFlow: { kind: 'pareto', min: 20_000, max: 5_000_000, shape: 1.1 },
      packetBytes: fixed(1_514),
      burst: 8,
    },
    {
      name: 'mouse',
      protocol: 'tcp',
      targetPort: 443,
      flowShare: 99,
      packetShare: 40,
      packetsPerFlow: { kind: 'pareto', min: 4, max: 200, shape: 1.3 },
      packetBytes: imix,
      burst: 2,
    },
  ],
  mobile: [
    {
      // What subscribers send, in tunnels: 36 bytes more than they have.
      name: 'user',
      protocol: 'gtp-u',
      targetPort: 443,
      flowShare: 30,
      packetShare: 95,
      packetsPerFlow: { kind: 'pareto', min: 6, max: 20_000, shape: 1.2 },
      packetBytes: { kind: 'choice', sizes: [118, 626, 1486], weights: [6, 2, 1] },
      burst: 3,
    },
    {
      name: 'sessions',
      protocol: 'gtp-c',
      targetPort: 2_123,
      flowShare: 8,
      packetShare: 2,
      packetsPerFlow: uniform(2, 8),
      packetBytes: fixed(90),
    },
    {
      name: 'access',
      protocol: 'sctp',
      targetPort: 36_412,
      flowShare: 1,
      packetShare: 2,
      packetsPerFlow: uniform(20, 400),
      packetBytes: uniform(90, 250),
    },
    {
      name: 'probe',
      protocol: 'icmp',
      targetPort: 0,
      flowShare: 1,
      packetShare: 1,
      packetsPerFlow: uniform(10, 60),
      packetBytes: fixed(98),
      order: 'in-turn',
    },
  ],
  ping: [
    {
      name: 'ping',
      protocol: 'icmp',
      targetPort: 0,
      flowShare: 1,
      packetShare: 1,
      packetsPerFlow: uniform(4, 20),
      packetBytes: fixed(98),
      order: 'in-turn',
    },
  ],
  'every-protocol': protocols.map((protocol) => ({
    name: protocol,
    protocol,
    targetPort: usualPorts[protocol],
    flowShare: 1,
    packetShare: 1,
    packetsPerFlow: { kind: 'pareto', min: 4, max: 2_000, shape: 1.2 },
    packetBytes: imix,
  })),
  'bench-udp': [
    {
      name: 'bench',
      protocol: 'udp',
      targetPort: 9_000,
      flowShare: 1,
      packetShare: 1,
      packetsPerFlow: endless,
      packetBytes: fixed(128),
    },
  ],
} as const satisfies Record<string, readonly FlowClass[]>;
export type MixName = keyof typeof mixes;
export const mixNames = Object.keys(mixes) as readonly MixName[];

/**
 * Clients in 10.0.0.0/8 and 2001:db8:1::/48 who talk to 198.18.0.0/15 (for benchmarks, RFC 2544) and 2001:db8:2::/48;
 * `ipv6Percent` of 100 flows are IPv6.
 */
export function defaultPopulations(clients: number, targets: number, ipv6Percent: number): Population[] {
  return [
    { source: '10.0.0.0', clients, target: '198.18.0.1', targets, share: 100 - ipv6Percent },
    { source: '2001:db8:1::', clients, target: '2001:db8:2::1', targets, share: ipv6Percent },
  ].filter((population) => population.share > 0);
}
