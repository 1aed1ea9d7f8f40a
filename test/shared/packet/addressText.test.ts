// Addresses as text, by the examples of the RFCs and by writing and reading back.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { addressFamily, formatAddress, parseAddress, parseMac } from '../../../shared/packet/addressText.ts';

// Texts from RFC 4291, section 2.2, and RFC 5952, sections 1 and 4: as written, and in the short form.
const ipv6Texts = [
  ['ABCD:EF01:2345:6789:ABCD:EF01:2345:6789', 'abcd:ef01:2345:6789:abcd:ef01:2345:6789'],
  ['2001:DB8:0:0:8:800:200C:417A', '2001:db8::8:800:200c:417a'],
  ['FF01:0:0:0:0:0:0:101', 'ff01::101'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['::ffff:192.0.2.1', '::ffff:c000:201'],
] as const;

test('addressText - IPv6 texts of the RFCs are read, and written in short form', () => {
  for (const [text, short] of ipv6Texts) assert.equal(formatAddress(parseAddress(text)), short, text);
});

test('addressText - what is written is read back to the same bytes', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(fc.property(bytes, (address) => assert.deepEqual(parseAddress(formatAddress(address)), address)));
});

test('addressText - text that is no address is refused', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4.5',
    'a.b.c.d',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '12345::',
    'g::',
    '1.2.3.4::',
    ':1',
  ]) {
    assert.throws(() => parseAddress(text), /not an IP address/, text);
  }
  assert.throws(() => parseMac('02:00:00:00:00'), /not a MAC address/);
  assert.equal(addressFamily('192.0.2.1'), 4);
  assert.equal(addressFamily('::1'), 6);
});
