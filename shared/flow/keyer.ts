// From a packet to its two hashes: the flow hash, by which one server owns it, and the group hash, by which tier 1 sends
// it to a group of servers. The policies and why a group key must be coarser stand in flow/policies.ts.
//
// A key is a short string of 32-bit words and a two-byte tail; the tail names the kind of key and the protocol, so keys
// of different kinds never meet. Hashes are HalfSipHash-1-3 under two keys derived from the cluster's secret: knowing
// nothing of it, nobody can choose packets that share a flow or crowd one group.
//
// What makes it less simple than that:
//   - A fragment behind the first has no ports. Under the five-tuple policy the first fragment yields its flow hash and a
//     datagram hash (addresses, protocol, id, VLANs), the later ones the datagram hash only; all have the same group hash.
//   - An ICMP error belongs to the flow of the packet it quotes. It travels the other way, so the quoted addresses and
//     ports are exchanged; then it has the keys of the packets that go the way the error goes. An error that quotes
//     nothing usable is keyed by its own addresses. A quoted later fragment counts as a packet without ports.
//   - An ICMP echo is told from others between the same hosts by its identifier, as a packet without ports.
//   - Keys by an identifier in the payload (identifiers.ts) are those of the five-tuple where a packet does not show one; the
//     group is then chosen by the address pair, also under a group key by that identifier.
//   - Under the policy `packet` a fragment is keyed by its datagram, first or later, so that all go together: they are an ordinary
//     flow, which is in the table for a while, and of which no fragment confirms anything.
//   - A packet that is not IP has no addresses: it is keyed by its MAC pair (or what its link gives), in both keys.
import { createHash } from 'node:crypto';
import { HalfSipHash } from '../hash/halfSipHash.ts';
import { Fragment, Headers, type IpLayer } from '../packet/decode/headers.ts';
import { LinkType } from '../packet/decode/link/link.ts';
import { parse } from '../packet/decode/parse.ts';
import { KeyNeed, Reason, reasons } from '../packet/decode/reasons.ts';
import { StraightPacket } from '../packet/decode/straight.ts';
import { Protocol } from '../packet/decode/transport.ts';
import { TunnelPorts } from '../packet/decode/tunnels/ports.ts';
import { aggregated, classify, classifyQuoted, classifyTcp, classifyUdp } from './classify.ts';
import { FrameFlags, linkKindShift, ProtocolClass, protocolClassShift, SINGLE } from './frameFlags.ts';
import {
  cidLengthMax,
  defaultCidLength,
  type IdentifierPolicy,
  type Identifiers,
  isIdentifierPolicy,
} from './identifiers.ts';
import { KeyWords, Kind } from './keyWords.ts';
import { Networks } from './networks.ts';
import {
  checkCoarser,
  defaultGroupKey,
  type FlowKeyPolicy,
  flowKeyPolicies,
  type GroupKeyPolicy,
  groupKeyPolicies,
  type WithinPart,
  withinParts,
} from './policies.ts';
import { HintKind, type SubscriberHint } from './subscriber.ts';
import { TunnelCounts } from './tunnelCounts.ts';

export interface KeyOptions {
  /** The cluster's secret, the same at every tier 1; not empty. */
  readonly secret: string;
  /** Default 'five-tuple'. */
  readonly flowKey?: FlowKeyPolicy;
  /** Default: see `defaultGroupKey`. Must be coarser than, or equal to, the flow key. */
  readonly groupKey?: GroupKeyPolicy;
  /** Whether both directions are one flow. Default true. Has no effect on link-source, vlan, packet, and identifiers. */
  readonly symmetric?: boolean;
  /** Which IP header of a tunnelled packet is keyed. Default 'outer'. Fragments of the outer packet keep the outer one. */
  readonly tunnel?: 'outer' | 'inner';
  /** UDP ports of tunnels, such as 'vxlan=14789', in place of the usual ones (see TunnelPorts). */
  readonly tunnelPorts?: readonly string[];
  /** What belongs to every key beside the policies: all VLAN ids of the packet, the network identifiers of its tunnels. */
  readonly within?: readonly WithinPart[];
  /** Networks such as '10.0.0.0/8' whose addresses are subscribers; needed by the policy 'subscriber' only. */
  readonly subscriberNetworks?: readonly string[];
  /** Bytes of a QUIC connection id that count, 1 to 20, for the policy 'quic-cid' only. Default 8. */
  readonly cidLength?: number;
}

/**
 * Reads packets and makes their keys. One keyer per reader of packets; it is filled anew by every `read` and allocates
 * nothing there. Hash words are int32; write them with `>>> 0` where a u32 is wanted.
 */
export class FlowKeyer {
  /** The flow hash. For a packet with LATER_FRAGMENT it is the datagram hash. */
  flowHi = 0;
  flowLo = 0;
  /** The group hash, 32 bits, which is plenty for at most 65,537 slots. Under 'source-last-byte' that byte, 0 to 255. */
  groupHash = 0;
  /** The datagram hash, where `hasDatagram`: the packet is a first fragment and others will come by that hash. */
  datagramHi = 0;
  datagramLo = 0;
  hasDatagram = false;
  /** FrameFlags with the link kind and the protocol class. */
  flags = 0;
  /** What was met and entered where tunnels are. */
  readonly tunnels = new TunnelCounts();
  readonly #headers = new Headers();
  readonly #straight = new StraightPacket();
  /** The packet that was read last on the straight path, of which `headers` knows nothing; undefined after any other. */
  #unparsed: Uint8Array | undefined;
  #unparsedStart = 0;
  #unparsedEnd = 0;
  readonly #flowPolicy: FlowKeyPolicy;
  readonly #groupPolicy: GroupKeyPolicy;
  readonly #need: number;
  /** Undefined where tunnels are not entered. */
  readonly #inner: TunnelPorts | undefined;
  readonly #withinVlan: boolean;
  readonly #withinVni: boolean;
  readonly #byPorts: boolean;
  /** Connections are two flows, one in each direction. */
  readonly #eachWay: boolean;
  /** What of a packet's payload makes its flow, where the flow key says so. */
  readonly #identifier: IdentifierPolicy | undefined;
  readonly #usual: boolean;
  readonly #flowHash: HalfSipHash;
  readonly #groupHash: HalfSipHash;
  readonly #words: KeyWords;

  /** Throws an Error with one clear sentence when the options are not right or do not go together. */
  constructor(options: KeyOptions) {
    const { secret, flowKey = 'five-tuple', symmetric = true, tunnel = 'outer', subscriberNetworks = [] } = options;
    const { tunnelPorts = [], within = [], cidLength } = options;
    const groupKey = options.groupKey ?? defaultGroupKey(flowKey);
    requireOneOf('flow key', flowKey, flowKeyPolicies);
    requireOneOf('group key', groupKey, groupKeyPolicies);
    requireOneOf('tunnel', tunnel, ['outer', 'inner']);
    for (const part of within) requireOneOf('within', part, withinParts);
    if (tunnel === 'outer' && tunnelPorts.length > 0) throw new Error("tunnel ports are for the tunnel 'inner' only");
    if (tunnel === 'outer' && within.includes('vni')) {
      throw new Error("network identifiers are in tunnels: within 'vni' needs the tunnel 'inner'");
    }
    if (typeof secret !== 'string' || secret === '') throw new Error('the secret of the flow keys must not be empty');
    checkCoarser(flowKey, groupKey, symmetric);
    if ((flowKey === 'subscriber' || groupKey === 'subscriber') && subscriberNetworks.length === 0) {
      throw new Error("the policy 'subscriber' needs subscriber networks, such as 10.0.0.0/8");
    }
    if (cidLength !== undefined) {
      if (flowKey !== 'quic-cid' && groupKey !== 'quic-cid')
        throw new Error("the length of connection ids is for the key 'quic-cid' only");
      if (!Number.isInteger(cidLength) || cidLength < 1 || cidLength > cidLengthMax) {
        throw new Error(`connection ids of ${cidLength} bytes: 1 to ${cidLengthMax} are possible`);
      }
    }
    // The list's own strings: one that was read from a document compares letter by letter, for every packet.
    this.#flowPolicy = flowKeyPolicies[flowKeyPolicies.indexOf(flowKey)];
    this.#groupPolicy = groupKeyPolicies[groupKeyPolicies.indexOf(groupKey)];
    this.#identifier = isIdentifierPolicy(flowKey) ? flowKey : undefined;
    this.#byPorts = flowKey === 'five-tuple' || this.#identifier !== undefined;
    this.#eachWay = this.#byPorts && !symmetric;
    this.#withinVlan = within.includes('vlan');
    this.#withinVni = within.includes('vni');
    this.#usual =
      flowKey === 'five-tuple' && within.length === 0 && (groupKey === 'address-pair' || groupKey === 'node-pair');
    this.#need = this.#byPorts
      ? KeyNeed.PORTS
      : flowKey === 'mac-pair' || flowKey === 'vlan'
        ? KeyNeed.LINK
        : KeyNeed.ADDRESSES;
    this.#inner = tunnel === 'inner' ? new TunnelPorts(tunnelPorts) : undefined;
    this.#flowHash = deriveHash('flow', secret);
    this.#groupHash = deriveHash('group', secret);
    this.#words = new KeyWords(
      symmetric && flowKey !== 'link-source',
      new Networks(subscriberNetworks),
      flowKey === 'subscriber',
      cidLength ?? defaultCidLength,
    );
  }

  /** What the flow key of the packet read last was made of, beside what the headers say. Valid as long as its bytes are. */
  get identifiers(): Pick<Identifiers, 'found' | 'gtp' | 'sip' | 'quic'> {
    return this.#words.identifiers;
  }

  /** Whether each packet is a flow. */
  get byPacket(): boolean {
    return this.#flowPolicy === 'packet';
  }

  get subscriber(): Pick<SubscriberHint, 'kind' | 'offset' | 'length' | 'version'> {
    return this.#words.hint;
  }

  /** What the parser found in the packet read last; also in one without a key. Valid as long as its bytes are. */
  get headers(): Headers {
    if (this.#unparsed !== undefined) {
      parse(
        this.#unparsed,
        this.#unparsedStart,
        this.#unparsedEnd,
        LinkType.ETHERNET,
        this.#headers,
        this.#inner ?? false,
      );
      this.#unparsed = undefined;
    }
    return this.#headers;
  }

  /**
   * Reads the packet in `buffer[start, end)` of LINKTYPE `linkType` that came in by link number `link`. Returns
   * Reason.NONE and fills the fields above, or the Reason why the packet has no key; then only `headers` tells of it.
   */
  read(buffer: Uint8Array, start: number, end: number, linkType: number, link: number): number {
    this.hasDatagram = false;
    if (this.#usual && linkType === LinkType.ETHERNET && this.#readStraight(buffer, start, end)) return Reason.NONE;
    return this.#readAny(buffer, start, end, linkType, link);
  }

  #readAny(buffer: Uint8Array, start: number, end: number, linkType: number, link: number): number {
    this.#unparsed = undefined;
    const headers = this.#headers;
    const reason = parse(buffer, start, end, linkType, headers, this.#inner ?? false);
    if (this.#inner) this.tunnels.add(headers.passage);
    if (reason !== Reason.NONE && reasons[reason].needs <= this.#need) return reason;
    const { keyed } = headers;
    let flags = (headers.link.kind << linkKindShift) | (this.#byPorts ? 0 : FrameFlags.AGGREGATE);
    this.#words.hint.kind = HintKind.NONE;
    this.#words.identifiers.found = undefined;
    if (keyed.version === 0) {
      this.flags = flags | (ProtocolClass.NON_IP << protocolClassShift);
      this.#keyOthers(buffer);
      return Reason.NONE;
    }
    // An ICMP error takes the place of the packet it quotes, the other way round.
    const turned = headers.quoted.version !== 0;
    const layer = turned ? headers.quoted : keyed;
    flags |= turned ? classifyQuoted(buffer, layer) : classify(buffer, layer, this.#eachWay);
    if (this.#flowPolicy === 'packet') {
      this.#keyPacket(buffer, layer, turned, link, flags);
      return Reason.NONE;
    }
    if (this.#identifier !== undefined && this.#keyIdentifier(buffer, layer, flags)) return Reason.NONE;
    if (this.#byPorts) {
      if (keyed.fragment !== Fragment.WHOLE) flags |= this.#keyDatagram(buffer, keyed);
      if (keyed.fragment !== Fragment.LATER) {
        this.#words.fiveTuple(buffer, layer, turned);
        if (this.#words.folded !== turned) flags |= FrameFlags.SIDE;
        if (this.#usual) {
          this.flags = flags;
          this.#hashBoth(layer.version);
          return Reason.NONE;
        }
        this.#addWithin();
        this.#hashFlow();
      }
    } else {
      this.#words.compose(this.#flowPolicy, buffer, headers.link, layer, turned, link, flags);
      this.#addWithin();
      this.#hashFlow();
    }
    // Flows of a coarser key hold packets of every protocol; they are of one type only if none of them shows its start.
    this.flags = this.#byPorts ? flags : aggregated(flags);
    this.#keyGroup(buffer, layer, turned, link, flags);
    return Reason.NONE;
  }

  /** The usual packet under the usual policies. False where the general parser is needed. */
  #readStraight(buffer: Uint8Array, start: number, end: number): boolean {
    const packet = this.#straight;
    if (!packet.read(buffer, start, end)) return false;
    const { version, sourcePort, targetPort } = packet;
    if (packet.protocol === Protocol.TCP) {
      this.flags = classifyTcp(packet.tcpFlags, this.#eachWay);
    } else {
      const flags = classifyUdp(sourcePort, targetPort);
      if (flags < 0 || this.#inner?.has(sourcePort, targetPort)) return false;
      this.flags = flags;
    }
    this.#words.straightTuple(buffer, packet);
    if (this.#words.folded) this.flags |= FrameFlags.SIDE;
    const { words, count, tail } = this.#words;
    const flow = this.#flowHash;
    const group = this.#groupHash;
    if (version === 4) flow.hashBothOfThree(words[0], words[1], words[2], tail, group, Kind.ADDRESSES);
    else flow.hashBoth(words, count, tail, group, Kind.ADDRESSES + 1);
    this.flowHi = flow.hi;
    this.flowLo = flow.lo;
    this.groupHash = group.lo;
    if (this.#unparsed !== buffer) this.#unparsed = buffer;
    this.#unparsedStart = start;
    this.#unparsedEnd = end;
    return true;
  }

  /** Each packet is a flow; the fragments of a datagram are one. */
  #keyPacket(buffer: Uint8Array, layer: IpLayer, turned: boolean, link: number, flags: number): void {
    const { keyed } = this.#headers;
    const kept = flags & ~(SINGLE | FrameFlags.TYPE1 | FrameFlags.HANDSHAKE);
    if (keyed.fragment === Fragment.WHOLE) {
      this.#words.packet();
      this.flags = kept | SINGLE;
    } else {
      this.#words.datagram(buffer, keyed, this.#headers);
      this.flags = kept | FrameFlags.HANDSHAKE;
    }
    this.#hashFlow();
    if (this.#groupPolicy === 'packet') this.#hashGroup();
    else this.#keyGroup(buffer, layer, turned, link, flags);
  }

  /** False where the packet does not show what the flow key goes by. */
  #keyIdentifier(buffer: Uint8Array, layer: IpLayer, flags: number): boolean {
    if (!this.#words.identifier(this.#flowPolicy as IdentifierPolicy, buffer, layer)) return false;
    this.#addWithin();
    this.#hashFlow();
    this.#hashGroup();
    this.flags = aggregated(flags | FrameFlags.AGGREGATE);
    return true;
  }

  /** Packets that are not IP, or whose IP header a key by link does not need. */
  #keyOthers(buffer: Uint8Array): void {
    if (this.#flowPolicy === 'vlan') this.#words.vlan(this.#headers.link);
    else if (this.#flowPolicy === 'packet') this.#words.packet();
    else this.#words.macPair(buffer, this.#headers.link);
    this.#addWithin();
    this.#hashFlow();
    if (this.#flowPolicy === 'packet') {
      this.flags |= SINGLE;
      if (this.#groupPolicy !== 'packet') this.#words.macPair(buffer, this.#headers.link);
    }
    if (this.#groupPolicy === 'source-last-byte') {
      const { macs, address, addressLength } = this.#headers.link;
      this.groupHash = macs >= 0 ? buffer[macs + 11] : addressLength > 0 ? buffer[address + addressLength - 1] : 0;
      return;
    }
    this.#hashGroup();
  }

  #keyGroup(buffer: Uint8Array, layer: IpLayer, turned: boolean, link: number, flags: number): void {
    // What shows no identifier is a flow by five-tuple, and only addresses are coarser than that in every fragment.
    const policy = this.#identifier === undefined ? this.#groupPolicy : 'address-pair';
    if (policy === 'source-last-byte') {
      this.groupHash = buffer[(turned ? layer.target : layer.source) + (layer.version === 4 ? 3 : 15)];
      return;
    }
    // Unless the two policies are one and the words of the flow key are still in place.
    if (policy !== this.#flowPolicy || this.#byPorts) {
      this.#words.compose(policy, buffer, this.#headers.link, layer, turned, link, flags);
      this.#addWithin();
    }
    this.#hashGroup();
  }

  /** Returns the flag for a fragment; both kinds of fragment are known by their datagram. */
  #keyDatagram(buffer: Uint8Array, layer: IpLayer): number {
    this.#words.datagram(buffer, layer, this.#headers);
    this.#hashFlow();
    this.datagramHi = this.flowHi;
    this.datagramLo = this.flowLo;
    this.hasDatagram = layer.fragment === Fragment.FIRST;
    return this.hasDatagram ? 0 : FrameFlags.LATER_FRAGMENT;
  }

  /** Five-tuple and address pair together: the addresses are what the words of the five-tuple begin with. */
  #hashBoth(version: number): void {
    const flow = this.#flowHash;
    const group = this.#groupHash;
    const { words, count, tail } = this.#words;
    const addressWords = version === 4 ? 2 : 8;
    const groupTail = version === 4 ? Kind.ADDRESSES : Kind.ADDRESSES + 1;
    if (count === addressWords + 1) {
      flow.hashBoth(words, count, tail, group, groupTail);
    } else {
      // A packet without ports: nothing but the tails tells the two keys apart.
      flow.hash(words, count, tail, 2);
      group.hash(words, addressWords, groupTail, 2);
    }
    this.flowHi = flow.hi;
    this.flowLo = flow.lo;
    this.groupHash = group.lo;
  }

  #addWithin(): void {
    if (this.#withinVlan || this.#withinVni) this.#words.addWithin(this.#headers, this.#withinVlan, this.#withinVni);
  }

  #hashFlow(): void {
    const hash = this.#flowHash;
    hash.hash(this.#words.words, this.#words.count, this.#words.tail, 2);
    this.flowHi = hash.hi;
    this.flowLo = hash.lo;
  }

  #hashGroup(): void {
    const hash = this.#groupHash;
    hash.hash(this.#words.words, this.#words.count, this.#words.tail, 2);
    this.groupHash = hash.lo;
  }
}

function requireOneOf(what: string, value: string, names: readonly string[]): void {
  if (!names.includes(value)) throw new Error(`${what} '${value}' is none of ${names.join(', ')}`);
}

/** A hash under its own key for each purpose, from one secret: the first eight bytes of SHA-256 over purpose and secret. */
function deriveHash(purpose: string, secret: string): HalfSipHash {
  const key = createHash('sha256').update(`flowherd ${purpose} key\0${secret}`).digest();
  return new HalfSipHash(key.readInt32LE(0), key.readInt32LE(4));
}
