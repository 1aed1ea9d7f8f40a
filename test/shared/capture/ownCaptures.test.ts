// The captures of this repository are what their README says they are.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { readTiny } from '../../support/tinyCapture.ts';

const folder = join(import.meta.dirname, '../../captures');
const rows = readFileSync(join(folder, 'README.md'), 'utf8')
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter((cells) => /\.pcap/.test(cells[1] ?? ''));

test('own captures - the table names every file of the folder', () => {
  const files = readdirSync(folder).filter((file) => file.includes('.pcap'));
  assert.deepEqual(rows.map((cells) => cells[1]).sort(), files.sort());
});

for (const [, file, packets, bytes, format, sha256] of rows) {
  test(`own captures - ${file} has the packets, bytes, format and checksum of the table`, async () => {
    const path = join(folder, file);
    assert.equal(createHash('sha256').update(readFileSync(path)).digest('hex'), sha256);
    const { packets: read, summary } = await readTiny(path);
    assert.equal(summary.problem, undefined);
    assert.equal(summary.packets, Number(packets));
    assert.equal(summary.bytes, Number(bytes));
    assert.equal(summary.format, `${format} little-endian`);
    const cutPackets = read.filter((packet) => packet.originalLength > packet.bytes.length);
    assert.equal(cutPackets.length > 0, file.startsWith('web-short'));
    // Locally administered addresses, multicast or none: nothing of the machine that recorded them.
    for (const { bytes: frame, linkType } of read) {
      if (linkType === 1) assert.ok((frame[6] & 2) === 2 || frame.subarray(6, 12).every((byte) => byte === 0));
    }
  });
}

test('own captures - what is left out of the packed capture is all that differs from the whole one', async () => {
  const [whole, short] = await Promise.all(
    ['web.pcap', 'web-short.pcap.gz'].map((file) => readTiny(join(folder, file))),
  );
  for (const [i, packet] of short.packets.entries()) {
    assert.deepEqual(packet.bytes, whole.packets[i].bytes.subarray(0, 64));
    assert.equal(packet.originalLength, whole.packets[i].originalLength);
  }
});

test('own captures - the tunnels come from three interfaces with two link types', async () => {
  const { packets } = await readTiny(join(folder, 'tunnels.pcapng'));
  const kinds = new Set(packets.map((packet) => `${packet.from}:${packet.linkType}`));
  assert.deepEqual([...kinds].sort(), ['0:1', '1:101', '2:101']);
});
