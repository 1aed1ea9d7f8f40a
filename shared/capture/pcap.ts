// The classic pcap format: a file header, then packets, each behind a record header of fixed size. The writer's byte
// order and the unit of its times show in the first four bytes. (draft-ietf-opsawg-pcap)
//
//   file    | magic | version major u16, minor u16 | zone | accuracy | snapshot length | link type |        24 bytes
//   record  | seconds | micro- or nanoseconds | captured length | original length |  packet                 16 bytes + …
//
// A record has no mark of its own. After a length that cannot be, nothing tells where the next record begins, so
// reading ends there; the packets before it stand.

import { type BatchRows, captureLimits, type RecordReader } from './batch.ts';
import { CaptureError, CaptureFault } from './captureError.ts';

export const pcapMagic = {
  microseconds: 0xa1b2c3d4,
  nanoseconds: 0xa1b23c4d,
  /** A Linux variant whose records carry 8 more bytes (interface, protocol, packet type). */
  modified: 0xa1b2cd34,
} as const;

export const pcapHeaderBytes = 24;
export const pcapRecordBytes = 16;
const modifiedRecordBytes = 24;

/** Whether the first four bytes of a file, read in big-endian order, are a pcap file's, in either order. */
export function isPcap(magic: number): boolean {
  return isMagic(magic) || isMagic(swap(magic));
}

export class PcapReader implements RecordReader {
  readonly format: string;
  problem: string | undefined;
  readonly #littleEndian: boolean;
  readonly #linkType: number;
  /** Fractions of a second in a millisecond. */
  readonly #fractionsPerMs: number;
  readonly #headerBytes: number;
  #records = 0;

  /** Reads the file header, the first `pcapHeaderBytes` of the view. Throws CaptureError where it is not usable. */
  constructor(view: DataView, available: number, name: string) {
    const inOrder = isMagic(view.getUint32(0));
    this.#littleEndian = !inOrder;
    const magic = view.getUint32(0, this.#littleEndian);
    const order = inOrder ? 'big-endian' : 'little-endian';
    this.format = magic === pcapMagic.nanoseconds ? `pcap-ns ${order}` : `pcap ${order}`;
    this.#fractionsPerMs = magic === pcapMagic.nanoseconds ? 1e6 : 1e3;
    this.#headerBytes = magic === pcapMagic.modified ? modifiedRecordBytes : pcapRecordBytes;
    if (available < pcapHeaderBytes) {
      throw new CaptureError(CaptureFault.notACapture, `${name}: the file ends inside its pcap header`);
    }
    const version = view.getUint16(4, this.#littleEndian);
    if (version !== 2) {
      throw new CaptureError(CaptureFault.unsupported, `${name}: pcap version ${version} is not supported, only 2`);
    }
    // The upper half of the word holds flags (length of the frame check sequence), which change no offset.
    this.#linkType = view.getUint32(20, this.#littleEndian) & 0xffff;
  }

  read(view: DataView, start: number, end: number, position: number, rows: BatchRows): number {
    const little = this.#littleEndian;
    const header = this.#headerBytes;
    let at = start;
    while (rows.count < rows.capacity && end - at >= header) {
      const captured = view.getUint32(at + 8, little);
      if (captured > captureLimits.packetBytes) {
        this.problem = `packet ${this.#records + 1} at byte ${position + at - start} claims ${captured} captured bytes, more than the ${captureLimits.packetBytes} a capture can hold`;
        break;
      }
      if (end - at - header < captured) break;
      const timeMs = view.getUint32(at, little) * 1000 + view.getUint32(at + 4, little) / this.#fractionsPerMs;
      rows.add(at + header, captured, view.getUint32(at + 12, little), timeMs, this.#linkType, 0);
      this.#records++;
      at += header + captured;
    }
    return at - start;
  }

  atEnd(left: number, position: number): string | undefined {
    if (left === 0) return undefined;
    return `the file ends inside packet ${this.#records + 1}, which begins at byte ${position}`;
  }
}

function isMagic(value: number): boolean {
  return value === pcapMagic.microseconds || value === pcapMagic.nanoseconds || value === pcapMagic.modified;
}

function swap(value: number): number {
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}
