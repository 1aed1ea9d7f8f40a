// Which fields of a packet make a flow, and which make its group, by name.
//
// The flow key says which packets belong together at one server; the group key is what tier 1 hashes to choose a group.
// A flow must not be spread over two groups, so equal flow keys have to imply equal group keys: the group key is coarser
// or equal. Whether that holds can be told from what each key is a function of:
//
//   five-tuple        {source, destination} addresses, ports or echo id, protocol      non-IP: {MAC pair}
//   address-pair      {source, destination} addresses                                  non-IP: {MAC pair}
//   node-pair         the same as address-pair (nodes are IP addresses where there is IP, else MAC addresses)
//   mac-pair          {source, destination} MAC addresses, of every packet
//   vlan              the outermost two VLAN ids
//   link-source       ingress link, source address                                     non-IP: (MAC pair)
//   subscriber        source or destination address, whichever is the subscriber's,    non-IP: {MAC pair}
//                     and of two subscribers or two strangers {the lower one}
//   packet            nothing else has it; a fragment: its datagram (addresses, identification, VLANs)
//   gtp-teid          receiver's address and TEID, where the packet shows them (identifiers.ts)     else as five-tuple
//   sip-call-id       Call-ID                                                                       likewise
//   quic-cid          the server's connection id                                                    likewise
//   source-last-byte  last byte of the source address (patent Fig. 1, text)            non-IP: of the source MAC
//
// {} is an unordered pair where `symmetric` folds the two directions into one flow, an ordered one where not ('directed').
// link-source has a direction by nature, so `symmetric` does not reach it: its MAC pairs are ordered. Then (flow down,
// group across; yes = coarser or equal; d = only directed):
//
//                 five-tuple  address/node  mac-pair  vlan  link-source  subscriber  source-last-byte
//   five-tuple       yes          yes          -        -        -          yes             d
//   address/node      -           yes          -        -        -          yes             d
//   mac-pair          -            -          yes       -        -           -              -
//   vlan              -            -           -       yes       -           -              -
//   link-source       -            -           -        -       yes          -             yes
//   subscriber        -            -           -        -        -          yes             -
//
//   packet            -           yes          -        -        -          yes            yes
//
// An identifier is the group key of its own flow key, and no other is coarser: a tunnel, a call or a connection is met between
// many addresses. As group keys they and `packet` are coarser than the flow key `packet`, and than no other. As group keys they too
// stand for the address pair where there is no identifier, as in a fragment. The group keys that `packet` does not go with would
// part the fragments of a datagram: later ones have no ports, and may come by another router, tag or link.
//
// d: with folded directions the two packets A to B and B to A have one flow key, but different sources. mac-pair under five-tuple is out because a flow may come in from
// one router and go out by another; source-last-byte under mac-pair because one pair of routers carries all addresses;
// subscriber under subscriber's own flow key is equal, source-last-byte is not: the subscriber may be the destination.
//
// five-tuple as group key is coarser or equal, but splits fragmented datagrams: later fragments have no ports, so they
// are sent by their addresses to a group that need not be the flow's. Choose it only where nothing fragments and few
// address pairs carry everything (proxies in front of one virtual address); `keyWarning` says so.

// Whatever the keys, flows may be told apart by what they lie within as well (`withinParts`): VLAN ids and network identifiers
// become part of both keys alike, so one is as coarse as before. Only source-last-byte stays that byte.

export const flowKeyPolicies = [
  'five-tuple',
  'address-pair',
  'mac-pair',
  'vlan',
  'link-source',
  'subscriber',
  'node-pair',
  'packet',
  'gtp-teid',
  'sip-call-id',
  'quic-cid',
] as const;
export type FlowKeyPolicy = (typeof flowKeyPolicies)[number];

export const groupKeyPolicies = [...flowKeyPolicies, 'source-last-byte'] as const;
export type GroupKeyPolicy = (typeof groupKeyPolicies)[number];

/** What flows may lie within, so that those of two tenants are never one: VLANs, and networks of tunnels (VNI). */
export const withinParts = ['vlan', 'vni'] as const;
export type WithinPart = (typeof withinParts)[number];

type Coarser = 'always' | 'directed';

const coarser: Readonly<Record<FlowKeyPolicy, Partial<Record<GroupKeyPolicy, Coarser>>>> = {
  'five-tuple': {
    'five-tuple': 'always',
    'address-pair': 'always',
    'node-pair': 'always',
    subscriber: 'always',
    'source-last-byte': 'directed',
  },
  'address-pair': {
    'address-pair': 'always',
    'node-pair': 'always',
    subscriber: 'always',
    'source-last-byte': 'directed',
  },
  'node-pair': {
    'address-pair': 'always',
    'node-pair': 'always',
    subscriber: 'always',
    'source-last-byte': 'directed',
  },
  'mac-pair': { 'mac-pair': 'always' },
  vlan: { vlan: 'always' },
  'link-source': { 'link-source': 'always', 'source-last-byte': 'always' },
  subscriber: { subscriber: 'always' },
  packet: {
    'address-pair': 'always',
    'node-pair': 'always',
    subscriber: 'always',
    packet: 'always',
    'gtp-teid': 'always',
    'sip-call-id': 'always',
    'quic-cid': 'always',
    'source-last-byte': 'always',
  },
  'gtp-teid': { 'gtp-teid': 'always' },
  'sip-call-id': { 'sip-call-id': 'always' },
  'quic-cid': { 'quic-cid': 'always' },
};

/** Throws an Error that names the fault when packets with one flow key could have different group keys. */
export function checkCoarser(flow: FlowKeyPolicy, group: GroupKeyPolicy, symmetric: boolean): void {
  const holds = coarser[flow][group];
  if (holds === 'always' || (holds === 'directed' && !symmetric)) return;
  const possible = groupKeyPolicies.filter((policy) => isCoarser(flow, policy, symmetric)).join(', ');
  if (holds === 'directed') {
    throw new Error(
      `group key '${group}' differs between the two directions of one '${flow}' flow: ` +
        `make the flow key directed, or choose one of ${possible}`,
    );
  }
  throw new Error(`group key '${group}' is not coarser than flow key '${flow}': choose one of ${possible}`);
}

/** Whether `checkCoarser` accepts the pair. */
export function isCoarser(flow: FlowKeyPolicy, group: GroupKeyPolicy, symmetric: boolean): boolean {
  const holds = coarser[flow][group];
  return holds === 'always' || (holds === 'directed' && !symmetric);
}

/** The group key used where none is configured: by addresses for flows that have them, else the flow key itself. */
export function defaultGroupKey(flow: FlowKeyPolicy): GroupKeyPolicy {
  return flow === 'five-tuple' ? 'address-pair' : flow;
}

/** A sentence for the log when an allowed choice has a price, else undefined. */
export function keyWarning(group: GroupKeyPolicy): string | undefined {
  if (group !== 'five-tuple') return undefined;
  return "group key 'five-tuple' cannot keep IP fragments together: later fragments have no ports and reach another group";
}
