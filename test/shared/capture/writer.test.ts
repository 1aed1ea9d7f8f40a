// Capture files as they are written: byte for byte, to files and to slow streams.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test from 'node:test';
import { captureLimits } from '../../../shared/capture/reader.ts';
import { CaptureWriter } from '../../../shared/capture/writer.ts';
import { cut, readTiny, writeTiny } from '../../support/tinyCapture.ts';

const one = { bytes: Uint8Array.of(1, 2, 3), originalLength: 60, timeMs: 1_700_000_000_000.25, linkType: 1 };

test('capture writer - plain pcap is, byte for byte, what the format describes', async () => {
  const hex = Buffer.from(await writeTiny([one], { linkType: 1 })).toString('hex');
  const header = '4d3cb2a1' + '0200' + '0400' + '00000000' + '00000000' + '00000400' + '01000000';
  const record = '00f15365' + '90d00300' + '03000000' + '3c000000';
  assert.equal(hex, `${header}${record}010203`);
});

test('capture writer - a path is written and replaced', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'capture-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'out.pcapng');
  writeFileSync(path, 'x'.repeat(10_000));
  const writer = new CaptureWriter(path);
  for (const linkType of [1, 101, 1]) writer.write(one.bytes, 1, 2, 60, one.timeMs, linkType);
  assert.deepEqual(await writer.close(), { packets: 3, bytes: 6, refused: 0 });
  const { packets, summary } = await readTiny(path);
  assert.equal(summary.problem, undefined);
  assert.deepEqual(
    packets.map((packet) => [packet.linkType, packet.from, [...packet.bytes]]),
    [
      [1, 0, [2, 3]],
      [101, 1, [2, 3]],
      [1, 0, [2, 3]],
    ],
  );
});

test('capture writer - a slow stream is waited for, and loses nothing', async () => {
  const chunks: Uint8Array[] = [];
  const release: (() => void)[] = [];
  let stalled = true;
  const slow = new Writable({
    write(chunk, _encoding, done) {
      const finish = () => {
        chunks.push(Uint8Array.from(chunk));
        done();
      };
      if (stalled) release.push(finish);
      else finish();
    },
  });
  const writer = new CaptureWriter(slow, { linkType: 1 });
  const packet = new Uint8Array(10_000);
  let written = 0;
  let goOn = true;
  while (goOn) {
    packet[0] = written++;
    goOn = writer.write(packet, 0, packet.length, packet.length, 0, 1);
    assert.ok(written < 1_000, 'the writer never asked to wait');
  }
  let caughtUp = false;
  const drained = writer.drained().then(() => {
    caughtUp = true;
  });
  await Promise.resolve();
  assert.equal(caughtUp, false);
  stalled = false;
  for (const finish of release) finish();
  await drained;
  await writer.close();
  const { packets, summary } = await readTiny(cut(Buffer.concat(chunks)));
  assert.equal(summary.problem, undefined);
  assert.deepEqual(
    packets.map((read) => read.bytes[0]),
    Array.from({ length: written }, (_, i) => i & 0xff),
  );
});

test('capture writer - flush gives a reader everything so far', async () => {
  let bytes = 0;
  const stream = new Writable({
    write(chunk, _encoding, done) {
      bytes += chunk.length;
      done();
    },
  });
  const writer = new CaptureWriter(stream, { linkType: 1 });
  writer.write(one.bytes, 0, 3, 3, 0, 1);
  assert.equal(bytes, 0);
  await writer.flush();
  assert.equal(bytes, 24 + 16 + 3);
  await writer.close();
});

test('capture writer - a packet that the file cannot hold is refused and counted', async () => {
  const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
  const writer = new CaptureWriter(sink, { linkType: 1 });
  const long = new Uint8Array(captureLimits.packetBytes + 1);
  assert.equal(writer.write(one.bytes, 0, 3, 3, 0, 101), true);
  assert.equal(writer.write(long, 0, long.length, long.length, 0, 1), true);
  assert.deepEqual(await writer.close(), { packets: 0, bytes: 0, refused: 2 });
  assert.throws(() => writer.write(one.bytes, 0, 3, 3, 0, 1), /after the writer was closed/);
});

test('capture writer - a file that cannot be written shows at flush and close, and write does not throw', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'capture-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'none', 'out.pcap');
  const writer = new CaptureWriter(path, { linkType: 1 });
  writer.write(one.bytes, 0, 3, 3, 0, 1);
  const expected = {
    name: 'CaptureError',
    code: 'io-failed',
    fault: 'unwritable',
    message: `${path}: cannot be written: there is no such file`,
  };
  await assert.rejects(writer.flush(), expected);
  writer.write(one.bytes, 0, 3, 3, 0, 1);
  assert.equal(writer.totals.refused, 1);
  await assert.rejects(writer.drained(), expected);
  await assert.rejects(writer.close(), expected);
});
