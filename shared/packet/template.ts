// The fast way to make packets: take one that is right, and change what differs from the next one.
//
// A template holds the headers of a packet (Ethernet, VLAN tags, IPv4 or IPv6, and TCP, UDP or one SCTP chunk) and the
// checksum over everything in them that stays the same. Writing a packet copies the headers, puts in addresses, ports,
// lengths and sequence numbers, adds their words to the sums and folds them. The payload is zeros and adds nothing: the
// cost does not grow with the packet, but for clearing its bytes. SCTP has a CRC over everything instead and costs
// accordingly.

import { buildPacket, type PacketSpec } from './build.ts';
import { put16, put32 } from './buildBytes.ts';
import { addWords, crc32c, foldChecksum } from './checksum.ts';

/**
 * What differs from packet to packet. One object is filled again and again; 32-bit values may be signed or unsigned.
 */
export interface PacketFields {
  /** The IPv4 address, or the last 32 bits of the IPv6 one. */
  source: number;
  target: number;
  sourcePort: number;
  targetPort: number;
  /** IPv4 identification, u16. */
  identification: number;
  /** TCP sequence number, or TSN of an SCTP DATA chunk. */
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
    sequence: 0,
    acknowledgement: 0,
    tcpFlags: 0,
  };
}

export const tcpFlagBits = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

export class PacketTemplate {
  /** Bytes before the payload: the shortest packet of this template. */
  readonly headerBytes: number;
  readonly #headers: Uint8Array;
  readonly #ip: number;
  readonly #transport: number;
  readonly #isIpv4: boolean;
  readonly #protocol: number;
  /** Only payloads that a chunk or datagram carries may grow; an SCTP INIT has none. */
  readonly #hasPayload: boolean;
  /** Sums of the words that never change, with the changing ones taken as zero. */
  readonly #ipSum: number;
  readonly #transportSum: number;

  /** `spec` needs IP addresses and a `tcp`, `udp` or `sctp` layer (one chunk) without payload; throws otherwise. */
  constructor(spec: PacketSpec) {
    const headers = buildPacket(spec);
    const ip = spec.link === 'none' ? 0 : 14 + 4 * (spec.vlans?.length ?? 0);
    this.#isIpv4 = headers[ip]! >>> 4 === 4;
    const transport = ip + (this.#isIpv4 ? 20 : 40);
    this.#protocol = headers[this.#isIpv4 ? ip + 9 : ip + 6]!;
    const layers = [spec.tcp, spec.udp, spec.sctp].filter((layer) => layer !== undefined);
    const isPlain = spec.fragment === undefined && spec.extensions === undefined && spec.ipOptions === undefined;
    if (layers.length !== 1 || !isPlain) throw new Error('a template needs IP and exactly one of tcp, udp and sctp');
    this.headerBytes = headers.length;
    this.#ip = ip;
    this.#transport = transport;
    this.#hasPayload = this.#protocol !== 132 || headers[transport + 12] === 0;
    const fixed = headers.slice();
    if (this.#isIpv4) {
      for (const at of [2, 4, 10, 12, 14, 16, 18]) put16(fixed, ip + at, 0);
      this.#ipSum = addWords(0, fixed, ip, transport);
    } else {
      put32(fixed, ip + 20, 0);
      put32(fixed, ip + 36, 0);
      this.#ipSum = addWords(0, fixed, ip + 8, ip + 40);
    }
    put32(fixed, transport, 0);
    if (this.#protocol === 6) {
      put32(fixed, transport + 4, 0);
      put32(fixed, transport + 8, 0);
      fixed[transport + 13] = 0;
      put16(fixed, transport + 16, 0);
    } else if (this.#protocol === 17) {
      put32(fixed, transport + 4, 0);
    }
    // In IPv6 the fixed words of the addresses are part of the transport's sum.
    const addresses = this.#isIpv4 ? 0 : this.#ipSum;
    this.#transportSum = addWords(addresses + this.#protocol, fixed, transport, fixed.length);
    this.#headers = headers;
  }

  /**
   * The length a packet of about `length` bytes really gets: not shorter than its headers, and as SCTP pads it.
   */
  fit(length: number): number {
    if (!this.#hasPayload || length <= this.headerBytes) return this.headerBytes;
    return this.#protocol === 132 ? length - ((length - this.headerBytes) & 3) : length;
  }

  /** Writes a packet of `length` bytes (a result of fit()) at `offset`, where the buffer has room for it. */
  write(buffer: Uint8Array, offset: number, length: number, fields: PacketFields): void {
    const headers = this.#headers;
    const headerBytes = this.headerBytes;
    for (let i = 0; i < headerBytes; i++) buffer[offset + i] = headers[i]!;
    if (length > headerBytes) buffer.fill(0, offset + headerBytes, offset + length);
    const addressSum = words(fields.source) + words(fields.target);
    this.#writeIp(buffer, offset + this.#ip, length - this.#ip, fields, addressSum);
    const at = offset + this.#transport;
    const transportBytes = length - this.#transport;
    put16(buffer, at, fields.sourcePort);
    put16(buffer, at + 2, fields.targetPort);
    if (this.#protocol === 132) {
      this.#finishSctp(buffer, at, transportBytes, fields);
      return;
    }
    let sum = this.#transportSum + addressSum + fields.sourcePort + fields.targetPort + transportBytes;
    if (this.#protocol === 6) {
      put32(buffer, at + 4, fields.sequence);
      put32(buffer, at + 8, fields.acknowledgement);
      buffer[at + 13] = fields.tcpFlags;
      sum += words(fields.sequence) + words(fields.acknowledgement) + fields.tcpFlags;
      put16(buffer, at + 16, foldChecksum(sum));
    } else {
      put16(buffer, at + 4, transportBytes);
      put16(buffer, at + 6, foldChecksum(sum + transportBytes) || 0xffff);
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

  #finishSctp(buffer: Uint8Array, at: number, bytes: number, fields: PacketFields): void {
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
}

function words(value: number): number {
  return (value >>> 16) + (value & 0xffff);
}
