// Tunnels and tenants as properties of the keys: both directions of a conversation have one hash, whole or in fragments, tagged
// or not, in any tunnel; two tenants never have one with `within`, and their fragments are told apart in any case.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { flowKeyPolicies, groupKeyPolicies, isCoarser, type WithinPart } from '../../../shared/flow/policies.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import { wrappings } from '../../support/tunnelPackets.ts';

const secret = 'a secret';

interface Keys {
  /** Absent in a later fragment. */
  readonly flow: string | undefined;
  readonly group: number;
  /** Absent in a whole packet. */
  readonly datagram: string | undefined;
}

function keysOf(keyer: FlowKeyer, packet: Uint8Array): Keys {
  assert.equal(keyer.read(packet, 0, packet.length, 1, 0), 0);
  const isLater = (keyer.flags & FrameFlags.LATER_FRAGMENT) !== 0;
  return {
    flow: isLater ? undefined : `${keyer.flowHi} ${keyer.flowLo}`,
    group: keyer.groupHash,
    datagram: isLater || keyer.hasDatagram ? `${keyer.datagramHi} ${keyer.datagramLo}` : undefined,
  };
}

const keyerOf = (options: Partial<KeyOptions> = {}) => new FlowKeyer({ secret, ...options });
const inner = (within: readonly WithinPart[] = []) => keyerOf({ tunnel: 'inner', within });
const turned = (spec: PacketSpec): PacketSpec => ({
  ...spec,
  source: spec.target!,
  target: spec.source!,
  ...(spec.udp && { udp: { ...spec.udp, sourcePort: spec.udp.targetPort, targetPort: spec.udp.sourcePort } }),
  ...(spec.tcp && { tcp: { ...spec.tcp, sourcePort: spec.tcp.targetPort, targetPort: spec.tcp.sourcePort } }),
});

const vlanIds = fc.array(fc.integer({ min: 1, max: 4_095 }), { maxLength: 3 });
const conversation = fc
  .record({
    v6: fc.boolean(),
    ends: fc.tuple(fc.nat(255), fc.nat(255)),
    ports: fc.tuple(fc.integer({ min: 20_000, max: 30_000 }), fc.integer({ min: 20_000, max: 30_000 })),
    tcp: fc.boolean(),
    length: fc.nat(40),
  })
  .map(({ v6, ends: [one, other], ports: [sourcePort, targetPort], tcp, length }): PacketSpec => {
    const address = (last: number) => (v6 ? `2001:db8::${last.toString(16)}` : `10.0.0.${last}`);
    const payload = 'x'.repeat(length);
    const ends = { source: address(one), target: address(other), identification: one };
    return tcp
      ? { ...ends, tcp: { sourcePort, targetPort, payload } }
      : { ...ends, udp: { sourcePort, targetPort, payload } };
  });
const outside = fc.boolean().map((v6) => {
  const [source, target] = v6 ? ['2001:db8:ff::1', '2001:db8:ff::2'] : ['192.0.2.1', '192.0.2.2'];
  return { source, target };
});

test('flow keys - both directions have one hash in any tunnel, tagged or not, in fragments or whole', () => {
  const keyers = [inner(), inner(['vlan']), inner(['vni']), inner(['vlan', 'vni'])];
  fc.assert(
    fc.property(
      conversation,
      fc.constantFrom(...wrappings),
      outside,
      vlanIds,
      vlanIds,
      (spec, { wrap }, ends, around, vlans) => {
        const back = { source: ends.target, target: ends.source };
        const there = buildPacket({ ...wrap({ ...spec, vlans }, ends, 0), vlans: around });
        const answer = buildPacket({ ...wrap({ ...turned(spec), vlans }, back, 1), vlans: around });
        for (const keyer of keyers) {
          const expected = keysOf(keyer, there);
          assert.deepEqual(keysOf(keyer, answer), expected);
          const pieces = fragmentPacket({ ...spec, vlans: around }, 16).map((piece) => keysOf(keyer, piece));
          assert.equal(new Set(pieces.map(({ group }) => group)).size, 1);
          assert.ok(pieces.length === 1 || new Set(pieces.map(({ datagram }) => datagram)).size === 1);
          assert.equal(pieces[0].flow, keysOf(keyer, buildPacket({ ...spec, vlans: around })).flow);
        }
        // Inside or not, it is the same conversation, unless it is told by what it lies within.
        assert.deepEqual(keysOf(keyers[0], there), keysOf(keyers[0], buildPacket(spec)));
      },
    ),
    { numRuns: 400 },
  );
});

test('flow keys - with `within` two tenants never share a flow, under any policy, and their datagrams never anyhow', () => {
  const networks = { subscriberNetworks: ['10.0.0.0/8'] };
  const pairs = flowKeyPolicies.flatMap((flowKey) =>
    groupKeyPolicies
      .filter((groupKey) => groupKey !== 'source-last-byte' && isCoarser(flowKey, groupKey, true))
      .map((groupKey) => ({ flowKey, groupKey })),
  );
  const told = pairs.map((pair) => keyerOf({ ...pair, ...networks, within: ['vlan'] }));
  const plain = keyerOf();
  fc.assert(
    fc.property(conversation, vlanIds, vlanIds, (spec, one, other) => {
      fc.pre(one.join() !== other.join());
      const [first, second] = [one, other].map((vlans) => buildPacket({ ...spec, vlans }));
      for (const keyer of told) {
        const [a, b] = [keysOf(keyer, first), keysOf(keyer, second)];
        assert.notEqual(a.flow, b.flow);
        assert.notEqual(a.group, b.group);
      }
      assert.deepEqual(keysOf(plain, first), keysOf(plain, second));
      const [piece, twin] = [one, other].map((vlans) => fragmentPacket({ ...spec, vlans }, 8)[1]);
      if (piece !== undefined) assert.notEqual(keysOf(plain, piece).datagram, keysOf(plain, twin).datagram);
    }),
    { numRuns: 300 },
  );
});

test('flow keys - networks of tunnels tell tenants apart where they are asked to, and their datagrams in any case', () => {
  const vxlan = (spec: PacketSpec | Uint8Array, vni: number, shim: readonly number[] = []) => {
    const frame = spec instanceof Uint8Array ? spec : buildPacket(spec);
    const payload = Uint8Array.of(8, 0, 0, 0, 0, 0, vni, 0, ...shim, ...frame);
    return buildPacket({
      source: '192.0.2.1',
      target: '192.0.2.2',
      udp: { sourcePort: 50_000, targetPort: 4789, payload },
    });
  };
  const spec: PacketSpec = {
    source: '10.0.0.1',
    target: '10.0.0.2',
    udp: { sourcePort: 4000, targetPort: 53, payload: 'x'.repeat(40) },
  };
  const [by, plain] = [inner(['vni']), inner()];
  assert.notEqual(keysOf(by, vxlan(spec, 1)).flow, keysOf(by, vxlan(spec, 2)).flow);
  assert.notEqual(keysOf(by, vxlan(spec, 1)).group, keysOf(by, vxlan(spec, 2)).group);
  assert.notEqual(keysOf(by, vxlan(spec, 1)).flow, keysOf(by, buildPacket(spec)).flow);
  assert.equal(keysOf(plain, vxlan(spec, 1)).flow, keysOf(plain, vxlan(spec, 2)).flow);
  const [, later] = fragmentPacket(spec, 24);
  assert.notEqual(keysOf(plain, vxlan(later, 1)).datagram, keysOf(plain, vxlan(later, 2)).datagram);
  // A VLAN id is no network identifier of the same number.
  const both = inner(['vlan', 'vni']);
  assert.notEqual(keysOf(both, buildPacket({ ...spec, vlans: [7] })).flow, keysOf(both, vxlan(spec, 7)).flow);
});

test('flow keys - a tag with a priority and no VLAN id is no VLAN', () => {
  const spec: PacketSpec = { source: '10.0.0.1', target: '10.0.0.2', tcp: { sourcePort: 4000, targetPort: 53 } };
  const keyer = keyerOf({ within: ['vlan'] });
  const tagged = keysOf(keyer, buildPacket({ ...spec, vlans: [{ id: 0, priority: 5 }] }));
  assert.deepEqual(tagged, keysOf(keyer, buildPacket(spec)));
});

test('flow keys - what was met of tunnels is counted once a packet, also when its headers are asked for', () => {
  const keyer = inner();
  for (const { wrap } of wrappings.slice(0, 2)) {
    keysOf(
      keyer,
      buildPacket(
        wrap(
          { source: '10.0.0.1', target: '10.0.0.2', tcp: { sourcePort: 1, targetPort: 2 } },
          { source: '192.0.2.1', target: '192.0.2.2' },
          0,
        ),
      ),
    );
    assert.equal(keyer.headers.passage.depth, 1);
  }
  keysOf(keyer, buildPacket({ source: '10.0.0.1', target: '10.0.0.2', protocol: 50 }));
  assert.deepEqual(keyer.tunnels.report, { entered: { ipip: 1, gre: 1 }, notEntered: { esp: { unread: 1 } } });
});

test('flow keys - options about tunnels that do not go together are refused', () => {
  assert.throws(() => keyerOf({ within: ['vni'] }), /within 'vni' needs the tunnel 'inner'/);
  assert.throws(() => keyerOf({ tunnelPorts: ['vxlan=1'] }), /for the tunnel 'inner' only/);
  assert.throws(() => keyerOf({ tunnel: 'inner', tunnelPorts: ['vxlan'] }), /not a tunnel's port/);
  assert.throws(() => keyerOf({ within: ['mac' as WithinPart] }), /within 'mac' is none of vlan, vni/);
});
