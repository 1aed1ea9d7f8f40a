// What a capture reader hands out: a run of packets as columns over one byte window, so that reading a million packets
// makes no million objects. The window and the columns belong to the reader and are used again for the next batch.

/** Bounds of the capture reader. A file can claim any length it likes; nothing is ever allocated by such a claim. */
export const captureLimits = {
  /** Largest captured length of one packet: the largest snapshot length that the usual capture programs write. */
  packetBytes: 262_144,
  /** Largest pcapng block that is read whole: a largest packet with 64 KiB of options. Larger blocks that carry no packet
   * are passed over without being held. */
  blockBytes: 262_144 + 65_536,
  /** The window. What is left of an unfinished record moves to its front, so the room after it is never below 192 KiB. */
  windowBytes: 524_288,
  /** Rows of one batch. */
  batchPackets: 1_024,
  /** What captures that are sorted may take in memory, 1 GiB. */
  sortBytes: 1_073_741_824,
  /** Interfaces of one pcapng section. */
  interfaces: 4_096,
} as const;

/** Packets `0 ≤ i < count`; packet i is `buffer[offsets[i] … offsets[i] + lengths[i])`. Valid until the next batch is
 * asked for: whoever keeps a packet copies it. */
export interface CaptureBatch {
  readonly buffer: Uint8Array;
  readonly count: number;
  readonly offsets: Uint32Array;
  /** Captured bytes. */
  readonly lengths: Uint32Array;
  /** Bytes on the wire, as the file says; corrupt files may say less than was captured. */
  readonly originalLengths: Uint32Array;
  /** Milliseconds since 1970 with a fraction (good to a quarter of a microsecond); 0 where the file has no time. */
  readonly timesMs: Float64Array;
  /** The file's own link type number of each packet, see tcpdump.org/linktypes. */
  readonly linkTypes: Uint16Array;
  /** The interface a packet was captured on: 0 in pcap; in pcapng numbered through all sections of the file. */
  readonly interfaces: Uint32Array;
}

/** The batch as the format readers fill it. */
export class BatchRows implements CaptureBatch {
  readonly buffer: Uint8Array;
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
  readonly originalLengths: Uint32Array;
  readonly timesMs: Float64Array;
  readonly linkTypes: Uint16Array;
  readonly interfaces: Uint32Array;
  readonly capacity: number;
  count = 0;
  /** Captured bytes of the packets in this batch. */
  bytes = 0;

  constructor(buffer: Uint8Array, capacity: number) {
    this.buffer = buffer;
    this.capacity = capacity;
    this.offsets = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
    this.originalLengths = new Uint32Array(capacity);
    this.timesMs = new Float64Array(capacity);
    this.linkTypes = new Uint16Array(capacity);
    this.interfaces = new Uint32Array(capacity);
  }

  clear(): void {
    this.count = 0;
    this.bytes = 0;
  }

  add(offset: number, length: number, originalLength: number, timeMs: number, linkType: number, from: number): void {
    const row = this.count++;
    this.offsets[row] = offset;
    this.lengths[row] = length;
    this.originalLengths[row] = originalLength;
    this.timesMs[row] = timeMs;
    this.linkTypes[row] = linkType;
    this.interfaces[row] = from;
    this.bytes += length;
  }
}

/** One file format, reading records out of the window. */
export interface RecordReader {
  /** For people: 'pcap', 'pcap-ns' or 'pcapng', with the byte order where the file has one. */
  readonly format: string;
  /** Set when the file cannot be read on: one sentence that names the record and its byte. */
  readonly problem: string | undefined;
  /** Adds the whole records in `[start, end)` to `rows` until the rows are full, and returns the bytes used up.
   * `position` is where in the file `start` stands. */
  read(view: DataView, start: number, end: number, position: number, rows: BatchRows): number;
  /** The file has ended with `left` bytes unused at `position`: the problem with that, if there is one. */
  atEnd(left: number, position: number): string | undefined;
}

export function assertCapture(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`capture: ${what}`);
}

assertCapture(
  captureLimits.windowBytes >= captureLimits.blockBytes + 65_536,
  'the window must have room beside an unfinished block',
);
