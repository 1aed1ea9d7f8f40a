// Packets made from datagrams: byte for byte those that a client's kernel would have sent, by the builder of packets as
// the reference.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VipPacket } from '../../../../services/tier1/ingress/vipPacket.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { formatAddress, parseAddress } from '../../../../shared/packet/addressText.ts';
import { Headers } from '../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../shared/packet/decode/parse.ts';
import { buildPacket } from '../../../../shared/packet/encode/build.ts';

const ports = fc.integer({ min: 1, max: 65_535 });
const addresses = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((address) => formatAddress(address));
const datagrams = fc.uint8Array({ maxLength: 300 });

for (const [family, bytes] of [
  ['IPv4', 4],
  ['IPv6', 16],
] as const) {
  test(`vip packet - a datagram over ${family} becomes the packet that brought it, with right checksums`, () => {
    const clients = fc.array(fc.tuple(addresses(bytes), ports, datagrams), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(addresses(bytes), ports, clients, (vip, port, sent) => {
        const maker = new VipPacket(parseAddress(vip), port);
        for (const [client, clientPort, payload] of sent) {
          const length = maker.write(client, clientPort, payload);
          const expected = buildPacket({
            link: 'none',
            source: client,
            target: vip,
            ...(bytes === 4 ? { dontFragment: true } : {}),
            udp: { sourcePort: clientPort, targetPort: port, payload },
          });
          assert.deepEqual(maker.buffer.slice(0, length), expected);
        }
      }),
    );
  });
}

test('vip packet - the largest datagrams fit; over IPv4 also into the largest packet', () => {
  const headers = new Headers();
  for (const [vip, client, largest] of [
    ['192.0.2.1', '198.51.100.7', 65_507],
    ['2001:db8::1', '2001:db8::2', limits.udpPayloadBytes],
  ] as const) {
    const maker = new VipPacket(parseAddress(vip), 53);
    const payload = new Uint8Array(largest).fill(0xff);
    const length = maker.write(client, 1_024, payload);
    assert.equal(length, largest + (vip.includes(':') ? 48 : 28));
    assert.equal(parse(maker.buffer, 0, length, 101, headers, false), 0);
    assert.equal(headers.keyed.sourcePort, 1_024);
    assert.deepEqual(maker.buffer.slice(length - largest, length), payload);
    if (!vip.includes(':')) assert.equal(length, limits.packetBytes);
  }
});

test('vip packet - an address of another family, or none at all, makes no packet and leaves the next one right', () => {
  const maker = new VipPacket(parseAddress('192.0.2.1'), 53);
  const good = () => maker.buffer.slice(0, maker.write('198.51.100.7', 7, Uint8Array.of(1)));
  const before = good();
  for (const client of ['::1', '', '1.2.3', '1.2.3.4.5', '256.1.1.1', '1..2.3', 'a.b.c.d']) {
    assert.equal(maker.write(client, 7, Uint8Array.of(1)), 0, client);
  }
  assert.deepEqual(good(), before);
});
