// The words of a key: what of a packet is hashed under each policy, and in which order.
//
// A key is a short string of 32-bit words and a two-byte tail. The tail names the kind of key and the protocol, so that
// keys of different kinds never meet. Where directions are folded, the lower end comes first; so both directions write
// the same words. `turned` exchanges source and target: an ICMP error travels against the packet it quotes.
import { i32, u16 } from '../packet/bytes.ts';
import { type Headers, type IpLayer, type LinkLayer, parseLimits } from '../packet/decode/headers.ts';
import type { StraightPacket } from '../packet/decode/straight.ts';
import { type IdentifierPolicy, Identifiers } from './identifiers.ts';
import type { Networks } from './networks.ts';
import type { GroupKeyPolicy } from './policies.ts';
import { HintKind, hardwareBytes, SubscriberHint } from './subscriber.ts';

/** What kind of key a string of words is: the low byte of its tail. IPv6 kinds are one above those of IPv4. */
export const Kind = {
  PORTS: 1,
  PROTOCOL: 3,
  ECHO: 5,
  DATAGRAM: 7,
  ADDRESSES: 9,
  MACS: 11,
  LINK_ADDRESS: 12,
  LINK_PROTOCOL: 13,
  VLAN: 14,
  LINK_SOURCE: 15,
  SUBSCRIBER: 17,
  SUBSCRIBER_HARDWARE: 19,
  SUBSCRIBER_CLIENT_ID: 20,
  SUBSCRIBER_DUID: 21,
  PACKET: 22,
  TEID_USER: 23,
  TEID_CONTROL: 25,
  CALL_ID: 27,
  CONNECTION_ID: 28,
} as const;

const noVlan = 0xfff;
/** A Call-ID, client id or DUID that is longer counts by so many bytes, and its length. */
const nameBytes = 256;
/** The longest key without what it lies within: such a name and its length. */
const keyWordsMax = 1 + nameBytes / 4;
/** A word of counts, all VLAN ids and all network identifiers. */
const withinWordsMax = 1 + (parseLimits.tunnels + 1) * parseLimits.vlanTags + parseLimits.tunnels;

/** One key at a time, filled in place. */
export class KeyWords {
  readonly words = new Int32Array(keyWordsMax + withinWordsMax);
  count = 0;
  /** Whether source and target were exchanged, because the lower end comes first. */
  folded = false;
  /** Two bytes: the kind of key, and above it the protocol where that belongs to the key. */
  tail = 0;
  readonly #symmetric: boolean;
  readonly #networks: Networks;
  readonly #useHints: boolean;
  /** What the subscriber's key was made of. */
  readonly hint = new SubscriberHint();
  readonly identifiers: Identifiers;
  /** Packets that were keyed as flows of their own. */
  packets = 0;

  /**
   * `useHints`: key signalling by the subscriber it is about (see subscriber.ts). `cidLength`: bytes of a QUIC connection id
   * that count.
   */
  constructor(symmetric: boolean, networks: Networks, useHints: boolean, cidLength: number) {
    this.#symmetric = symmetric;
    this.#networks = networks;
    this.#useHints = useHints;
    this.identifiers = new Identifiers(cidLength);
  }

  /**
   * Puts the words of a packet with the IP header `layer` under `policy` into place; `ingress` is the number of the link
   * it came in by, `flags` what `classify` says of it.
   */
  compose(
    policy: GroupKeyPolicy,
    buffer: Uint8Array,
    link: LinkLayer,
    layer: IpLayer,
    turned: boolean,
    ingress: number,
    flags: number,
  ): void {
    switch (policy) {
      case 'five-tuple':
        this.fiveTuple(buffer, layer, turned);
        return;
      case 'address-pair':
      case 'node-pair':
        this.#turnedAddresses(buffer, layer, turned, 0, 0);
        this.tail = layer.version === 4 ? Kind.ADDRESSES : Kind.ADDRESSES + 1;
        return;
      case 'mac-pair':
        this.macPair(buffer, link);
        return;
      case 'vlan':
        this.vlan(link);
        return;
      case 'link-source':
        this.words[0] = ingress;
        this.#oneAddress(buffer, turned ? layer.target : layer.source, layer.version, 1, Kind.LINK_SOURCE);
        return;
      case 'subscriber':
        this.#subscriber(buffer, layer, turned, flags);
        return;
      case 'packet':
        this.packet();
        return;
      case 'gtp-teid':
      case 'sip-call-id':
      case 'quic-cid':
        if (!this.identifier(policy, buffer, layer)) {
          this.compose('address-pair', buffer, link, layer, turned, ingress, flags);
        }
        return;
    }
  }

  /** Addresses, ports and protocol; for packets without ports the echo identifier, or just addresses and protocol. */
  fiveTuple(buffer: Uint8Array, layer: IpLayer, turned: boolean): void {
    let kind: number = Kind.PROTOCOL;
    if (layer.sourcePort >= 0) {
      const source = turned ? layer.targetPort : layer.sourcePort;
      const target = turned ? layer.sourcePort : layer.targetPort;
      const folded = this.#turnedAddresses(buffer, layer, turned, source, target);
      this.words[this.count++] = folded ? (target << 16) | source : (source << 16) | target;
      kind = Kind.PORTS;
    } else {
      this.#turnedAddresses(buffer, layer, turned, 0, 0);
      if (layer.echoId >= 0) {
        this.words[this.count++] = layer.echoId;
        kind = Kind.ECHO;
      }
    }
    if (layer.version === 6) kind++;
    this.tail = kind | (layer.protocol << 8);
  }

  /** The same for a packet that was read on the straight path, which always has ports. */
  straightTuple(buffer: Uint8Array, packet: StraightPacket): void {
    const { source, sourcePort, targetPort } = packet;
    if (packet.version === 4) {
      const { words } = this;
      const first = i32(buffer, source);
      const second = i32(buffer, source + 4);
      const folded = this.#symmetric && (first === second ? sourcePort > targetPort : first >>> 0 > second >>> 0);
      this.folded = folded;
      words[0] = folded ? second : first;
      words[1] = folded ? first : second;
      words[2] = folded ? (targetPort << 16) | sourcePort : (sourcePort << 16) | targetPort;
      this.count = 3;
      this.tail = Kind.PORTS | (packet.protocol << 8);
      return;
    }
    const folded = this.#addresses(buffer, 6, source, source + 16, sourcePort, targetPort);
    this.words[8] = folded ? (targetPort << 16) | sourcePort : (sourcePort << 16) | targetPort;
    this.count = 9;
    this.tail = (Kind.PORTS + 1) | (packet.protocol << 8);
  }

  #turnedAddresses(
    buffer: Uint8Array,
    layer: IpLayer,
    turned: boolean,
    sourcePort: number,
    targetPort: number,
  ): boolean {
    const source = turned ? layer.target : layer.source;
    const target = turned ? layer.source : layer.target;
    return this.#addresses(buffer, layer.version, source, target, sourcePort, targetPort);
  }

  /**
   * Both addresses; where directions are folded, the lower one first (at equal addresses the one with the lower port).
   * Returns whether they were exchanged for that.
   */
  #addresses(
    buffer: Uint8Array,
    version: number,
    source: number,
    target: number,
    sourcePort: number,
    targetPort: number,
  ): boolean {
    const words = this.words;
    if (version === 4) {
      const first = i32(buffer, source);
      const second = i32(buffer, target);
      this.count = 2;
      const folded = this.#symmetric && (first === second ? sourcePort > targetPort : first >>> 0 > second >>> 0);
      words[0] = folded ? second : first;
      words[1] = folded ? first : second;
      this.folded = folded;
      return folded;
    }
    this.count = 8;
    let order = 0;
    for (let word = 0; word < 4; word++) {
      const first = i32(buffer, source + word * 4);
      const second = i32(buffer, target + word * 4);
      words[word] = first;
      words[word + 4] = second;
      if (order === 0 && first !== second) order = first >>> 0 > second >>> 0 ? 1 : -1;
    }
    const folded = this.#symmetric && (order === 0 ? sourcePort > targetPort : order > 0);
    if (folded) {
      for (let word = 0; word < 4; word++) {
        const first = words[word];
        words[word] = words[word + 4];
        words[word + 4] = first;
      }
    }
    this.folded = folded;
    return folded;
  }

  /** One address behind `before` words. */
  #oneAddress(buffer: Uint8Array, offset: number, version: number, before: number, kind: number): void {
    const size = version === 4 ? 1 : 4;
    for (let word = 0; word < size; word++) this.words[before + word] = i32(buffer, offset + word * 4);
    this.count = before + size;
    this.tail = version === 4 ? kind : kind + 1;
  }

  /**
   * The address of the one end that is a subscriber; between two subscribers, or two strangers, the lower address where
   * directions are folded, else the source. Signalling is keyed by whom it is about, but only where flows are subscribers: in a
   * finer flow, one flow carries many of them.
   */
  #subscriber(buffer: Uint8Array, layer: IpLayer, turned: boolean, flags: number): void {
    const { hint } = this;
    const found = this.#useHints && !turned ? hint.find(buffer, layer, flags) : HintKind.NONE;
    switch (found) {
      case HintKind.HARDWARE:
        this.#bytes(buffer, hint.offset, hint.length, hardwareBytes, Kind.SUBSCRIBER_HARDWARE);
        return;
      case HintKind.CLIENT_ID:
        this.#bytes(buffer, hint.offset, hint.length, nameBytes, Kind.SUBSCRIBER_CLIENT_ID);
        return;
      case HintKind.DUID:
        this.#bytes(buffer, hint.offset, hint.length, nameBytes, Kind.SUBSCRIBER_DUID);
        return;
      case HintKind.NONE: {
        const { version } = layer;
        const source = turned ? layer.target : layer.source;
        const target = turned ? layer.source : layer.target;
        const isOne = this.#networks.has(buffer, source, version);
        const isOther = this.#networks.has(buffer, target, version);
        const other = isOne === isOther ? this.#symmetric && isLower(buffer, target, source, version) : isOther;
        hint.offset = other ? target : source;
        hint.version = version;
        hint.kind = this.#useHints ? HintKind.ADDRESS : HintKind.NONE;
      }
    }
    this.#oneAddress(buffer, hint.offset, hint.version, 0, Kind.SUBSCRIBER);
  }

  /** A key that no other packet has: tier 1 counts. Nothing of the packet is in it, so the same bytes sent twice have two. */
  packet(): void {
    this.packets++;
    this.words[0] = this.packets | 0;
    this.words[1] = (this.packets / 0x1_0000_0000) | 0;
    this.count = 2;
    this.tail = Kind.PACKET;
  }

  /** What the packet says it belongs to (identifiers.ts). False, and nothing is in place, where it does not say. */
  identifier(policy: IdentifierPolicy, buffer: Uint8Array, layer: IpLayer): boolean {
    const { identifiers } = this;
    if (!identifiers.find(policy, buffer, layer)) return false;
    const { gtp, sip, quic } = identifiers;
    if (policy === 'gtp-teid') {
      this.words[0] = i32(buffer, gtp.teid);
      this.#oneAddress(buffer, gtp.receiver, gtp.version, 1, gtp.isControl ? Kind.TEID_CONTROL : Kind.TEID_USER);
    } else if (policy === 'sip-call-id') {
      this.#bytes(buffer, sip.offset, sip.length, nameBytes, Kind.CALL_ID);
    } else {
      this.#bytes(buffer, quic.offset, quic.length, quic.length, Kind.CONNECTION_ID);
    }
    return true;
  }

  /** A string of bytes, `most` of them, behind its length. */
  #bytes(buffer: Uint8Array, offset: number, length: number, most: number, kind: number): void {
    const { words } = this;
    const used = Math.min(length, most);
    this.count = 1 + ((used + 3) >> 2);
    words[0] = length;
    for (let word = 1; word < this.count; word++) words[word] = 0;
    for (let at = 0; at < used; at++) words[1 + (at >> 2)] |= buffer[offset + at] << ((at & 3) << 3);
    this.tail = kind;
  }

  /** The MAC pair; on a link that has none its source address, or at least the protocol it carries. */
  macPair(buffer: Uint8Array, link: LinkLayer): void {
    const words = this.words;
    const { macs, address, addressLength, protocol } = link;
    if (macs < 0) {
      words[0] = 0;
      words[1] = 0;
      for (let at = 0; at < addressLength; at++) words[at >> 2] |= buffer[address + at] << ((at & 3) << 3);
      if (addressLength === 0) words[0] = protocol;
      this.count = 2;
      this.tail = (addressLength === 0 ? Kind.LINK_PROTOCOL : Kind.LINK_ADDRESS) | (addressLength << 8);
      return;
    }
    const targetHigh = u16(buffer, macs);
    const targetLow = i32(buffer, macs + 2);
    const sourceHigh = u16(buffer, macs + 6);
    const sourceLow = i32(buffer, macs + 8);
    const order = sourceHigh - targetHigh || (sourceLow >>> 0) - (targetLow >>> 0);
    const folded = this.#symmetric && order > 0;
    words[0] = folded ? (targetHigh << 16) | sourceHigh : (sourceHigh << 16) | targetHigh;
    words[1] = folded ? targetLow : sourceLow;
    words[2] = folded ? sourceLow : targetLow;
    this.count = 3;
    this.tail = Kind.MACS;
  }

  /** The outermost two VLAN ids: a customer behind QinQ is known by both. */
  vlan(link: LinkLayer): void {
    const { vlanCount, vlans } = link;
    this.words[0] = vlanCount > 0 ? vlans[0] : noVlan;
    this.words[1] = vlanCount > 1 ? vlans[1] : noVlan;
    this.count = 2;
    this.tail = Kind.VLAN;
  }

  /**
   * Adds what the packet lies within: its VLAN ids, inside tunnels too, and the network identifiers of its tunnels, each from
   * the outermost inwards. A word of counts comes first, so that no two lists read alike.
   */
  addWithin({ link, passage }: Headers, vlan: boolean, vni: boolean): void {
    const { words } = this;
    const counts = this.count++;
    words[counts] = 0;
    if (vlan) {
      this.#addVlans(link.vlans, link.vlanCount);
      this.#addVlans(passage.vlans, passage.vlanCount);
      words[counts] = this.count - counts - 1;
    }
    if (!vni) return;
    for (let level = 0; level < passage.vniCount; level++) words[this.count++] = passage.vnis[level];
    words[counts] |= passage.vniCount << 8;
  }

  /** Id 0 is none: such a tag has only a priority (IEEE 802.1Q clause 9.6). */
  #addVlans(vlans: Uint16Array, count: number): void {
    for (let tag = 0; tag < count; tag++) if (vlans[tag] !== 0) this.words[this.count++] = vlans[tag];
  }

  /**
   * The datagram of a fragment: addresses as they stand and identification, and always the VLANs and networks that it lies
   * within, since two tenants may use one identification at one time. Not folded: each direction counts its own.
   */
  datagram(buffer: Uint8Array, layer: IpLayer, headers: Headers): void {
    const { words } = this;
    const size = layer.version === 4 ? 1 : 4;
    for (let word = 0; word < size; word++) {
      words[word] = i32(buffer, layer.source + word * 4);
      words[size + word] = i32(buffer, layer.target + word * 4);
    }
    words[size * 2] = layer.fragmentId;
    this.count = size * 2 + 1;
    // IPv4 tells datagrams apart by protocol as well (RFC 791); in IPv6 only the first fragment's counts (RFC 8200).
    this.tail = layer.version === 4 ? Kind.DATAGRAM | (buffer[layer.offset + 9] << 8) : Kind.DATAGRAM + 1;
    const counts = this.count;
    this.addWithin(headers, true, true);
    if (words[counts] === 0) this.count = counts;
  }
}

/** Whether the address of IP `version` at `one` is lower than the one at `other`. */
function isLower(buffer: Uint8Array, one: number, other: number, version: number): boolean {
  const size = version === 4 ? 4 : 16;
  for (let at = 0; at < size; at += 4) {
    const difference = (i32(buffer, one + at) >>> 0) - (i32(buffer, other + at) >>> 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
