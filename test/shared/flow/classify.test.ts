// Which packets start and end what, by protocol.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  FrameFlags,
  linkKinds,
  ProtocolClass,
  protocolClasses,
  protocolClassOf,
} from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../shared/flow/keyer.ts';
import { buildPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import {
  dhcp,
  dhcpPorts,
  gtpControlPorts,
  gtpCreatePdp,
  gtpCreateSession,
  gtpDeletePdp,
  gtpDeleteSession,
  radiusAccounting,
  radiusAccountingPorts,
} from '../../../shared/packet/encode/buildPayload.ts';

const ends = { source: '10.0.0.1', target: '192.0.2.1' };
const ends6 = { source: '2001:db8::1', target: '2001:db8::2' };
const ports = { sourcePort: 40_000, targetPort: 443 };
const udp = (fields: { sourcePort: number; targetPort: number }, payload: Uint8Array): PacketSpec => ({
  ...ends,
  udp: { ...fields, payload },
});
const tcp = (flags: string): PacketSpec => ({ ...ends, tcp: { ...ports, flags } });
const sctp = (
  ...chunks: ('init' | 'init-ack' | 'abort' | 'shutdown' | 'shutdown-complete' | 'data')[]
): PacketSpec => ({
  ...ends,
  sctp: { ...ports, chunks },
});
const gtp = (payload: Uint8Array) => udp(gtpControlPorts, payload);
const radius = (payload: Uint8Array) => udp(radiusAccountingPorts, payload);
const dhcp6 = (type: number): PacketSpec => ({
  ...ends6,
  udp: { sourcePort: 546, targetPort: 547, payload: Uint8Array.of(type, 0, 0, 1) },
});
/** A DNS query and answer by a client whose ephemeral port is that of a signalling protocol. */
const dns = (port: number) =>
  udp({ sourcePort: port, targetPort: 53 }, Uint8Array.of(0x48, 0x20, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0));
const answer = (port: number) =>
  udp({ sourcePort: 53, targetPort: port }, Uint8Array.of(0x34, 16, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0));

type Case = readonly [packet: PacketSpec, seen: string];

const cases: readonly Case[] = [
  [tcp('S'), 'type1 start tcp'],
  [tcp('SEC'), 'type1 start tcp'],
  [tcp('SA'), 'type1 tcp'],
  [tcp('A'), 'type1 tcp'],
  [tcp('FA'), 'type1 end tcp'],
  [tcp('R'), 'type1 end tcp'],
  [sctp('init'), 'type1 start sctp'],
  [sctp('init-ack'), 'type1 sctp'],
  [sctp('data'), 'type1 sctp'],
  [sctp('shutdown'), 'type1 sctp'],
  [sctp('shutdown-complete'), 'type1 end sctp'],
  [sctp('abort'), 'type1 end sctp'],
  [{ ...ends6, dccp: { ...ports, type: 'request' } }, 'type1 start dccp'],
  [{ ...ends6, dccp: { ...ports, type: 'data' } }, 'type1 dccp'],
  [{ ...ends6, dccp: { ...ports, type: 'close-req' } }, 'type1 dccp'],
  [{ ...ends6, dccp: { ...ports, type: 'close' } }, 'type1 end dccp'],
  [{ ...ends6, dccp: { ...ports, type: 'reset' } }, 'type1 end dccp'],
  [gtp(gtpCreateSession()), 'type1 start gtp-c aggregate'],
  [gtp(gtpCreatePdp()), 'type1 start gtp-c aggregate'],
  [gtp(gtpDeleteSession()), 'type1 end gtp-c aggregate'],
  [gtp(gtpDeletePdp()), 'type1 end gtp-c aggregate'],
  [gtp(Uint8Array.of(0x40, 1, 0, 4, 0, 0, 1, 0)), 'type1 gtp-c aggregate'],
  [gtp(Uint8Array.of(0x20, 32, 0, 4, 0, 0, 1, 0)), 'type2 udp'],
  [
    udp({ sourcePort: 3386, targetPort: 3386 }, Uint8Array.of(0x1e, 16, 0, 0, ...new Uint8Array(16))),
    'type1 start gtp-c aggregate',
  ],
  [radius(radiusAccounting('start')), 'type1 start radius aggregate'],
  [radius(radiusAccounting('stop')), 'type1 end radius aggregate'],
  [radius(radiusAccounting('interim')), 'type1 radius aggregate'],
  [
    udp({ sourcePort: 1646, targetPort: 9 }, Uint8Array.of(5, 1, 0, 20, ...new Uint8Array(16))),
    'type1 radius aggregate',
  ],
  [udp({ sourcePort: 1812, targetPort: 1812 }, radiusAccounting('start')), 'type2 udp'],
  [udp(dhcpPorts, dhcp('discover')), 'type1 start dhcp aggregate'],
  [udp(dhcpPorts, dhcp('request')), 'type1 start dhcp aggregate'],
  [udp(dhcpPorts, dhcp('release')), 'type1 end dhcp aggregate'],
  [udp({ sourcePort: 67, targetPort: 68 }, dhcp('offer')), 'type1 dhcp aggregate'],
  [udp(dhcpPorts, dhcp('discover').subarray(0, 239)), 'type1 dhcp aggregate'],
  [dhcp6(1), 'type1 start dhcp aggregate'],
  [dhcp6(3), 'type1 start dhcp aggregate'],
  [dhcp6(8), 'type1 end dhcp aggregate'],
  [dhcp6(12), 'type1 dhcp aggregate'],
  [{ ...ends, udp: ports }, 'type2 udp'],
  [{ ...ends, protocol: 136, payload: new Uint8Array(8) }, 'type2 udp'],
  [{ ...ends, icmp: { kind: 'echo-request' } }, 'type2 icmp'],
  [{ ...ends6, icmp: { kind: 'echo-reply' } }, 'type2 icmp'],
  [{ ...ends, protocol: 50, payload: new Uint8Array(8) }, 'type2 other'],
  [{ etherType: 0x0806 }, 'type2 non-ip'],
  ...[2123, 3386, 1813, 1646].flatMap((port): Case[] => [
    [dns(port), 'type2 udp'],
    [answer(port), 'type2 udp'],
  ]),
];

function seenOf(
  spec: PacketSpec,
  captured?: number,
  flowKey: 'five-tuple' | 'address-pair' = 'five-tuple',
  symmetric = true,
): string {
  const keyer = new FlowKeyer({ secret: 'x', flowKey, symmetric });
  const bytes = buildPacket(spec).subarray(0, captured);
  assert.equal(keyer.read(bytes, 0, bytes.length, 1, 0), 0);
  const { flags } = keyer;
  return [
    flags & FrameFlags.TYPE1 ? 'type1' : 'type2',
    flags & FrameFlags.START ? 'start' : '',
    flags & FrameFlags.END ? 'end' : '',
    protocolClassOf(flags),
    flags & FrameFlags.AGGREGATE ? 'aggregate' : '',
  ]
    .filter((part) => part !== '')
    .join(' ');
}

test('flow classes - starts, ends and types by protocol', () => {
  for (const [packet, seen] of cases) assert.equal(seenOf(packet), seen, JSON.stringify(packet));
});

test('flow classes - where directions are flows of their own, the answer to a start is the start of the other one', () => {
  const answers: readonly Case[] = [
    [tcp('SA'), 'type1 start tcp'],
    [{ ...tcp('SA'), vlans: [1, 2] }, 'type1 start tcp'],
    [sctp('init-ack'), 'type1 start sctp'],
    [{ ...ends6, dccp: { ...ports, type: 'response' } }, 'type1 start dccp'],
  ];
  for (const [packet, seen] of [
    ...cases.filter(([packet]) => packet.tcp?.flags !== 'SA' && packet.sctp?.chunks?.[0] !== 'init-ack'),
    ...answers,
  ])
    assert.equal(seenOf(packet, undefined, 'five-tuple', false), seen, JSON.stringify(packet));
});

test('flow classes - a flow coarser than the five-tuple is an aggregate without a type', () => {
  for (const [packet, seen] of cases) {
    const coarse = `${seen.replace('type1', 'type2').replace(' aggregate', '')} aggregate`;
    assert.equal(seenOf(packet, undefined, 'address-pair'), coarse);
  }
});

test('flow classes - a message that the capture cut is what its port says, and starts nothing', () => {
  assert.equal(seenOf(gtp(gtpCreateSession()), 42), 'type1 gtp-c aggregate');
  assert.equal(seenOf(radius(radiusAccounting('start')), 45), 'type1 radius aggregate');
  assert.equal(seenOf(radius(radiusAccounting('start')), 62), 'type1 radius aggregate');
  assert.equal(seenOf(dhcp6(1), 62), 'type1 dhcp aggregate');
  assert.equal(seenOf(tcp('S'), 46), 'type1 tcp');
});

test('flow classes - option lists that lie about their lengths end the search', () => {
  const attributes = (...bytes: number[]) => {
    const message = Uint8Array.of(4, 1, 0, 20 + bytes.length, ...new Uint8Array(16), ...bytes);
    return seenOf(radius(message));
  };
  assert.equal(attributes(40, 6, 0, 0, 0, 1), 'type1 start radius aggregate');
  assert.equal(attributes(1, 0, 40, 6, 0, 0, 0, 1), 'type1 radius aggregate');
  assert.equal(attributes(9, 1, 6, 0, 0, 0, 0, 40, 6, 0, 0, 0, 1), 'type1 radius aggregate');
  assert.equal(attributes(1, 200, 40, 6, 0, 0, 0, 1), 'type1 radius aggregate');
  assert.equal(attributes(40, 3, 1), 'type1 radius aggregate');
  const options = (...bytes: number[]) => {
    const message = Uint8Array.of(...dhcp('discover').subarray(0, 240), ...bytes);
    return seenOf(udp(dhcpPorts, message));
  };
  assert.equal(options(0, 0, 12, 1, 65, 53, 1, 1, 255), 'type1 start dhcp aggregate');
  assert.equal(options(255, 53, 1, 1), 'type1 dhcp aggregate');
  assert.equal(options(12, 200, 53, 1, 1), 'type1 dhcp aggregate');
  assert.equal(options(53, 0, 1), 'type1 dhcp aggregate');
  assert.equal(options(53), 'type1 dhcp aggregate');
});

test('frame flags - the tables fit their four bits and agree with each other', () => {
  assert.ok(linkKinds.length <= 16 && protocolClasses.length <= 16);
  for (const [name, index] of Object.entries(ProtocolClass)) {
    assert.equal(protocolClasses[index], name.toLowerCase().replace('_', '-'));
  }
});

test('flow classes - an accounting message has the value as a whole, and no more than 4096 bytes', () => {
  const message = (status: number[], length: number) => {
    const bytes = new Uint8Array(length);
    bytes.set([4, 1, length >> 8, length & 0xff]);
    bytes.set([40, 6, ...status], 20);
    // Vendor attributes fill the rest.
    for (let at = 26; at < length; ) {
      const size = Math.min(255, length - at);
      bytes.set([26, size], at);
      at += size;
    }
    return seenOf(radius(bytes));
  };
  assert.equal(message([0, 0, 0, 1], 26), 'type1 start radius aggregate');
  assert.equal(message([0, 0, 1, 1], 26), 'type1 radius aggregate');
  assert.equal(message([0, 0, 0, 1], 4096), 'type1 start radius aggregate');
  assert.equal(message([0, 0, 0, 1], 4097), 'type2 udp');
});

test('flow classes - DHCP options go on in the file and server name fields where the message says so', () => {
  const seen = (options: number[], file: number[], name: number[]) => {
    const message = dhcp('discover').fill(0, 240);
    message.set(options, 240);
    message.set(file, 108);
    message.set(name, 44);
    return seenOf(udp(dhcpPorts, message));
  };
  const discover = [53, 1, 1, 255];
  const release = [53, 1, 7, 255];
  assert.equal(seen([52, 1, 1, 255], discover, release), 'type1 start dhcp aggregate');
  assert.equal(seen([52, 1, 2, 255], discover, release), 'type1 end dhcp aggregate');
  assert.equal(seen([52, 1, 3, 255], discover, release), 'type1 start dhcp aggregate');
  assert.equal(seen([52, 1, 3, ...release], discover, discover), 'type1 end dhcp aggregate');
  assert.equal(seen([255], discover, release), 'type1 dhcp aggregate');
});

test('flow classes - what the UDP length leaves out is not the message', () => {
  const packet = buildPacket(udp(dhcpPorts, dhcp('discover')));
  const keyer = new FlowKeyer({ secret: 'test' });
  const startsAt = (length: number) => {
    new DataView(packet.buffer, packet.byteOffset).setUint16(38, length);
    assert.equal(keyer.read(packet, 0, packet.length, 1, 0), 0);
    return (keyer.flags & FrameFlags.START) !== 0;
  };
  assert.deepEqual([0, 7, 8, 8 + 242, 8 + 243, 8 + 300].map(startsAt), [false, false, false, false, true, true]);
});
