// The keys of real packets: no flow is spread over groups, fragments stay together, and ICMP errors and tunnelled packets
// have the keys of the packets that an independent dissector found inside them.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { readCapture } from '../../../shared/capture/reader.ts';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { flowKeyPolicies, groupKeyPolicies, isCoarser } from '../../../shared/flow/policies.ts';
import { buildPacket, type PacketSpec } from '../../../shared/packet/encode/build.ts';
import { type SharedCapture, sharedCaptures } from '../../support/sharedCaptures.ts';

const secret = 'a secret';

/** Calls back with every packet of a capture, numbered from 0. */
async function eachPacket(
  capture: SharedCapture,
  visit: (buffer: Uint8Array, start: number, end: number, linkType: number, link: number, index: number) => void,
): Promise<number> {
  let index = 0;
  for await (const { buffer, count, offsets, lengths, linkTypes, interfaces } of readCapture(capture.path)) {
    for (let i = 0; i < count; i++) {
      visit(buffer, offsets[i], offsets[i] + lengths[i], linkTypes[i], interfaces[i], index++);
    }
  }
  return index;
}

test('flow keys on captures - no flow is spread over two groups, under any accepted pair of policies', async (t) => {
  const captures = sharedCaptures(t);
  if (captures === undefined) return;
  const checks = [true, false].flatMap((symmetric) =>
    flowKeyPolicies.flatMap((flowKey) =>
      groupKeyPolicies
        .filter((groupKey) => isCoarser(flowKey, groupKey, symmetric))
        .map((groupKey) => {
          const options: KeyOptions = { secret, flowKey, groupKey, symmetric, subscriberNetworks: ['10.0.0.0/8'] };
          return { name: `${flowKey}, ${groupKey}, symmetric ${symmetric}`, keyer: new FlowKeyer(options) };
        }),
    ),
  );
  for (const capture of captures) {
    const groups = checks.map(() => new Map<number, number>());
    await eachPacket(capture, (buffer, start, end, linkType, link, index) => {
      for (const [i, { keyer, name }] of checks.entries()) {
        if (keyer.read(buffer, start, end, linkType, link) !== 0 || keyer.flags & FrameFlags.LATER_FRAGMENT) continue;
        // 52 of the 64 bits, as a number; some ten thousand flows do not collide in them.
        const flow = (keyer.flowHi >>> 0) * 2 ** 20 + (keyer.flowLo >>> 12);
        const group = keyer.groupHash;
        const known = groups[i].get(flow);
        if (known === undefined) groups[i].set(flow, group);
        else if (known !== group) assert.fail(`${capture.name} packet ${index + 1}: ${name}`);
      }
    });
  }
});

test('flow keys on captures - fragments of a datagram share its hash and its group', async (t) => {
  const captures = sharedCaptures(t);
  if (captures === undefined) return;
  let fragments = 0;
  for (const capture of captures) {
    const oracle = capture.oracle();
    const keyer = new FlowKeyer({ secret });
    const known = new Map<string, string>();
    await eachPacket(capture, (buffer, start, end, linkType, link, index) => {
      const row = oracle[index];
      if (row.frag !== '1' || (row.mf === '0' && row.frag_off === '0')) return;
      assert.equal(keyer.read(buffer, start, end, linkType, link), 0);
      assert.equal(keyer.hasDatagram, row.frag_off === '0');
      const datagram = `${row.ip_src} ${row.ip_dst} ${row.ip_proto} ${row.ip_id}`;
      const keys = `${keyer.datagramHi} ${keyer.datagramLo} ${keyer.groupHash}`;
      assert.equal(known.get(datagram) ?? keys, keys, `${capture.name} packet ${index + 1}`);
      known.set(datagram, keys);
      fragments++;
    });
    assert.equal(new Set(known.values()).size, known.size, capture.name);
  }
  assert.ok(fragments > 1_000, `${fragments} fragments`);
});

test('flow keys on captures - an ICMP error has the keys of the packet that the oracle found in it', async (t) => {
  const compared = await compareInner(t, { secret }, (via) => /^(icmp|icmpv6)$/.test(via));
  if (compared !== undefined) assert.ok(compared > 1_500, `${compared} errors`);
});

test('flow keys on captures - a tunnelled packet has the keys of the packet that the oracle found in it', async (t) => {
  const options = { secret, tunnel: 'inner' } as const;
  const compared = await compareInner(t, options, (via) => via !== '' && !/^(icmp|icmpv6)$/.test(via));
  if (compared !== undefined) assert.ok(compared > 900, `${compared} tunnelled packets`);
});

/**
 * Builds a packet from the oracle's inner columns of every row whose path inwards `wanted` accepts, and compares its keys
 * with those of the packet itself. Returns how many there were, or undefined without captures.
 */
async function compareInner(
  t: TestContext,
  options: KeyOptions,
  wanted: (via: string) => boolean,
): Promise<number | undefined> {
  const captures = sharedCaptures(t);
  if (captures === undefined) return undefined;
  let compared = 0;
  const keyer = new FlowKeyer(options);
  const plain = new FlowKeyer({ secret });
  for (const capture of captures) {
    const oracle = capture.oracle();
    await eachPacket(capture, (buffer, start, end, linkType, link, index) => {
      const row = oracle[index];
      if (!wanted(row.in_via) || row.in_src === '' || row.in_frag === '1' || row.frag === '1') return;
      const spec = innerPacket(row);
      assert.equal(keyer.read(buffer, start, end, linkType, link), 0);
      const bytes = buildPacket(spec);
      assert.equal(plain.read(bytes, 0, bytes.length, 1, 0), 0);
      const where = `${capture.name} packet ${index + 1}`;
      // The echo identifier of an inner ICMP message is not among the oracle's columns: only its group can be told.
      const icmp = row.in_sport === '' && (row.in_proto === '1' || row.in_proto === '58');
      if (!icmp) assert.deepEqual([keyer.flowHi, keyer.flowLo], [plain.flowHi, plain.flowLo], where);
      assert.deepEqual(keyer.groupHash, plain.groupHash, where);
      compared++;
    });
  }
  return compared;
}

/** A packet with the addresses, protocol and ports of the oracle's inner columns. */
function innerPacket(row: Readonly<Record<string, string>>): PacketSpec {
  // Zeros where there are no ports: an ICMP message of type 0 without an identifier would be no whole echo, and an SCTP
  // header has 12 bytes.
  const payload = new Uint8Array(12);
  new DataView(payload.buffer).setUint16(0, Number(row.in_sport || 0));
  new DataView(payload.buffer).setUint16(2, Number(row.in_dport || 0));
  return { source: row.in_src, target: row.in_dst, protocol: Number(row.in_proto), payload };
}
