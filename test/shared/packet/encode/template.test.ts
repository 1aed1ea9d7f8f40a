// Packets stamped from a template are those that the builder builds.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseAddress } from '../../../../shared/packet/addressText.ts';
import { buildPacket, type PacketSpec } from '../../../../shared/packet/encode/build.ts';
import * as payloads from '../../../../shared/packet/encode/buildPayload.ts';
import { type PacketFields, PacketTemplate, type TemplateSpec } from '../../../../shared/packet/encode/template.ts';

const u32 = fc.nat(0xffff_ffff);
const u16 = fc.nat(0xffff);

function withLastWord(address: string, word: number): string {
  const bytes = parseAddress(address);
  new DataView(bytes.buffer).setUint32(bytes.length - 4, word);
  return bytes.length === 4
    ? [...bytes].join('.')
    : [...bytes].map((b, i) => (i % 2 ? '' : i ? ':' : '') + b.toString(16).padStart(2, '0')).join('');
}

const layers = ['tcp', 'udp', 'sctp', 'icmp', 'createSession', 'updatePdp', 'gtpUser'] as const;
const inner = ['2001:db8:1:2::', '2001:db8:3:4::1'] as const;
const flagLetters: Record<number, string> = { 2: 'S', 16: 'A', 24: 'PA', 17: 'FA', 4: 'R' };

/** What the builder is told so that it builds what a template of that layer writes. */
function built(layer: (typeof layers)[number], fields: PacketFields, payload: Uint8Array): PacketSpec {
  const { sourcePort, targetPort, sequence, acknowledgement, identifier } = fields;
  const ports = { sourcePort, targetPort };
  switch (layer) {
    case 'tcp':
      return { tcp: { ...ports, payload, flags: flagLetters[fields.tcpFlags]!, sequence, acknowledgement } };
    case 'udp':
      return { udp: { ...ports, payload } };
    case 'sctp': {
      const value = new Uint8Array(12 + payload.length);
      new DataView(value.buffer).setUint32(0, sequence);
      return { sctp: { ...ports, chunks: [{ type: 'data', value }] } };
    }
    case 'icmp':
      return { icmp: { kind: 'echo-reply', identifier, sequence, payload } };
    case 'createSession':
      return { udp: { ...ports, payload: payloads.gtpCreateSession({ teid: identifier, sequence }) } };
    case 'updatePdp':
      return { udp: { ...ports, payload: payloads.gtpUpdatePdp({ teid: identifier, sequence }) } };
    case 'gtpUser': {
      const [source, target] = [withLastWord(inner[0], fields.source), withLastWord(inner[1], fields.target)];
      const user = buildPacket({ link: 'none', source, target, udp: { ...ports, payload } });
      return { udp: { ...payloads.gtpUserPorts, payload: payloads.gtpUser({ teid: identifier, inner: user }) } };
    }
  }
}

test('template - writes what the builder builds, for any addresses, ports, numbers and lengths', () => {
  const random = fc.record({
    source: u32,
    target: u32,
    sourcePort: u16,
    targetPort: u16,
    identification: u16,
    identifier: u32,
    sequence: u32,
    acknowledgement: u32,
    tcpFlags: fc.constantFrom(2, 16, 24, 17, 4),
  });
  fc.assert(
    fc.property(random, fc.boolean(), fc.constantFrom(...layers), fc.nat(120), fc.boolean(), (...drawn) => {
      const [fields, isIpv4, layer, extra, tagged] = drawn;
      const source = isIpv4 ? '10.0.0.0' : '2001:db8:a:b::';
      const target = isIpv4 ? '198.18.0.1' : '2001:db8:c:d::1';
      const vlans = tagged ? [12] : [];
      const between = { source, target, vlans };
      const none = { sourcePort: 0, targetPort: 0 };
      const specs: Record<typeof layer, TemplateSpec> = {
        tcp: { tcp: none },
        udp: { udp: none },
        sctp: { sctp: none },
        icmp: { icmp: { kind: 'echo-reply' } },
        createSession: { gtpControl: payloads.gtpCreateSession() },
        updatePdp: { gtpControl: payloads.gtpUpdatePdp() },
        gtpUser: { gtpUser: { source: inner[0], target: inner[1], udp: none } },
      };
      const template = new PacketTemplate({ ...between, ...specs[layer] });
      const length = template.fit(template.headerBytes + extra);
      const buffer = new Uint8Array(7 + length + 9).fill(0xaa);
      template.write(buffer, 7, length, fields);

      const payload = new Uint8Array(length - template.headerBytes);
      const common = {
        source: withLastWord(source, fields.source),
        target: withLastWord(target, fields.target),
        vlans,
        identification: fields.identification,
      };
      assert.deepEqual(buffer.slice(7, 7 + length), buildPacket({ ...common, ...built(layer, fields, payload) }));
      assert.ok([...buffer.subarray(0, 7), ...buffer.subarray(7 + length)].every((byte) => byte === 0xaa));
    }),
    { numRuns: 600 },
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
