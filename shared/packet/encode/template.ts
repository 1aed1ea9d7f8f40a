// The fast way to make packets: take one that is right, and change what differs from the next one.
//
// A template holds the headers of a packet (Ethernet, VLAN tags, IPv4 or IPv6, and TCP, UDP, one SCTP chunk, an ICMP
// echo, or GTP in UDP) and the checksum over everything in them that stays the same. Writing a packet copies the headers,
// puts in addresses, ports, lengths and numbers, adds their words to the sums and folds them. The payload is zeros and
// adds nothing: the cost does not grow with the packet, but for clearing its bytes. SCTP has a CRC over everything
// instead and costs accordingly. A packet in a tunnel is written by a template of its own.

import { addWords, crc32c, foldChecksum } from '../checksum.ts';
import { buildPacket, type PacketSpec } from './build.ts';
import { put16, put32 } from './buildBytes.ts';
import { gtpUser, gtpUserPorts } from './buildPayload.ts';

/**
 * What differs from packet to packet. One object is filled again and again; 32-bit values may be signed or unsigned.
 */
export interface PacketFields {
  /** The IPv4 address, or the last 32 bits of the IPv6 one. In GTP-U the inner packet has the same. */
  source: number;
  target: number;
  /** In GTP-U those of the inner packet: outside both are 2152. */
  sourcePort: number;
  targetPort: number;
  /** IPv4 identification, u16. */
  identification: number;
  /** Of an ICMP echo (u16), or the tunnel endpoint of GTP (u32). */
  identifier: number;
  /** TCP sequence number, TSN of an SCTP DATA chunk, number of an ICMP echo or of a GTP-C message. */
  sequence: number;
  acknowledgement: number;
  /** TCP flags as bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16. */
  tcpFlags: number;
}

/** Fields that are all zero, to be filled. */
export function packetFields(): PacketFields {
  return {
    source: 0,
    target: 0,
    sourcePort: 0,
    targetPort: 0,
    identification: 0,
    identifier: 0,
    sequence: 0,
    acknowledgement: 0,
    tcpFlags: 0,
  };
}

export const tcpFlagBits = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

/** A packet to make others of: IP addresses, and exactly one of these layers, without payload. */
export interface TemplateSpec extends PacketSpec {
  /** A GTP-C message (see buildPayload.ts) between ports that are filled in. */
  readonly gtpControl?: Uint8Array;
  /** The user's packet in a GTP-U tunnel: TCP or UDP. */
  readonly gtpUser?: PacketSpec;
}

type Form = 'tcp' | 'udp' | 'sctp' | 'icmp' | 'gtpControl' | 'gtpUser';
const forms: readonly Form[] = ['tcp', 'udp', 'sctp', 'icmp', 'gtpControl', 'gtpUser'];

/** UDP header, and behind it the GTP-U header without options (3GPP TS 29.281). */
const udpBytes = 8;
const gtpUserBytes = 8;

export class PacketTemplate {
  /** Bytes before the payload: the shortest packet of this template. */
  readonly headerBytes: number;
  /** Those up to a packet inside, which is written by its own template. */
  readonly #headers: Uint8Array;
  readonly #form: Form;
  readonly #ip: number;
  readonly #transport: number;
  readonly #isIpv4: boolean;
  /** Only payloads that a chunk or datagram carries may grow; an SCTP INIT has none, and a GTP-C message is whole. */
  readonly #hasPayload: boolean;
  /** Sums of the words that never change, with the changing ones taken as zero. */
  readonly #ipSum: number;
  readonly #transportSum: number;
  readonly #inner: PacketTemplate | undefined;
  /** Where in its word a GTP-C message has the sequence number: version 1 in the upper 16 bits, 2 in the upper 24. */
  readonly #sequenceShift: number;

  /** Throws on what is no TemplateSpec. */
  constructor(spec: TemplateSpec) {
    const form = forms.find((layer) => spec[layer] !== undefined);
    const isPlain = spec.fragment === undefined && spec.extensions === undefined && spec.ipOptions === undefined;
    if (form === undefined || forms.filter((layer) => spec[layer] !== undefined).length !== 1 || !isPlain)
      throw new Error(`a template needs IP and exactly one of ${forms.join(', ')}`);
    const headers = buildPacket(plainSpec(spec));
    const ip = spec.link === 'none' ? 0 : 14 + 4 * (spec.vlans?.length ?? 0);
    this.#form = form;
    this.#isIpv4 = headers[ip]! >>> 4 === 4;
    const transport = ip + (this.#isIpv4 ? 20 : 40);
    this.headerBytes = headers.length;
    this.#ip = ip;
    this.#transport = transport;
    this.#hasPayload = form === 'sctp' ? headers[transport + 12] === 0 : form !== 'gtpControl';
    this.#inner = spec.gtpUser === undefined ? undefined : new PacketTemplate({ ...spec.gtpUser, link: 'none' });
    this.#sequenceShift = spec.gtpControl !== undefined && spec.gtpControl[0]! >>> 5 === 2 ? 8 : 16;
    const fixed = headers.slice();
    if (this.#isIpv4) {
      for (const at of [2, 4, 10, 12, 14, 16, 18]) put16(fixed, ip + at, 0);
      this.#ipSum = addWords(0, fixed, ip, transport);
    } else {
      put32(fixed, ip + 20, 0);
      put32(fixed, ip + 36, 0);
      this.#ipSum = addWords(0, fixed, ip + 8, ip + 40);
    }
    clearChanging(form, fixed, transport);
    // In IPv6 the fixed words of the addresses are part of the transport's sum; ICMP has no pseudo-header in IPv4.
    const addresses = this.#isIpv4 ? 0 : this.#ipSum;
    const protocol = form === 'icmp' && this.#isIpv4 ? 0 : headers[this.#isIpv4 ? ip + 9 : ip + 6]!;
    this.#transportSum = addWords(addresses + protocol, fixed, transport, fixed.length);
    this.#headers = headers.slice(0, headers.length - (this.#inner?.headerBytes ?? 0));
  }

  /**
   * The length a packet of about `length` bytes really gets: not shorter than its headers, and as SCTP pads it.
   */
  fit(length: number): number {
    if (!this.#hasPayload || length <= this.headerBytes) return this.headerBytes;
    return this.#form === 'sctp' ? length - ((length - this.headerBytes) & 3) : length;
  }

  /** Writes a packet of `length` bytes (a result of fit()) at `offset`, where the buffer has room for it. */
  write(buffer: Uint8Array, offset: number, length: number, fields: PacketFields): void {
    const headers = this.#headers;
    const ownBytes = headers.length;
    for (let i = 0; i < ownBytes; i++) buffer[offset + i] = headers[i]!;
    if (length > ownBytes && this.#inner === undefined) buffer.fill(0, offset + ownBytes, offset + length);
    const addressSum = words(fields.source) + words(fields.target);
    this.#writeIp(buffer, offset + this.#ip, length - this.#ip, fields, addressSum);
    const at = offset + this.#transport;
    const bytes = length - this.#transport;
    const sum = this.#transportSum + addressSum + bytes;
    switch (this.#form) {
      case 'tcp':
        this.#finishTcp(buffer, at, fields, sum);
        return;
      case 'udp':
        finishUdp(buffer, at, bytes, fields.sourcePort, fields.targetPort, sum);
        return;
      case 'sctp':
        this.#finishSctp(buffer, at, bytes, fields);
        return;
      case 'icmp':
        put16(buffer, at + 4, fields.identifier);
        put16(buffer, at + 6, fields.sequence);
        put16(buffer, at + 2, foldChecksum(this.#echoSum(sum, fields)));
        return;
      case 'gtpControl':
        this.#finishControl(buffer, at, bytes, fields, sum);
        return;
      case 'gtpUser':
        this.#finishUser(buffer, at, bytes, fields, sum);
        return;
    }
  }

  #writeIp(buffer: Uint8Array, ip: number, bytes: number, fields: PacketFields, addressSum: number): void {
    if (this.#isIpv4) {
      put16(buffer, ip + 2, bytes);
      put16(buffer, ip + 4, fields.identification);
      put32(buffer, ip + 12, fields.source);
      put32(buffer, ip + 16, fields.target);
      put16(buffer, ip + 10, foldChecksum(this.#ipSum + bytes + (fields.identification & 0xffff) + addressSum));
    } else {
      put16(buffer, ip + 4, bytes - 40);
      put32(buffer, ip + 20, fields.source);
      put32(buffer, ip + 36, fields.target);
    }
  }

  #finishTcp(buffer: Uint8Array, at: number, fields: PacketFields, sum: number): void {
    const { sourcePort, targetPort, sequence, acknowledgement, tcpFlags } = fields;
    put16(buffer, at, sourcePort);
    put16(buffer, at + 2, targetPort);
    put32(buffer, at + 4, sequence);
    put32(buffer, at + 8, acknowledgement);
    buffer[at + 13] = tcpFlags;
    put16(
      buffer,
      at + 16,
      foldChecksum(sum + sourcePort + targetPort + words(sequence) + words(acknowledgement) + tcpFlags),
    );
  }

  #finishSctp(buffer: Uint8Array, at: number, bytes: number, fields: PacketFields): void {
    put16(buffer, at, fields.sourcePort);
    put16(buffer, at + 2, fields.targetPort);
    if (this.#hasPayload) {
      put16(buffer, at + 14, bytes - 12);
      put32(buffer, at + 16, fields.sequence);
    }
    put32(buffer, at + 8, 0);
    const crc = crc32c(buffer, at, at + bytes);
    buffer[at + 8] = crc;
    buffer[at + 9] = crc >>> 8;
    buffer[at + 10] = crc >>> 16;
    buffer[at + 11] = crc >>> 24;
  }

  /** `sum` is as for a layer with a pseudo-header: in IPv4 an echo has none. */
  #echoSum(sum: number, fields: PacketFields): number {
    return (this.#isIpv4 ? this.#transportSum : sum) + (fields.identifier & 0xffff) + (fields.sequence & 0xffff);
  }

  #finishControl(buffer: Uint8Array, at: number, bytes: number, fields: PacketFields, sum: number): void {
    const sequence = fields.sequence << this.#sequenceShift;
    put32(buffer, at + udpBytes + 4, fields.identifier);
    put32(buffer, at + udpBytes + 8, sequence);
    const withMessage = sum + words(fields.identifier) + words(sequence);
    finishUdp(buffer, at, bytes, fields.sourcePort, fields.targetPort, withMessage);
  }

  #finishUser(buffer: Uint8Array, at: number, bytes: number, fields: PacketFields, sum: number): void {
    const inner = this.#inner!;
    const gtp = at + udpBytes;
    const user = gtp + gtpUserBytes;
    put16(buffer, gtp + 2, at + bytes - user);
    put32(buffer, gtp + 4, fields.identifier);
    inner.write(buffer, user, at + bytes - user, fields);
    const withUser = addWords(sum, buffer, gtp, user + inner.headerBytes);
    finishUdp(buffer, at, bytes, gtpUserPorts.sourcePort, gtpUserPorts.targetPort, withUser);
  }
}

function finishUdp(buffer: Uint8Array, at: number, bytes: number, source: number, target: number, sum: number): void {
  put16(buffer, at, source);
  put16(buffer, at + 2, target);
  put16(buffer, at + 4, bytes);
  put16(buffer, at + 6, foldChecksum(sum + source + target + bytes) || 0xffff);
}

/** The packet as the builder takes it. */
function plainSpec(spec: TemplateSpec): PacketSpec {
  const none = { sourcePort: 0, targetPort: 0 };
  if (spec.gtpControl !== undefined) return { ...spec, udp: { ...none, payload: spec.gtpControl } };
  if (spec.gtpUser === undefined) return spec;
  const inner = buildPacket({ ...spec.gtpUser, link: 'none' });
  return { ...spec, udp: { ...gtpUserPorts, payload: gtpUser({ teid: 0, inner }) } };
}

/** Zeros where packets of one template differ, or where the checksum is. */
function clearChanging(form: Form, fixed: Uint8Array, transport: number): void {
  switch (form) {
    case 'tcp':
      fixed.fill(0, transport, transport + 12);
      fixed[transport + 13] = 0;
      put16(fixed, transport + 16, 0);
      return;
    case 'icmp':
      fixed.fill(0, transport + 2, transport + 8);
      return;
    case 'gtpControl':
      fixed.fill(0, transport, transport + udpBytes);
      fixed.fill(0, transport + udpBytes + 4, transport + udpBytes + 12);
      return;
    case 'udp':
      fixed.fill(0, transport, transport + udpBytes);
      return;
    default:
      // Of SCTP nothing is summed beforehand, of GTP-U only what is outside the tunnel.
      fixed.fill(0, transport);
  }
}

function words(value: number): number {
  return (value >>> 16) + (value & 0xffff);
}
