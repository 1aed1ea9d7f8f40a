// Builds packets, whole and right: what the tests feed to the parser, and what the templates of the generator start
// from.
//
// A packet is described as data, one property a layer, and every field that is not named has a sensible value; lengths
// and checksums are computed. So a case of a test is a line:
//
//   buildPacket({ source: '10.0.0.1', target: '192.0.2.1', tcp: { sourcePort: 4000, targetPort: 80, flags: 'S' } })
//   buildPacket({ source: '2001:db8::1', target: '2001:db8::2', vlans: [7], udp: { sourcePort: 1, targetPort: 53 } })
//
// Transport layers are in buildTransport.ts, what goes into them (GTP, RADIUS, DHCP) in buildPayload.ts. For millions
// of packets a second use template.ts: it takes one of these packets and changes addresses, ports and lengths in place.

import { addressFamily, parseAddress, parseMac } from '../addressText.ts';
import { addWords, internetChecksum } from '../checksum.ts';
import { type Bytes, put16, put32, writeBytes } from './buildBytes.ts';
import {
  type DccpSpec,
  type IcmpSpec,
  type SctpSpec,
  type TcpSpec,
  type UdpSpec,
  writeDccp,
  writeIcmp,
  writeSctp,
  writeTcp,
  writeUdp,
} from './buildTransport.ts';

export interface VlanSpec {
  /** 0 to 4095. */
  readonly id: number;
  readonly priority?: number;
  /** 0x8100 (802.1Q, the default) or 0x88a8 (the outer tag of 802.1ad). */
  readonly etherType?: number;
}

export interface FragmentSpec {
  /** Of this fragment's first byte in the datagram's payload; a multiple of 8. */
  readonly offset: number;
  readonly more: boolean;
}

/** A packet as data. `source` and `target` decide between IPv4 and IPv6; without them it is a plain Ethernet frame. */
export interface PacketSpec {
  /** `ethernet` (default), or `none`: the packet begins with its IP header. */
  readonly link?: 'ethernet' | 'none';
  readonly sourceMac?: string;
  readonly targetMac?: string;
  /** Tags from the outermost inwards; a number is its id. */
  readonly vlans?: readonly (number | VlanSpec)[];
  /** Of a frame without IP; default 0x88b5 (for local experiments). */
  readonly etherType?: number;
  readonly source?: string;
  readonly target?: string;
  /** Time to live, hop limit; default 64. */
  readonly ttl?: number;
  /** Type of service, traffic class; default 0. */
  readonly trafficClass?: number;
  /** IPv6 only; default 0. */
  readonly flowLabel?: number;
  /** IPv4 identification, or the 32-bit one of an IPv6 fragment header; default 0. */
  readonly identification?: number;
  readonly dontFragment?: boolean;
  /** IPv4 options, padded to 4 bytes. */
  readonly ipOptions?: Uint8Array;
  /** IPv6 extension headers before the transport: each its number and its bytes after the first two. */
  readonly extensions?: readonly { readonly header: number; readonly body: Uint8Array }[];
  /**
   * Marks the packet as a fragment. With offset 0 the transport header is written and its length and checksum are those
   * of what is here; with another offset only `payload` is. To cut a whole datagram in parts use fragmentPacket().
   */
  readonly fragment?: FragmentSpec;
  readonly tcp?: TcpSpec;
  readonly udp?: UdpSpec;
  readonly sctp?: SctpSpec;
  readonly dccp?: DccpSpec;
  /** ICMP, or ICMPv6 between IPv6 addresses. */
  readonly icmp?: IcmpSpec;
  /** IP in IP (RFC 2003, RFC 2473); `link` of the inner packet is ignored. */
  readonly inner?: PacketSpec;
  /** The protocol number where none of the layers above is given, or to lie about it. */
  readonly protocol?: number;
  /** What follows IP (or Ethernet) where no transport layer is given. */
  readonly payload?: Bytes;
}

/** The packet, in bytes of its own. */
export function buildPacket(spec: PacketSpec): Uint8Array {
  const buffer = new Uint8Array(0x1_0100);
  return buffer.slice(0, writePacket(spec, buffer, 0));
}

/**
 * Writes the packet at `offset` and returns where it ends. The buffer must have room (RangeError): this is a tool of
 * our own, not something that network input reaches.
 */
export function writePacket(spec: PacketSpec, buffer: Uint8Array, offset: number): number {
  const ip = spec.source === undefined || spec.target === undefined ? 0 : addressFamily(spec.source);
  let at = offset;
  if (spec.link !== 'none') at = writeEthernet(spec, ip, buffer, at);
  if (ip === 4) at = writeIpv4(spec, buffer, at);
  else if (ip === 6) at = writeIpv6(spec, buffer, at);
  else at = writeBytes(spec.payload ?? '', buffer, at);
  if (at > buffer.length)
    throw new RangeError(`the buffer has ${buffer.length - offset} bytes, the packet needs ${at - offset}`);
  return at;
}

/**
 * Cuts the packet into IP fragments of at most `payloadBytes` (a multiple of 8) after the IP header, as a router or an
 * IPv6 sender would (RFC 791, RFC 8200 section 4.5). The transport checksum is the whole datagram's. One packet when it
 * fits.
 */
export function fragmentPacket(spec: PacketSpec, payloadBytes: number): Uint8Array[] {
  if (payloadBytes < 8 || payloadBytes % 8 !== 0)
    throw new RangeError(`fragments of ${payloadBytes} bytes: not a multiple of 8`);
  const { extensions: _, ipOptions: __, ...plain } = spec;
  const whole = buildPacket({ ...plain, link: 'none' });
  const version = whole[0]! >>> 4;
  const body = whole.subarray(version === 4 ? 20 : 40);
  const protocol = whole[version === 4 ? 9 : 6]!;
  if (body.length <= payloadBytes) return [buildPacket(spec)];
  const { tcp: _t, udp: _u, sctp: _s, dccp: _d, icmp: _i, inner: _n, ...carrier } = spec;
  const fragments: Uint8Array[] = [];
  for (let offset = 0; offset < body.length; offset += payloadBytes) {
    const payload = body.subarray(offset, offset + payloadBytes);
    const more = offset + payloadBytes < body.length;
    fragments.push(buildPacket({ ...carrier, protocol, payload, fragment: { offset, more } }));
  }
  return fragments;
}

function writeEthernet(spec: PacketSpec, ip: number, buffer: Uint8Array, start: number): number {
  buffer.set(parseMac(spec.targetMac ?? '02:00:00:00:00:02'), start);
  buffer.set(parseMac(spec.sourceMac ?? '02:00:00:00:00:01'), start + 6);
  let at = start + 12;
  for (const entry of spec.vlans ?? []) {
    const vlan = typeof entry === 'number' ? { id: entry } : entry;
    at = put16(buffer, at, vlan.etherType ?? 0x8100);
    at = put16(buffer, at, ((vlan.priority ?? 0) << 13) | vlan.id);
  }
  return put16(buffer, at, ip === 4 ? 0x0800 : ip === 6 ? 0x86dd : (spec.etherType ?? 0x88b5));
}

function writeIpv4(spec: PacketSpec, buffer: Uint8Array, start: number): number {
  const options = spec.ipOptions ?? new Uint8Array(0);
  const headerBytes = 20 + Math.ceil(options.length / 4) * 4;
  const fragment = spec.fragment;
  buffer.fill(0, start, start + headerBytes);
  buffer[start] = 0x40 | (headerBytes / 4);
  buffer[start + 1] = spec.trafficClass ?? 0;
  put16(buffer, start + 4, spec.identification ?? 0);
  const fragmentWord = fragment === undefined ? 0 : (fragment.offset >>> 3) | (fragment.more ? 0x2000 : 0);
  put16(buffer, start + 6, fragmentWord | (spec.dontFragment === true ? 0x4000 : 0));
  buffer[start + 8] = spec.ttl ?? 64;
  buffer[start + 9] = protocolNumber(spec, 4);
  buffer.set(parseAddress(spec.source!), start + 12);
  buffer.set(parseAddress(spec.target!), start + 16);
  buffer.set(options, start + 20);
  const end = writeTransport(spec, 4, buffer, start + headerBytes, addWords(0, buffer, start + 12, start + 20));
  put16(buffer, start + 2, end - start);
  put16(buffer, start + 10, internetChecksum(buffer, start, start + headerBytes));
  return end;
}

const fragmentHeader = 44;

function writeIpv6(spec: PacketSpec, buffer: Uint8Array, start: number): number {
  put32(buffer, start, (6 << 28) | ((spec.trafficClass ?? 0) << 20) | (spec.flowLabel ?? 0));
  buffer[start + 7] = spec.ttl ?? 64;
  buffer.set(parseAddress(spec.source!), start + 8);
  buffer.set(parseAddress(spec.target!), start + 24);
  let nextHeaderAt = start + 6;
  let at = start + 40;
  for (const extension of spec.extensions ?? []) {
    buffer[nextHeaderAt] = extension.header;
    nextHeaderAt = at;
    const bytes = Math.ceil((extension.body.length + 2) / 8) * 8;
    buffer.fill(0, at, at + bytes);
    // The length counts units of 8 after the first; that of the authentication header (51) units of 4 less 2.
    buffer[at + 1] = extension.header === 51 ? bytes / 4 - 2 : bytes / 8 - 1;
    buffer.set(extension.body, at + 2);
    at += bytes;
  }
  if (spec.fragment !== undefined) {
    buffer[nextHeaderAt] = fragmentHeader;
    nextHeaderAt = at;
    buffer[at + 1] = 0;
    put16(buffer, at + 2, (spec.fragment.offset & 0xfff8) | (spec.fragment.more ? 1 : 0));
    at = put32(buffer, at + 4, spec.identification ?? 0);
  }
  buffer[nextHeaderAt] = protocolNumber(spec, 6);
  const end = writeTransport(spec, 6, buffer, at, addWords(0, buffer, start + 8, start + 40));
  put16(buffer, start + 4, end - start - 40);
  return end;
}

function protocolNumber(spec: PacketSpec, version: 4 | 6): number {
  if (spec.protocol !== undefined) return spec.protocol;
  if (spec.tcp !== undefined) return 6;
  if (spec.udp !== undefined) return 17;
  if (spec.sctp !== undefined) return 132;
  if (spec.dccp !== undefined) return 33;
  if (spec.icmp !== undefined) return version === 4 ? 1 : 58;
  if (spec.inner !== undefined) return addressFamily(spec.inner.source!) === 4 ? 4 : 41;
  return version === 4 ? 253 : 59;
}

/** `addressSum` is the sum of the words of both addresses: what the pseudo-header's checksum begins with. */
function writeTransport(spec: PacketSpec, version: 4 | 6, buffer: Uint8Array, at: number, addressSum: number): number {
  if (spec.fragment !== undefined && spec.fragment.offset > 0) return writeBytes(spec.payload ?? '', buffer, at);
  if (spec.tcp !== undefined) return writeTcp(spec.tcp, buffer, at, addressSum);
  if (spec.udp !== undefined) return writeUdp(spec.udp, buffer, at, addressSum);
  if (spec.sctp !== undefined) return writeSctp(spec.sctp, buffer, at);
  if (spec.dccp !== undefined) return writeDccp(spec.dccp, buffer, at, addressSum);
  if (spec.icmp !== undefined) return writeIcmp(spec.icmp, version, buffer, at, addressSum, embed);
  if (spec.inner !== undefined) return writePacket({ ...spec.inner, link: 'none' }, buffer, at);
  return writeBytes(spec.payload ?? '', buffer, at);
}

/** Builds the packet that an ICMP error quotes. Passed down so that the transport file need not import this one. */
function embed(inner: PacketSpec | Uint8Array): Uint8Array {
  return inner instanceof Uint8Array ? inner : buildPacket({ ...inner, link: 'none' });
}
