// Writes packet captures: what a server received, to be opened with the usual capture programs.
//
// The packets of one server may come from several captures with different link types. Plain pcap has one link type for
// the whole file, so it is only for a writer that is told its link type; otherwise the file is pcapng, where every link
// type gets an interface when its first packet comes. Times are nanoseconds in both.
//
// Packets are copied into chunks and a chunk goes to the stream when it is full, so a packet costs a copy and no system
// call. The chunks are used again once written. `write` never waits: it says when the stream has fallen behind, and
// the caller then awaits `drained`. A packet that the file cannot hold is left out and counted; a full disk shows as an
// error of `drained`, `flush` and `close`.

import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { assertCapture, captureLimits } from './batch.ts';
import { CaptureError, CaptureFault, plainReason } from './captureError.ts';
import { pcapHeaderBytes, pcapMagic, pcapRecordBytes } from './pcap.ts';
import { blockType, byteOrderMagic, sectionBlockBytes } from './pcapng.ts';

export interface CaptureWriterOptions {
  /** Fixes the link type and makes the file plain pcap. Default: pcapng, with an interface for every link type met. */
  linkType?: number;
  /** Unit of time in plain pcap. Default 'nanoseconds'; 'microseconds' is for programs that know nothing else. pcapng is
   * always written in nanoseconds. */
  unit?: 'nanoseconds' | 'microseconds';
  /** Byte order. Default true; false is for tests and for programs that ask for it. */
  littleEndian?: boolean;
  /** What to call the file in messages. Default: the path, or 'the capture'. */
  name?: string;
}

export interface CaptureTotals {
  packets: number;
  /** Captured bytes of the packets, without headers. */
  bytes: number;
  /** Packets left out: another link type than the file's, too long, or after the file could not be written. */
  refused: number;
}

const chunkBytes = 65_536;
/** Bytes given to the stream and not yet written at which the caller is asked to wait. */
const windowBytes = 1_048_576;
const sparesKept = 16;
const interfaceBytes = 32;
const packetBlockBytes = 32;

export class CaptureWriter {
  readonly totals: CaptureTotals = { packets: 0, bytes: 0, refused: 0 };
  readonly #stream: Writable;
  readonly #name: string;
  readonly #linkType: number | undefined;
  readonly #fractionsPerMs: number;
  readonly #littleEndian: boolean;
  /** Interface number by link type, pcapng only. */
  readonly #interfaces = new Map<number, number>();
  readonly #spares: Uint8Array<ArrayBuffer>[] = [];
  #chunk = new Uint8Array(chunkBytes);
  #view = new DataView(this.#chunk.buffer);
  #used = 0;
  /** The buffer of the last packet, and a view of it that copies without making an object. */
  #sourceOf: Uint8Array = this.#chunk;
  #source: Buffer = Buffer.from(this.#chunk.buffer);
  #pendingBytes = 0;
  #waiting: (() => void)[] = [];
  #fault: CaptureError | undefined;
  #closed = false;

  /** Writes to a path (an existing file is replaced) or to a stream, which `close` ends. A path that cannot be written shows
   * at the first `flush`, `drained` or `close`. */
  constructor(target: string | Writable, options: CaptureWriterOptions = {}) {
    this.#name = options.name ?? (typeof target === 'string' ? target : 'the capture');
    this.#linkType = options.linkType;
    this.#fractionsPerMs = options.linkType !== undefined && options.unit === 'microseconds' ? 1e3 : 1e6;
    this.#littleEndian = options.littleEndian ?? true;
    this.#stream = typeof target === 'string' ? createWriteStream(target) : target;
    this.#stream.on('error', (error) => this.#fail(error));
    this.#stream.on('close', () => this.#fail(new Error('the stream was closed')));
    if (options.linkType === undefined) this.#putSection();
    else this.#putPcapHeader(options.linkType);
  }

  /** Adds the packet `buffer[offset … offset + length)`, which is copied. `timeMs` is milliseconds since 1970. Returns false
   * when the caller should await `drained` before it goes on; the packet is taken nevertheless. */
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    originalLength: number,
    timeMs: number,
    linkType: number,
  ): boolean {
    assertCapture(!this.#closed, 'a packet was written after the writer was closed');
    assertCapture(
      offset >= 0 && length >= 0 && offset + length <= buffer.length,
      'a packet lies outside of its buffer',
    );
    const known = this.#linkType === undefined ? this.#interfaceOf(linkType) : linkType === this.#linkType ? 0 : -1;
    if (known < 0 || length > captureLimits.packetBytes || this.#fault !== undefined) {
      this.totals.refused++;
      return this.#pendingBytes < windowBytes;
    }
    this.totals.packets++;
    this.totals.bytes += length;
    if (this.#linkType === undefined) this.#putPacketBlock(buffer, offset, length, originalLength, timeMs, known);
    else this.#putRecord(buffer, offset, length, originalLength, timeMs);
    return this.#pendingBytes < windowBytes;
  }

  /** Resolves when the stream has caught up enough to go on. Rejects with CaptureError if the file cannot be written. */
  async drained(): Promise<void> {
    while (this.#fault === undefined && this.#pendingBytes >= windowBytes) await this.#progress();
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Resolves when every packet so far has been given to the operating system. Rejects with CaptureError. */
  async flush(): Promise<void> {
    this.#send();
    while (this.#fault === undefined && this.#pendingBytes > 0) await this.#progress();
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Writes what is left and ends the stream. Rejects with CaptureError if anything could not be written. */
  async close(): Promise<CaptureTotals> {
    if (this.#closed) return this.totals;
    try {
      await this.flush();
    } finally {
      this.#closed = true;
    }
    this.#stream.end();
    try {
      await finished(this.#stream, { readable: false });
    } catch (error) {
      throw this.#unwritable(error);
    }
    return this.totals;
  }

  #putPcapHeader(linkType: number): void {
    const at = this.#room(pcapHeaderBytes);
    const view = this.#view;
    const little = this.#littleEndian;
    view.setUint32(at, this.#fractionsPerMs === 1e6 ? pcapMagic.nanoseconds : pcapMagic.microseconds, little);
    view.setUint16(at + 4, 2, little);
    view.setUint16(at + 6, 4, little);
    view.setUint32(at + 8, 0, little);
    view.setUint32(at + 12, 0, little);
    view.setUint32(at + 16, captureLimits.packetBytes, little);
    view.setUint32(at + 20, linkType, little);
  }

  #putSection(): void {
    const at = this.#room(sectionBlockBytes);
    const view = this.#view;
    const little = this.#littleEndian;
    this.#frameBlock(at, blockType.section, sectionBlockBytes);
    view.setUint32(at + 8, byteOrderMagic, little);
    view.setUint16(at + 12, 1, little);
    view.setUint16(at + 14, 0, little);
    // The section's length is not known in advance.
    view.setInt32(at + 16, -1, little);
    view.setInt32(at + 20, -1, little);
  }

  /** The interface of a link type, described in the file at its first packet; -1 if there are too many. */
  #interfaceOf(linkType: number): number {
    const known = this.#interfaces.get(linkType);
    if (known !== undefined) return known;
    if (this.#interfaces.size >= captureLimits.interfaces) return -1;
    const at = this.#room(interfaceBytes);
    const view = this.#view;
    const little = this.#littleEndian;
    this.#frameBlock(at, blockType.interface, interfaceBytes);
    view.setUint16(at + 8, linkType, little);
    view.setUint16(at + 10, 0, little);
    view.setUint32(at + 12, captureLimits.packetBytes, little);
    // Option 9, the unit of time: 10^-9 seconds; then the end of the options.
    view.setUint16(at + 16, 9, little);
    view.setUint16(at + 18, 1, little);
    view.setUint32(at + 20, 0x09000000);
    view.setUint32(at + 24, 0);
    this.#interfaces.set(linkType, this.#interfaces.size);
    return this.#interfaces.size - 1;
  }

  #putRecord(buffer: Uint8Array, offset: number, length: number, originalLength: number, timeMs: number): void {
    const at = this.#room(pcapRecordBytes);
    const little = this.#littleEndian;
    const perSecond = this.#fractionsPerMs * 1000;
    let seconds = Math.floor(timeMs / 1000);
    let fraction = Math.round((timeMs - seconds * 1000) * this.#fractionsPerMs);
    if (fraction >= perSecond) {
      seconds++;
      fraction -= perSecond;
    }
    this.#view.setUint32(at, seconds, little);
    this.#view.setUint32(at + 4, fraction, little);
    this.#view.setUint32(at + 8, length, little);
    this.#view.setUint32(at + 12, originalLength, little);
    this.#copy(buffer, offset, length);
  }

  #putPacketBlock(
    buffer: Uint8Array,
    offset: number,
    length: number,
    originalLength: number,
    timeMs: number,
    from: number,
  ): void {
    const padding = -length & 3;
    const total = packetBlockBytes + length + padding;
    const at = this.#room(packetBlockBytes - 4);
    const little = this.#littleEndian;
    this.#view.setUint32(at, blockType.enhancedPacket, little);
    this.#view.setUint32(at + 4, total, little);
    this.#view.setUint32(at + 8, from, little);
    // Nanoseconds since 1970 have more digits than a double. Whole milliseconds are q × 2^32 + r, and both q × 10^6 and
    // r × 10^6 stay below 2^53, so both halves come out exact.
    const wholeMs = Math.floor(timeMs);
    const nanoseconds = Math.round((timeMs - wholeMs) * 1e6);
    const upper = Math.floor(wholeMs / 4_294_967_296) * 1e6;
    const lower = (wholeMs % 4_294_967_296) * 1e6 + nanoseconds;
    this.#view.setUint32(at + 12, upper + Math.floor(lower / 4_294_967_296), little);
    this.#view.setUint32(at + 16, lower % 4_294_967_296, little);
    this.#view.setUint32(at + 20, length, little);
    this.#view.setUint32(at + 24, originalLength, little);
    this.#copy(buffer, offset, length);
    const end = this.#room(padding + 4);
    this.#chunk.fill(0, end, end + padding);
    this.#view.setUint32(end + padding, total, little);
  }

  #frameBlock(at: number, type: number, total: number): void {
    this.#view.setUint32(at, type, this.#littleEndian);
    this.#view.setUint32(at + 4, total, this.#littleEndian);
    this.#view.setUint32(at + total - 4, total, this.#littleEndian);
  }

  /** Takes the next `bytes` bytes of the chunk and returns where they begin; `bytes` is far below a chunk. */
  #room(bytes: number): number {
    if (this.#used + bytes > chunkBytes) this.#send();
    const at = this.#used;
    this.#used += bytes;
    return at;
  }

  #copy(buffer: Uint8Array, offset: number, length: number): void {
    if (buffer !== this.#sourceOf) {
      this.#sourceOf = buffer;
      this.#source = Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    let from = offset;
    const end = offset + length;
    while (from < end) {
      if (this.#used === chunkBytes) this.#send();
      const part = Math.min(end - from, chunkBytes - this.#used);
      this.#source.copy(this.#chunk, this.#used, from, from + part);
      this.#used += part;
      from += part;
    }
  }

  /** Gives the chunk to the stream and begins another. */
  #send(): void {
    if (this.#used === 0) return;
    const chunk = this.#chunk;
    const bytes = this.#used;
    this.#used = 0;
    if (this.#fault !== undefined) return;
    this.#pendingBytes += bytes;
    this.#chunk = this.#spares.pop() ?? new Uint8Array(chunkBytes);
    this.#view = new DataView(this.#chunk.buffer);
    this.#stream.write(chunk.subarray(0, bytes), (error) => {
      this.#pendingBytes -= bytes;
      if (error) this.#fail(error);
      else if (this.#spares.length < sparesKept) this.#spares.push(chunk);
      this.#wake();
    });
  }

  #progress(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.#fault ??= this.#unwritable(error);
    this.#wake();
  }

  #unwritable(error: unknown): CaptureError {
    return new CaptureError(CaptureFault.unwritable, `${this.#name}: cannot be written: ${plainReason(error)}`, error);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
