// Addresses read without making anything: the same bytes as the reader for people finds, and the same refusals.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAddress, parseAddress } from '../../../shared/packet/addressText.ts';
import { readIpv4Text, readIpv6Text } from '../../../shared/packet/socketAddress.ts';

function read(text: string): Uint8Array | undefined {
  const target = new Uint8Array(20).fill(0xee);
  const bytes = text.includes(':') ? 16 : 4;
  if (!(bytes === 16 ? readIpv6Text(text, target, 2) : readIpv4Text(text, target, 2))) return undefined;
  assert.deepEqual(target.slice(0, 2), Uint8Array.of(0xee, 0xee));
  assert.deepEqual(target.slice(2 + bytes, 4 + bytes), Uint8Array.of(0xee, 0xee));
  return target.slice(2, 2 + bytes);
}

function parsed(text: string): Uint8Array | undefined {
  try {
    return parseAddress(text);
  } catch {
    return undefined;
  }
}

test('socketAddress - any address in its short form is read to its bytes', () => {
  const zeros = fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 });
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    zeros.map((list) => Uint8Array.from(list)),
  );
  fc.assert(fc.property(bytes, (address) => assert.deepEqual(read(formatAddress(address)), address)));
});

test('socketAddress - reads and refuses what the reader for people does', () => {
  const letters = fc.constantFrom('0', '1', 'f', 'F', ':', ':', '::', '.', '192.0.2.1', '12345', 'x');
  const texts = fc.array(letters, { maxLength: 12 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(texts, (text) => assert.deepEqual(read(text), parsed(text), text)),
    { numRuns: 3_000 },
  );
});

test('socketAddress - a zone is no part of the address', () => {
  assert.deepEqual(read('fe80::1%eth0'), parseAddress('fe80::1'));
});
