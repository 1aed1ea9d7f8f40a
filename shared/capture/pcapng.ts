// The pcapng format: a chain of blocks, each with its length in front and behind, grouped in sections. A section has its
// own byte order and its own list of interfaces; an interface has a link type and a unit of time. Packets come in three
// kinds of block; every other block is passed over. (draft-ietf-opsawg-pcapng)
//
//   | type | total length |  body …, padded to 4 bytes  | total length |
//
// The length behind must repeat the length in front: that is what tells a damaged file from a sound one. Interfaces
// are numbered through the whole file, because number 0 of a second section is another interface than number 0 of the
// first.

import { type BatchRows, captureLimits, type RecordReader } from './batch.ts';
import { CaptureError, CaptureFault } from './captureError.ts';

export const blockType = {
  section: 0x0a0d0d0a,
  interface: 1,
  /** Obsolete, still found in old files. */
  packet: 2,
  simplePacket: 3,
  enhancedPacket: 6,
} as const;

export const byteOrderMagic = 0x1a2b3c4d;
export const sectionBlockBytes = 28;
const smallestBlockBytes = 12;
const interfaceBlockBytes = 20;
const simplePacketBytes = 16;
const packetBlockBytes = 32;
const option = { end: 0, timeResolution: 9, timeOffset: 14 } as const;

export class PcapngReader implements RecordReader {
  problem: string | undefined;
  #littleEndian = false;
  #bothOrders = false;
  #sections = 0;
  #blocks = 0;
  /** Bytes still to be dropped of a block too large for the window. */
  #skip = 0;
  /** Interfaces of all sections before this one. */
  #firstInterface = 0;
  #linkTypes: number[] = [];
  #snapLengths: number[] = [];
  #unitsPerMs: number[] = [];
  #offsetsMs: number[] = [];

  /** Checks that the view begins with a section header. Throws CaptureError where it does not hold one. */
  constructor(view: DataView, available: number, name: string) {
    if (available < sectionBlockBytes) {
      throw new CaptureError(CaptureFault.notACapture, `${name}: the file ends inside its pcapng header`);
    }
    const little = view.getUint32(8, true) === byteOrderMagic;
    if (!little && view.getUint32(8) !== byteOrderMagic) {
      throw new CaptureError(CaptureFault.notACapture, `${name}: not a capture: a pcapng header without a byte order`);
    }
    const version = view.getUint16(12, little);
    if (version !== 1) {
      throw new CaptureError(CaptureFault.unsupported, `${name}: pcapng version ${version} is not supported, only 1`);
    }
  }

  get format(): string {
    if (this.#bothOrders) return 'pcapng of both byte orders';
    return this.#littleEndian ? 'pcapng little-endian' : 'pcapng big-endian';
  }

  read(view: DataView, start: number, end: number, position: number, rows: BatchRows): number {
    let at = start;
    for (;;) {
      if (this.#skip > 0) {
        const dropped = Math.min(this.#skip, end - at);
        this.#skip -= dropped;
        at += dropped;
      }
      if (rows.count >= rows.capacity || end - at < smallestBlockBytes) break;
      const used = this.#readBlock(view, at, end, position + at - start, rows);
      if (used === 0) break;
      at += used;
    }
    return at - start;
  }

  atEnd(left: number, position: number): string | undefined {
    if (this.#skip > 0) return `the file ends inside block ${this.#blocks}, ${this.#skip} bytes before its end`;
    if (left === 0) return undefined;
    return `the file ends inside block ${this.#blocks + 1}, which begins at byte ${position}`;
  }

  /** Returns the block's length; 0 if it is not whole yet, or if `problem` was set. */
  #readBlock(view: DataView, at: number, end: number, position: number, rows: BatchRows): number {
    // The type of a section header reads the same in both orders: it is met before the order of its section is known.
    if (view.getUint32(at) === blockType.section && !this.#readByteOrder(view, at, position)) return 0;
    const little = this.#littleEndian;
    const type = view.getUint32(at, little);
    const total = view.getUint32(at + 4, little);
    if (total < smallestBlockBytes || total % 4 !== 0) return this.#fail(position, `claims a length of ${total} bytes`);
    if (total > captureLimits.blockBytes) {
      if (isNeeded(type)) return this.#fail(position, `claims ${total} bytes, more than a packet can take`);
      this.#skip = total - smallestBlockBytes;
      this.#blocks++;
      return smallestBlockBytes;
    }
    if (end - at < total) return 0;
    if (view.getUint32(at + total - 4, little) !== total) {
      return this.#fail(position, 'ends with another length than it begins with');
    }
    const fault = this.#readBody(type, view, at, total, rows);
    if (fault !== undefined) return this.#fail(position, fault);
    this.#blocks++;
    return total;
  }

  #fail(position: number, what: string): 0 {
    this.problem = `block ${this.#blocks + 1} at byte ${position} ${what}`;
    return 0;
  }

  #readByteOrder(view: DataView, at: number, position: number): boolean {
    const little = view.getUint32(at + 8, true) === byteOrderMagic;
    if (!little && view.getUint32(at + 8) !== byteOrderMagic) {
      this.#fail(position, 'is a section header without a byte order');
      return false;
    }
    if (this.#sections > 0 && little !== this.#littleEndian) this.#bothOrders = true;
    this.#littleEndian = little;
    return true;
  }

  /** Returns what is wrong with the block, if anything is. The block is whole, `total` bytes from `at`. */
  #readBody(type: number, view: DataView, at: number, total: number, rows: BatchRows): string | undefined {
    switch (type) {
      case blockType.section:
        return this.#readSection(view, at, total);
      case blockType.interface:
        return this.#readInterface(view, at, total);
      case blockType.enhancedPacket:
        return this.#readPacket(view, at, total, view.getUint32(at + 8, this.#littleEndian), rows);
      case blockType.packet:
        // A 16-bit interface number, then a count of drops.
        return this.#readPacket(view, at, total, view.getUint16(at + 8, this.#littleEndian), rows);
      case blockType.simplePacket:
        return this.#readSimplePacket(view, at, total, rows);
      default:
        return undefined;
    }
  }

  #readSection(view: DataView, at: number, total: number): string | undefined {
    if (total < sectionBlockBytes) return 'is a section header that is too short';
    const version = view.getUint16(at + 12, this.#littleEndian);
    if (version !== 1) return `is a section of version ${version}, which is not supported`;
    this.#sections++;
    this.#firstInterface += this.#linkTypes.length;
    this.#linkTypes = [];
    this.#snapLengths = [];
    this.#unitsPerMs = [];
    this.#offsetsMs = [];
    return undefined;
  }

  #readInterface(view: DataView, at: number, total: number): string | undefined {
    if (total < interfaceBlockBytes) return 'describes an interface and is too short';
    if (this.#linkTypes.length >= captureLimits.interfaces)
      return `is interface ${captureLimits.interfaces + 1} of its section`;
    const little = this.#littleEndian;
    this.#linkTypes.push(view.getUint16(at + 8, little));
    this.#snapLengths.push(view.getUint32(at + 12, little));
    let unitsPerMs = 1000;
    let offsetMs = 0;
    const last = at + total - 4;
    let from = at + 16;
    while (last - from >= 4) {
      const code = view.getUint16(from, little);
      const length = view.getUint16(from + 2, little);
      if (code === option.end || length > last - from - 4) break;
      if (code === option.timeResolution && length >= 1) unitsPerMs = resolution(view.getUint8(from + 4));
      if (code === option.timeOffset && length >= 8) offsetMs = seconds(view, from + 4, little) * 1000;
      from += 4 + length + (-length & 3);
    }
    this.#unitsPerMs.push(unitsPerMs);
    this.#offsetsMs.push(offsetMs);
    return undefined;
  }

  /** The enhanced packet block and the obsolete packet block differ only in how they name their interface. */
  #readPacket(view: DataView, at: number, total: number, from: number, rows: BatchRows): string | undefined {
    if (total < packetBlockBytes) return 'carries a packet and is too short';
    if (from >= this.#linkTypes.length)
      return `carries a packet of interface ${from}, which the file does not describe`;
    const little = this.#littleEndian;
    const captured = view.getUint32(at + 20, little);
    if (captured > total - packetBlockBytes) return `claims ${captured} captured bytes, more than it holds`;
    if (captured > captureLimits.packetBytes) return `claims ${captured} captured bytes, more than a capture can hold`;
    const original = view.getUint32(at + 24, little);
    const high = view.getUint32(at + 12, little);
    const low = view.getUint32(at + 16, little);
    const timeMs = milliseconds(high, low, this.#unitsPerMs[from]) + this.#offsetsMs[from];
    rows.add(at + 28, captured, original, timeMs, this.#linkTypes[from], this.#firstInterface + from);
    return undefined;
  }

  #readSimplePacket(view: DataView, at: number, total: number, rows: BatchRows): string | undefined {
    if (total < simplePacketBytes) return 'carries a packet and is too short';
    if (this.#linkTypes.length === 0) return 'carries a packet before any interface is described';
    const original = view.getUint32(at + 8, this.#littleEndian);
    // The block says only the original length; the interface's snapshot length (0: none) tells where it was cut.
    const snap = this.#snapLengths[0];
    const captured = snap === 0 ? original : Math.min(original, snap);
    if (captured > total - simplePacketBytes) return `claims ${captured} captured bytes, more than it holds`;
    if (captured > captureLimits.packetBytes) return `claims ${captured} captured bytes, more than a capture can hold`;
    rows.add(at + 12, captured, original, 0, this.#linkTypes[0], this.#firstInterface);
    return undefined;
  }
}

/** Blocks that cannot be passed over without losing a packet or the meaning of later ones. */
function isNeeded(type: number): boolean {
  return type === blockType.section || type === blockType.interface || isPacket(type);
}

function isPacket(type: number): boolean {
  return type === blockType.packet || type === blockType.simplePacket || type === blockType.enhancedPacket;
}

/** Units of time in a millisecond: the option holds a negative power of ten, or of two where its top bit is set. */
function resolution(value: number): number {
  return (value & 0x80 ? 2 ** (value & 0x7f) : 10 ** value) / 1000;
}

/** A 64-bit count of units as milliseconds, rounded once. A count of nanoseconds since 1970 has more digits than a
 * double, so it is divided in two steps, each exact: the remainder of the upper half is below 2^21, and 2^21 × 2^32
 * still fits. Coarser and finer units, which nobody records with, take the plain division. */
function milliseconds(high: number, low: number, unitsPerMs: number): number {
  if (unitsPerMs === 1e6 || unitsPerMs === 1e3) {
    const rest = high % unitsPerMs;
    return ((high - rest) / unitsPerMs) * 4_294_967_296 + (rest * 4_294_967_296 + low) / unitsPerMs;
  }
  return (high * 4_294_967_296 + low) / unitsPerMs;
}

/** A signed 64-bit number of seconds, whose order of halves follows the byte order. */
function seconds(view: DataView, at: number, little: boolean): number {
  const high = view.getInt32(little ? at + 4 : at, little);
  const low = view.getUint32(little ? at : at + 4, little);
  return high * 4_294_967_296 + low;
}
