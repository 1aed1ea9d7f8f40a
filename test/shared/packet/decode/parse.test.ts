// IP headers, what stands behind them, and how much of a damaged packet is still good.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Fragment, Headers, type IpLayer } from '../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../shared/packet/decode/parse.ts';
import { reasons } from '../../../../shared/packet/decode/reasons.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../../shared/packet/encode/build.ts';
import { gtpUser, gtpUserPorts } from '../../../../shared/packet/encode/buildPayload.ts';

const a = '10.0.0.1';
const b = '192.0.2.1';
const a6 = '2001:db8::1';
const b6 = '2001:db8::2';
const ports = { sourcePort: 4000, targetPort: 53 };
const body = (length: number) => new Uint8Array(length);

interface Case {
  readonly name: string;
  readonly packet: PacketSpec | Uint8Array;
  /** Only so many bytes of it were captured. */
  readonly captured?: number;
  /** Bytes to overwrite, by offset. */
  readonly damage?: Readonly<Record<number, number>>;
  readonly reason?: string;
  readonly layer?: Partial<IpLayer>;
}

const cases: readonly Case[] = [
  { name: 'UDP', packet: { source: a, target: b, udp: ports }, layer: { version: 4, protocol: 17, ...ports } },
  {
    name: 'TCP flags',
    packet: { source: a, target: b, tcp: { ...ports, flags: 'SEC' } },
    layer: { protocol: 6, tcpFlags: 0xc2, ...ports },
  },
  {
    name: 'UDP-Lite',
    packet: { source: a, target: b, protocol: 136, payload: Uint8Array.of(15, 160, 0, 53) },
    layer: { protocol: 136, ...ports },
  },
  {
    name: 'SCTP, first chunk',
    packet: { source: a, target: b, sctp: { ...ports, chunks: ['init'] } },
    layer: { protocol: 132, messageType: 1, ...ports },
  },
  {
    name: 'DCCP, packet type',
    packet: { source: a6, target: b6, dccp: { ...ports, type: 'reset' } },
    layer: { version: 6, protocol: 33, messageType: 7, ...ports },
  },
  {
    name: 'ICMP echo',
    packet: { source: a, target: b, icmp: { kind: 'echo-request', identifier: 777 } },
    layer: { protocol: 1, messageType: 8, echoId: 777, sourcePort: -1, targetPort: -1 },
  },
  {
    name: 'ICMPv6 echo',
    packet: { source: a6, target: b6, icmp: { kind: 'echo-reply', identifier: 777 } },
    layer: { protocol: 58, messageType: 129, echoId: 777 },
  },
  {
    name: 'IPv4 options',
    packet: { source: a, target: b, ipOptions: Uint8Array.of(7, 7, 4, 0, 0, 0, 0), udp: ports },
    layer: { payload: 42, ...ports },
  },
  {
    name: 'a protocol without ports',
    packet: { source: a, target: b, protocol: 89 },
    layer: { protocol: 89, sourcePort: -1 },
  },
  {
    name: 'Ethernet padding is no payload',
    packet: Uint8Array.of(...buildPacket({ source: a, target: b, protocol: 89, payload: 'x' }), ...body(25)),
    layer: { end: 14 + 21 },
  },
  {
    name: 'an IPv4 length of 0 reaches to the end',
    packet: { source: a, target: b, udp: { ...ports, payload: body(30) } },
    damage: { 16: 0, 17: 0 },
    layer: { end: 14 + 20 + 8 + 30, ...ports },
  },
  {
    name: 'IPv4, authentication header',
    packet: {
      source: a,
      target: b,
      protocol: 51,
      payload: Uint8Array.of(17, 4, ...body(22), 15, 160, 0, 53, 0, 8, 0, 0),
    },
    layer: { protocol: 17, ...ports },
  },
  {
    name: 'IPv6, every extension header',
    packet: {
      source: a6,
      target: b6,
      extensions: [0, 60, 43, 51, 140].map((header) => ({ header, body: body(6) })),
      udp: ports,
    },
    layer: { protocol: 17, ...ports },
  },
  {
    name: 'IPv6, a mobility message is the protocol',
    packet: { source: a6, target: b6, extensions: [{ header: 135, body: body(6) }], protocol: 59 },
    layer: { protocol: 135 },
  },
  { name: 'IPv6, no next header', packet: { source: a6, target: b6, protocol: 59 }, layer: { protocol: 59 } },
  {
    name: 'IPv6, an atomic fragment is a whole packet',
    packet: { source: a6, target: b6, fragment: { offset: 0, more: false }, identification: 9, udp: ports },
    layer: { fragment: Fragment.WHOLE, protocol: 17, ...ports },
  },
  {
    name: 'IPv6, a jumbogram reaches to the end',
    packet: {
      source: a6,
      target: b6,
      extensions: [{ header: 0, body: Uint8Array.of(0xc2, 4, 0, 1, 0, 0) }],
      udp: ports,
    },
    damage: { 18: 0, 19: 0 },
    layer: { protocol: 17, ...ports },
  },
  {
    name: 'ports are enough of TCP',
    packet: { source: a, target: b, tcp: ports },
    captured: 38,
    layer: { tcpFlags: -1, ...ports },
  },
  {
    name: 'a cut payload',
    packet: { source: a, target: b, tcp: { ...ports, payload: body(99) } },
    captured: 68,
    layer: { tcpFlags: 16, ...ports },
  },
  // From here on something is missing.
  {
    name: 'ports cut',
    packet: { source: a, target: b, tcp: ports },
    captured: 37,
    reason: 'l4-cut',
    layer: { version: 4, protocol: 6, sourcePort: -1 },
  },
  {
    name: 'ports beyond the IPv4 length',
    packet: { source: a, target: b, udp: ports },
    damage: { 17: 23 },
    reason: 'l4-cut',
    layer: { version: 4 },
  },
  {
    name: 'echo identifier cut',
    packet: { source: a, target: b, icmp: { kind: 'echo-request' } },
    captured: 39,
    reason: 'l4-cut',
  },
  {
    name: 'IPv4 header cut',
    packet: { source: a, target: b, udp: ports },
    captured: 33,
    reason: 'ipv4-header-cut',
    layer: { version: 0 },
  },
  {
    name: 'IPv4 announced, another version',
    packet: { source: a, target: b, udp: ports },
    damage: { 14: 0x65 },
    reason: 'ip-version',
    layer: { version: 0 },
  },
  {
    name: 'IPv4 header length below 20',
    packet: { source: a, target: b, udp: ports },
    damage: { 14: 0x44 },
    reason: 'ipv4-header-length',
    layer: { version: 0 },
  },
  {
    name: 'IPv4 length below its header',
    packet: { source: a, target: b, udp: ports },
    damage: { 17: 19 },
    reason: 'ipv4-total-length',
    layer: { version: 0 },
  },
  {
    name: 'IPv4 options cut',
    packet: { source: a, target: b, ipOptions: body(8), udp: ports },
    captured: 40,
    reason: 'ipv4-options-cut',
    layer: { version: 4, sourcePort: -1 },
  },
  {
    name: 'IPv6 header cut',
    packet: { source: a6, target: b6, udp: ports },
    captured: 53,
    reason: 'ipv6-header-cut',
    layer: { version: 0 },
  },
  {
    name: 'IPv6 announced, another version',
    packet: { source: a6, target: b6, udp: ports },
    damage: { 14: 0x45 },
    reason: 'ip-version',
    layer: { version: 0 },
  },
  {
    name: 'IPv6 extension running off the packet',
    packet: { source: a6, target: b6, extensions: [{ header: 0, body: body(6) }], udp: ports },
    damage: { 55: 200 },
    reason: 'ipv6-extension-cut',
    layer: { version: 6, protocol: 17, sourcePort: -1 },
  },
  {
    name: 'IPv6 fragment header beyond the payload length',
    packet: { source: a6, target: b6, fragment: { offset: 8, more: true }, payload: body(8) },
    damage: { 19: 4 },
    reason: 'ipv6-extension-cut',
    layer: { version: 6, protocol: 44, fragment: Fragment.WHOLE },
  },
  {
    name: 'IPv6 extension headers without end',
    packet: { source: a6, target: b6, extensions: new Array(100).fill({ header: 60, body: body(6) }), udp: ports },
    reason: 'ipv6-extension-limit',
    layer: { version: 6, protocol: 60 },
  },
];

test('packet parser - headers and their damage', async (t) => {
  for (const { name, packet, captured, damage = {}, reason = 'none', layer = {} } of cases) {
    await t.test(name, () => {
      const bytes = Uint8Array.from(packet instanceof Uint8Array ? packet : buildPacket(packet));
      for (const [offset, value] of Object.entries(damage)) bytes[Number(offset)] = value;
      const { headers, result } = read(bytes.subarray(0, captured), false);
      assert.equal(result, reason);
      for (const [field, value] of Object.entries(layer)) {
        assert.equal(headers.outer[field as keyof IpLayer], value, field);
      }
    });
  }
});

test('packet parser - only the first fragment has ports, all have the datagram', () => {
  for (const [source, target] of [
    [a, b],
    [a6, b6],
  ]) {
    const spec = { source, target, identification: 4711, udp: { ...ports, payload: body(100) } };
    const fragments = fragmentPacket(spec, 40).map((bytes) => read(bytes, false).headers.outer);
    assert.equal(fragments.length, 3);
    const seen = fragments.map((layer) => [
      layer.fragment,
      layer.fragmentOffset,
      layer.moreFragments,
      layer.sourcePort,
    ]);
    assert.deepEqual(seen, [
      [Fragment.FIRST, 0, 1, 4000],
      [Fragment.LATER, 40, 1, -1],
      [Fragment.LATER, 80, 0, -1],
    ]);
    for (const layer of fragments) assert.deepEqual([layer.fragmentId, layer.protocol], [4711, 17]);
  }
});

const inside: PacketSpec = { source: '172.16.0.1', target: '172.16.0.2', udp: { sourcePort: 1111, targetPort: 2222 } };
const inside6: PacketSpec = { source: 'fd00::1', target: 'fd00::2', udp: { sourcePort: 1111, targetPort: 2222 } };
const bare = (spec: PacketSpec) => buildPacket({ ...spec, link: 'none' });
const gre = (head: number[], payload: Uint8Array): PacketSpec => ({
  source: a,
  target: b,
  protocol: 47,
  payload: Uint8Array.of(...head, ...payload),
});
const udp = (targetPort: number, head: number[], payload: Uint8Array): PacketSpec => ({
  source: a,
  target: b,
  udp: { sourcePort: 50_000, targetPort, payload: Uint8Array.of(...head, ...payload) },
});

const tunnels: readonly (readonly [name: string, packet: PacketSpec])[] = [
  ['IP in IP', { source: a, target: b, inner: inside }],
  ['6in4', { source: a, target: b, inner: inside6 }],
  ['4in6', { source: a6, target: b6, inner: inside }],
  ['GRE', gre([0, 0, 8, 0], bare(inside))],
  ['GRE with checksum, key and sequence', gre([0xb0, 0, 0x86, 0xdd, ...body(12)], bare(inside6))],
  ['GRE with Ethernet', gre([0, 0, 0x65, 0x58], buildPacket({ ...inside, vlans: [3] }))],
  ['GRE with MPLS', gre([0, 0, 0x88, 0x47, 0, 0, 0x11, 255], bare(inside))],
  ['PPTP', gre([0x30, 0x81, 0x88, 0x0b, ...body(12), 0xff, 3, 0, 0x21], bare(inside))],
  ['GRE in GRE', gre([0, 0, 8, 0], bare(gre([0, 0, 8, 0], bare(inside))))],
  ['EtherIP', { source: a, target: b, protocol: 97, payload: Uint8Array.of(0x30, 0, ...buildPacket(inside)) }],
  ['MPLS in IP', { source: a, target: b, protocol: 137, payload: Uint8Array.of(0, 0, 0x11, 255, ...bare(inside)) }],
  ['GTP-U', { source: a, target: b, udp: { ...gtpUserPorts, payload: gtpUser({ teid: 1, inner: bare(inside) }) } }],
  [
    'GTP-U with extension headers',
    {
      source: a6,
      target: b6,
      udp: {
        ...gtpUserPorts,
        payload: gtpUser({
          teid: 1,
          inner: bare(inside6),
          sequence: 5,
          extensions: [
            { type: 0x85, content: body(2) },
            { type: 0xc0, content: body(6) },
          ],
        }),
      },
    },
  ],
  ['GTP version 0', udp(3386, [0x1e, 255, ...body(18)], bare(inside))],
  ['VXLAN', udp(4789, [8, 0, 0, 0, 0, 0, 7, 0], buildPacket(inside))],
  ['Geneve with options', udp(6081, [2, 0, 0x65, 0x58, 0, 0, 7, 0, ...body(8)], buildPacket(inside6))],
  [
    'VXLAN in GRE in IPv6',
    {
      source: a6,
      target: b6,
      inner: gre([0, 0, 8, 0], bare(udp(4789, [8, 0, 0, 0, 0, 0, 7, 0], buildPacket(inside)))),
    },
  ],
];

test('packet parser - the innermost header is found where tunnels are followed, and only there', async (t) => {
  for (const [name, packet] of tunnels) {
    await t.test(name, () => {
      const { headers } = read(buildPacket(packet), true);
      assert.deepEqual([headers.keyed.sourcePort, headers.keyed.targetPort], [1111, 2222]);
      const outside = read(buildPacket(packet), false).headers;
      assert.equal(outside.keyed, outside.outer);
      assert.notEqual(outside.outer.sourcePort, 1111);
    });
  }
});

test('packet parser - a tunnel that only looks like one, a damaged inner packet and a fragment end the way inwards', () => {
  const others: PacketSpec[] = [
    udp(4789, [0, 0, 0, 0, 0, 0, 7, 0], buildPacket(inside)),
    udp(2152, [0x30, 1, 0, 0], bare(inside)),
    gre([0x40, 0, 8, 0], bare(inside)),
    gre([0, 0, 8, 0], bare(inside).subarray(0, 19)),
    gre([0, 0, 0x88, 0xcc], bare(inside)),
    { source: a, target: b, protocol: 4, payload: bare(inside), fragment: { offset: 0, more: true } },
  ];
  for (const packet of others) {
    const { headers, result } = read(buildPacket(packet), true);
    assert.equal(result, 'none');
    assert.equal(headers.keyed, headers.outer);
  }
});

test('packet parser - an ICMP error gives the packet it quotes, however little of it', () => {
  for (const [embedded, version] of [
    [{ source: b, target: a, udp: ports }, 4],
    [{ source: b6, target: a6, udp: ports }, 6],
  ] as const) {
    const [source, target] = version === 4 ? [a, b] : [a6, b6];
    for (const kind of ['port-unreachable', 'packet-too-big', 'time-exceeded', 'parameter-problem'] as const) {
      const icmp = { kind, embedded, embeddedBytes: version === 4 ? 28 : 48 };
      const { quoted } = read(buildPacket({ source, target, icmp }), false).headers;
      assert.deepEqual([quoted.version, quoted.sourcePort, quoted.targetPort], [version, 4000, 53]);
    }
    const echo = read(buildPacket({ source, target, icmp: { kind: 'echo-request', payload: bare(embedded) } }), false);
    assert.equal(echo.headers.quoted.version, 0);
    const cut = read(
      buildPacket({ source, target, icmp: { kind: 'port-unreachable', embedded, embeddedBytes: 19 } }),
      false,
    );
    assert.deepEqual([cut.result, cut.headers.quoted.version], ['none', 0]);
  }
});

function read(bytes: Uint8Array, inner: boolean): { headers: Headers; result: string } {
  const headers = new Headers();
  return { result: reasons[parse(bytes, 0, bytes.length, 1, headers, inner)].name, headers };
}
