// Packets stamped from a template are those that the builder builds.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseAddress } from '../../../shared/packet/addressText.ts';
import { buildPacket, type PacketSpec } from '../../../shared/packet/build.ts';
import { PacketTemplate } from '../../../shared/packet/template.ts';

const u32 = fc.nat(0xffff_ffff);
const u16 = fc.nat(0xffff);

function withLastWord(address: string, word: number): string {
  const bytes = parseAddress(address);
  new DataView(bytes.buffer).setUint32(bytes.length - 4, word);
  return bytes.length === 4
    ? [...bytes].join('.')
    : [...bytes].map((b, i) => (i % 2 ? '' : i ? ':' : '') + b.toString(16).padStart(2, '0')).join('');
}

test('template - writes what the builder builds, for any addresses, ports, numbers and lengths', () => {
  const random = fc.record({
    source: u32,
    target: u32,
    sourcePort: u16,
    targetPort: u16,
    identification: u16,
    sequence: u32,
    acknowledgement: u32,
    tcpFlags: fc.constantFrom(2, 16, 24, 17, 4),
  });
  const letters: Record<number, string> = { 2: 'S', 16: 'A', 24: 'PA', 17: 'FA', 4: 'R' };
  fc.assert(
    fc.property(
      random,
      fc.boolean(),
      fc.constantFrom('tcp', 'udp', 'sctp'),
      fc.nat(120),
      fc.boolean(),
      (fields, isIpv4, layer, extra, tagged) => {
        const source = isIpv4 ? '10.0.0.0' : '2001:db8:a:b::';
        const target = isIpv4 ? '198.18.0.1' : '2001:db8:c:d::1';
        const vlans = tagged ? [12] : [];
        const none = { sourcePort: 0, targetPort: 0 };
        const template = new PacketTemplate({ source, target, vlans, [layer]: none } as PacketSpec);
        const length = template.fit(template.headerBytes + extra);
        const buffer = new Uint8Array(7 + length + 9).fill(0xaa);
        template.write(buffer, 7, length, fields);

        const payload = new Uint8Array(length - template.headerBytes);
        const ports = { sourcePort: fields.sourcePort, targetPort: fields.targetPort };
        const common = {
          source: withLastWord(source, fields.source),
          target: withLastWord(target, fields.target),
          vlans,
          identification: fields.identification,
        };
        const tsn = new Uint8Array(12 + payload.length);
        new DataView(tsn.buffer).setUint32(0, fields.sequence);
        tsn.set(payload, 12);
        const expected =
          layer === 'tcp'
            ? {
                tcp: {
                  ...ports,
                  payload,
                  flags: letters[fields.tcpFlags]!,
                  sequence: fields.sequence,
                  acknowledgement: fields.acknowledgement,
                },
              }
            : layer === 'udp'
              ? { udp: { ...ports, payload } }
              : { sctp: { ...ports, chunks: [{ type: 'data' as const, value: tsn }] } };
        assert.deepEqual(buffer.slice(7, 7 + length), buildPacket({ ...common, ...expected }));
        assert.ok([...buffer.subarray(0, 7), ...buffer.subarray(7 + length)].every((byte) => byte === 0xaa));
      },
    ),
    { numRuns: 300 },
  );
});

test('template - a packet is never shorter than its headers, and chunks without data do not grow', () => {
  const addresses = { source: '10.0.0.1', target: '10.0.0.2' };
  const ports = { sourcePort: 1, targetPort: 2 };
  assert.equal(new PacketTemplate({ ...addresses, udp: ports }).fit(10), 42);
  const init = new PacketTemplate({ ...addresses, sctp: { ...ports, chunks: ['init'] } });
  assert.equal(init.fit(500), 14 + 20 + 12 + 20);
  assert.throws(() => new PacketTemplate(addresses));
  assert.throws(() => new PacketTemplate({ ...addresses, udp: ports, tcp: ports }));
});
