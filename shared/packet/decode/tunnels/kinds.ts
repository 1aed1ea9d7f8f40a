// The tunnels that are known, by name: what they are recognised by, and whether their packets are entered. README.md shows this
// table, and a test compares the two.
//
// Tunnels on UDP are recognised by the port they are sent to and by their header, since a port alone may be anybody's. Which
// ports those are can be set (`--tunnel-port`), alike at every tier 1 of a cluster.

/** Indexes of `tunnelKinds`. */
export const Tunnel = {
  NONE: 0,
  IPIP: 1,
  IP6: 2,
  GRE: 3,
  NVGRE: 4,
  ERSPAN: 5,
  PPTP: 6,
  ETHERIP: 7,
  MPLS_IP: 8,
  MPLS_UDP: 9,
  GTP_U: 10,
  VXLAN: 11,
  VXLAN_GPE: 12,
  GENEVE: 13,
  GUE: 14,
  TZSP: 15,
  L2TP: 16,
  ESP: 17,
  ESP_UDP: 18,
  L2TP3: 19,
  TEREDO: 20,
  LISP: 21,
  CAPWAP: 22,
} as const;

export interface TunnelKind {
  readonly name: string;
  /** Usual ports of its UDP packets; empty for tunnels on another protocol. */
  readonly ports: readonly number[];
  /** IP protocol number, for tunnels that are no UDP. */
  readonly protocol: number;
  /** Whether its packets are entered; others are counted. */
  readonly isEntered: boolean;
  /** Its source, for people. */
  readonly source: string;
}

export const tunnelKinds: readonly TunnelKind[] = [
  onProtocol('none', -1, ''),
  onProtocol('ipip', 4, 'RFC 2003, RFC 2473'),
  onProtocol('ip6', 41, 'RFC 4213, RFC 2473'),
  onProtocol('gre', 47, 'RFC 2784, RFC 2890'),
  onProtocol('nvgre', 47, 'RFC 7637'),
  onProtocol('erspan', 47, 'types I, II and III; draft-foschiano-erspan'),
  onProtocol('pptp', 47, 'RFC 2637'),
  onProtocol('etherip', 97, 'RFC 3378'),
  onProtocol('mpls-ip', 137, 'RFC 4023'),
  onPorts('mpls-udp', [6635], 'RFC 7510'),
  onPorts('gtp-u', [2152, 3386], '3GPP TS 29.281, TS 29.060'),
  onPorts('vxlan', [4789, 8472], 'RFC 7348'),
  onPorts('vxlan-gpe', [4790], 'draft-ietf-nvo3-vxlan-gpe'),
  onPorts('geneve', [6081], 'RFC 8926'),
  onPorts('gue', [6080], 'draft-ietf-intarea-gue'),
  onPorts('tzsp', [37008], 'TaZmen sniffer protocol'),
  onPorts('l2tp', [1701], 'RFC 2661, version 2'),
  { ...onProtocol('esp', 50, 'RFC 4303'), isEntered: false },
  { ...onPorts('esp-udp', [4500], 'RFC 3948'), isEntered: false },
  { ...onProtocol('l2tp3', 115, 'RFC 3931'), isEntered: false },
  { ...onPorts('teredo', [3544], 'RFC 4380'), isEntered: false },
  { ...onPorts('lisp', [4341], 'RFC 9300'), isEntered: false },
  { ...onPorts('capwap', [5247], 'RFC 5415'), isEntered: false },
];

/** What became of a tunnel packet. Indexes of `tunnelOutcomes`. */
export const Outcome = {
  /** There is no tunnel. */
  NONE: 0,
  ENTERED: 1,
  /** A fragment of the outer packet: later ones cannot be entered, and all fragments have to be keyed alike. */
  FRAGMENT: 2,
  /** A message of the tunnel itself. */
  CONTROL: 3,
  /** Something else behind the tunnel's port or protocol number, or a version or extension of it that is not read. */
  OTHER_HEADER: 4,
  /** It carries no IP packet: ARP, spanning tree, a PPP control protocol. */
  NOT_IP: 5,
  /** It carries what is not read: encrypted packets, 802.11. */
  UNREAD: 6,
  /** What it carries is damaged or cut. */
  DAMAGED: 7,
  /** More tunnels within each other than are followed. */
  NESTING: 8,
} as const;

export const tunnelOutcomes = [
  'none',
  'entered',
  'fragment',
  'control',
  'other-header',
  'not-ip',
  'unread',
  'damaged',
  'nesting',
] as const;
export type TunnelOutcome = (typeof tunnelOutcomes)[number];

function onProtocol(name: string, protocol: number, source: string): TunnelKind {
  return { name, ports: [], protocol, isEntered: true, source };
}

function onPorts(name: string, ports: readonly number[], source: string): TunnelKind {
  return { name, ports, protocol: 17, isEntered: true, source };
}
