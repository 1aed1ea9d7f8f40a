// Packets built from descriptions: checksums, lengths, and what the parser reads back.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FrameFlags, protocolClassOf } from '../../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../../shared/flow/keyer.ts';
import { formatAddress } from '../../../../shared/packet/addressText.ts';
import { Fragment, Headers } from '../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../shared/packet/decode/parse.ts';
import { buildPacket, fragmentPacket, type PacketSpec, writePacket } from '../../../../shared/packet/encode/build.ts';
import * as payloads from '../../../../shared/packet/encode/buildPayload.ts';
import { assertChecksums } from '../../../support/checksums.ts';

const v4 = { source: '10.0.0.1', target: '192.0.2.9' } as const;
const v6 = { source: '2001:db8::1', target: '2001:db8:ffff::9' } as const;
const ports = { sourcePort: 4_000, targetPort: 80 } as const;

test('build - a known IPv4 header comes out to the last bit', () => {
  // The worked example of the checksum in the article "Internet checksum" of Wikipedia.
  const spec: PacketSpec = {
    link: 'none',
    source: '192.168.0.1',
    target: '192.168.0.199',
    dontFragment: true,
    udp: { sourcePort: 1, targetPort: 2, payload: new Uint8Array(87) },
  };
  const header = Buffer.from(buildPacket(spec).subarray(0, 20)).toString('hex');
  assert.equal(header, '450000730000400040' + '11b861c0a80001c0a800c7');
});

test('build - lengths and checksums of every transport are right, over IPv4 and IPv6, for any payload', () => {
  const payload = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(
      payload,
      fc.constantFrom(v4, v6),
      fc.nat(0xffff),
      fc.nat(0xffff),
      (bytes, addresses, source, target) => {
        const layer = { sourcePort: source, targetPort: target, payload: bytes };
        const base = { ...addresses, link: 'none' as const };
        for (const flags of ['S', 'PA', 'FA', 'R']) assertChecksums(buildPacket({ ...base, tcp: { ...layer, flags } }));
        assertChecksums(buildPacket({ ...base, udp: layer }));
        assertChecksums(buildPacket({ ...base, sctp: layer }));
        assertChecksums(buildPacket({ ...base, dccp: { ...layer, type: 'data' } }));
        assertChecksums(buildPacket({ ...base, icmp: { payload: bytes } }));
        const embedded = { ...addresses, udp: layer };
        assertChecksums(buildPacket({ ...base, icmp: { kind: 'packet-too-big', embedded, embeddedBytes: 28 } }));
      },
    ),
    { numRuns: 60 },
  );
});

test('build - the parser reads back what was described', () => {
  const headers = new Headers();
  const read = (spec: PacketSpec) => {
    const bytes = buildPacket(spec);
    assert.equal(parse(bytes, 0, bytes.length, spec.link === 'none' ? 101 : 1, headers, false), 0);
    const ip = headers.outer;
    const width = ip.version === 4 ? 4 : 16;
    return {
      source: formatAddress(bytes, ip.source, ip.source + width),
      target: formatAddress(bytes, ip.target, ip.target + width),
      protocol: ip.protocol,
      ports: [ip.sourcePort, ip.targetPort],
      vlans: [...headers.link.vlans.subarray(0, headers.link.vlanCount)],
      payload: ip.end - ip.payload,
    };
  };
  for (const addresses of [v4, v6]) {
    for (const link of ['ethernet', 'none'] as const) {
      const vlans = link === 'none' ? [] : [7, 4_095];
      const spec = { ...addresses, link, ...(link === 'none' ? {} : { vlans: [{ id: 7, etherType: 0x88a8 }, 4_095] }) };
      const expected = { ...addresses, ports: [4_000, 80], vlans };
      assert.deepEqual(read({ ...spec, tcp: { ...ports, payload: 'abc' } }), { ...expected, protocol: 6, payload: 23 });
      assert.deepEqual(read({ ...spec, udp: { ...ports, payload: 'abc' } }), {
        ...expected,
        protocol: 17,
        payload: 11,
      });
      assert.deepEqual(read({ ...spec, sctp: ports }), { ...expected, protocol: 132, payload: 28 });
      assert.deepEqual(read({ ...spec, dccp: ports }), { ...expected, protocol: 33, payload: 16 });
    }
  }
  const extensions = [0, 43, 60, 51].map((header) => ({ header, body: new Uint8Array(header === 51 ? 10 : 6) }));
  assert.equal(read({ ...v6, extensions, udp: ports }).protocol, 17);
  assert.equal(read({ ...v4, ipOptions: Uint8Array.of(1, 1, 1), udp: ports }).ports[1], 80);
  assert.equal(read({ ...v4, inner: { ...v6, udp: ports } }).protocol, 41);
});

/** Packets and what the protocol says of them: katran-style, each case one line of data. */
const startsAndEnds: readonly {
  readonly what: string;
  readonly layer: Partial<PacketSpec>;
  readonly mark: string;
  readonly class: string;
}[] = [
  { what: 'TCP SYN', layer: { tcp: { ...ports, flags: 'S' } }, mark: 'start', class: 'tcp' },
  { what: 'TCP SYN-ACK', layer: { tcp: { ...ports, flags: 'SA' } }, mark: '', class: 'tcp' },
  { what: 'TCP data', layer: { tcp: { ...ports, flags: 'PA', payload: 'x' } }, mark: '', class: 'tcp' },
  { what: 'TCP FIN', layer: { tcp: { ...ports, flags: 'FA' } }, mark: 'end', class: 'tcp' },
  { what: 'TCP RST', layer: { tcp: { ...ports, flags: 'R' } }, mark: 'end', class: 'tcp' },
  { what: 'UDP', layer: { udp: ports }, mark: '', class: 'udp' },
  { what: 'SCTP INIT', layer: { sctp: { ...ports, chunks: ['init'] } }, mark: 'start', class: 'sctp' },
  { what: 'SCTP DATA', layer: { sctp: ports }, mark: '', class: 'sctp' },
  { what: 'SCTP ABORT', layer: { sctp: { ...ports, chunks: ['abort'] } }, mark: 'end', class: 'sctp' },
  {
    what: 'SCTP SHUTDOWN-COMPLETE',
    layer: { sctp: { ...ports, chunks: ['shutdown-complete'] } },
    mark: 'end',
    class: 'sctp',
  },
  { what: 'DCCP Request', layer: { dccp: { ...ports, type: 'request' } }, mark: 'start', class: 'dccp' },
  {
    what: 'DHCP DISCOVER',
    layer: { udp: { ...payloads.dhcpPorts, payload: payloads.dhcp('discover') } },
    mark: 'start',
    class: 'dhcp',
  },
  {
    what: 'DHCP RELEASE',
    layer: { udp: { ...payloads.dhcpPorts, payload: payloads.dhcp('release') } },
    mark: 'end',
    class: 'dhcp',
  },
  {
    what: 'RADIUS start',
    layer: { udp: { ...payloads.radiusAccountingPorts, payload: payloads.radiusAccounting('start') } },
    mark: 'start',
    class: 'radius',
  },
  {
    what: 'RADIUS interim',
    layer: { udp: { ...payloads.radiusAccountingPorts, payload: payloads.radiusAccounting('interim') } },
    mark: '',
    class: 'radius',
  },
  {
    what: 'RADIUS stop',
    layer: { udp: { ...payloads.radiusAccountingPorts, payload: payloads.radiusAccounting('stop') } },
    mark: 'end',
    class: 'radius',
  },
  {
    what: 'GTPv2 create session',
    layer: { udp: { ...payloads.gtpControlPorts, payload: payloads.gtpCreateSession() } },
    mark: 'start',
    class: 'gtp-c',
  },
  {
    what: 'GTPv1 create PDP',
    layer: { udp: { ...payloads.gtpControlPorts, payload: payloads.gtpCreatePdp() } },
    mark: 'start',
    class: 'gtp-c',
  },
];

test('build - starts and ends of flows are seen as such by the flow keyer', () => {
  const keyer = new FlowKeyer({ secret: 'test' });
  for (const { what, layer, mark, class: name } of startsAndEnds) {
    for (const addresses of [v4, v6]) {
      const bytes = buildPacket({ ...addresses, ...layer });
      assert.equal(keyer.read(bytes, 0, bytes.length, 1, 0), 0, what);
      const flags = keyer.flags;
      const found = (flags & FrameFlags.START) !== 0 ? 'start' : (flags & FrameFlags.END) !== 0 ? 'end' : '';
      assert.equal(found, mark, what);
      assert.equal(protocolClassOf(flags), name, what);
    }
  }
});

test('build - an ICMP error is keyed as the flow whose packet it quotes', () => {
  const keyer = new FlowKeyer({ secret: 'test' });
  const key = (spec: PacketSpec) => {
    const bytes = buildPacket(spec);
    assert.equal(keyer.read(bytes, 0, bytes.length, 1, 0), 0);
    return [keyer.flowHi, keyer.flowLo];
  };
  for (const addresses of [v4, v6]) {
    const flow = key({ ...addresses, udp: ports });
    // The server's answer could not be delivered, and a router on its way says so to the server.
    const answer = { source: addresses.target, target: addresses.source, udp: { sourcePort: 80, targetPort: 4_000 } };
    const router = addresses === v4 ? '198.51.100.7' : '2001:db8:7::7';
    const error = {
      source: router,
      target: addresses.target,
      icmp: { kind: 'time-exceeded' as const, embedded: answer },
    };
    assert.deepEqual(key(error), flow);
  }
});

test('build - fragments put together are the datagram, and only the first has ports', () => {
  const headers = new Headers();
  for (const addresses of [v4, v6]) {
    const payload = Uint8Array.from({ length: 3_001 }, (_, i) => i % 251);
    const spec = { ...addresses, identification: 77, udp: { ...ports, payload } };
    const whole = buildPacket({ ...spec, link: 'none' }).subarray(addresses === v4 ? 20 : 40);
    const fragments = fragmentPacket(spec, 1_400);
    assert.equal(fragments.length, 3);
    const joined = new Uint8Array(whole.length);
    for (const [i, bytes] of fragments.entries()) {
      assert.equal(parse(bytes, 0, bytes.length, 1, headers, false), 0);
      const ip = headers.outer;
      assert.equal(ip.fragment, i === 0 ? Fragment.FIRST : Fragment.LATER);
      assert.equal(ip.moreFragments, i === 2 ? 0 : 1);
      assert.equal(ip.fragmentId, 77);
      assert.equal(ip.sourcePort, i === 0 ? 4_000 : -1);
      joined.set(bytes.subarray(ip.payload, ip.end), ip.fragmentOffset);
    }
    assert.deepEqual(joined, whole);
  }
  assert.equal(fragmentPacket({ ...v4, udp: ports }, 1_400).length, 1);
});

test('build - a tunnelled packet is found inside GTP-U, with and without its optional fields', () => {
  const headers = new Headers();
  const inner = buildPacket({
    link: 'none',
    source: '10.9.9.9',
    target: '10.8.8.8',
    udp: { sourcePort: 7, targetPort: 8 },
  });
  const extensions = [{ type: 0x85, content: Uint8Array.of(0, 9) }];
  for (const options of [{}, { sequence: 3 }, { extensions }]) {
    const udp = { ...payloads.gtpUserPorts, payload: payloads.gtpUser({ teid: 5, inner, ...options }) };
    const bytes = buildPacket({ ...v4, udp });
    assert.equal(parse(bytes, 0, bytes.length, 1, headers, true), 0);
    assert.deepEqual([headers.keyed.sourcePort, headers.keyed.targetPort], [7, 8]);
  }
});

test('build - a packet is written where it is asked for, and not into too small a buffer', () => {
  const spec = { ...v4, udp: { ...ports, payload: 'abc' } };
  const buffer = new Uint8Array(200).fill(0xee);
  const end = writePacket(spec, buffer, 50);
  assert.deepEqual(buffer.slice(50, end), buildPacket(spec));
  assert.ok(
    buffer.subarray(0, 50).every((byte) => byte === 0xee) && buffer.subarray(end).every((byte) => byte === 0xee),
  );
  assert.throws(() => writePacket(spec, new Uint8Array(44), 0), RangeError);
});
