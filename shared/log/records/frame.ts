// The frame: a batch of packets in a group's log, and the only thing that tier 1 and the DSSL actors share about a packet.
//
// One entry per packet would spend more on the entry than on the packet, so packets of one group travel together.
// Tier 1 parses and hashes a packet once and ships the result beside the bytes; a replica decides from the meta column
// alone and never parses. A frame is one MessagePack array of positional fields ending in two binary columns, so that
// any MessagePack reader can open it:
//
//   [ format, tier1Id, number, follows, mapVersion, timestampMs, count, meta, payload ]
//
//   meta     count rows of 12 bytes, little-endian
//            0               4               8       10      12
//            +---------------+---------------+-------+-------+
//            |    hashHi     |    hashLo     | length| flags |      flags: see frameFlags.ts
//            +---------------+---------------+-------+-------+
//   payload  the packets' bytes, end to end, in row order
//
// `tier1Id` names one life of a tier 1 (`<name>`, later `<name>.2`, `<name>.3`, ...), `number` counts that life's frames to this group from 1, and `follows` is the number
// of the frame that this one follows: the one before it, or after frames were dropped, the one before the gap. A replica
// applies a frame if `follows <= last < number`, where `last` is the last number of that life that it applied (0 for a life
// that it does not know). So a tier 1 may send again from its first unacknowledged frame on, and nothing is applied twice
// or out of order. What a frame follows can change while it waits, when those before it are dropped; hence `number` and
// `follows` have a fixed width (float 64), and `setFollows` writes into the finished message.
//
// `timestampMs` is the packets' own time: wall time live, capture time in a replay; a frame spans at most
// `limits.frameSpanMs` of it.
//
// A row with the flag DATAGRAM carries no packet (length 0): it names the datagram (addresses, protocol, id) that the
// next row's packet is the first fragment of. A row with LATER_FRAGMENT carries a packet that is keyed by that datagram
// hash instead of its flow hash, because the ports are not in it.
//
// Frames on `in.<tier1>` (packets from an upstream to a tier 1, over the bus) have the same form. There a hole in the
// numbers is a loss.

import { Packr } from 'msgpackr';
import { limits } from '../../base/limits.ts';
import { type FrameMemory, FramePool } from './framePool.ts';

export const frameFormat = 2;
export const metaRowBytes = 12;
export const wordsPerRow = 3;
const fieldCount = 9;
/** First byte of a MessagePack array of nine elements; anything else is refused before it is decoded. */
const arrayOfNine = 0x90 | fieldCount;
/** Longest name of a tier 1's life, in UTF-8 bytes: the longest name of a tier 1, a dot, and a number. */
export const lifeNameBytesMax = 80;
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/**
 * Up to so many bytes eight at a time cost less than a call of the platform's copy: 13 ns against 39 for 128 bytes, and as
 * much at about 400.
 */
const shortCopyBytes = 384;

const noView = new DataView(new ArrayBuffer(0));

/** Copies without making a view of the packet. */
const copyBytes = Buffer.prototype.copy as (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  sourceStart: number,
  sourceEnd: number,
) => number;

const packr = new Packr({ useRecords: false });

/** Where a frame comes from, where it stands among its author's frames, and by which map it was built. */
export interface FrameHeader {
  readonly tier1Id: string;
  /** From 1. */
  readonly number: number;
  /** Below `number`. */
  readonly follows: number;
  readonly mapVersion: number;
  readonly timestampMs: number;
}

/** Why bytes that came as a frame are none. */
export const frameFaults = ['none', 'size', 'encoding', 'shape', 'format', 'count', 'lengths'] as const;
export type FrameFault = (typeof frameFaults)[number];

/**
 * Collects the rows of one frame. Packets are copied once, to where they lie in the message: the payload grows behind a
 * space that is large enough for all that precedes it, and `finish` fills that space from its end.
 *
 *   | unused | header | bin32 | meta rows | bin32 | payload ...        | unused |
 *            ^ the message begins here            ^ payloadStart
 */
export class FrameBuilder {
  count = 0;
  payloadBytes = 0;
  readonly #meta = new Uint8Array(limits.frameRows * metaRowBytes);
  readonly #rows = new DataView(this.#meta.buffer);
  readonly #pool: FramePool;
  /** Of the message in the making; undefined while there is none. */
  #memory: FrameMemory | undefined;
  /** As much as there is of it, and a view of it. */
  #room = 0;
  #to: DataView = noView;
  /** Where the last packet came from that was not copied through a view; and a buffer with a view of it. */
  #source: Uint8Array | undefined;
  #viewed: Uint8Array | undefined;
  #from: DataView = noView;
  /** The first fields of a message, up to the name; the same for all frames of one life. */
  #name: Uint8Array = new Uint8Array(0);
  #namedAs: string | undefined;

  /** `pool`: shared by builders that work side by side. */
  constructor(pool: FramePool = new FramePool(usualMessageBytes)) {
    this.#pool = pool;
  }

  /** A pool for several builders. */
  static pool(): FramePool {
    return new FramePool(usualMessageBytes);
  }

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
    if (at + length > this.#room) this.#makeRoom(at + length);
    if (buffer === this.#viewed && length <= shortCopyBytes && length >= 8)
      copyShort(this.#from, start, this.#to, at, length);
    else this.#copy(buffer, start, at, length);
    this.payloadBytes += length;
  }

  /** Appends a row without a packet: the datagram hash that the next row's first fragment belongs to. */
  addDatagram(hi: number, lo: number, flags: number): void {
    this.#row(hi, lo, 0, flags);
  }

  /** The message, and an empty builder. */
  finish(header: FrameHeader): Uint8Array {
    const memory = this.#memory ?? this.#makeRoom(payloadStart);
    const message = memory.bytes;
    const metaBytes = this.count * metaRowBytes;
    const metaStart = payloadStart - binHeaderBytes - metaBytes;
    writeBinHeader(message, payloadStart - binHeaderBytes, this.payloadBytes);
    message.set(this.#meta.subarray(0, metaBytes), metaStart);
    writeBinHeader(message, metaStart - binHeaderBytes, metaBytes);
    const start = metaStart - binHeaderBytes - this.#headerBytes(header.tier1Id);
    this.#writeHeader(message, start, header);
    const end = payloadStart + this.payloadBytes;
    this.count = 0;
    this.payloadBytes = 0;
    this.#memory = undefined;
    this.#room = 0;
    const frame = message.subarray(start, end);
    if (frame.length > shortMessageBytes) return frame;
    // A short message is copied, so that it does not keep the memory of a long one.
    const copy = Buffer.from(frame);
    this.#pool.giveBack(memory);
    return copy;
  }

  /** Only a packet above the frame's target can need more than the usual memory, and it is alone in its frame. */
  #makeRoom(bytes: number): FrameMemory {
    if (this.#memory !== undefined) this.#pool.giveBack(this.#memory);
    const memory = this.#pool.take(bytes);
    this.#memory = memory;
    this.#room = memory.bytes.length;
    this.#to = memory.view;
    return memory;
  }

  /** A view of a buffer pays from the second packet on that comes out of it. */
  #copy(buffer: Uint8Array, start: number, at: number, length: number): void {
    if (buffer !== this.#source) {
      this.#source = buffer;
    } else if (buffer !== this.#viewed) {
      this.#viewed = buffer;
      this.#from = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    }
    if (this.#memory !== undefined) copyBytes.call(buffer, this.#memory.bytes, at, start, start + length);
  }

  #headerBytes(tier1Id: string): number {
    if (tier1Id !== this.#namedAs) {
      const bytes = Buffer.byteLength(tier1Id);
      if (bytes === 0 || bytes > lifeNameBytesMax) throw new RangeError(`a life's name of ${bytes} bytes: ${tier1Id}`);
      const prefix = bytes < 32 ? [0xa0 | bytes] : [0xd9, bytes];
      this.#name = Buffer.concat([Buffer.from([arrayOfNine, frameFormat, ...prefix]), Buffer.from(tier1Id)]);
      this.#namedAs = tier1Id;
    }
    return this.#name.length + numbersBytes;
  }

  #writeHeader(message: Buffer, start: number, { number, follows, mapVersion, timestampMs }: FrameHeader): void {
    message.set(this.#name, start);
    let at = start + this.#name.length;
    at = writeFloat(message, at, number);
    at = writeFloat(message, at, follows);
    at = writeFloat(message, at, mapVersion);
    at = writeFloat(message, at, timestampMs);
    message[at] = 0xcd;
    message.writeUInt16BE(this.count, at + 1);
  }

  #row(hi: number, lo: number, length: number, flags: number): void {
    const at = this.count * metaRowBytes;
    this.#rows.setInt32(at, hi, true);
    this.#rows.setInt32(at + 4, lo, true);
    this.#rows.setUint32(at + 8, length | (flags << 16), true);
    this.count++;
  }
}

/** Copies eight bytes at a time, at least eight; the last eight may overlap those before. */
function copyShort(from: DataView, start: number, to: DataView, at: number, length: number): void {
  const last = length - 8;
  for (let done = 0; done < last; done += 8) to.setBigInt64(at + done, from.getBigInt64(start + done, true), true);
  to.setBigInt64(at + last, from.getBigInt64(start + last, true), true);
}

const binHeaderBytes = 5;
const floatBytes = 9;
/** Behind the name: four numbers as float 64, and the count as uint 16. */
const numbersBytes = 4 * floatBytes + 3;
const headerBytesMax = 2 + 2 + lifeNameBytesMax + numbersBytes;
const payloadStart = headerBytesMax + 2 * binHeaderBytes + limits.frameRows * metaRowBytes;
const shortMessageBytes = 4_000;
const usualMessageBytes = payloadStart + limits.frameTargetBytes;

/**
 * Writes into an encoded frame which frame it follows. The message is one that a FrameBuilder made; anything else is a
 * defect of the caller and throws.
 */
export function setFollows(message: Uint8Array, follows: number): void {
  const prefix = message[2];
  const nameEnd = prefix === 0xd9 ? 4 + message[3] : 3 + (prefix & 0x1f);
  const at = nameEnd + floatBytes;
  const isFrame = message[0] === arrayOfNine && message[1] === frameFormat && message[nameEnd] === 0xcb;
  if (!isFrame || message[at] !== 0xcb) throw new TypeError('setFollows: not a frame with numbers of fixed width');
  new DataView(message.buffer, message.byteOffset).setFloat64(at + 1, follows);
}

/** The name of the n-th life that a tier 1 numbers its frames in; the first one is called as the tier 1 itself. */
export function lifeName(tier1: string, life: number): string {
  return life === 1 ? tier1 : `${tier1}.${life}`;
}

/** The name of the tier 1 whose life this is: what comes before the dot, which is in no other name. */
export function tier1Of(life: string): string {
  const dot = life.indexOf('.');
  return dot < 0 ? life : life.slice(0, dot);
}

/** float 64: 0xcb and the number, big-endian. Returns the place behind it. */
function writeFloat(message: Buffer, at: number, value: number): number {
  message[at] = 0xcb;
  return message.writeDoubleBE(value, at + 1);
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
  number = 0;
  follows = 0;
  mapVersion = 0;
  timestampMs = 0;
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
    if (message[0] !== arrayOfNine) return 'encoding';
    let fields: unknown;
    try {
      fields = packr.unpack(message);
    } catch {
      return 'encoding';
    }
    if (!Array.isArray(fields) || fields.length !== fieldCount) return 'shape';
    const [format, tier1Id, number, follows, mapVersion, timestampMs, count, meta, payload] = fields;
    if (format !== frameFormat) return typeof format === 'number' ? 'format' : 'shape';
    if (typeof tier1Id !== 'string' || tier1Id.length === 0 || tier1Id.length > lifeNameBytesMax) return 'shape';
    if (!isCounter(number) || !isCounter(follows) || follows >= number || !isCounter(mapVersion)) return 'shape';
    if (typeof timestampMs !== 'number' || !Number.isFinite(timestampMs)) return 'shape';
    if (!isCounter(count) || !(meta instanceof Uint8Array) || !(payload instanceof Uint8Array)) return 'shape';
    if (count > limits.frameRows || meta.length !== count * metaRowBytes) return 'count';
    this.tier1Id = tier1Id;
    this.number = number;
    this.follows = follows;
    this.mapVersion = mapVersion;
    this.timestampMs = timestampMs;
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
