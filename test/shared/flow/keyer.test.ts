// Flow and group keys: which packets are one flow, and that no key depends on what it should not.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { FrameFlags, linkTypeOf, protocolClassOf } from '../../../shared/flow/frameFlags.ts';
import { identifierPolicies } from '../../../shared/flow/identifiers.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { flowKeyPolicies } from '../../../shared/flow/policies.ts';
import { HalfSipHash } from '../../../shared/hash/halfSipHash.ts';
import { reasons } from '../../../shared/packet/decode/reasons.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import { gtpUser, gtpUserPorts } from '../../../shared/packet/encode/buildPayload.ts';

const a = '10.0.0.1';
const b = '192.0.2.1';
const a6 = '2001:db8::1';
const b6 = '2001:db8:ffff::2';
const ports = { sourcePort: 4000, targetPort: 443 };
const secret = 'a secret';

interface Keys {
  readonly flow: string;
  readonly group: string;
  readonly datagram: string | undefined;
  readonly flags: number;
}

/** Keys of a packet, from an Ethernet frame on ingress link 0 unless told otherwise. */
function keysOf(packet: PacketSpec | Uint8Array, options: Partial<KeyOptions> = {}, link = 0, linkType = 1): Keys {
  const keyer = new FlowKeyer({ secret, ...options });
  const bytes = packet instanceof Uint8Array ? packet : buildPacket(packet);
  assert.equal(reasons[keyer.read(bytes, 0, bytes.length, linkType, link)].name, 'none');
  return {
    flow: `${keyer.flowHi},${keyer.flowLo}`,
    group: `${keyer.groupHash}`,
    datagram: keyer.hasDatagram ? `${keyer.datagramHi},${keyer.datagramLo}` : undefined,
    flags: keyer.flags,
  };
}

function opposite(spec: PacketSpec): PacketSpec {
  const turn = <T extends { sourcePort: number; targetPort: number }>(layer: T) => ({
    ...layer,
    sourcePort: layer.targetPort,
    targetPort: layer.sourcePort,
  });
  return {
    ...spec,
    ...(spec.source === undefined ? {} : { source: spec.target!, target: spec.source }),
    sourceMac: spec.targetMac ?? '02:00:00:00:00:02',
    targetMac: spec.sourceMac ?? '02:00:00:00:00:01',
    ...(spec.tcp && { tcp: turn(spec.tcp) }),
    ...(spec.udp && { udp: turn(spec.udp) }),
    ...(spec.sctp && { sctp: turn(spec.sctp) }),
    ...(spec.dccp && { dccp: turn(spec.dccp) }),
  };
}

const flows: readonly PacketSpec[] = [
  { source: a, target: b, tcp: ports },
  { source: b, target: a, udp: ports },
  { source: a, target: a, udp: ports },
  { source: a, target: b, sctp: ports },
  { source: a6, target: b6, tcp: ports },
  { source: b6, target: a6, dccp: ports },
  { source: a6, target: a6, udp: ports },
  { source: a, target: b, protocol: 89 },
  { source: a6, target: b6, icmp: { kind: 'echo-request', identifier: 9 } },
];

test('flow keys - both directions are one flow and one group, unless directed', () => {
  const folded = ['five-tuple', 'address-pair', 'node-pair', 'mac-pair', 'vlan'] as const;
  for (const flowKey of folded) {
    for (const spec of flows) {
      const [there, back] = [keysOf(spec, { flowKey }), keysOf(opposite(spec), { flowKey })];
      assert.deepEqual([back.flow, back.group], [there.flow, there.group]);
      const [thereOnly, backOnly] = [spec, opposite(spec)].map((one) => keysOf(one, { flowKey, symmetric: false }));
      const alike =
        flowKey === 'vlan' || (spec.source === spec.target && flowKey !== 'mac-pair' && flowKey !== 'five-tuple');
      assert.equal(thereOnly.flow === backOnly.flow, alike, `${flowKey} ${JSON.stringify(spec)}`);
    }
  }
});

test('flow keys - every part of the five-tuple makes another flow, the group stays', () => {
  const base = { source: a, target: b, udp: ports };
  const others: PacketSpec[] = [
    { ...base, udp: { ...ports, sourcePort: 4001 } },
    { ...base, udp: { ...ports, targetPort: 444 } },
    { source: a, target: b, tcp: ports },
    { source: a, target: b, protocol: 17, fragment: { offset: 8, more: false } },
    { source: a, target: b, icmp: { kind: 'echo-request', identifier: 1 } },
    { source: a, target: b, icmp: { kind: 'echo-request', identifier: 2 } },
    { source: a, target: b, protocol: 1, payload: Uint8Array.of(13, 0, 0, 0, 0, 1, 0, 0) },
  ];
  const all = [base, ...others].map((spec) => keysOf(spec));
  assert.equal(new Set(all.map(({ flow }) => flow)).size, all.length);
  assert.equal(new Set(all.map(({ group }) => group)).size, 1);
  assert.notEqual(keysOf({ ...base, target: '192.0.2.2' }).group, all[0].group);
});

test('flow keys - link layer, tags and length do not matter to keys made of addresses', () => {
  const base = keysOf({ source: a, target: b, tcp: ports });
  const bare = buildPacket({ source: a, target: b, tcp: { ...ports, payload: 'x'.repeat(50) }, link: 'none' });
  for (const other of [
    keysOf({ source: a, target: b, tcp: ports, vlans: [7, 8], sourceMac: '02:00:00:00:00:99' }, {}, 5),
    keysOf(bare, {}, 1, 101),
    keysOf(bare.subarray(0, 24), {}, 1, 228),
  ]) {
    assert.deepEqual([other.flow, other.group], [base.flow, base.group]);
  }
  assert.equal(linkTypeOf(keysOf(bare, {}, 1, 228).flags), 228);
  assert.equal(linkTypeOf(keysOf(bare, {}, 1, 12).flags), 101);
});

test('flow keys - an ICMP error has the keys and the class of the flow it is about, and starts nothing', () => {
  for (const symmetric of [true, false]) {
    for (const about of flows) {
      const v6 = about.source!.includes(':');
      const router = v6 ? '2001:db8:5::5' : '203.0.113.5';
      for (const kind of ['port-unreachable', 'packet-too-big', 'time-exceeded'] as const) {
        const tcp = about.tcp && { ...about.tcp, flags: 'S' };
        const embedded = tcp ? { ...about, tcp } : about;
        const error = keysOf(
          { source: router, target: about.source!, icmp: { kind, embedded, embeddedBytes: v6 ? 48 : 28 } },
          { symmetric },
        );
        // The error goes where the answers of the flow go.
        const answer = keysOf(opposite(about), { symmetric });
        assert.deepEqual([error.flow, error.group], [answer.flow, answer.group], JSON.stringify(about));
        assert.equal(protocolClassOf(error.flags), protocolClassOf(answer.flags));
        assert.equal(error.flags & FrameFlags.TYPE1, answer.flags & FrameFlags.TYPE1);
        assert.equal(error.flags & (FrameFlags.START | FrameFlags.END), 0);
      }
    }
  }
});

test('flow keys - an ICMP error that quotes nothing usable is keyed by its own addresses', () => {
  const error = keysOf({ source: a, target: b, icmp: { kind: 'host-unreachable', payload: new Uint8Array(28) } });
  assert.equal(error.flow, keysOf({ source: b, target: a, protocol: 1, payload: Uint8Array.of(13, 0, 0, 0) }).flow);
});

test('flow keys - fragments share their group; the first has the flow, all have the datagram', () => {
  for (const [source, target] of [
    [a, b],
    [a6, b6],
  ]) {
    const udp = { ...ports, payload: 'x'.repeat(100) };
    for (const groupKey of ['address-pair', 'node-pair'] as const) {
      const [first, ...later] = fragmentPacket({ source, target, identification: 7, udp }, 48).map((p) =>
        keysOf(p, { groupKey }),
      );
      const whole = keysOf({ source, target, udp });
      assert.equal(first.flow, whole.flow);
      assert.equal(first.group, whole.group);
      assert.equal(first.flags & FrameFlags.LATER_FRAGMENT, 0);
      assert.equal(later.length, 2);
      for (const fragment of later) {
        assert.equal(fragment.flow, first.datagram);
        assert.equal(fragment.group, first.group);
        assert.equal(fragment.datagram, undefined);
        assert.notEqual(fragment.flags & FrameFlags.LATER_FRAGMENT, 0);
      }
    }
    const other = fragmentPacket({ source, target, identification: 8, udp }, 48).map((p) => keysOf(p));
    const same = fragmentPacket({ source, target, identification: 7, udp }, 48).map((p) => keysOf(p));
    assert.notEqual(other[0].datagram, same[0].datagram);
    assert.equal(keysOf({ source: a6, target: b6, udp, fragment: { offset: 0, more: false } }).datagram, undefined);
  }
});

test('flow keys - datagrams of two protocols are two, and pieces of an ICMP error stay together', () => {
  const ends = { source: a, target: b, identification: 7, fragment: { offset: 8, more: false } };
  assert.notEqual(keysOf({ ...ends, protocol: 17 }).flow, keysOf({ ...ends, protocol: 89 }).flow);
  const embedded = { source: b, target: '203.0.113.9', udp: { ...ports, payload: 'x'.repeat(100) } };
  const error: PacketSpec = { source: a, target: b, identification: 7, icmp: { kind: 'packet-too-big', embedded } };
  const groups = fragmentPacket(error, 48).map((fragment) => keysOf(fragment).group);
  assert.ok(groups.length > 2);
  assert.equal(new Set(groups).size, 1);
});

test('flow keys - keys that need no ports take a fragment like any packet', () => {
  for (const flowKey of flowKeyPolicies.filter(
    (policy) => !['five-tuple', 'packet', ...identifierPolicies].includes(policy),
  )) {
    const options = { flowKey, subscriberNetworks: ['10.0.0.0/8', '2001:db8::/48'] };
    for (const [source, target] of [
      [a, b],
      [b6, a6],
    ]) {
      const fragments = fragmentPacket(
        { source, target, identification: 7, udp: { ...ports, payload: 'x'.repeat(100) } },
        48,
      );
      const keys = fragments.map((fragment) => keysOf(fragment, options));
      for (const { flow, group, datagram, flags } of keys) {
        assert.deepEqual(
          [flow, group, datagram, flags & FrameFlags.LATER_FRAGMENT],
          [keys[0].flow, keys[0].group, undefined, 0],
        );
        assert.notEqual(flags & FrameFlags.AGGREGATE, 0);
      }
    }
  }
});

test('flow keys - packets that are not IP are keyed by their MAC pair, in flow and group', () => {
  const arp = { etherType: 0x0806, payload: 'who has' };
  const lldp = { etherType: 0x88cc, payload: 'here I am' };
  const keys = keysOf(arp);
  assert.equal(protocolClassOf(keys.flags), 'non-ip');
  assert.deepEqual([keysOf(lldp).flow, keysOf(opposite(arp)).flow], [keys.flow, keys.flow]);
  assert.notEqual(keysOf({ ...arp, sourceMac: '02:00:00:00:00:09' }).group, keys.group);
  assert.equal(
    keysOf({ source: a, target: b, tcp: ports }, { flowKey: 'mac-pair' }).flow,
    keysOf(arp, { flowKey: 'mac-pair' }).flow,
  );
  // A link without MAC pairs: the cooked header's sender, else the protocol.
  const cooked = (sender: number, length: number) =>
    Uint8Array.of(0, 0, 0, 1, 0, length, 2, 0, 0, 0, 0, sender, 0, 0, 8, 6, 1);
  assert.notEqual(keysOf(cooked(1, 6), {}, 0, 113).flow, keysOf(cooked(2, 6), {}, 0, 113).flow);
  assert.equal(keysOf(cooked(1, 0), {}, 0, 113).flow, keysOf(cooked(2, 0), {}, 0, 113).flow);
});

test('flow keys - vlan: the outermost two tags and nothing else', () => {
  const of = (spec: PacketSpec) => keysOf(spec, { flowKey: 'vlan' }).flow;
  const base = of({ vlans: [5, 6], source: a, target: b, tcp: ports });
  assert.equal(of({ vlans: [5, 6], source: a6, target: b6, udp: ports }), base);
  assert.equal(of({ vlans: [5, 6, 7], etherType: 0x0806 }), base);
  assert.equal(new Set([base, of({ vlans: [6, 5] }), of({ vlans: [5] }), of({ vlans: [6] }), of({})]).size, 5);
});

test('flow keys - link-source: the ingress link and the source address', () => {
  const of = (spec: PacketSpec, link: number) => keysOf(spec, { flowKey: 'link-source' }, link).flow;
  const base = of({ source: a, target: b, tcp: ports }, 1);
  assert.equal(of({ source: a, target: '192.0.2.77', udp: ports }, 1), base);
  assert.notEqual(of({ source: a, target: b, tcp: ports }, 2), base);
  assert.notEqual(of({ source: b, target: a, tcp: ports }, 1), base);
});

test('flow keys - source-last-byte: the group is that byte', () => {
  const options = { symmetric: false, groupKey: 'source-last-byte' } as const;
  assert.equal(keysOf({ source: '192.168.1.122', target: b, tcp: ports }, options).group, '122');
  assert.equal(keysOf({ source: '2001:db8::fe', target: b6, tcp: ports }, options).group, '254');
  assert.equal(keysOf({ etherType: 0x0806, sourceMac: '02:00:00:00:00:2a' }, options).group, '42');
});

test('flow keys - the inner header of a tunnel gives the keys of the packet without the tunnel', () => {
  const inside = { source: a, target: b, tcp: { ...ports, flags: 'S' } };
  const inner = buildPacket({ ...inside, link: 'none' });
  const carried = {
    source: '203.0.113.1',
    target: '203.0.113.2',
    udp: { ...gtpUserPorts, payload: gtpUser({ teid: 1, inner }) },
  };
  assert.deepEqual(keysOf(carried, { tunnel: 'inner' }), keysOf(inside));
  const outer = keysOf(carried);
  assert.notEqual(outer.flow, keysOf(inside).flow);
  assert.equal(outer.flags & (FrameFlags.TYPE1 | FrameFlags.START), 0);
  // Fragments of the outer packet stay together, by the outer header.
  for (const fragment of fragmentPacket(carried, 48)) {
    assert.deepEqual(keysOf(fragment, { tunnel: 'inner' }), keysOf(fragment));
  }
});

test('flow keys - a packet without ports has an address-pair key, one without addresses a MAC key', () => {
  const keyer = (options: Partial<KeyOptions>) => new FlowKeyer({ secret, ...options });
  const cut = buildPacket({ source: a, target: b, tcp: ports }).subarray(0, 36);
  const nameOf = (options: Partial<KeyOptions>, length: number) =>
    reasons[keyer(options).read(cut, 0, length, 1, 0)].name;
  assert.equal(nameOf({}, 36), 'l4-cut');
  assert.equal(nameOf({ flowKey: 'address-pair' }, 36), 'none');
  assert.equal(nameOf({ flowKey: 'address-pair' }, 30), 'ipv4-header-cut');
  assert.equal(nameOf({ flowKey: 'mac-pair' }, 30), 'none');
  assert.equal(nameOf({ flowKey: 'vlan' }, 10), 'link-header-cut');
});

test('flow keys - the hash is HalfSipHash over the folded words, under a key of its own for flows and for groups', () => {
  // 10.0.0.1:4000 is lower than 192.0.2.1:443; 1 = addresses and ports of IPv4, 9 = addresses of IPv4, 6 = TCP.
  const words = (...values: number[]) => values.flatMap((v) => [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24]);
  const expected = (purpose: string, bytes: number[]) => {
    const key = createHash('sha256').update(`flowherd ${purpose} key\0${secret}`).digest();
    const hash = new HalfSipHash(key.readInt32LE(0), key.readInt32LE(4));
    hash.hashBytes(Uint8Array.from(bytes));
    return hash;
  };
  const keys = keysOf({ source: b, target: a, tcp: { sourcePort: 443, targetPort: 4000 } });
  const addresses = [0x0a000001, 0xc0000201];
  const flow = expected('flow', [...words(...addresses, (4000 << 16) | 443), 1, 6]);
  assert.equal(keys.flow, `${flow.hi},${flow.lo}`);
  assert.equal(keys.group, `${expected('group', [...words(...addresses), 9, 0]).lo}`);
  assert.notEqual(keysOf({ source: a, target: b, tcp: ports }, { secret: 'another' }).flow, keys.flow);
});

test('flow keys - wrong options are refused in one clear sentence', () => {
  const cases: readonly (readonly [Partial<KeyOptions>, RegExp])[] = [
    [{ secret: '' }, /secret .* must not be empty/],
    [{ flowKey: 'port' as 'vlan' }, /flow key 'port' is none of five-tuple, /],
    [{ groupKey: 'port' as 'vlan' }, /group key 'port' is none of five-tuple, /],
    [{ tunnel: 'both' as 'inner' }, /tunnel 'both' is none of outer, inner/],
    [
      { groupKey: 'vlan' },
      /group key 'vlan' is not coarser than flow key 'five-tuple': choose one of five-tuple, address-pair, subscriber, node-pair/,
    ],
    [{ groupKey: 'source-last-byte' }, /differs between the two directions/],
    [{ cidLength: 8 }, /length of connection ids is for the key 'quic-cid' only/],
    [{ flowKey: 'quic-cid', cidLength: 21 }, /connection ids of 21 bytes: 1 to 20 are possible/],
    [{ flowKey: 'sip-call-id', groupKey: 'address-pair' }, /choose one of sip-call-id/],
    [{ flowKey: 'subscriber' }, /needs subscriber networks/],
    [{ flowKey: 'subscriber', subscriberNetworks: ['10.0.0.0/33'] }, /'10.0.0.0\/33' is not a network/],
    [{ flowKey: 'subscriber', subscriberNetworks: ['ten'] }, /'ten' is not a network/],
  ];
  for (const [options, message] of cases) {
    assert.throws(() => new FlowKeyer({ secret, ...options }), message);
    assert.throws(
      () => new FlowKeyer({ secret, ...options }),
      (error: Error) => !error.message.includes('\n'),
    );
  }
});
