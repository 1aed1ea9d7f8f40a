// GTP, SIP, QUIC and DHCPv6 messages that are random, damaged or made to be slow: nothing throws, nothing outside of them is
// read, and the time that a look takes is bounded.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { findDuid } from '../../../../../shared/packet/decode/dhcp.ts';
import { Headers, type IpLayer } from '../../../../../shared/packet/decode/headers.ts';
import { GtpTunnel } from '../../../../../shared/packet/decode/messages/gtpTunnel.ts';
import { QuicId } from '../../../../../shared/packet/decode/messages/quic.ts';
import { SipCallId } from '../../../../../shared/packet/decode/messages/sip.ts';
import { parse } from '../../../../../shared/packet/decode/parse.ts';
import { buildPacket } from '../../../../../shared/packet/encode/build.ts';
import { dhcp6, identified, sip } from '../../../../support/identifiedPackets.ts';

const seeds = identified.map((spec) => buildPacket({ source: '10.0.0.1', target: '192.0.2.1', ...spec }));
const sipOf = (text: string | Uint8Array) => {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const reader = new SipCallId();
  return reader.find(bytes, 0, bytes.length)
    ? Buffer.from(bytes.subarray(reader.offset, reader.offset + reader.length)).toString()
    : undefined;
};

/** What every reader finds in the packet in `bytes[start, start + length)`, as offsets from its start. */
function found(bytes: Uint8Array, start: number, length: number): unknown[] {
  const headers = new Headers();
  parse(bytes, start, start + length, 1, headers, false);
  const layer: IpLayer = headers.outer;
  if (layer.version === 0 || layer.sourcePort < 0) return [];
  const [gtp, quic, text] = [new GtpTunnel(), new QuicId(), new SipCallId()];
  const at = (isFound: boolean, ...offsets: number[]) =>
    isFound &&
    offsets.map((offset) => {
      assert.ok(offset >= start && offset < start + length, 'inside the packet');
      return offset - start;
    });
  const message = layer.payload + 8;
  const duid = findDuid(bytes, message, layer.end);
  return [
    at(gtp.find(bytes, layer), gtp.teid, gtp.teid + 3, gtp.receiver),
    at(gtp.findSubscriber(bytes, message, layer.end), gtp.subscriber, gtp.subscriber + 3),
    at(quic.find(bytes, layer, 8), quic.offset, quic.offset + quic.length - 1),
    at(text.find(bytes, message, layer.end), text.offset, text.offset + text.length - 1),
    at(duid >= 0, duid),
  ];
}

test('messages - random and damaged: nothing throws, and no byte outside the packet matters', () => {
  const damaged = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 6 }), fc.nat(400))
    .map(([seed, changes, length]) => {
      const bytes = Uint8Array.from(seed.subarray(0, Math.max(1, length)));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    });
  fc.assert(
    fc.property(
      fc.oneof(damaged, fc.uint8Array({ maxLength: 200 })),
      fc.nat(40),
      fc.nat(40),
      fc.nat(255),
      (packet, before, after, poison) => {
        const poisoned = new Uint8Array(before + packet.length + after).fill(poison);
        poisoned.set(packet, before);
        assert.deepEqual(found(poisoned, before, packet.length), found(packet, 0, packet.length));
      },
    ),
    { numRuns: 20_000 },
  );
});

test('messages - cut at any byte, each is read as if nothing were behind the cut', () => {
  for (const seed of seeds) {
    for (let length = 0; length <= seed.length; length++) {
      assert.deepEqual(found(seed, 0, length), found(seed.slice(0, length), 0, length), `cut at ${length}`);
    }
  }
});

test('sip - a Call-ID that is cut, or too far away, is none', () => {
  const message = sip('Call-ID: one@example.org');
  assert.equal(sipOf(message), 'one@example.org');
  for (let length = 0; length < message.indexOf('.org\r') + 5; length++)
    assert.equal(sipOf(message.slice(0, length)), undefined);
  assert.equal(sipOf(sip(`Subject: ${'x'.repeat(5_000)}\r\nCall-ID: one`)), undefined);
  assert.equal(sipOf(sip(`${'X: y\r\n'.repeat(200)}Call-ID: one`)), undefined);
  assert.equal(sipOf(sip('Call-ID: one').replaceAll('\r\n', '\n')), 'one');
  assert.equal(sipOf(sip('Call-ID: one\r\nCall-ID: two')), 'one');
});

test('sip - a first line is one only with its version and a method', () => {
  for (const first of ['SIP/2.0 404 Not Found', 'sip/2.0 100 Trying', 'X-NEW sip:a SIP/2.0'])
    assert.equal(sipOf(sip('i: 1', first)), '1');
  for (const first of [
    'SIP/2.01 200 OK',
    'INVITE SIP/2.0',
    'INVITE sip:a SIP/3.0',
    ' INVITE sip:a SIP/2.0',
    'IN(VITE sip:a SIP/2.0',
    '',
  ]) {
    assert.equal(sipOf(sip('i: 1', first)), undefined, first);
  }
});

test('messages - the largest packets, made of what costs most to look through, take little time', () => {
  const sizes = 65_000;
  const chains: readonly (readonly [string, () => unknown])[] = (
    [
      ['SIP, one endless line', new TextEncoder().encode(`INVITE ${'x'.repeat(sizes)}`)],
      ['SIP, endless folding', new TextEncoder().encode(`SIP/2.0 200 OK\r\ni:${'\r\n '.repeat(sizes / 3)}`)],
      ['SIP, endless lines', new TextEncoder().encode(`SIP/2.0 200 OK\r\n${'a\n'.repeat(sizes / 2)}`)],
      ['DHCPv6, empty options', Uint8Array.of(1, 0, 0, 0, ...new Uint8Array(sizes))],
      ['DHCPv6, relays', dhcp6(1, [1, 2, 3], 200)],
    ] as const
  ).map(([name, bytes]) => [name, () => [sipOf(bytes), findDuid(bytes, 0, bytes.length)]]);
  const gtp = new GtpTunnel();
  const elements = Uint8Array.of(0x48, 32, 0xff, 0xff, ...new Uint8Array(sizes));
  const extensions = Uint8Array.of(0x36, 16, 0xff, 0xff, ...new Uint8Array(sizes).fill(1));
  for (const [name, look] of [
    ...chains,
    ['GTP', () => [elements, extensions].map((bytes) => gtp.findSubscriber(bytes, 0, bytes.length))] as const,
  ]) {
    const startMs = performance.now();
    for (let turn = 0; turn < 200; turn++) look();
    const spentMs = performance.now() - startMs;
    assert.ok(spentMs < 1_000, `${name}: 200 times in ${spentMs} ms`);
  }
});

test('dhcp - what more relays have passed on than may is not looked into', () => {
  const duid = (relays: number) => {
    const bytes = dhcp6(1, [1, 2, 3], relays);
    return findDuid(bytes, 0, bytes.length) >= 0;
  };
  assert.deepEqual([0, 1, 8, 9].map(duid), [true, true, true, false]);
});
