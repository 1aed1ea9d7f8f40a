// Bytes from strangers: whatever they are, reading them neither throws nor looks beyond the packet. FLOWHERD_RANDOM_PACKETS
// sets how many are tried, a million for a long run.

import assert from 'node:assert/strict';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { isSingle } from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../shared/flow/keyer.ts';
import { flowKeyPolicies, groupKeyPolicies, isCoarser } from '../../../shared/flow/policies.ts';
import { reasons } from '../../../shared/packet/decode/reasons.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import {
  dhcp,
  dhcpPorts,
  gtpUser,
  gtpUserPorts,
  radiusAccounting,
  radiusAccountingPorts,
} from '../../../shared/packet/encode/buildPayload.ts';
import { identified } from '../../support/identifiedPackets.ts';
import { readTiny } from '../../support/tinyCapture.ts';
import { wrappings } from '../../support/tunnelPackets.ts';

const a = '10.0.0.1';
const b = '192.0.2.1';
const a6 = '2001:db8::1';
const b6 = '2001:db8:ffff::2';
const ports = { sourcePort: 4000, targetPort: 443 };
const secret = 'a secret';

const flows: readonly PacketSpec[] = [
  { source: a, target: b, tcp: ports },
  { source: a, target: b, sctp: ports },
  { source: a6, target: b6, dccp: ports },
  { source: a, target: b, protocol: 89 },
  { source: a6, target: b6, icmp: { kind: 'echo-request', identifier: 9 } },
];

const linkTypes = [0, 1, 9, 12, 50, 51, 101, 104, 108, 113, 228, 229, 276, 239, 226, 117];
const keyers = flowKeyPolicies.flatMap((flowKey) =>
  groupKeyPolicies
    .filter((groupKey) => isCoarser(flowKey, groupKey, false))
    .map(
      (groupKey) =>
        new FlowKeyer({
          secret,
          flowKey,
          groupKey,
          symmetric: false,
          tunnel: 'inner',
          subscriberNetworks: ['10.0.0.0/8'],
        }),
    ),
);
const counted = new FlowKeyer({ secret, tunnel: 'inner' });
keyers.push(new FlowKeyer({ secret }), counted, new FlowKeyer({ secret, tunnel: 'inner', within: ['vlan', 'vni'] }));
const inner = buildPacket({ source: a, target: b, tcp: ports, link: 'none' });
const seeds = [
  ...flows.map((spec) => buildPacket({ ...spec, vlans: [3] })),
  buildPacket({ source: a, target: b, icmp: { kind: 'port-unreachable', embedded: flows[0] } }),
  buildPacket({ source: a, target: b, udp: { ...gtpUserPorts, payload: gtpUser({ teid: 1, inner, sequence: 1 }) } }),
  buildPacket({ source: a, target: b, udp: { ...dhcpPorts, payload: dhcp('discover') } }),
  buildPacket({ source: a, target: b, udp: { ...radiusAccountingPorts, payload: radiusAccounting('start') } }),
  buildPacket({
    source: a6,
    target: b6,
    extensions: [{ header: 0, body: new Uint8Array(14) }],
    inner: { source: a, target: b, inner: flows[0] },
  }),
  ...wrappings.map(({ wrap }) => buildPacket(wrap({ ...flows[0], vlans: [5] }, { source: a6, target: b6 }, 1))),
  Uint8Array.of(
    ...buildPacket({ etherType: 0x8847, payload: Uint8Array.of(0, 1, 0x81, 64, 0, 7, 1, 0) }),
    ...buildPacket(flows[0]),
  ),
  Uint8Array.of(2, 0, 0, 0, 8, 0, 1, 0, 8, 0, 0, 0, 0x44, 0, 9, 0, ...inner),
  ...identified.map((spec) => buildPacket({ source: a, target: b, ...spec })),
  ...identified.map((spec) => buildPacket({ source: a6, target: b6, ...spec })),
  buildPacket({
    source: a,
    target: b,
    icmp: { kind: 'port-unreachable', embedded: { source: b, target: a, ...identified[0] } },
  }),
  ...fragmentPacket({ source: a6, target: b6, udp: { ...ports, payload: 'x'.repeat(64) } }, 32),
];

/** Every thirtieth packet of a recording of tunnels, as it came over the wire. */
const recorded = (await readTiny(fileURLToPath(new URL('../../captures/tunnels.pcapng', import.meta.url)))).packets;
seeds.push(...recorded.filter(({ linkType }, index) => linkType === 1 && index % 30 === 0).map(({ bytes }) => bytes));

const resultOf = (keyer: FlowKeyer, buffer: Uint8Array, start: number, length: number, linkType: number) => {
  const reason = keyer.read(buffer, start, start + length, linkType, 1);
  if (reason !== 0) return [reason];
  const { flowHi, flowLo, groupHash, hasDatagram, datagramHi, flags } = keyer;
  // Two readings of one packet are two packets.
  if (keyer.byPacket && isSingle(flags)) return [flags];
  return [flowHi, flowLo, groupHash, hasDatagram && datagramHi, flags];
};

test('flow keys - damaged and random packets: nothing throws, and no byte outside the packet matters', () => {
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 8 }), fc.nat(400))
    .map(([seed, changes, length]) => {
      const bytes = Uint8Array.from(seed.subarray(0, Math.max(1, length)));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    });
  const packets = fc.oneof(mutated, fc.uint8Array({ maxLength: 120 }));
  fc.assert(
    fc.property(
      packets,
      fc.nat(40),
      fc.nat(40),
      fc.constantFrom(1, 1, 1, ...linkTypes),
      fc.nat(255),
      (packet, before, after, linkType, poison) => {
        for (const keyer of keyers) {
          const alone = resultOf(keyer, packet, 0, packet.length, linkType);
          const poisoned = new Uint8Array(before + packet.length + after).fill(poison);
          poisoned.set(packet, before);
          assert.deepEqual(resultOf(keyer, poisoned, before, packet.length, linkType), alone);
        }
      },
    ),
    { numRuns: Number(process.env.FLOWHERD_RANDOM_PACKETS ?? 5_000) },
  );
});

test('flow keys - of damaged tunnels each is entered or counted with a cause, or is no tunnel any more', () => {
  for (const { name, wrap } of wrappings) {
    const packet = buildPacket(wrap(flows[0], { source: a, target: b }, 0));
    for (let at = 14; at < packet.length; at++) {
      for (const flip of [1, 0x80, 0xff]) {
        const damaged = packet.slice();
        damaged[at] ^= flip;
        resultOf(counted, damaged, 0, damaged.length, 1);
        const { passage, keyed, outer } = counted.headers;
        assert.equal(passage.depth > 0, keyed !== outer, `${name}, byte ${at}`);
        assert.equal(passage.closed === 0, passage.outcome === 0, `${name}, byte ${at}`);
      }
    }
  }
});

test('flow keys - a packet cut at any byte is read as if the bytes behind the cut did not exist', () => {
  for (const seed of seeds) {
    for (let length = 0; length <= seed.length; length++) {
      const alone = seed.slice(0, length);
      for (const keyer of keyers) {
        assert.deepEqual(resultOf(keyer, seed, 0, length, 1), resultOf(keyer, alone, 0, length, 1), `cut at ${length}`);
      }
    }
  }
});

test('flow keys - a window that is none is an empty packet, not a fault', () => {
  const keyer = new FlowKeyer({ secret });
  for (const [start, end] of [
    [0, 0],
    [5, 4],
    [-1, 10],
    [0, 101],
    [Number.NaN, 10],
  ]) {
    assert.equal(reasons[keyer.read(new Uint8Array(100), start, end, 1, 0)].name, 'empty');
  }
});
