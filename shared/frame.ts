// The frame: a batch of packets on the bus, and the only thing that tier 1 and the DSSL actors share about a packet.
//
// One message per packet would spend more on the message than on the packet, so packets of one group travel together.
// Tier 1 parses and hashes a packet once and ships the result beside the bytes; an actor decides from the meta column
// alone and never parses. A frame is one MessagePack array of positional fields ending in two binary columns, so that
// any MessagePack reader can open it:
//
//   [ format, tier1Id, sequence, viewNumber, mapVersion, timestampMs, startOrdinal, count, meta, payload ]
//
//   meta     count rows of 12 bytes, little-endian
//            0               4               8       10      12
//            +---------------+---------------+-------+-------+
//            |    hashHi     |    hashLo     | length| flags |      flags: see frameFlags.ts
//            +---------------+---------------+-------+-------+
//   payload  the packets' bytes, end to end, in row order
//
// `sequence` counts frames per (tier 1, group) from 1, so a hole means that the bus lost frames on the way to this
// actor. `viewNumber` is the view of the group that tier 1 held: every actor decides the frame by that view.
// `startOrdinal` counts the flow starts that this tier 1 had sent to this group before this frame; round robin places a
// start by it. `timestampMs` is the packets' own time: wall time live, capture time in a replay; a frame spans at most
// `limits.frameSpanMs` of it. A frame with count 0 is an idle tier 1 saying where it stands, so that loss at the tail
// shows.
//
// A row with the flag DATAGRAM carries no packet (length 0): it names the datagram (addresses, protocol, id) that the
// next row's packet is the first fragment of. A row with LATER_FRAGMENT carries a packet that is keyed by that datagram
// hash instead of its flow hash, because the ports are not in it.

import { Packr } from 'msgpackr';
import { limits } from './limits.ts';

export const frameFormat = 1;
export const metaRowBytes = 12;
const fieldCount = 10;
/** First byte of a MessagePack array of ten elements; anything else is refused before it is decoded. */
const arrayOfTen = 0x90 | fieldCount;
const nameBytesMax = 64;

/** Copies without making a view of the packet; measured at about half the cost of `set(subarray())` for short packets. */
const copyBytes = Buffer.prototype.copy as (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  sourceStart: number,
  sourceEnd: number,
) => number;

const packr = new Packr({ useRecords: false });

/** Where a frame comes from and under which agreement it was built. */
export interface FrameHeader {
  readonly tier1Id: string;
  readonly sequence: number;
  readonly viewNumber: number;
  readonly mapVersion: number;
  readonly timestampMs: number;
  readonly startOrdinal: number;
}

/** Why a message on a data subject is not a frame. */
export const frameFaults = ['none', 'size', 'encoding', 'shape', 'format', 'count', 'lengths'] as const;
export type FrameFault = (typeof frameFaults)[number];

/** Collects the rows of one frame. Reused from frame to frame: `encode` copies the columns out and `reset` empties it. */
export class FrameBuilder {
  count = 0;
  payloadBytes = 0;
  #meta = new Uint8Array(limits.frameRows * metaRowBytes);
  #rows = new DataView(this.#meta.buffer);
  #payload = Buffer.allocUnsafe(limits.frameTargetBytes + limits.packetBytes);

  /** True when a packet of `length` bytes must go into the next frame. */
  isFull(length: number): boolean {
    return (
      this.count + 2 > limits.frameRows || (this.count > 0 && this.payloadBytes + length > limits.frameTargetBytes)
    );
  }

  /** Appends a packet; the caller has checked `isFull` and that `length` is at most `limits.packetBytes`. */
  add(buffer: Uint8Array, start: number, length: number, hi: number, lo: number, flags: number): void {
    this.#row(hi, lo, length, flags);
    copyBytes.call(buffer, this.#payload, this.payloadBytes, start, start + length);
    this.payloadBytes += length;
  }

  /** Appends a row without a packet: the datagram hash that the next row's first fragment belongs to. */
  addDatagram(hi: number, lo: number, flags: number): void {
    this.#row(hi, lo, 0, flags);
  }

  encode(header: FrameHeader): Uint8Array {
    return encodeFrame(
      header,
      this.count,
      this.#meta.subarray(0, this.count * metaRowBytes),
      this.#payload.subarray(0, this.payloadBytes),
    );
  }

  reset(): void {
    this.count = 0;
    this.payloadBytes = 0;
  }

  #row(hi: number, lo: number, length: number, flags: number): void {
    const at = this.count * metaRowBytes;
    this.#rows.setInt32(at, hi, true);
    this.#rows.setInt32(at + 4, lo, true);
    this.#rows.setUint32(at + 8, length | (flags << 16), true);
    this.count++;
  }
}

export function encodeFrame(header: FrameHeader, count: number, meta: Uint8Array, payload: Uint8Array): Uint8Array {
  return packr.pack([
    frameFormat,
    header.tier1Id,
    header.sequence,
    header.viewNumber,
    header.mapVersion,
    header.timestampMs,
    header.startOrdinal,
    count,
    meta,
    payload,
  ]);
}

/** One decoded frame. `meta` and `payload` are views into the message: copy the message to keep them. */
export class Frame implements FrameHeader {
  tier1Id = '';
  sequence = 0;
  viewNumber = 0;
  mapVersion = 0;
  timestampMs = 0;
  startOrdinal = 0;
  count = 0;
  meta: DataView = new DataView(new ArrayBuffer(0));
  payload: Uint8Array = new Uint8Array(0);

  /**
   * Reads a message into this object. The bytes come from the network: whatever is wrong with them is an answer, never
   * an exception. After any answer but 'none' the fields are meaningless.
   */
  decode(message: Uint8Array): FrameFault {
    if (message.length < 2 || message.length > limits.frameMaxBytes) return 'size';
    if (message[0] !== arrayOfTen) return 'encoding';
    let fields: unknown;
    try {
      fields = packr.unpack(message);
    } catch {
      return 'encoding';
    }
    if (!Array.isArray(fields) || fields.length !== fieldCount) return 'shape';
    const [format, tier1Id, sequence, viewNumber, mapVersion, timestampMs, startOrdinal, count, meta, payload] = fields;
    if (format !== frameFormat) return typeof format === 'number' ? 'format' : 'shape';
    if (typeof tier1Id !== 'string' || tier1Id.length === 0 || tier1Id.length > nameBytesMax) return 'shape';
    if (!isCounter(sequence) || !isCounter(viewNumber) || !isCounter(mapVersion)) return 'shape';
    if (!isCounter(startOrdinal) || typeof timestampMs !== 'number' || !Number.isFinite(timestampMs)) return 'shape';
    if (!isCounter(count) || !(meta instanceof Uint8Array) || !(payload instanceof Uint8Array)) return 'shape';
    if (count > limits.frameRows || meta.length !== count * metaRowBytes) return 'count';
    this.tier1Id = tier1Id;
    this.sequence = sequence;
    this.viewNumber = viewNumber;
    this.mapVersion = mapVersion;
    this.timestampMs = timestampMs;
    this.startOrdinal = startOrdinal;
    this.count = count;
    this.meta = new DataView(meta.buffer, meta.byteOffset, meta.length);
    this.payload = payload;
    let sum = 0;
    for (let row = 0; row < count; row++) sum += this.meta.getUint16(row * metaRowBytes + 8, true);
    return sum === payload.length ? 'none' : 'lengths';
  }

  hashHi(row: number): number {
    return this.meta.getInt32(row * metaRowBytes, true);
  }

  hashLo(row: number): number {
    return this.meta.getInt32(row * metaRowBytes + 4, true);
  }

  length(row: number): number {
    return this.meta.getUint16(row * metaRowBytes + 8, true);
  }

  flags(row: number): number {
    return this.meta.getUint16(row * metaRowBytes + 10, true);
  }
}

function isCounter(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
