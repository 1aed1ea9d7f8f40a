// Checksums against the examples and vectors of their RFCs.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { addWords, crc32c, foldChecksum, internetChecksum } from '../../../shared/packet/checksum.ts';

test('checksum - the example of RFC 1071, section 3', () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.equal(addWords(0, bytes, 0, 8), 0x2ddf0);
  assert.equal(internetChecksum(bytes, 0, 8), 0x220d);
});

test('checksum - sums in parts and in one go are the same, and an odd byte counts as an upper half', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(100), (bytes, cut) => {
      const middle = Math.min(bytes.length, cut * 2);
      const parts = addWords(addWords(0, bytes, 0, middle), bytes, middle, bytes.length);
      assert.equal(parts, addWords(0, bytes, 0, bytes.length));
      const even = new Uint8Array(bytes.length + (bytes.length % 2));
      even.set(bytes);
      assert.equal(parts, addWords(0, even, 0, even.length));
    }),
  );
});

test('checksum - the largest packet does not overflow the sum', () => {
  assert.equal(foldChecksum(addWords(0, new Uint8Array(65_536).fill(0xff), 0, 65_536)), 0);
});

test('checksum - CRC32c has the check value of its definition and the vectors of RFC 3720, appendix B.4', () => {
  const text = new TextEncoder().encode('x123456789');
  assert.equal(crc32c(text, 1, 10), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32), 0, 32), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff), 0, 32), 0x62a8ab43);
  assert.equal(
    crc32c(
      Uint8Array.from({ length: 32 }, (_, i) => i),
      0,
      32,
    ),
    0x46dd794e,
  );
});
