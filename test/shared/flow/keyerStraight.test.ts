// The straight path of the keyer agrees with the general parser: on every packet of the public captures, and on usual packets
// that were damaged, cut or dressed up. Keyers with other policies never take the straight path, so they are the judges: one
// has the same flow key, the other the same group key.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { readCapture } from '../../../shared/capture/reader.ts';
import { FlowKeyer, type KeyOptions } from '../../../shared/flow/keyer.ts';
import { Headers } from '../../../shared/packet/decode/headers.ts';
import { parse } from '../../../shared/packet/decode/parse.ts';
import { StraightPacket } from '../../../shared/packet/decode/straight.ts';
import { buildPacket } from '../../../shared/packet/encode/build.ts';
import { sharedCaptures } from '../../support/sharedCaptures.ts';

const ethernet = 1;

/** Reads packets by both ways. */
class BothWays {
  straight = 0;
  readonly #usual: FlowKeyer;
  readonly #sameFlow: FlowKeyer;
  readonly #sameGroup: FlowKeyer;
  readonly #packet = new StraightPacket();
  readonly #headers = new Headers();

  constructor(options: Partial<KeyOptions>) {
    const all = { secret: 'a secret', ...options };
    this.#usual = new FlowKeyer(all);
    this.#sameFlow = new FlowKeyer({ ...all, groupKey: 'five-tuple' });
    this.#sameGroup = new FlowKeyer({ ...all, flowKey: 'address-pair' });
  }

  compare(buffer: Uint8Array, start: number, end: number, linkType: number, where: () => string): void {
    const usual = this.#usual;
    const sameFlow = this.#sameFlow;
    const reason = usual.read(buffer, start, end, linkType, 0);
    const expected = sameFlow.read(buffer, start, end, linkType, 0);
    if (reason !== expected) assert.fail(`${where()}: reason ${reason}, not ${expected}`);
    if (linkType === ethernet && this.#packet.read(buffer, start, end)) {
      this.straight++;
      this.#compareFields(buffer, start, end, where);
    }
    if (reason !== 0) return;
    const told = [usual.flowHi, usual.flowLo, usual.flags, usual.hasDatagram];
    const judged = [sameFlow.flowHi, sameFlow.flowLo, sameFlow.flags, sameFlow.hasDatagram];
    if (told.some((value, index) => value !== judged[index])) assert.deepEqual(told, judged, where());
    if (usual.hasDatagram)
      assert.deepEqual([usual.datagramHi, usual.datagramLo], [sameFlow.datagramHi, sameFlow.datagramLo], where());
    this.#sameGroup.read(buffer, start, end, linkType, 0);
    if (usual.groupHash !== this.#sameGroup.groupHash) assert.fail(`${where()}: group`);
    // Now and then: asking for headers makes the keyer read on the general path.
    if (this.straight % 97 !== 0) return;
    const { keyed, link } = usual.headers;
    const other = sameFlow.headers;
    assert.deepEqual(keyed, other.keyed, where());
    assert.deepEqual(
      [link.macs, link.payload, link.vlanCount],
      [other.link.macs, other.link.payload, other.link.vlanCount],
    );
  }

  #compareFields(buffer: Uint8Array, start: number, end: number, where: () => string): void {
    const packet = this.#packet;
    const headers = this.#headers;
    assert.equal(parse(buffer, start, end, ethernet, headers, false), 0, where());
    const { outer } = headers;
    const told = [packet.version, packet.source, packet.protocol, packet.sourcePort, packet.targetPort];
    const judged = [outer.version, outer.source, outer.protocol, outer.sourcePort, outer.targetPort];
    if (told.some((value, index) => value !== judged[index])) assert.deepEqual(told, judged, where());
    if (packet.protocol === 6 && packet.tcpFlags !== outer.tcpFlags) assert.fail(`${where()}: TCP flags`);
    assert.equal(outer.target - outer.source, packet.version === 4 ? 4 : 16);
  }
}

const variants: Partial<KeyOptions>[] = [{}, { symmetric: false }, { tunnel: 'inner' }];

test('straight path - on every packet of the public captures both ways agree', async (t) => {
  const captures = sharedCaptures(t);
  if (captures === undefined) return;
  const ways = variants.map((options) => new BothWays(options));
  let packets = 0;
  for (const { name, path } of captures) {
    for await (const { buffer, count, offsets, lengths, linkTypes } of readCapture(path)) {
      for (let row = 0; row < count; row++) {
        packets++;
        const where = () => `${name}, packet ${packets}`;
        for (const way of ways) way.compare(buffer, offsets[row], offsets[row] + lengths[row], linkTypes[row], where);
      }
    }
  }
  t.diagnostic(`${ways[0].straight} of ${packets} packets on the straight path`);
  assert.ok(ways[0].straight > packets / 4);
});

const port = fc.oneof(
  fc.constantFrom(53, 67, 68, 443, 546, 1813, 1646, 2123, 2152, 3386, 4789, 8472, 6081),
  fc.nat(65_535),
);
const flags = fc.constantFrom('S', 'SA', 'A', 'PA', 'FA', 'R', '');
const usualPacket = fc
  .record({
    v6: fc.boolean(),
    ends: fc.tuple(fc.nat(255), fc.nat(255)),
    vlans: fc.array(fc.nat(4_095), { maxLength: 2 }),
    ports: fc.tuple(port, port),
    tcp: fc.option(flags),
    payload: fc.uint8Array({ maxLength: 60 }),
  })
  .map(({ v6, ends: [one, other], vlans, ports: [sourcePort, targetPort], tcp, payload }) =>
    buildPacket({
      source: v6 ? `2001:db8::${one.toString(16)}` : `10.0.0.${one}`,
      target: v6 ? `2001:db8::${other.toString(16)}` : `10.0.0.${other}`,
      vlans,
      ...(tcp === null
        ? { udp: { sourcePort, targetPort, payload } }
        : { tcp: { sourcePort, targetPort, payload, flags: tcp } }),
    }),
  );

test('straight path - on usual packets that were damaged or cut both ways agree, wherever they lie', () => {
  const ways = variants.map((options) => new BothWays(options));
  const damage = fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 3 });
  const window = fc.tuple(fc.nat(7), fc.nat(60), fc.boolean());
  fc.assert(
    fc.property(usualPacket, damage, window, (packet, flips, [before, cut, isCut]) => {
      const buffer = new Uint8Array(before + packet.length + 9).fill(0xa5);
      buffer.set(packet, before);
      for (const [at, value] of flips) if (at < packet.length) buffer[before + at] = value;
      const end = before + Math.max(0, packet.length - (isCut ? cut : 0));
      for (const way of ways) way.compare(buffer, before, end, ethernet, () => Buffer.from(buffer).toString('hex'));
    }),
    { numRuns: 4_000 },
  );
  assert.ok(ways[0].straight > 1_500, `${ways[0].straight} on the straight path`);
});

test('straight path - a window beyond its buffer is nobody’s packet, by both ways', () => {
  const way = new BothWays({});
  const packet = buildPacket({ source: '10.0.0.1', target: '10.0.0.2', udp: { sourcePort: 1, targetPort: 2 } });
  for (const [start, end] of [
    [-1, packet.length],
    [0, packet.length + 1],
    [5, 4],
    [0, Number.NaN],
    [Number.NaN, packet.length],
  ])
    way.compare(packet, start, end, ethernet, () => `${start}..${end}`);
  assert.equal(way.straight, 0);
});
