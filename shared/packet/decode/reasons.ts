// Why a packet has no key. The list is closed: every packet that tier 1 drops while reading it is counted under one of
// these, so that "received = distributed + dropped by cause" can add up.
//
// `needs` says from which kind of key on the fault matters: a packet whose ports are cut off has no five-tuple key, but
// its address-pair key is as good as any.

/** Codes that `parse` and `FlowKeyer.read` return; 0 is a packet without fault. Indexes of `reasons`. */
export const Reason = {
  NONE: 0,
  EMPTY: 1,
  LINK_HEADER_CUT: 2,
  LINK_NESTING: 3,
  LINK_TYPE: 4,
  LINK_80211: 5,
  IP_VERSION: 6,
  IPV4_HEADER_CUT: 7,
  IPV4_HEADER_LENGTH: 8,
  IPV4_TOTAL_LENGTH: 9,
  IPV6_HEADER_CUT: 10,
  IPV4_OPTIONS_CUT: 11,
  IPV6_EXTENSION_CUT: 12,
  IPV6_EXTENSION_LIMIT: 13,
  L4_CUT: 14,
} as const;

export type ReasonClass = 'none' | 'malformed' | 'unsupported';

/** How much of a packet a key is made of: its link header, its addresses, or its ports as well. */
export const KeyNeed = { LINK: 0, ADDRESSES: 1, PORTS: 2 } as const;

interface ReasonEntry {
  readonly name: string;
  readonly class: ReasonClass;
  /** The least need (KeyNeed) for which the fault costs the key. */
  readonly needs: number;
}

export const reasons: readonly ReasonEntry[] = [
  { name: 'none', class: 'none', needs: 3 },
  { name: 'empty', class: 'malformed', needs: KeyNeed.LINK },
  { name: 'link-header-cut', class: 'malformed', needs: KeyNeed.LINK },
  { name: 'link-nesting', class: 'malformed', needs: KeyNeed.LINK },
  { name: 'link-type', class: 'unsupported', needs: KeyNeed.LINK },
  { name: 'link-80211', class: 'unsupported', needs: KeyNeed.LINK },
  { name: 'ip-version', class: 'malformed', needs: KeyNeed.ADDRESSES },
  { name: 'ipv4-header-cut', class: 'malformed', needs: KeyNeed.ADDRESSES },
  { name: 'ipv4-header-length', class: 'malformed', needs: KeyNeed.ADDRESSES },
  { name: 'ipv4-total-length', class: 'malformed', needs: KeyNeed.ADDRESSES },
  { name: 'ipv6-header-cut', class: 'malformed', needs: KeyNeed.ADDRESSES },
  { name: 'ipv4-options-cut', class: 'malformed', needs: KeyNeed.PORTS },
  { name: 'ipv6-extension-cut', class: 'malformed', needs: KeyNeed.PORTS },
  { name: 'ipv6-extension-limit', class: 'malformed', needs: KeyNeed.PORTS },
  { name: 'l4-cut', class: 'malformed', needs: KeyNeed.PORTS },
];
