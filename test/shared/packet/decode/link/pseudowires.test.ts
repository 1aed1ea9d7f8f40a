// What is behind an MPLS label stack: IP, an Ethernet frame with or without control word, or neither, told by more than the
// first four bits, since a MAC address may begin with any.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Headers } from '../../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../../shared/packet/decode/parse.ts';
import { buildPacket, type PacketSpec } from '../../../../../shared/packet/encode/build.ts';

const ports = { sourcePort: 1111, targetPort: 2222 };
const inside: PacketSpec = { source: '10.0.0.5', target: '10.0.0.80', tcp: { ...ports, payload: 'x'.repeat(60) } };
const inside6: PacketSpec = {
  source: '2001:db8::5',
  target: '2001:db8::80',
  udp: { ...ports, payload: 'x'.repeat(60) },
};
/** An Ethernet header and two labels, of which the second is the bottom of the stack. */
const stack = Buffer.from('0200000000020200000000018847' + '000100ff' + '00018140', 'hex');

/** The packet within PPPoE. */
function pppoe(spec: PacketSpec): PacketSpec {
  const ip = buildPacket({ ...spec, link: 'none' });
  const protocol = spec === inside6 ? 0x57 : 0x21;
  return { etherType: 0x8864, payload: Uint8Array.of(0x11, 0, 0, 9, 0, ip.length + 2, 0, protocol, ...ip) };
}

function read(behind: Uint8Array, length = 65_535): Headers {
  const packet = Uint8Array.of(...stack, ...behind).subarray(0, stack.length + length);
  const headers = new Headers();
  parse(packet, 0, packet.length, 1, headers, false);
  return headers;
}

const portsOf = ({ outer }: Headers) => (outer.version === 0 ? 'not IP' : `${outer.sourcePort} ${outer.targetPort}`);
const vlansOf = ({ link }: Headers) => [...link.vlans.subarray(0, link.vlanCount)];

const frames: readonly (readonly [name: string, spec: PacketSpec, vlans: readonly number[]])[] = [
  ['IPv4', inside, []],
  ['IPv6', inside6, []],
  ['VLAN', { ...inside, vlans: [4] }, [4]],
  ['802.1ad and 802.1Q', { ...inside6, vlans: [{ id: 5, etherType: 0x88a8 }, 6] }, [5, 6]],
  ['the old double tag', { ...inside, vlans: [{ id: 5, etherType: 0x9100 }, 6] }, [5, 6]],
  ['PPPoE', pppoe(inside), []],
  ['PPPoE, IPv6, in a VLAN', { ...pppoe(inside6), vlans: [7] }, [7]],
];

test('pseudowires - a frame is read whatever its MAC address begins with, with any control word or without one', async (t) => {
  for (const [name, spec, vlans] of frames) {
    await t.test(name, () => {
      for (let first = 0; first < 256; first++) {
        const targetMac = `${first.toString(16).padStart(2, '0')}:5e:0c:11:22:33`;
        const frame = buildPacket({ ...spec, targetMac });
        for (const word of [[], [0, 0, 0, 0], [0, 0x71, 1, 0], [0x0f, 0xff, 0xff, 0xff]]) {
          const headers = read(Uint8Array.of(...word, ...frame));
          assert.equal(portsOf(headers), '1111 2222', `${targetMac}, control word ${word}`);
          assert.deepEqual(vlansOf(headers), vlans);
        }
      }
    });
  }
});

test('pseudowires - IP behind the stack stays IP, whatever it looks like besides, also with a checksum that its card was to fill in', () => {
  for (const spec of [
    inside,
    inside6,
    { ...inside, source: '8.0.69.1' },
    { ...inside6, source: '2001:db8:800:4500::1' },
  ]) {
    assert.equal(portsOf(read(buildPacket({ ...spec, link: 'none' }))), '1111 2222');
  }
  const unfilled = buildPacket({ ...inside, link: 'none' }).fill(0, 10, 12);
  assert.equal(portsOf(read(unfilled)), '1111 2222');
});

test('pseudowires - a packet that the capture cut is read as far as it goes', () => {
  for (const spec of [inside, inside6, { ...inside, vlans: [4] }]) {
    const frame = buildPacket({ ...spec, targetMac: '4c:5e:0c:11:22:33' });
    const packet = buildPacket({ ...spec, link: 'none' });
    for (const length of [96, 80, 64]) {
      if (spec !== inside6 || length > 64) assert.equal(portsOf(read(frame, length)), '1111 2222', `frame, ${length}`);
      if (length < packet.length) assert.equal(portsOf(read(packet, length)), '1111 2222', `packet, ${length}`);
      assert.equal(portsOf(read(Uint8Array.of(0, 0x71, 1, 0, ...frame), length + 4)), portsOf(read(frame, length)));
    }
  }
});

test('pseudowires - SNAP in a frame that the capture cut', () => {
  const packet = buildPacket({ ...inside, link: 'none' });
  const snap = Uint8Array.of(0xaa, 0xaa, 3, 0, 0, 0, 8, 0, ...packet);
  const frame = buildPacket({ targetMac: '4c:5e:0c:11:22:33', etherType: snap.length, payload: snap });
  for (const length of [frame.length, 96, 64, 48]) {
    assert.equal(portsOf(read(frame, length)), '1111 2222', `${length} bytes`);
    assert.equal(
      portsOf(read(Uint8Array.of(0, 0, 0, 0, ...frame), length + 4)),
      '1111 2222',
      `${length} bytes and a word`,
    );
  }
});

test('pseudowires - IPv6 behind the stack that the capture cut, with options for each hop, and between segment identifiers', () => {
  const options = { extensions: [{ header: 0, body: Uint8Array.of(5, 2, 0, 0, 1, 0) }] };
  const segments = { source: '5f00::5', target: '5f00::80' };
  for (const spec of [
    { ...inside6, ...options },
    { ...inside6, ...segments },
    { ...inside6, ...options, ...segments },
  ]) {
    const packet = buildPacket({ ...spec, link: 'none' });
    for (const length of [packet.length, 64, 52]) assert.equal(portsOf(read(packet, length)), '1111 2222');
  }
});

test('pseudowires - what carries no IP is not read as IP, though its address begins with 4 or 6', () => {
  for (const targetMac of [
    '4c:5e:0c:11:22:33',
    '45:00:00:28:22:33',
    '6c:3b:6b:11:22:33',
    '60:00:00:00:00:06',
    '14:00:00:21:22:33',
  ]) {
    const arp = buildPacket({
      targetMac,
      etherType: 0x0806,
      payload: Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...new Uint8Array(38)),
    });
    const lldp = buildPacket({ targetMac, etherType: 0x88cc, payload: new Uint8Array(46) });
    const field = buildPacket({ targetMac, etherType: 0x8892, payload: new Uint8Array(46).fill(0x80) });
    const tree = buildPacket({
      targetMac,
      etherType: 38,
      payload: Uint8Array.of(0x42, 0x42, 3, ...new Uint8Array(43)),
    });
    for (const frame of [arp, lldp, field, tree]) assert.equal(portsOf(read(frame)), 'not IP', targetMac);
  }
});

test('pseudowires - random bytes behind a stack are read without fault, and hardly ever as IP', () => {
  let read4or6 = 0;
  fc.assert(
    fc.property(fc.constantFrom(0x40, 0x60), fc.uint8Array({ minLength: 40, maxLength: 90 }), (nibble, behind) => {
      behind[0] = nibble | (behind[0] & 15);
      if (portsOf(read(behind)) !== 'not IP') read4or6++;
    }),
    { numRuns: 3_000 },
  );
  assert.ok(read4or6 < 60, `${read4or6} of 3,000`);
});
