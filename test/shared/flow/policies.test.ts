// The table of flow/policies.ts, tried on packets from a world so small that flows meet all the time.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import fc from 'fast-check';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import {
  checkCoarser,
  defaultGroupKey,
  type FlowKeyPolicy,
  flowKeyPolicies,
  type GroupKeyPolicy,
  groupKeyPolicies,
  isCoarser,
  keyWarning,
} from '../../../shared/flow/policies.ts';
import { buildPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import {
  dhcp,
  dhcpPorts,
  radiusAccounting,
  radiusAccountingPorts,
} from '../../../shared/packet/encode/buildPayload.ts';
import { identified } from '../../support/identifiedPackets.ts';

interface WirePacket {
  readonly bytes: Uint8Array;
  readonly link: number;
}

const addresses4 = ['10.0.0.1', '10.0.0.2', '192.0.2.1', '192.0.3.1'];
const addresses6 = ['2001:db8::1', '2001:db8::2', '2001:db8:ffff::1'];
const subscriberNetworks = ['10.0.0.0/8', '2001:db8::/64'];

const ports = fc.record({ sourcePort: fc.constantFrom(1000, 2000), targetPort: fc.constantFrom(1000, 2000) });
const pairs = fc.oneof(
  fc.record({ source: fc.constantFrom(...addresses4), target: fc.constantFrom(...addresses4) }),
  fc.record({ source: fc.constantFrom(...addresses6), target: fc.constantFrom(...addresses6) }),
);
const transports: fc.Arbitrary<Partial<PacketSpec>> = fc.oneof(
  ports.map((tcp) => ({ tcp })),
  ports.map((udp) => ({ udp })),
  fc.constantFrom(1, 2).map((identifier) => ({ icmp: { kind: 'echo-request' as const, identifier } })),
  fc.constant({ protocol: 89 }),
  fc
    .record({ offset: fc.constantFrom(0, 8), more: fc.constant(true) })
    .chain((fragment) => ports.map((udp) => ({ fragment, udp, protocol: 17, identification: 1 }))),
  fc
    .record({ to: pairs, tcp: ports })
    .map(({ to, tcp }) => ({ icmp: { kind: 'time-exceeded' as const, embedded: { ...to, tcp } } })),
  fc.constantFrom(1, 2).map((last) => ({
    udp: {
      ...radiusAccountingPorts,
      payload: radiusAccounting('start', { framedAddress: Uint8Array.of(10, 0, 0, last) }),
    },
  })),
  fc.constantFrom(1, 2).map((last) => ({
    udp: { ...dhcpPorts, payload: dhcp('release', { clientAddress: Uint8Array.of(10, 0, 0, last) }) },
  })),
  { weight: 4, arbitrary: fc.constantFrom(...identified) },
  // What identifies them is cut away, or is in one fragment only.
  fc.constantFrom(...identified).map((spec) => ({ ...spec, identification: 1, fragment: { offset: 0, more: true } })),
  fc
    .record({ to: pairs, about: fc.constantFrom(...identified) })
    .map(({ to, about }) => ({ icmp: { kind: 'time-exceeded' as const, embedded: { ...to, ...about } } })),
);
const macs = fc.record({
  sourceMac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02'),
  targetMac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02'),
  vlans: fc.constantFrom([], [1], [1, 2], [{ id: 0, priority: 5 }]),
});
const packets: fc.Arbitrary<WirePacket> = fc
  .oneof(
    { weight: 9, arbitrary: fc.tuple(macs, pairs, transports).map((parts): PacketSpec => Object.assign({}, ...parts)) },
    { weight: 1, arbitrary: macs.map((spec): PacketSpec => ({ ...spec, etherType: 0x0806 })) },
  )
  .chain((spec) => fc.constantFrom(0, 1).map((link) => ({ bytes: buildPacket(spec), link })));

const world = fc.sample(packets, { numRuns: 6_000, seed: 1 });

/** For two packets of one flow in two groups, their places in the world; undefined where flows do not split. */
function splitFlow(flowOptions: KeyOptions, groupOptions: KeyOptions): string | undefined {
  const flowKeyer = new FlowKeyer(flowOptions);
  const groupKeyer = flowOptions === groupOptions ? flowKeyer : new FlowKeyer(groupOptions);
  const groups = new Map<string, { group: string; at: number }>();
  for (const [at, { bytes, link }] of world.entries()) {
    if (flowKeyer.read(bytes, 0, bytes.length, 1, link) !== 0) continue;
    if (groupKeyer !== flowKeyer && groupKeyer.read(bytes, 0, bytes.length, 1, link) !== 0) continue;
    // A later fragment has no flow key, only its datagram's.
    if (flowKeyer.flags & FrameFlags.LATER_FRAGMENT) continue;
    const flow = `${flowKeyer.flowHi},${flowKeyer.flowLo}`;
    const group = `${groupKeyer.groupHash}`;
    const known = groups.get(flow);
    if (known === undefined) groups.set(flow, { group, at });
    else if (known.group !== group) return `packets ${known.at} and ${at}`;
  }
  return undefined;
}

/** Options under which a keyer has this group key, whatever its flow key. */
function ownOptions(groupKey: GroupKeyPolicy, symmetric: boolean): KeyOptions {
  const flowKey = groupKey === 'source-last-byte' ? 'link-source' : groupKey;
  return { secret: 'x', flowKey, groupKey, symmetric, subscriberNetworks };
}

test('key policies - where a group key is accepted, no flow is spread over two groups', () => {
  let accepted = 0;
  for (const symmetric of [true, false]) {
    for (const flowKey of flowKeyPolicies) {
      for (const groupKey of groupKeyPolicies) {
        if (!isCoarser(flowKey, groupKey, symmetric)) continue;
        accepted++;
        const options = { secret: 'x', flowKey, groupKey, symmetric, subscriberNetworks };
        assert.equal(splitFlow(options, options), undefined, `${flowKey}, ${groupKey}, symmetric ${symmetric}`);
      }
    }
  }
  assert.equal(accepted, 26 + 29);
});

test('key policies - where a group key is refused, some flow would be', () => {
  for (const symmetric of [true, false]) {
    for (const flowKey of flowKeyPolicies) {
      for (const groupKey of groupKeyPolicies) {
        if (isCoarser(flowKey, groupKey, symmetric)) continue;
        const what = `${flowKey}, ${groupKey}, symmetric ${symmetric}`;
        assert.throws(() => checkCoarser(flowKey, groupKey, symmetric), Error, what);
        const flow = { secret: 'x', flowKey, symmetric, subscriberNetworks };
        assert.notEqual(splitFlow(flow, ownOptions(groupKey, symmetric)), undefined, what);
      }
    }
  }
});

test('key policies - the default group key is always accepted', () => {
  for (const flowKey of flowKeyPolicies) {
    for (const symmetric of [true, false]) checkCoarser(flowKey, defaultGroupKey(flowKey), symmetric);
  }
  assert.equal(defaultGroupKey('five-tuple'), 'address-pair');
});

test('key policies - the README has the table of keys as it is in the code', () => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const from = readme.indexOf('| flow key |');
  const rows = readme
    .slice(from, readme.indexOf('\n\n', from))
    .split('\n')
    .slice(2)
    .map((row) => row.split('|').map((cell) => cell.trim()));
  const groupKeysOf = (flowKey: FlowKeyPolicy) => {
    const usual = defaultGroupKey(flowKey);
    return [usual, ...groupKeyPolicies.filter((groupKey) => groupKey !== usual && isCoarser(flowKey, groupKey, false))]
      .map((groupKey) => `\`${groupKey}\`${isCoarser(flowKey, groupKey, true) ? '' : ' (directed)'}`)
      .join(', ');
  };
  assert.deepEqual(
    rows.map((cells) => [cells[1], cells[4]]),
    flowKeyPolicies.map((flowKey, index) => [`\`${flowKey}\`${index === 0 ? ' (default)' : ''}`, groupKeysOf(flowKey)]),
  );
});

test('key policies - the group key that splits fragments is allowed and warned of', () => {
  assert.match(keyWarning('five-tuple') ?? '', /fragments/);
  for (const groupKey of groupKeyPolicies) {
    if (groupKey !== 'five-tuple') assert.equal(keyWarning(groupKey), undefined);
  }
});
