// Several captures as one, in order of time. Packets may be out of order within a file, files may be given in any order and
// overlap, and packed files cannot be read from the middle; so all packets are held in memory and then handed out sorted. What
// that takes is bounded: 1 GiB of packets, and beside them 56 bytes a packet.

import { BatchRows, type CaptureBatch, captureLimits } from './batch.ts';
import { CaptureError, CaptureFault } from './captureError.ts';
import { PacketTimes } from './packetTimes.ts';
import { type CaptureSummary, eachBatch, readCapture } from './reader.ts';

/** One of the files. */
export interface SortedFile {
  readonly source: string;
  readonly summary: CaptureSummary;
  readonly times: PacketTimes;
}

const blockBytes = 4 * 1024 * 1024;
/** What a packet takes beside its bytes: seven numbers. */
const rowBytes = 56;

/**
 * Reads the captures and hands out their packets in order of time, those of one time in the order in which they were read. Corrupt
 * times are mended before. Returns the files' summaries. Throws CaptureError, before any batch, where a capture cannot be
 * read or all of them are more than `mostBytes`.
 */
export async function* readSorted(
  sources: readonly string[],
  mostBytes: number = captureLimits.sortBytes,
): AsyncGenerator<CaptureBatch, readonly SortedFile[], void> {
  const held = new HeldPackets(mostBytes);
  const files: SortedFile[] = [];
  for (const source of sources) {
    const times = new PacketTimes();
    const summary = await eachBatch(readCapture(source), (batch) => {
      times.mend(batch);
      held.add(batch);
    });
    files.push({ source, summary, times });
  }
  yield* held.sorted();
  return files;
}

class HeldPackets {
  readonly #mostBytes: number;
  #bytes = 0;
  readonly #blocks: Uint8Array[] = [];
  #used = blockBytes;
  readonly #block: number[] = [];
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  readonly #originalLengths: number[] = [];
  readonly #timesMs: number[] = [];
  readonly #linkTypes: number[] = [];
  readonly #interfaces: number[] = [];

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  add({ buffer, count, offsets, lengths, originalLengths, timesMs, linkTypes, interfaces }: CaptureBatch): void {
    for (let row = 0; row < count; row++) {
      const length = lengths[row];
      this.#bytes += length + rowBytes;
      if (this.#bytes > this.#mostBytes) {
        const text = `sorting holds all packets in memory, at most ${this.#mostBytes} bytes, and these are more`;
        throw new CaptureError(CaptureFault.unsupported, text);
      }
      if (this.#used + length > blockBytes) {
        this.#blocks.push(new Uint8Array(blockBytes));
        this.#used = 0;
      }
      const block = this.#blocks.length - 1;
      this.#blocks[block].set(buffer.subarray(offsets[row], offsets[row] + length), this.#used);
      this.#block.push(block);
      this.#offsets.push(this.#used);
      this.#lengths.push(length);
      this.#originalLengths.push(originalLengths[row]);
      this.#timesMs.push(timesMs[row]);
      this.#linkTypes.push(linkTypes[row]);
      this.#interfaces.push(interfaces[row]);
      this.#used += length;
    }
  }

  *sorted(): Generator<CaptureBatch, void, void> {
    const times = this.#timesMs;
    const order = Uint32Array.from(times.keys()).sort((one, other) => times[one] - times[other] || one - other);
    const window = new Uint8Array(captureLimits.windowBytes);
    const rows = new BatchRows(window, captureLimits.batchPackets);
    let end = 0;
    for (const packet of order) {
      const length = this.#lengths[packet];
      if (rows.count === rows.capacity || end + length > window.length) {
        yield rows;
        rows.clear();
        end = 0;
      }
      const from = this.#offsets[packet];
      window.set(this.#blocks[this.#block[packet]].subarray(from, from + length), end);
      rows.add(
        end,
        length,
        this.#originalLengths[packet],
        times[packet],
        this.#linkTypes[packet],
        this.#interfaces[packet],
      );
      end += length;
    }
    if (rows.count > 0) yield rows;
  }
}
