// The transport layers of build.ts: TCP, UDP, SCTP, DCCP and ICMP, each from its description to bytes with its
// checksum.
//
// Every writer puts its header and payload at `at` and returns where they end. `addressSum` is the sum of the words of
// the two IP addresses; with the protocol number and the length it makes the pseudo-header, which is the same sum for
// IPv4 (RFC 9293, section 3.1) and IPv6 (RFC 8200, section 8.1).

import { addWords, crc32c, foldChecksum } from '../checksum.ts';
import type { PacketSpec } from './build.ts';
import { type Bytes, put16, put32, writeBytes } from './buildBytes.ts';

export interface TcpSpec {
  readonly sourcePort: number;
  readonly targetPort: number;
  /** Letters of `SAFRPUEC`, in any order; default `A`. */
  readonly flags?: string;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly window?: number;
  /** TCP options, padded to 4 bytes. */
  readonly options?: Uint8Array;
  readonly payload?: Bytes;
}

export interface UdpSpec {
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly payload?: Bytes;
  /** False writes 0: not checked (RFC 768; RFC 6935 for tunnels over IPv6). Default true. */
  readonly checksum?: boolean;
}

/** Chunk types of RFC 9260, section 3.2. */
export const sctpChunks = {
  data: 0,
  init: 1,
  'init-ack': 2,
  sack: 3,
  heartbeat: 4,
  'heartbeat-ack': 5,
  abort: 6,
  shutdown: 7,
  'shutdown-ack': 8,
  error: 9,
  'cookie-echo': 10,
  'cookie-ack': 11,
  'shutdown-complete': 14,
} as const;
export type SctpChunkName = keyof typeof sctpChunks;

export interface SctpChunkSpec {
  /** By name or number. */
  readonly type: SctpChunkName | number;
  readonly flags?: number;
  /** What follows the 4 bytes of the chunk header. Default: the fixed fields of that type with plausible values. */
  readonly value?: Bytes;
}

export interface SctpSpec {
  readonly sourcePort: number;
  readonly targetPort: number;
  /** Default 1, and 0 in a packet whose first chunk is an INIT, as RFC 9260 section 8.5.1 wants it. */
  readonly verificationTag?: number;
  /** Default: one DATA chunk with `payload`. */
  readonly chunks?: readonly (SctpChunkName | SctpChunkSpec)[];
  /** User data of chunks of type `data` that have no value of their own. */
  readonly payload?: Bytes;
}

/** Packet types of RFC 4340, section 5.1, and the bytes that follow the 16-byte header. */
export const dccpTypes = {
  request: { number: 0, extra: 4 },
  response: { number: 1, extra: 12 },
  data: { number: 2, extra: 0 },
  ack: { number: 3, extra: 8 },
  'data-ack': { number: 4, extra: 8 },
  'close-req': { number: 5, extra: 8 },
  close: { number: 6, extra: 8 },
  reset: { number: 7, extra: 12 },
} as const;

export interface DccpSpec {
  readonly sourcePort: number;
  readonly targetPort: number;
  /** Default `data`. */
  readonly type?: keyof typeof dccpTypes;
  readonly sequence?: number;
  readonly payload?: Bytes;
}

/** ICMP messages by name: [type, code] of ICMP (RFC 792), then of ICMPv6 (RFC 4443). */
const icmpTypes = {
  'echo-request': [8, 0, 128, 0],
  'echo-reply': [0, 0, 129, 0],
  'port-unreachable': [3, 3, 1, 4],
  'host-unreachable': [3, 1, 1, 3],
  'packet-too-big': [3, 4, 2, 0],
  'time-exceeded': [11, 0, 3, 0],
  'parameter-problem': [12, 0, 4, 0],
} as const;

export interface IcmpSpec {
  /** By name, or numbers. */
  readonly kind?: keyof typeof icmpTypes;
  readonly type?: number;
  readonly code?: number;
  /** Of an echo. */
  readonly identifier?: number;
  readonly sequence?: number;
  /** Of packet-too-big; default 1280. */
  readonly mtu?: number;
  readonly payload?: Bytes;
  /** The packet an error is about, as the sender of that packet sent it; quoted from its IP header on. */
  readonly embedded?: PacketSpec | Uint8Array;
  /** Bytes of it that are quoted; default all of it. 28 is what RFC 792 asks for: IPv4 header and 8 more. */
  readonly embeddedBytes?: number;
}

const tcpFlagBits: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };

export function writeTcp(spec: TcpSpec, buffer: Uint8Array, at: number, addressSum: number): number {
  const options = spec.options ?? new Uint8Array(0);
  const headerBytes = 20 + Math.ceil(options.length / 4) * 4;
  let flags = 0;
  for (const letter of spec.flags ?? 'A') {
    const bit = tcpFlagBits[letter];
    if (bit === undefined) throw new Error(`not a TCP flag: ${letter}`);
    flags |= bit;
  }
  buffer.fill(0, at, at + headerBytes);
  put16(buffer, at, spec.sourcePort);
  put16(buffer, at + 2, spec.targetPort);
  put32(buffer, at + 4, spec.sequence ?? 1);
  put32(buffer, at + 8, spec.acknowledgement ?? 0);
  buffer[at + 12] = (headerBytes / 4) << 4;
  buffer[at + 13] = flags;
  put16(buffer, at + 14, spec.window ?? 0xffff);
  buffer.set(options, at + 20);
  const end = writeBytes(spec.payload ?? '', buffer, at + headerBytes);
  put16(buffer, at + 16, foldChecksum(addWords(addressSum + 6 + (end - at), buffer, at, end)));
  return end;
}

export function writeUdp(spec: UdpSpec, buffer: Uint8Array, at: number, addressSum: number): number {
  put16(buffer, at, spec.sourcePort);
  put16(buffer, at + 2, spec.targetPort);
  const end = writeBytes(spec.payload ?? '', buffer, at + 8);
  put16(buffer, at + 4, end - at);
  put16(buffer, at + 6, 0);
  // A computed 0 is sent as its other form in one's complement, because 0 means "no checksum" (RFC 768).
  if (spec.checksum !== false) {
    put16(buffer, at + 6, foldChecksum(addWords(addressSum + 17 + (end - at), buffer, at, end)) || 0xffff);
  }
  return end;
}

export function writeSctp(spec: SctpSpec, buffer: Uint8Array, at: number): number {
  const chunks = (spec.chunks ?? ['data']).map((chunk) => (typeof chunk === 'object' ? chunk : { type: chunk }));
  const startsWithInit = chunks[0]?.type === 'init' || chunks[0]?.type === sctpChunks.init;
  put16(buffer, at, spec.sourcePort);
  put16(buffer, at + 2, spec.targetPort);
  put32(buffer, at + 4, spec.verificationTag ?? (startsWithInit ? 0 : 1));
  put32(buffer, at + 8, 0);
  let end = at + 12;
  for (const chunk of chunks) end = writeChunk(chunk, spec.payload ?? '', buffer, end);
  const crc = crc32c(buffer, at, end);
  buffer.set([crc, crc >>> 8, crc >>> 16, crc >>> 24], at + 8);
  return end;
}

function writeChunk(chunk: SctpChunkSpec, payload: Bytes, buffer: Uint8Array, at: number): number {
  const type = typeof chunk.type === 'number' ? chunk.type : sctpChunks[chunk.type];
  buffer[at] = type;
  // The bits that a whole, unfragmented DATA chunk carries: beginning and end.
  buffer[at + 1] = chunk.flags ?? (type === sctpChunks.data ? 3 : 0);
  let end =
    chunk.value === undefined
      ? writeDefaultValue(type, payload, buffer, at + 4)
      : writeBytes(chunk.value, buffer, at + 4);
  put16(buffer, at + 2, end - at);
  while ((end - at) % 4 !== 0) buffer[end++] = 0;
  return end;
}

function writeDefaultValue(type: number, payload: Bytes, buffer: Uint8Array, at: number): number {
  if (type === sctpChunks.data) {
    // TSN, stream, sequence in the stream, payload protocol.
    put32(buffer, at, 1);
    put32(buffer, at + 4, 0);
    put32(buffer, at + 8, 0);
    return writeBytes(payload, buffer, at + 12);
  }
  if (type === sctpChunks.init || type === sctpChunks['init-ack']) {
    // Initiate tag, receiver window, outbound and inbound streams, first TSN.
    put32(buffer, at, 0x01020304);
    put32(buffer, at + 4, 0x0001_0000);
    put16(buffer, at + 8, 10);
    put16(buffer, at + 10, 10);
    return put32(buffer, at + 12, 1);
  }
  if (type === sctpChunks.sack) {
    put32(buffer, at, 1);
    put32(buffer, at + 4, 0x0001_0000);
    return put32(buffer, at + 8, 0);
  }
  if (type === sctpChunks.shutdown) return put32(buffer, at, 1);
  return at;
}

export function writeDccp(spec: DccpSpec, buffer: Uint8Array, at: number, addressSum: number): number {
  const type = dccpTypes[spec.type ?? 'data'];
  const headerBytes = 16 + type.extra;
  buffer.fill(0, at, at + headerBytes);
  put16(buffer, at, spec.sourcePort);
  put16(buffer, at + 2, spec.targetPort);
  buffer[at + 4] = headerBytes / 4;
  // The low bit says that sequence numbers have 48 bits.
  buffer[at + 8] = (type.number << 1) | 1;
  put32(buffer, at + 12, spec.sequence ?? 1);
  const end = writeBytes(spec.payload ?? '', buffer, at + headerBytes);
  put16(buffer, at + 6, foldChecksum(addWords(addressSum + 33 + (end - at), buffer, at, end)));
  return end;
}

export function writeIcmp(
  spec: IcmpSpec,
  version: 4 | 6,
  buffer: Uint8Array,
  at: number,
  addressSum: number,
  embed: (inner: PacketSpec | Uint8Array) => Uint8Array,
): number {
  const known = icmpTypes[spec.kind ?? 'echo-request'];
  buffer.fill(0, at, at + 8);
  buffer[at] = spec.type ?? known[version === 4 ? 0 : 2];
  buffer[at + 1] = spec.code ?? known[version === 4 ? 1 : 3];
  if (spec.embedded === undefined) {
    put16(buffer, at + 4, spec.identifier ?? 1);
    put16(buffer, at + 6, spec.sequence ?? 1);
  } else if (spec.kind === 'packet-too-big') {
    put32(buffer, at + 4, spec.mtu ?? 1280);
  }
  const quoted =
    spec.embedded === undefined ? (spec.payload ?? '') : embed(spec.embedded).subarray(0, spec.embeddedBytes);
  const end = writeBytes(quoted, buffer, at + 8);
  // ICMPv6 has the pseudo-header in its checksum (RFC 4443, section 2.3), ICMP has not.
  const sum = version === 4 ? 0 : addressSum + 58 + (end - at);
  put16(buffer, at + 2, foldChecksum(addWords(sum, buffer, at, end)));
  return end;
}
