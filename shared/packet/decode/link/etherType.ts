// Numbers by which link headers say what follows: EtherTypes (IEEE 802, IANA), protocols of PPP (RFC 1661), and the next
// protocols of a service header.

export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  IPV6: 0x86dd,
  PPP: 0x880b,
  MPLS: 0x8847,
  MPLS_UPSTREAM: 0x8848,
  PPPOE_SESSION: 0x8864,
  SERVICE_VLAN: 0x88a8,
  BACKBONE: 0x88e7,
  VN_TAG: 0x8926,
  E_TAG: 0x893f,
  NSH: 0x894f,
  QINQ_OLD: 0x9100,
  QINQ_OLD2: 0x9200,
  BRIDGED: 0x6558,
  TRILL: 0x22f3,
  FABRIC_PATH: 0x8903,
  CISCO_METADATA: 0x8909,
  HSR: 0x892f,
} as const;

/** Protocol numbers of PPP that lead to IP. */
export const PppProtocol = { IPV4: 0x0021, IPV6: 0x0057, MPLS: 0x0281, MPLS_MULTICAST: 0x0283 } as const;

/** Next protocols of a network service header (RFC 8300 section 2.2); VXLAN-GPE has the same. */
export const NextProtocol = { IPV4: 1, IPV6: 2, ETHERNET: 3, NSH: 4, MPLS: 5 } as const;

/** Length fields are at most this; EtherTypes start at 1536 (IEEE 802.3 clause 3.2.6). */
export const maxLengthField = 1500;
