// Captures for tests: packets as plain data, turned to a file in memory and back.

import { Writable } from 'node:stream';
import { type CaptureOptions, type CaptureSummary, eachBatch, readCapture } from '../../shared/capture/reader.ts';
import { CaptureWriter, type CaptureWriterOptions } from '../../shared/capture/writer.ts';

export interface TinyPacket {
  bytes: Uint8Array;
  originalLength: number;
  timeMs: number;
  linkType: number;
}

export interface ReadBack {
  packets: (TinyPacket & { from: number })[];
  summary: CaptureSummary;
}

/** The file that the writer makes of the packets. */
export async function writeTiny(packets: readonly TinyPacket[], options?: CaptureWriterOptions): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      // Copied, because the writer may use its chunk again as soon as the write is done.
      chunks.push(Uint8Array.from(chunk));
      done();
    },
  });
  const writer = new CaptureWriter(stream, options);
  for (const { bytes, originalLength, timeMs, linkType } of packets) {
    const goOn = writer.write(bytes, 0, bytes.length, originalLength, timeMs, linkType);
    if (!goOn) await writer.drained();
  }
  await writer.close();
  return Buffer.concat(chunks);
}

/** Every packet of a capture, copied. */
export async function readTiny(
  source: string | AsyncIterable<Uint8Array>,
  options?: CaptureOptions,
): Promise<ReadBack> {
  const packets: ReadBack['packets'] = [];
  const summary = await eachBatch(readCapture(source, options), (batch) => {
    const { buffer, count, offsets, lengths, originalLengths, timesMs, linkTypes, interfaces } = batch;
    for (let i = 0; i < count; i++) {
      packets.push({
        bytes: buffer.slice(offsets[i], offsets[i] + lengths[i]),
        originalLength: originalLengths[i],
        timeMs: timesMs[i],
        linkType: linkTypes[i],
        from: interfaces[i],
      });
    }
  });
  return { packets, summary };
}

/** The bytes as a stream, cut at the given places (any order, any number). */
export async function* cut(bytes: Uint8Array, places: readonly number[] = []): AsyncGenerator<Uint8Array> {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const end of ends) {
    yield bytes.slice(from, end);
    from = end;
  }
}
