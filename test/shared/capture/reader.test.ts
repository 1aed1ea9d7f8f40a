// Capture files built by hand, byte by byte from the format's description, for what the writer never writes.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { CaptureFault, captureLimits, readCapture } from '../../../shared/capture/reader.ts';
import { cut, readTiny, writeTiny } from '../../support/tinyCapture.ts';

const BIG = false;
const LITTLE = true;

test('capture reader - sections of both byte orders, and interfaces numbered through the file', async () => {
  const file = joined(
    section(LITTLE),
    face(LITTLE, 1),
    face(LITTLE, 113),
    enhanced(LITTLE, 1, [0, 5_000_000], 'abc'),
    section(BIG),
    face(BIG, 101),
    enhanced(BIG, 0, [0, 7_000_000], 'defgh'),
  );
  const { packets, summary } = await readTiny(cut(file));
  assert.deepEqual(summary, { packets: 2, bytes: 8, format: 'pcapng of both byte orders' });
  assert.deepEqual(
    packets.map((one) => [text(one.bytes), one.from, one.linkType, one.timeMs]),
    [
      ['abc', 1, 113, 5_000],
      ['defgh', 2, 101, 7_000],
    ],
  );
});

test('capture reader - the unit and the offset of an interface give the time', async () => {
  const cases: [options: Uint8Array[], high: number, low: number, timeMs: number][] = [
    [[], 0, 1_500, 1.5],
    [[option(LITTLE, 9, [3])], 1, 0, 4_294_967_296],
    // 2020 began a nanosecond before, which a double rounds away; then half a second in units of 2^-20 s.
    [[option(LITTLE, 9, [9])], 367_368_757, 3_112_828_929, 1_577_836_800_000],
    [[option(LITTLE, 9, [0x80 | 20])], 0, 1 << 19, 500],
    [[option(LITTLE, 9, [0])], 0, 12, 12_000],
    [[option(LITTLE, 14, [10, 0, 0, 0, 0, 0, 0, 0])], 0, 0, 10_000],
    [[option(LITTLE, 14, [0xfe, 255, 255, 255, 255, 255, 255, 255])], 0, 3_000_000, 1_000],
    [[option(LITTLE, 2, [101, 116, 104]), option(LITTLE, 9, [9])], 0, 2_000_000, 2],
    [[option(LITTLE, 0, []), option(LITTLE, 9, [9])], 0, 2_000, 2],
  ];
  for (const [options, high, low, timeMs] of cases) {
    const file = joined(section(LITTLE), face(LITTLE, 1, 0, options), enhanced(LITTLE, 0, [high, low], 'x'));
    const { packets } = await readTiny(cut(file));
    assert.equal(packets[0].timeMs, timeMs);
  }
});

test('capture reader - simple and obsolete packet blocks', async () => {
  const simple = (original: number, bytes: string) => block(LITTLE, 3, words(LITTLE, original), padded(bytes));
  // The interface number is 16 bits here, followed by a count of dropped packets.
  const obsolete = block(LITTLE, 2, Uint8Array.of(1, 0, 9, 9), words(LITTLE, 0, 4_000, 2, 60), padded('ab'));
  const file = joined(
    section(LITTLE),
    face(LITTLE, 1, 4),
    face(LITTLE, 101),
    simple(9, 'wxyz'),
    simple(2, 'hi'),
    obsolete,
  );
  const { packets, summary } = await readTiny(cut(file));
  assert.equal(summary.problem, undefined);
  assert.deepEqual(
    packets.map((one) => [text(one.bytes), one.originalLength, one.timeMs, one.linkType, one.from]),
    [
      ['wxyz', 9, 0, 1, 0],
      ['hi', 2, 0, 1, 0],
      ['ab', 60, 4, 101, 1],
    ],
  );
});

test('capture reader - blocks without packets are passed over, however large', async () => {
  const comment = option(LITTLE, 1, [104, 105]);
  const file = joined(
    section(LITTLE),
    face(LITTLE, 1),
    block(LITTLE, 4, new Uint8Array(16)),
    block(LITTLE, 0xbad, new Uint8Array(2_000_000)),
    enhanced(LITTLE, 0, [0, 0], 'abc', comment),
    block(LITTLE, 5, words(LITTLE, 0, 0, 0)),
  );
  const { packets, summary } = await readTiny(cut(file, [50, 1_000_000]));
  assert.equal(summary.problem, undefined);
  assert.deepEqual(
    packets.map((one) => text(one.bytes)),
    ['abc'],
  );
  const cutShort = await readTiny(cut(file.subarray(0, 1_500_000)));
  assert.match(cutShort.summary.problem ?? '', /^the file ends inside block 4, \d+ bytes before its end$/);
});

test('capture reader - a damaged record ends the reading after the packets before it', async () => {
  const start = joined(section(LITTLE), face(LITTLE, 1), enhanced(LITTLE, 0, [0, 0], 'abc'));
  const torn = enhanced(LITTLE, 0, [0, 0], 'abc');
  torn[torn.length - 4] ^= 4;
  const cases: [damage: Uint8Array, problem: RegExp][] = [
    [torn, /ends with another length than it begins with/],
    [words(LITTLE, 6, 13, 0, 0), /claims a length of 13 bytes/],
    [words(LITTLE, 6, 0, 0, 0), /claims a length of 0 bytes/],
    [words(LITTLE, 6, 0xffff_fffc, 0, 0), /claims 4294967292 bytes, more than a packet can take/],
    [enhanced(LITTLE, 7, [0, 0], 'abc'), /interface 7, which the file does not describe/],
    [
      block(LITTLE, 6, words(LITTLE, 0, 0, 0, 999, 999), padded('abc')),
      /claims 999 captured bytes, more than it holds/,
    ],
    [block(LITTLE, 6, words(LITTLE, 0)), /carries a packet and is too short/],
    [block(LITTLE, 3), /carries a packet and is too short/],
    [block(LITTLE, 1), /describes an interface and is too short/],
    [block(LITTLE, 0x0a0d0d0a, words(LITTLE, 7, 1, 0, 0)), /section header without a byte order/],
    [section(LITTLE, 2), /a section of version 2/],
  ];
  for (const [damage, problem] of cases) {
    const { packets, summary } = await readTiny(cut(joined(start, damage, enhanced(LITTLE, 0, [0, 0], 'later'))));
    assert.equal(packets.length, 1, String(problem));
    assert.match(summary.problem ?? '', problem);
    assert.match(summary.problem ?? '', /^block 4 at byte 84 /);
  }
});

test('capture reader - a pcap record with an impossible length names its packet and byte', async () => {
  const one = { bytes: new Uint8Array(10), originalLength: 10, timeMs: 1, linkType: 1 };
  const file = await writeTiny([one, one, one], { linkType: 1 });
  new DataView(file.buffer, file.byteOffset).setUint32(24 + 26 + 8, captureLimits.packetBytes + 1, true);
  const { packets, summary } = await readTiny(cut(file));
  assert.equal(packets.length, 1);
  assert.equal(
    summary.problem,
    'packet 2 at byte 50 claims 262145 captured bytes, more than the 262144 a capture can hold',
  );
});

test('capture reader - the largest packet is read, and the flags above the link type are not part of it', async () => {
  const large = { bytes: new Uint8Array(captureLimits.packetBytes).fill(7), originalLength: 1, timeMs: 1, linkType: 1 };
  for (const options of [{}, { linkType: 1 }]) {
    const file = await writeTiny([large, large, large], options);
    if ('linkType' in options) file[23] = 0xf4;
    const { packets, summary } = await readTiny(cut(file, [100, 300_000, 300_001]));
    assert.equal(summary.problem, undefined);
    assert.deepEqual(
      packets.map((one) => [one.bytes.length, one.linkType, one.bytes.at(-1)]),
      [1, 2, 3].map(() => [captureLimits.packetBytes, 1, 7]),
    );
  }
});

test('capture reader - the Linux variant of pcap has longer record headers', async () => {
  const header = joined(words(LITTLE, 0xa1b2cd34, 0x0004_0002, 0, 0, 65_535, 1));
  const record = joined(words(LITTLE, 3, 500_000, 2, 60, 4, 0), Buffer.from('ok'));
  const { packets } = await readTiny(cut(joined(header, record, record)));
  assert.deepEqual(
    packets.map((one) => [text(one.bytes), one.timeMs, one.originalLength]),
    [
      ['ok', 3_500, 60],
      ['ok', 3_500, 60],
    ],
  );
});

test('capture reader - what is no capture, or not there, is one clear line and names the fault', async (t) => {
  const folder = temporaryFolder(t);
  const notes = join(folder, 'notes.txt');
  writeFileSync(notes, 'these are notes, not packets');
  const empty = join(folder, 'empty.pcap');
  writeFileSync(empty, '');
  const old = join(folder, 'old.pcap');
  writeFileSync(old, words(LITTLE, 0xa1b2c3d4, 0x0004_0003, 0, 0, 65_535, 1));
  const packedNotes = join(folder, 'notes.gz');
  writeFileSync(packedNotes, gzipSync('these are notes, not packets'));
  const xz = join(folder, 'capture.xz');
  writeFileSync(xz, Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4));
  const torn = join(folder, 'torn.gz');
  writeFileSync(torn, Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  const { missing, unreadable, notACapture, unsupported } = CaptureFault;
  const cases: [path: string, fault: string, message: string][] = [
    [join(folder, 'none.pcap'), missing, 'cannot be read: there is no such file'],
    [folder, unreadable, 'cannot be read: it is a directory'],
    [empty, notACapture, 'not a capture: it is empty'],
    [notes, notACapture, 'not a capture: it begins like neither pcap nor pcapng'],
    [packedNotes, notACapture, 'not a capture: it begins like neither pcap nor pcapng'],
    [xz, unsupported, 'it is packed with xz; gzip and zstd are read, so unpack it first'],
    [old, unsupported, 'pcap version 3 is not supported, only 2'],
  ];
  for (const [path, fault, message] of cases) {
    await assert.rejects(readTiny(path), {
      name: 'CaptureError',
      code: 'bad-file',
      fault,
      message: `${path}: ${message}`,
    });
  }
  await assert.rejects(readTiny(torn), { name: 'CaptureError', fault: unreadable });
});

test('capture reader - a stream that fails on the way keeps its packets and says so', async () => {
  const one = { bytes: new Uint8Array(10), originalLength: 10, timeMs: 1, linkType: 1 };
  const file = await writeTiny([one, one], { linkType: 1 });
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield file.subarray(0, 50);
    throw new Error('the cable was pulled');
  }
  const { packets, summary } = await readTiny(failing());
  assert.equal(packets.length, 1);
  assert.equal(summary.problem, 'reading failed after byte 50: the cable was pulled');
});

test('capture reader - a packet is handed out as soon as it is there, and leaving early closes the stream', async () => {
  const one = { bytes: new Uint8Array(10), originalLength: 10, timeMs: 1, linkType: 1 };
  const file = await writeTiny([one], { linkType: 1 });
  let closed = false;
  async function* live(): AsyncGenerator<Uint8Array> {
    try {
      yield file;
      // A live stream that never says more: waiting for it would hang the test.
      await new Promise(() => {});
    } finally {
      closed = true;
    }
  }
  for await (const batch of readCapture(live())) {
    assert.equal(batch.count, 1);
    break;
  }
  assert.equal(closed, true);
});

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'capture-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function block(little: boolean, type: number, ...body: Uint8Array[]): Uint8Array {
  const inner = joined(...body);
  const total = 12 + inner.length;
  return joined(words(little, type, total), inner, words(little, total));
}

function section(little: boolean, version = 1): Uint8Array {
  const versions = little ? version : version << 16;
  return block(little, 0x0a0d0d0a, words(little, 0x1a2b3c4d, versions, 0xffff_ffff, 0xffff_ffff));
}

function face(little: boolean, linkType: number, snapLength = 0, options: Uint8Array[] = []): Uint8Array {
  return block(little, 1, words(little, little ? linkType : linkType << 16, snapLength), ...options);
}

function enhanced(
  little: boolean,
  from: number,
  [high, low]: [number, number],
  bytes: string,
  ...options: Uint8Array[]
): Uint8Array {
  return block(little, 6, words(little, from, high, low, bytes.length, bytes.length), padded(bytes), ...options);
}

function option(little: boolean, code: number, value: number[]): Uint8Array {
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint16(0, code, little);
  new DataView(head.buffer).setUint16(2, value.length, little);
  return joined(head, Uint8Array.from(value), new Uint8Array(-value.length & 3));
}

function words(little: boolean, ...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value >>> 0, little);
  return new Uint8Array(view.buffer);
}

function padded(bytes: string): Uint8Array {
  return joined(Buffer.from(bytes), new Uint8Array(-bytes.length & 3));
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
