// Reads packet captures: pcap and pcapng, of either byte order, packed with gzip, zstd or not, from a file or a stream. A
// capture is how traffic enters tier 1 in a replay, and it may be larger than the memory of the machine.
//
// One fixed window holds the bytes. Whole records are handed out where they lie, as a batch; then what is left of an
// unfinished record moves to the window's front and more bytes are read behind it. So memory is constant, and nothing is
// allocated a packet. A live stream is handed out as it arrives: a batch never waits for more packets.
//
// A file that is no capture throws. Damage inside a capture does not: the packets before it are delivered, and the
// summary says in `problem` where reading stopped and why.

import { BatchRows, type CaptureBatch, captureLimits, type RecordReader } from './batch.ts';
import { type ByteSource, openError, openSource, unpackedSource } from './byteSource.ts';
import { CaptureError, CaptureFault, plainReason } from './captureError.ts';
import { isPcap, PcapReader, pcapHeaderBytes } from './pcap.ts';
import { blockType, PcapngReader, sectionBlockBytes } from './pcapng.ts';

export { type CaptureBatch, captureLimits } from './batch.ts';
export { CaptureError, CaptureFault } from './captureError.ts';

export interface CaptureSummary {
  packets: number;
  /** Captured bytes of all packets, without file and record headers. */
  bytes: number;
  /** For people, such as 'pcap-ns big-endian'. */
  format: string;
  /** One plain sentence, if reading stopped before the end: why, at which record, at which byte (of the unpacked file). */
  problem?: string;
}

export interface CaptureOptions {
  /** What to call the capture in messages. Default: the path, or 'standard input', or 'the capture'. */
  name?: string;
  /** Packets of one batch at most, 1 to 1,024 (default). */
  batchPackets?: number;
}

/** Reads a capture from a path, from standard input ('-') or from a stream of chunks, batch after batch; the generator
 * returns the summary. A batch is valid until the next one is asked for. Leaving the loop early closes the source.
 * Throws CaptureError, before any batch, where there is no capture to read. */
export async function* readCapture(
  source: string | AsyncIterable<Uint8Array>,
  options: CaptureOptions = {},
): AsyncGenerator<CaptureBatch, CaptureSummary, void> {
  const name = options.name ?? nameOf(source);
  const capacity = Math.max(
    1,
    Math.min(options.batchPackets ?? captureLimits.batchPackets, captureLimits.batchPackets),
  );
  const window = new Window(await openSource(source, name));
  try {
    const reader = await recognise(window, name);
    const rows = new BatchRows(window.bytes, capacity);
    const summary: CaptureSummary = { packets: 0, bytes: 0, format: reader.format };
    for (;;) {
      rows.clear();
      window.use(reader.read(window.view, window.start, window.end, window.position, rows));
      summary.packets += rows.count;
      summary.bytes += rows.bytes;
      summary.format = reader.format;
      const full = rows.count === capacity;
      if (rows.count > 0) yield rows;
      if (reader.problem !== undefined) return { ...summary, problem: reader.problem };
      if (full) continue;
      const fault = await window.more();
      if (fault === undefined) continue;
      const problem = fault === '' ? reader.atEnd(window.end - window.start, window.position) : fault;
      return problem === undefined ? summary : { ...summary, problem };
    }
  } finally {
    await window.close();
  }
}

/**
 * Acts on each batch and resolves to what the reader returns. Whatever happens, the source is closed: an abandoned reader keeps
 * its file open, and Node ends the process when it finds such a file. Rejects with what the reader or `act` throws.
 */
export async function eachBatch<T>(
  reader: AsyncGenerator<CaptureBatch, T, void>,
  act: (batch: CaptureBatch) => void | Promise<void>,
): Promise<T> {
  try {
    for (;;) {
      const { done, value } = await reader.next();
      if (done) return value;
      await act(value);
    }
  } finally {
    // Only an early end leaves it open; what it would return then is of no use to anybody.
    await reader.return(undefined as T);
  }
}

/** The bytes read and not yet used, `[start, end)` of a buffer of fixed size. */
class Window {
  readonly bytes = new Uint8Array(captureLimits.windowBytes);
  readonly view = new DataView(this.bytes.buffer);
  start = 0;
  end = 0;
  /** Where in the unpacked file `start` stands. */
  position = 0;
  #source: ByteSource;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  use(bytes: number): void {
    this.start += bytes;
    this.position += bytes;
  }

  /** Reads more bytes, moving what is left to the front. Returns '' at the end of the file, a sentence on a fault, and
   * undefined if there are more bytes. */
  async more(): Promise<string | undefined> {
    try {
      return (await this.#fill()) === 0 ? '' : undefined;
    } catch (error) {
      return `reading failed after byte ${this.position + this.end - this.start}: ${plainReason(error)}`;
    }
  }

  /** Reads until there are `bytes` bytes or the file ends. Throws what the source throws. */
  async atLeast(bytes: number): Promise<void> {
    while (this.end - this.start < bytes && (await this.#fill()) > 0);
  }

  /** Goes on with what the source unpacks to, if its first four bytes say that it is packed. Throws CaptureError. */
  unpack(name: string): void {
    const source = unpackedSource(this.view.getUint32(0), this.bytes.slice(this.start, this.end), this.#source, name);
    if (source === undefined) return;
    this.#source = source;
    this.start = 0;
    this.end = 0;
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  async #fill(): Promise<number> {
    if (this.start > 0) {
      this.bytes.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    }
    const length = await this.#source.fill(this.bytes.subarray(this.end));
    this.end += length;
    return length;
  }
}

/** Tells the format by the first bytes and passes over a pcap file header. */
async function recognise(window: Window, name: string): Promise<RecordReader> {
  try {
    await window.atLeast(4);
    if (window.end >= 4) window.unpack(name);
    await window.atLeast(pcapHeaderBytes);
    const magic = window.end >= 4 ? window.view.getUint32(0) : 0;
    if (isPcap(magic)) {
      const reader = new PcapReader(window.view, window.end, name);
      window.use(pcapHeaderBytes);
      return reader;
    }
    if (magic === blockType.section) {
      await window.atLeast(sectionBlockBytes);
      return new PcapngReader(window.view, window.end, name);
    }
  } catch (error) {
    throw openError(error, name);
  }
  const what = window.end === 0 ? 'it is empty' : 'it begins like neither pcap nor pcapng';
  throw new CaptureError(CaptureFault.notACapture, `${name}: not a capture: ${what}`);
}

function nameOf(source: string | AsyncIterable<Uint8Array>): string {
  if (typeof source !== 'string') return 'the capture';
  return source === '-' ? 'standard input' : source;
}
