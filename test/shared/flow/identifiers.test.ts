// Keys by what a packet says it belongs to, and `packet`: which packets share a key, which do not, and that fragments of one
// datagram have one group under every pair of keys.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FrameFlags, isSingle } from '../../../shared/flow/frameFlags.ts';
import { identifierPolicies } from '../../../shared/flow/identifiers.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { flowKeyPolicies, groupKeyPolicies, isCoarser } from '../../../shared/flow/policies.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import * as make from '../../support/identifiedPackets.ts';

const client = '10.0.0.1';
const server = '192.0.2.1';
const subscriberNetworks = ['10.0.0.0/8'];

interface Keys {
  readonly flow: string;
  readonly group: number;
  readonly flags: number;
  readonly datagram: string | undefined;
}

const keyerOf = (options: Partial<KeyOptions>) => new FlowKeyer({ secret: 'a secret', ...options });

function keysOf(keyer: FlowKeyer, packet: PacketSpec | Uint8Array): Keys {
  const bytes = packet instanceof Uint8Array ? packet : buildPacket(packet);
  assert.equal(keyer.read(bytes, 0, bytes.length, 1, 0), 0);
  const { flags, flowHi, flowLo, groupHash, hasDatagram, datagramHi, datagramLo } = keyer;
  const isLater = (flags & FrameFlags.LATER_FRAGMENT) !== 0;
  const datagram = hasDatagram || isLater ? `${datagramHi},${datagramLo}` : undefined;
  return { flow: `${flowHi},${flowLo}`, group: groupHash, flags, datagram };
}

/** Groups of packets: one flow each, and no two alike; and the group hash is as the flow. */
function assertFlows(keyer: FlowKeyer, flows: Readonly<Record<string, readonly PacketSpec[]>>): void {
  const seen = new Map<string, string>();
  for (const [name, packets] of Object.entries(flows)) {
    const keys = packets.map((packet) => keysOf(keyer, packet));
    for (const [at, key] of keys.entries())
      assert.deepEqual([key.flow, key.group], [keys[0].flow, keys[0].group], `${name}, packet ${at}`);
    assert.equal(seen.get(keys[0].flow), undefined, `${name} is told from the others`);
    seen.set(keys[0].flow, name);
  }
}

test('gtp-teid - which packets of one session share a key, as the README has it', () => {
  const up = { source: client, target: server };
  const down = { source: server, target: client };
  const control = (ends: PacketSpec, payload: Uint8Array): PacketSpec => ({
    ...ends,
    udp: { ...make.controlPorts, payload },
  });
  const user = (ends: PacketSpec, payload: Uint8Array): PacketSpec => ({
    ...ends,
    udp: { ...make.userPorts, payload },
  });
  for (const version of [1, 2]) {
    const of = version === 1 ? make.gtp1 : make.gtp2;
    const [create, answer, change, remove] = version === 1 ? [16, 17, 18, 20] : [32, 33, 34, 36];
    const endpoint = version === 1 ? [...make.imsi1, ...make.endpoint1(7)] : [...make.imsi2, ...make.endpoint2(7)];
    assertFlows(keyerOf({ flowKey: 'gtp-teid' }), {
      'the first request, and all that comes back': [
        control(up, of(create, 0, endpoint)),
        control(down, of(answer, 7)),
        control(down, of(change + 1, 7)),
        { ...down, udp: { sourcePort: 2123, targetPort: 40_000, payload: of(answer, 7) } },
      ],
      'what the requester sends later': [control(up, of(change, 9)), control(up, of(remove, 9))],
      'user data up, by whatever cell': [
        user(up, make.gtp1(255, 7)),
        user({ ...up, source: '10.9.9.9' }, make.gtp1(255, 7)),
      ],
      'user data down': [user(down, make.gtp1(255, 7))],
      'another tunnel up': [user(up, make.gtp1(255, 8))],
    });
  }
});

test('gtp-teid - errors about a tunnel have its key', () => {
  const data: PacketSpec = {
    source: client,
    target: server,
    udp: { ...make.userPorts, payload: make.gtp1(255, 7, [69, 0, 0, 40]) },
  };
  const indication = [16, 0, 0, 0, 7, 133, 0, 4, 192, 0, 2, 1];
  assertFlows(keyerOf({ flowKey: 'gtp-teid' }), {
    tunnel: [
      data,
      { source: server, target: client, udp: { ...make.userPorts, payload: make.gtp1(26, 0, indication) } },
      { source: '203.0.113.9', target: client, udp: { ...make.userPorts, payload: make.gtp1(26, 0, indication) } },
      { source: '203.0.113.9', target: client, icmp: { kind: 'port-unreachable', embedded: data } },
    ],
  });
});

test('sip-call-id - a call is one flow over both directions, transports, hops and spellings', () => {
  const udp = (text: string, source = client, target = server): PacketSpec => ({
    source,
    target,
    udp: { sourcePort: 5060, targetPort: 5060, payload: text },
  });
  const ok = 'SIP/2.0 200 OK';
  assertFlows(keyerOf({ flowKey: 'sip-call-id' }), {
    call: [
      udp(make.sip('Call-ID: f81d4fae@example.org')),
      udp(make.sip('CALL-ID:f81d4fae@example.org', ok), server, client),
      udp(make.sip('i \t:  f81d4fae@example.org  ', 'BYE sip:a@example.org SIP/2.0')),
      udp(make.sip('call-id:\r\n \r\n\tf81d4fae@example.org', ok), '198.51.100.7', '2.2.2.2'),
      udp(`\r\n\r\n${make.sip('I: f81d4fae@example.org')}`),
      {
        source: client,
        target: server,
        tcp: { sourcePort: 40_000, targetPort: 5060, payload: make.sip('Call-ID: f81d4fae@example.org') },
      },
      {
        source: '2001:db8::1',
        target: '2001:db8::2',
        udp: { sourcePort: 9, targetPort: 9, payload: make.sip('i:f81d4fae@example.org') },
      },
    ],
    'another case is another call': [udp(make.sip('Call-ID: F81d4fae@example.org'))],
    // What is no header field, and what is behind the headers, is not looked at.
    'no call': [
      udp(make.sip('Call-IDs: f81d4fae@example.org')),
      udp(make.sip('Subject: x\r\n Call-ID: f81d4fae@example.org')),
      udp(`${make.sip('To: x')}Call-ID: f81d4fae@example.org\r\n`),
      udp(make.sip('Call-ID: f81d4fae@example.org', 'GET / HTTP/1.1')),
      udp(make.sip('Call-ID:   ')),
      udp('\r\n\r\n'),
    ],
  });
});

test('sip-call-id - segments that do not begin a message stay with their connection, which keeps its start and end', () => {
  const keyer = keyerOf({ flowKey: 'sip-call-id' });
  const usual = keyerOf({});
  const ends = { source: client, target: server };
  const tcp = (flags: string, payload: string): PacketSpec => ({
    ...ends,
    tcp: { sourcePort: 9, targetPort: 5060, flags, payload },
  });
  for (const spec of [tcp('S', ''), tcp('A', 'v=0\r\n'), tcp('FA', ''), tcp('A', 'Call-ID: one\r\n')]) {
    assert.deepEqual(keysOf(keyer, spec), keysOf(usual, spec));
  }
  const message = keysOf(keyer, tcp('PA', make.sip('Call-ID: one')));
  assert.equal(message.flags & (FrameFlags.TYPE1 | FrameFlags.AGGREGATE), FrameFlags.AGGREGATE);
});

test('quic-cid - the ids that the server chose are one flow, from any address; what does not show them is not', () => {
  const chosen = [1, 2, 3, 4, 5, 6, 7, 8];
  const random = [9, 9, 9, 9, 9, 9, 9, 9, 1, 2];
  const toServer = (payload: Uint8Array, source = client): PacketSpec => ({
    source,
    target: server,
    udp: { sourcePort: 50_000, targetPort: 443, payload },
  });
  const toClient = (payload: Uint8Array): PacketSpec => ({
    source: server,
    target: client,
    udp: { sourcePort: 443, targetPort: 50_000, payload },
  });
  assertFlows(keyerOf({ flowKey: 'quic-cid' }), {
    'the first flight, and a list of versions in answer to it': [
      toServer(make.quicLong(random, [5])),
      toServer(make.quicLong([...random.slice(0, 8), 77], [5])),
      toClient(make.quicLong([5], random, 0)),
    ],
    connection: [
      toClient(make.quicLong([5], chosen)),
      toServer(make.quicLong(chosen, [5], 0x6b3343cf)),
      toServer(make.quicShort(chosen)),
      toServer(make.quicShort(chosen), '198.51.100.77'),
      // Ids of more bytes than count are known by those that do.
      toServer(make.quicLong([...chosen, 42], [5])),
    ],
    'what addresses and ports tell alone': [
      toClient(make.quicShort(chosen)),
      toServer(make.quicLong([], [5])),
      toServer(make.quicLong(chosen, [5], 1, 0x83)),
      toServer(Uint8Array.of(0x16, ...chosen, ...chosen)),
      toServer(make.quicShort([]).subarray(0, 8)),
    ],
  });
  const four = keyerOf({ flowKey: 'quic-cid', cidLength: 4 });
  assert.equal(
    keysOf(four, toServer(make.quicShort([1, 2, 3, 4, 0]))).flow,
    keysOf(four, toServer(make.quicLong(chosen, []))).flow,
  );
});

test('packet - each packet has a key of its own, also the same bytes again, and spreads over groups', () => {
  const keyer = keyerOf({ flowKey: 'packet' });
  const spec: PacketSpec = {
    source: client,
    target: server,
    udp: { sourcePort: 514, targetPort: 514, payload: '<13>same' },
  };
  const keys = Array.from({ length: 1_000 }, () => keysOf(keyer, spec));
  assert.equal(new Set(keys.map(({ flow }) => flow)).size, 1_000);
  assert.ok(
    keys.every(({ flags, datagram }) => isSingle(flags) && datagram === undefined && (flags & FrameFlags.TYPE1) === 0),
  );
  const low = keys.filter(({ group }) => group >= 0).length;
  assert.ok(low > 420 && low < 580, `${low} of 1,000 group hashes in one half`);
  const arp = [1, 2].map(() => keysOf(keyer, { etherType: 0x0806 }));
  assert.notEqual(arp[0].flow, arp[1].flow);
  assert.ok(isSingle(arp[0].flags));
  // By addresses, the group stays.
  const byPair = keyerOf({ flowKey: 'packet', groupKey: 'address-pair' });
  assert.equal(keysOf(byPair, spec).group, keysOf(keyerOf({}), spec).group);
  assert.notEqual(keysOf(byPair, spec).flow, keysOf(byPair, spec).flow);
});

test('flow keys - nothing but a packet of the key `packet` claims to be a flow of its own', () => {
  const both = { sourcePort: 9, targetPort: 99, flags: 'SF' };
  for (const flowKey of flowKeyPolicies.filter((policy) => policy !== 'packet')) {
    const keyer = keyerOf({ flowKey, subscriberNetworks });
    for (const tcp of [both, { ...both, flags: 'SR' }, { ...both, payload: make.sip('i: 1') }]) {
      const { flags } = keysOf(keyer, { source: client, target: server, tcp });
      assert.equal(isSingle(flags), false, flowKey);
      assert.notEqual(flags & FrameFlags.START, 0);
    }
  }
});

test('flow keys - fragments of one datagram have one group and one datagram, whatever the keys and whatever they carry', () => {
  const pairs = flowKeyPolicies.flatMap((flowKey) =>
    groupKeyPolicies
      .filter((groupKey) => groupKey !== 'five-tuple' && isCoarser(flowKey, groupKey, true))
      .map((groupKey) => ({
        name: `${flowKey}, ${groupKey}`,
        flowKey,
        keyer: keyerOf({ flowKey, groupKey, subscriberNetworks }),
      })),
  );
  const ends = fc.constantFrom(
    { source: client, target: server },
    { source: server, target: client },
    { source: '2001:db8::1', target: '2001:db8::2' },
  );
  const carried = fc.constantFrom(...make.identified.filter(({ udp, tcp }) => (udp ?? tcp)?.payload !== undefined));
  fc.assert(
    fc.property(ends, carried, fc.nat(65_535), fc.constantFrom(8, 16, 48), (addresses, spec, identification, size) => {
      const pieces = fragmentPacket({ ...addresses, ...spec, identification }, size);
      fc.pre(pieces.length > 1);
      for (const { name, flowKey, keyer } of pairs) {
        const keys = pieces.map((piece) => keysOf(keyer, piece));
        assert.equal(new Set(keys.map(({ group }) => group)).size, 1, name);
        const isByPorts = flowKey === 'five-tuple' || identifierPolicies.some((each) => each === flowKey);
        assert.equal(new Set(keys.map(({ flow, datagram }) => (isByPorts ? datagram : flow))).size, 1, name);
        // The first fragment is of the flow of the packets that show no identifier either.
        if (isByPorts) assert.equal(keys[0].flow, keysOf(keyerOf({}), pieces[0]).flow, name);
        if (flowKey === 'packet')
          assert.equal(
            keys[0].flags & (FrameFlags.AGGREGATE | FrameFlags.START | FrameFlags.END | FrameFlags.LATER_FRAGMENT),
            0,
          );
      }
    }),
    { numRuns: 300 },
  );
});
