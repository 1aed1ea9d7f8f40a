// What holds for any capture: it reads back as it was written, however the stream is cut, and no damage does more than
// end the reading.

import assert from 'node:assert/strict';
import test from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { CaptureError } from '../../../shared/capture/reader.ts';
import type { CaptureWriterOptions } from '../../../shared/capture/writer.ts';
import { cut, readTiny, type TinyPacket, writeTiny } from '../../support/tinyCapture.ts';

const packet: fc.Arbitrary<TinyPacket> = fc.record({
  bytes: fc.uint8Array({ maxLength: 80 }),
  originalLength: fc.nat(0xffff_ffff),
  // Seconds of a pcap record are 32 bits: to the year 2106.
  timeMs: fc.double({ min: 0, max: 4_294_967_295_000, noNaN: true }),
  linkType: fc.constant(1),
});
const packets = fc.array(packet, { maxLength: 12 });
const mixed = fc.array(
  fc.tuple(packet, fc.constantFrom(1, 101, 113, 276, 65_535)).map(([one, linkType]) => ({ ...one, linkType })),
  { maxLength: 12 },
);
const littleEndian = fc.boolean();
const unit = fc.constantFrom('nanoseconds' as const, 'microseconds' as const);
const anyFile: fc.Arbitrary<[TinyPacket[], CaptureWriterOptions]> = fc.oneof(
  fc.tuple(packets, fc.record({ linkType: fc.constant(1), littleEndian, unit })),
  fc.tuple(mixed, fc.record({ littleEndian })),
);

test('capture writer - what is written reads back the same, in both formats and byte orders', async () => {
  await fc.assert(
    fc.asyncProperty(anyFile, async ([written, options]) => {
      const { packets: read, summary } = await readTiny(cut(await writeTiny(written, options)));
      assert.equal(summary.problem, undefined);
      assert.equal(summary.packets, written.length);
      assert.equal(
        summary.bytes,
        written.reduce((sum, one) => sum + one.bytes.length, 0),
      );
      const order = options.littleEndian ? 'little-endian' : 'big-endian';
      assert.equal(summary.format, `${formatOf(options)} ${order}`);
      const toleranceMs = options.unit === 'microseconds' ? 0.000_75 : 0.000_001;
      read.forEach((one, i) => {
        assert.deepEqual(one.bytes, Uint8Array.from(written[i].bytes));
        assert.equal(one.originalLength, written[i].originalLength);
        assert.equal(one.linkType, written[i].linkType);
        assert.ok(Math.abs(one.timeMs - written[i].timeMs) <= toleranceMs, `${one.timeMs} is not ${written[i].timeMs}`);
      });
      const interfaces = new Set(read.map((one) => one.from));
      assert.equal(interfaces.size, new Set(read.map((one) => one.linkType)).size);
    }),
  );
});

test('capture writer - times of today keep every bit', async () => {
  const today = fc.double({ min: 1_500_000_000_000, max: 2_000_000_000_000, noNaN: true });
  await fc.assert(
    fc.asyncProperty(today, littleEndian, fc.constantFrom(undefined, 1), async (timeMs, order, linkType) => {
      const one = { bytes: new Uint8Array(1), originalLength: 1, timeMs, linkType: 1 };
      const options = linkType === undefined ? { littleEndian: order } : { littleEndian: order, linkType };
      const { packets: read } = await readTiny(cut(await writeTiny([one], options)));
      assert.equal(read[0].timeMs, timeMs);
    }),
  );
});

test('capture reader - any cutting of the stream and any batch size gives the same packets', async () => {
  await fc.assert(
    fc.asyncProperty(
      anyFile,
      fc.array(fc.nat(4_000), { maxLength: 40 }),
      fc.integer({ min: 1, max: 5 }),
      async ([written, options], places, batchPackets) => {
        const file = await writeTiny(written, options);
        const whole = await readTiny(cut(file));
        const inParts = await readTiny(cut(file, places), { batchPackets });
        assert.deepEqual(inParts, whole);
        for (const pack of [gzipSync, zstdCompressSync]) {
          assert.deepEqual(await readTiny(cut(pack(file), places)), whole);
        }
      },
    ),
  );
});

test('capture reader - a file cut at any byte gives a prefix, and a problem unless it was cut between records', async () => {
  await fc.assert(
    fc.asyncProperty(anyFile, async ([written, options]) => {
      const file = await writeTiny(written, options);
      const whole = await readTiny(cut(file));
      const headerBytes = options.linkType === undefined ? 28 : 24;
      const boundaries = boundariesOf(file, options);
      for (let length = 0; length < file.length; length++) {
        if (length < headerBytes) {
          await assert.rejects(readTiny(cut(file.subarray(0, length))), CaptureError);
          continue;
        }
        const { packets: read, summary } = await readTiny(cut(file.subarray(0, length)));
        assert.deepEqual(read, whole.packets.slice(0, read.length));
        assert.equal(summary.problem === undefined, boundaries.has(length), `${length} of ${file.length}`);
      }
    }),
    { numRuns: 20 },
  );
});

const packings = [gzipSync, zstdCompressSync, (bytes: Uint8Array) => bytes] as const;

test('capture reader - damage never throws anything but CaptureError and never outlives the file', async () => {
  const damage = fc.array(fc.tuple(fc.nat(3_000), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(anyFile, damage, fc.constantFrom(...packings), async ([written, options], changes, pack) => {
      const plain = await writeTiny(written, options);
      const file = Uint8Array.from(pack(plain));
      for (const [place, value] of changes) file[place % file.length] = value;
      try {
        const { packets: read, summary } = await readTiny(cut(file));
        // Every record takes at least 12 bytes, so damage cannot make packets out of nothing.
        assert.ok(read.length * 12 <= plain.length);
        assert.equal(summary.packets, read.length);
      } catch (error) {
        assert.ok(error instanceof CaptureError, String(error));
        assert.doesNotMatch(error.message, /\n/);
      }
    }),
    { numRuns: 500 },
  );
});

test('capture reader - bytes that are no capture give a CaptureError of one line', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await assert.rejects(
        readTiny(cut(bytes)),
        (error) => error instanceof CaptureError && !error.message.includes('\n'),
      );
    }),
  );
});

function formatOf(options: CaptureWriterOptions): string {
  if (options.linkType === undefined) return 'pcapng';
  return options.unit === 'microseconds' ? 'pcap' : 'pcap-ns';
}

/** Where records end, found by the length fields alone. */
function boundariesOf(file: Uint8Array, options: CaptureWriterOptions): Set<number> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const pcapng = options.linkType === undefined;
  const ends = new Set<number>();
  let at = pcapng ? 0 : 24;
  ends.add(pcapng ? 28 : 24);
  while (at < file.length) {
    at += pcapng ? view.getUint32(at + 4, options.littleEndian) : 16 + view.getUint32(at + 8, options.littleEndian);
    ends.add(at);
  }
  return ends;
}
