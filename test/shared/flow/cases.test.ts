// Small captures of packets that others read wrongly, each with what is right.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { sharedCase } from '../../support/sharedCaptures.ts';
import { readTiny } from '../../support/tinyCapture.ts';

interface Read {
  readonly flows: readonly string[];
  readonly datagrams: readonly string[];
  readonly ports: readonly string[];
}

async function read(t: TestContext, name: string, options: Partial<KeyOptions> = {}): Promise<Read | undefined> {
  const path = sharedCase(t, name);
  if (path === undefined) return undefined;
  const keyer = new FlowKeyer({ secret: 'a secret', ...options });
  const { packets } = await readTiny(path);
  assert.ok(packets.length > 0);
  const found = packets.map(({ bytes, linkType }) => {
    assert.equal(keyer.read(bytes, 0, bytes.length, linkType, 0), 0);
    const { sourcePort, targetPort } = keyer.headers.keyed;
    const flow = `${keyer.flowHi} ${keyer.flowLo}`;
    return { flow, datagram: `${keyer.datagramHi} ${keyer.datagramLo}`, ports: `${sourcePort} ${targetPort}` };
  });
  return {
    flows: found.map(({ flow }) => flow),
    datagrams: found.map(({ datagram }) => datagram),
    ports: found.map(({ ports }) => ports),
  };
}

const distinct = (texts: readonly string[] | undefined) => new Set(texts).size;

test('cases - policy bits in a VXLAN header do not part the directions', async (t) => {
  const found = await read(t, 'min-vxlan.pcap', { tunnel: 'inner' });
  if (found) assert.deepEqual([distinct(found.flows), found.ports], [1, ['40000 80', '80 40000']]);
});

test('cases - a mirrored frame in ERSPAN is keyed by the flow inside', async (t) => {
  const found = await read(t, 'min-erspan.pcap', { tunnel: 'inner' });
  if (found) assert.deepEqual(found.ports, ['40000 80']);
});

test('cases - a pseudowire is keyed by what is inside, whatever its MAC address and control word', async (t) => {
  const names = ['min-pw-mac-4c.pcap', 'min-pw-mac-6c.pcap', 'min-pw-control-word.pcap'];
  const found = [];
  for (const name of names) found.push(await read(t, name));
  if (found.includes(undefined)) return;
  for (const each of found) assert.deepEqual(each?.ports, ['40000 80']);
  assert.equal(distinct(found.flatMap((each) => each?.flows ?? [])), 1);
});

test('cases - an IPv6 segment that its network card had not cut yet has its ports', async (t) => {
  const found = await read(t, 'min-ip6-length-0.pcap');
  if (found) assert.deepEqual(found.ports, ['80 40000']);
});

test('cases - tenants with the same addresses are two flows where VLANs count, and one where they do not', async (t) => {
  const apart = await read(t, 'min-vlan-overlap.pcap', { within: ['vlan'] });
  const together = await read(t, 'min-vlan-overlap.pcap');
  if (apart) assert.deepEqual([distinct(apart.flows), distinct(together?.flows)], [2, 1]);
});

test('cases - fragments of two VLANs with one identification are two datagrams', async (t) => {
  const found = await read(t, 'min-frag-vlan.pcap');
  if (found === undefined) return;
  const [first, other, second, last] = found.datagrams;
  assert.deepEqual([first === second, other === last, first === other], [true, true, false]);
});
