// Where the chain of headers behind IP ends, and how much of an upper header has to be there before its fields count.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Headers, type IpLayer } from '../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../shared/packet/decode/parse.ts';
import { reasons } from '../../../../shared/packet/decode/reasons.ts';
import { buildPacket, type PacketSpec } from '../../../../shared/packet/encode/build.ts';

const a = '10.0.0.1';
const b = '192.0.2.1';
const a6 = '2001:db8::1';
const b6 = '2001:db8::2';
const ports = { sourcePort: 4000, targetPort: 53 };
const body = (length: number) => new Uint8Array(length);

interface Case {
  readonly name: string;
  readonly packet: PacketSpec;
  /** Bytes to overwrite, by offset. */
  readonly damage?: Readonly<Record<number, number>>;
  readonly reason?: string;
  readonly layer: Partial<IpLayer>;
}

const cases: readonly Case[] = [
  {
    name: 'IPv4, a cut authentication header gives the protocol',
    packet: { source: a, target: b, protocol: 51, payload: Uint8Array.of(17, 40, ...body(30)) },
    reason: 'l4-cut',
    layer: { protocol: 17, sourcePort: -1 },
  },
  {
    name: 'IPv4, an authentication header of one byte is the protocol',
    packet: { source: a, target: b, protocol: 51, payload: Uint8Array.of(17) },
    layer: { protocol: 51, sourcePort: -1 },
  },
  {
    name: 'TCP flags, the least header',
    packet: { source: a, target: b, tcp: { ...ports, flags: 'S' } },
    damage: { 46: 0x5f },
    layer: { tcpFlags: 0xf02 },
  },
  {
    name: 'TCP, a header shorter than the least has no flags',
    packet: { source: a, target: b, tcp: { ...ports, flags: 'S' } },
    damage: { 46: 0x40 },
    layer: { protocol: 6, tcpFlags: -1, ...ports },
  },
  {
    name: 'SCTP, a whole common header',
    packet: { source: a, target: b, protocol: 132, payload: Uint8Array.of(15, 160, 0, 53, ...body(8)) },
    layer: { protocol: 132, messageType: -1, ...ports },
  },
  {
    name: 'SCTP, a cut common header',
    packet: { source: a, target: b, protocol: 132, payload: Uint8Array.of(15, 160, 0, 53, ...body(7)) },
    reason: 'l4-cut',
    layer: { protocol: 132, sourcePort: -1 },
  },
  ...[0, 3, 4].map((length) => ({
    name: `SCTP, a chunk of ${length} bytes`,
    packet: {
      source: a,
      target: b,
      protocol: 132,
      payload: Uint8Array.of(15, 160, 0, 53, ...body(8), 1, 0, 0, length),
    },
    layer: { messageType: length < 4 ? -1 : 1, ...ports },
  })),
  ...[135, 139].map((header) => ({
    name: `IPv6, nothing follows header ${header}`,
    packet: { source: a6, target: b6, extensions: [{ header, body: body(6) }], udp: ports },
    layer: { protocol: header, sourcePort: -1 },
  })),
  {
    name: 'IPv6, a length of 0 before UDP reaches to the end: its network card had not cut it yet',
    packet: { source: a6, target: b6, udp: ports },
    damage: { 18: 0, 19: 0 },
    layer: { protocol: 17, end: 62, sourcePort: 4000 },
  },
  {
    name: 'IPv6, a length of 0 before padding is no payload',
    packet: { source: a6, target: b6, protocol: 6, payload: new Uint8Array(6) },
    damage: { 18: 0, 19: 0 },
    reason: 'l4-cut',
    layer: { protocol: 6, end: 54, sourcePort: -1 },
  },
  {
    name: 'IPv6, a length of 0 before another protocol is no payload',
    packet: { source: a6, target: b6, protocol: 89, payload: new Uint8Array(6).fill(9) },
    damage: { 18: 0, 19: 0 },
    layer: { protocol: 89, end: 54, sourcePort: -1 },
  },
  {
    name: 'IPv6, a length of 0 and no jumbo option',
    packet: { source: a6, target: b6, extensions: [{ header: 0, body: Uint8Array.of(1, 4, 0, 1, 0, 0) }], udp: ports },
    damage: { 18: 0, 19: 0 },
    layer: { protocol: 17, end: 70, sourcePort: 4000 },
  },
  {
    name: 'IPv6, a jumbo option with a length that needs none',
    packet: {
      source: a6,
      target: b6,
      extensions: [{ header: 0, body: Uint8Array.of(0xc2, 4, 0, 0, 0, 16) }],
      udp: ports,
    },
    damage: { 18: 0, 19: 0 },
    reason: 'ipv6-extension-cut',
    layer: { protocol: 0, end: 54, sourcePort: -1 },
  },
];

test('packet parser - the end of the header chain, and the least of an upper header', async (t) => {
  for (const { name, packet, damage = {}, reason = 'none', layer } of cases) {
    await t.test(name, () => {
      const bytes = buildPacket(packet);
      for (const [offset, value] of Object.entries(damage)) bytes[Number(offset)] = value;
      const headers = new Headers();
      assert.equal(reasons[parse(bytes, 0, bytes.length, 1, headers, false)].name, reason);
      for (const [field, value] of Object.entries(layer)) {
        assert.equal(headers.outer[field as keyof IpLayer], value, field);
      }
    });
  }
});

test('packet parser - an ICMP error may quote SCTP by its first eight bytes', () => {
  const quoted = buildPacket({
    link: 'none',
    source: b,
    target: a,
    protocol: 132,
    payload: Uint8Array.of(0, 53, 15, 160, ...body(4)),
  });
  const error = Uint8Array.of(3, 3, 0, 0, 0, 0, 0, 0, ...quoted);
  const bytes = buildPacket({ source: a, target: b, protocol: 1, payload: error });
  const headers = new Headers();
  assert.equal(parse(bytes, 0, bytes.length, 1, headers, false), 0);
  assert.deepEqual([headers.quoted.sourcePort, headers.quoted.targetPort], [53, 4000]);
});
