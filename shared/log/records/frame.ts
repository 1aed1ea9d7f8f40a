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
import { limits } from '../../base/limits.ts';

export const frameFormat = 1;
export const metaRowBytes = 12;
export const wordsPerRow = 3;
const fieldCount = 10;
/** First byte of a MessagePack array of ten elements; anything else is refused before it is decoded. */
const arrayOfTen = 0x90 | fieldCount;
const nameBytesMax = 64;
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

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

/**
 * Collects the rows of one frame. Packets are copied once, to where they lie in the message: the payload grows behind a
 * space that is large enough for all that precedes it, and `encode` fills that space from its end.
 *
 *   | unused | header | bin32 | meta rows | bin32 | payload ...        | unused |
 *            ^ the message begins here            ^ payloadStart
 */
export class FrameBuilder {
  count = 0;
  payloadBytes = 0;
  readonly #meta = new Uint8Array(limits.frameRows * metaRowBytes);
  readonly #rows = new DataView(this.#meta.buffer);
  /** The message in the making; given away by `encode`. */
  #message = Buffer.allocUnsafe(usualMessageBytes);

  /** True when a packet of `length` bytes must go into the next frame. */
  isFull(length: number): boolean {
    return (
      this.count + 2 > limits.frameRows || (this.count > 0 && this.payloadBytes + length > limits.frameTargetBytes)
    );
  }

  /** Appends a packet; the caller has checked `isFull` and that `length` is at most `limits.packetBytes`. */
  add(buffer: Uint8Array, start: number, length: number, hi: number, lo: number, flags: number): void {
    this.#row(hi, lo, length, flags);
    const at = payloadStart + this.payloadBytes;
    // Only a packet above the frame's target can need more room, and it is alone in its frame.
    if (at + length > this.#message.length) this.#message = Buffer.allocUnsafe(at + length);
    copyBytes.call(buffer, this.#message, at, start, start + length);
    this.payloadBytes += length;
  }

  /** Appends a row without a packet: the datagram hash that the next row's first fragment belongs to. */
  addDatagram(hi: number, lo: number, flags: number): void {
    this.#row(hi, lo, 0, flags);
  }

  /** The message, and an empty builder. */
  finish(header: FrameHeader): Uint8Array {
    const message = this.#message;
    const metaBytes = this.count * metaRowBytes;
    const metaStart = payloadStart - binHeaderBytes - metaBytes;
    writeBinHeader(message, payloadStart - binHeaderBytes, this.payloadBytes);
    message.set(this.#meta.subarray(0, metaBytes), metaStart);
    writeBinHeader(message, metaStart - binHeaderBytes, metaBytes);
    const fields = packHeader(header, this.count);
    const start = metaStart - binHeaderBytes - fields.length;
    message.set(fields, start);
    const end = payloadStart + this.payloadBytes;
    this.count = 0;
    this.payloadBytes = 0;
    // A short message is cheaper to copy than a new buffer is to make; a long one is given away.
    if (end - start <= shortMessageBytes) return Buffer.from(message.subarray(start, end));
    this.#message = Buffer.allocUnsafe(usualMessageBytes);
    return message.subarray(start, end);
  }

  #row(hi: number, lo: number, length: number, flags: number): void {
    const at = this.count * metaRowBytes;
    this.#rows.setInt32(at, hi, true);
    this.#rows.setInt32(at + 4, lo, true);
    this.#rows.setUint32(at + 8, length | (flags << 16), true);
    this.count++;
  }
}

const binHeaderBytes = 5;
/** Eight fields before the columns: a name and numbers of at most nine bytes each. */
const headerBytesMax = 1 + 2 + nameBytesMax + 7 * 9;
const payloadStart = headerBytesMax + 2 * binHeaderBytes + limits.frameRows * metaRowBytes;
const shortMessageBytes = 4_000;
const usualMessageBytes = payloadStart + limits.frameTargetBytes;

/** The array's first byte, which says that ten fields follow, and the first eight of them. */
function packHeader(header: FrameHeader, count: number): Uint8Array {
  const { tier1Id, sequence, viewNumber, mapVersion, timestampMs, startOrdinal } = header;
  const bytes = packr.pack([frameFormat, tier1Id, sequence, viewNumber, mapVersion, timestampMs, startOrdinal, count]);
  bytes[0] = arrayOfTen;
  return bytes;
}

/** bin 32: 0xc6 and the length, big-endian (MessagePack specification, "bin format family"). */
function writeBinHeader(message: Buffer, at: number, length: number): void {
  message[at] = 0xc6;
  message.writeUInt32BE(length, at + 1);
}

/**
 * One decoded frame, to be used again for the next. `meta` and `payload` are views into the message: copy the message to
 * keep them.
 */
export class Frame implements FrameHeader {
  tier1Id = '';
  sequence = 0;
  viewNumber = 0;
  mapVersion = 0;
  timestampMs = 0;
  startOrdinal = 0;
  count = 0;
  /** The rows as they came. */
  meta: Uint8Array = new Uint8Array(0);
  payload: Uint8Array = new Uint8Array(0);
  /** The rows as words, three a row: hashHi, hashLo, length | flags << 16. */
  readonly words = new Int32Array(limits.frameRows * wordsPerRow);
  readonly #bytes = new Uint8Array(this.words.buffer);

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
    this.meta = meta;
    this.payload = payload;
    // The column lies anywhere in the message, so it is copied to where it can be read as words.
    this.#bytes.set(meta);
    if (!isLittleEndian) Buffer.from(this.words.buffer, 0, meta.length).swap32();
    let sum = 0;
    for (let row = 0; row < count; row++) sum += this.words[row * wordsPerRow + 2] & 0xffff;
    return sum === payload.length ? 'none' : 'lengths';
  }

  hashHi(row: number): number {
    return this.words[row * wordsPerRow];
  }

  hashLo(row: number): number {
    return this.words[row * wordsPerRow + 1];
  }

  length(row: number): number {
    return this.words[row * wordsPerRow + 2] & 0xffff;
  }

  flags(row: number): number {
    return this.words[row * wordsPerRow + 2] >>> 16;
  }
}

function isCounter(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
