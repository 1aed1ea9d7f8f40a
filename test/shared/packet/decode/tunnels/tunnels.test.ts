// Tunnels of every kind: entered where they carry IP, and where they are not, it shows which one and why.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Headers } from '../../../../../shared/packet/decode/headers.ts';
import { parse } from '../../../../../shared/packet/decode/parse.ts';
import { type TunnelOutcome, tunnelKinds, tunnelOutcomes } from '../../../../../shared/packet/decode/tunnels/kinds.ts';
import { TunnelPorts } from '../../../../../shared/packet/decode/tunnels/ports.ts';
import { buildPacket, fragmentPacket, type PacketSpec } from '../../../../../shared/packet/encode/build.ts';
import { wrappings } from '../../../../support/tunnelPackets.ts';

const ports = { sourcePort: 1111, targetPort: 2222 };
const inside: PacketSpec = { source: '172.16.0.1', target: '172.16.0.2', tcp: { ...ports, flags: 'S' } };
const inside6: PacketSpec = { source: 'fd00::1', target: 'fd00::2', udp: ports };
const ends = { source: '192.0.2.1', target: '192.0.2.2' };
const ends6 = { source: '2001:db8::1', target: '2001:db8::2' };

function read(packet: Uint8Array, tunnels: boolean | TunnelPorts = true): Headers {
  const headers = new Headers();
  assert.equal(parse(packet, 0, packet.length, 1, headers, tunnels), 0);
  return headers;
}

function found({ passage }: Headers): string {
  const entered = [...passage.tunnels.subarray(0, passage.depth)].map((kind) => tunnelKinds[kind].name);
  const closed =
    passage.outcome === 0 ? [] : [`${tunnelKinds[passage.closed].name} ${tunnelOutcomes[passage.outcome]}`];
  return [...entered, ...closed].join(', ');
}

test('tunnels - each kind is entered, with IPv4 and IPv6 inside and outside, whatever bits are to be ignored', async (t) => {
  for (const { name, kind, vni, wrap } of wrappings) {
    await t.test(name, () => {
      for (const packet of [inside, inside6, { ...inside, vlans: [9] }]) {
        for (const outside of [ends, ends6]) {
          for (const turn of [0, 1]) {
            const headers = read(buildPacket(wrap(packet, outside, turn)));
            assert.deepEqual([headers.keyed.sourcePort, headers.keyed.targetPort], [1111, 2222]);
            const { passage } = headers;
            assert.equal(found(headers), kind || (packet === inside6 ? 'ip6' : 'ipip'));
            assert.deepEqual([...passage.vnis.subarray(0, passage.vniCount)], vni === undefined ? [] : [vni]);
          }
        }
      }
    });
  }
});

test('tunnels - every kind that is entered has a packet in the test above', () => {
  const tried = new Set(['none', 'ipip', 'ip6', ...wrappings.map(({ kind }) => kind)]);
  assert.deepEqual(
    tunnelKinds.filter(({ name, isEntered }) => isEntered && !tried.has(name)),
    [],
  );
});

const udp = (targetPort: number, payload: readonly number[] | Uint8Array, sourcePort = 50_000): PacketSpec => ({
  ...ends,
  udp: { sourcePort, targetPort, payload: Uint8Array.from(payload) },
});
const ip = (protocol: number, payload: readonly number[] | Uint8Array): PacketSpec => ({
  ...ends,
  protocol,
  payload: Uint8Array.from(payload),
});
const arp = buildPacket({ etherType: 0x0806, payload: Uint8Array.of(0, 1, 8, 0) });
const zeros = (length: number) => new Uint8Array(length);
const ethernet = buildPacket(inside);
const bare = buildPacket({ ...inside, link: 'none' });

const closed: readonly (readonly [name: string, packet: PacketSpec, kind: string, outcome: TunnelOutcome])[] = [
  ['VXLAN without an identifier', udp(4789, [0xf7, 0, 0, 0, 0, 0, 7, 0, ...ethernet]), 'vxlan', 'other-header'],
  ['VXLAN with ARP', udp(4789, [8, 0, 0, 0, 0, 0, 7, 0, ...arp]), 'vxlan', 'not-ip'],
  ['a cut VXLAN header', udp(4789, [8, 0, 0, 0]), 'vxlan', 'damaged'],
  ['VXLAN with a cut packet', udp(4789, [8, 0, 0, 0, 0, 0, 7, 0, ...ethernet.subarray(0, 30)]), 'vxlan', 'damaged'],
  ['VXLAN-GPE, its own message', udp(4790, [0x0d, 0, 0, 1, 0, 0, 7, 0, ...bare]), 'vxlan-gpe', 'control'],
  ['VXLAN-GPE, another version', udp(4790, [0x1c, 0, 0, 1, 0, 0, 7, 0, ...bare]), 'vxlan-gpe', 'other-header'],
  ['VXLAN-GPE, an unknown next protocol', udp(4790, [0x0c, 0, 0, 99, 0, 0, 7, 0, ...bare]), 'vxlan-gpe', 'not-ip'],
  [
    'a service header without end',
    udp(4790, [0x0c, 0, 0, 4, 0, 0, 7, 0, ...Array.from({ length: 9 }, () => [0, 2, 1, 4, 0, 0, 0, 0]).flat()]),
    'vxlan-gpe',
    'nesting',
  ],
  ['Geneve, control', udp(6081, [0, 0x80, 8, 0, 0, 0, 7, 0, ...bare]), 'geneve', 'control'],
  ['Geneve, another version', udp(6081, [0x40, 0, 8, 0, 0, 0, 7, 0, ...bare]), 'geneve', 'other-header'],
  ['GUE, control', udp(6080, [0x20, 1, 0, 0, ...bare]), 'gue', 'control'],
  ['GUE, another variant', udp(6080, [0x80, 4, 0, 0, ...bare]), 'gue', 'other-header'],
  ['GUE, a transport header', udp(6080, [0, 6, 0, 0, ...zeros(20)]), 'gue', 'not-ip'],
  ['TZSP, 802.11', udp(37_008, [1, 0, 0, 18, 1, ...zeros(40)]), 'tzsp', 'unread'],
  ['TZSP, a keepalive', udp(37_008, [1, 4, 0, 1, 1]), 'tzsp', 'control'],
  ['TZSP, tags without end', udp(37_008, [1, 0, 0, 1, ...zeros(99)]), 'tzsp', 'nesting'],
  ['L2TP, control', udp(1701, [0xc8, 2, 0, 12, ...zeros(8)]), 'l2tp', 'control'],
  ['L2TP from its port', udp(40_000, [0xc8, 2, 0, 12, ...zeros(8)], 1701), 'l2tp', 'control'],
  ['L2TP, version 3', udp(1701, [0, 3, ...zeros(20)]), 'l2tp', 'other-header'],
  ['L2TP, LCP', udp(1701, [0, 2, 0, 1, 0, 2, 0xff, 3, 0xc0, 0x21, ...zeros(8)]), 'l2tp', 'not-ip'],
  ['GTP-U, an echo', udp(2152, [0x30, 1, ...zeros(10)]), 'gtp-u', 'control'],
  ['GTP of another version', udp(2152, [0x50, 255, ...zeros(10)]), 'gtp-u', 'other-header'],
  ['GRE with a route', ip(47, [0x40, 0, 8, 0, ...bare]), 'gre', 'other-header'],
  ['GRE, a keepalive', ip(47, [0, 0, 0, 0]), 'gre', 'control'],
  ['GRE, LLDP', ip(47, [0, 0, 0x88, 0xcc, 1, 2, 3]), 'gre', 'not-ip'],
  ['PPTP, an acknowledgement', ip(47, [0x20, 0x81, 0x88, 0x0b, ...zeros(8)]), 'pptp', 'control'],
  ['ERSPAN II, another version', ip(47, [0x10, 0, 0x88, 0xbe, ...zeros(12), ...ethernet]), 'erspan', 'other-header'],
  [
    'ERSPAN III, 802.11',
    ip(47, [0x10, 0, 0x22, 0xeb, ...zeros(4), 0x20, ...zeros(9), 0x0c, 0, ...ethernet]),
    'erspan',
    'unread',
  ],
  ['EtherIP, another version', ip(97, [0x40, 0, ...ethernet]), 'etherip', 'other-header'],
  ['a damaged packet in IP', ip(4, bare.subarray(0, 19)), 'ipip', 'damaged'],
  ['ESP', ip(50, zeros(40)), 'esp', 'unread'],
  ['ESP in UDP', udp(4500, zeros(40)), 'esp-udp', 'unread'],
  ['L2TP version 3 on IP', ip(115, zeros(40)), 'l2tp3', 'unread'],
  ['Teredo', udp(3544, zeros(40)), 'teredo', 'unread'],
  ['LISP', udp(4341, zeros(40)), 'lisp', 'unread'],
  ['CAPWAP', udp(5247, zeros(40)), 'capwap', 'unread'],
  ['a first fragment', { ...ip(4, bare), fragment: { offset: 0, more: true } }, 'ipip', 'fragment'],
  ['a later fragment', { ...ip(47, zeros(8)), fragment: { offset: 8, more: false } }, 'gre', 'fragment'],
];

test('tunnels - what is not entered is keyed by the header around it, and shows its kind and why', async (t) => {
  for (const [name, packet, kind, outcome] of closed) {
    await t.test(name, () => {
      const headers = read(buildPacket(packet));
      assert.equal(headers.keyed, headers.outer);
      assert.equal(found(headers), `${kind} ${outcome}`);
      assert.equal(found(read(buildPacket(packet), false)), '');
    });
  }
});

test('tunnels - of a tunnel in fragments the first one shows which it is, and none is entered', () => {
  const [vxlan] = wrappings.filter(({ kind }) => kind === 'vxlan');
  const fragments = fragmentPacket(vxlan.wrap(inside, ends, 0), 32);
  assert.deepEqual(
    fragments.map((fragment) => found(read(fragment))),
    ['vxlan fragment', '', ''],
  );
});

test('tunnels - so many within each other are followed, and a deeper one is counted', () => {
  const deep = (levels: number): PacketSpec => (levels === 0 ? inside : { ...ends, inner: deep(levels - 1) });
  assert.equal(read(buildPacket(deep(8))).keyed.sourcePort, 1111);
  assert.match(found(read(buildPacket(deep(9)))), /, ipip nesting$/);
});

test('tunnels - ports that are set take the place of the usual ones of that tunnel, and of no other', () => {
  const vxlan = (port: number) => udp(port, [8, 0, 0, 0, 0, 0, 7, 0, ...ethernet]);
  const geneve = udp(6081, [0, 0, 8, 0, 0, 0, 7, 0, ...bare]);
  const at = new TunnelPorts(['vxlan=14789', 'vxlan=20000-20002', 'vxlan=4790']);
  for (const port of [14_789, 20_000, 20_002, 4790]) assert.equal(found(read(buildPacket(vxlan(port)), at)), 'vxlan');
  for (const port of [4789, 8472, 20_003]) assert.equal(found(read(buildPacket(vxlan(port)), at)), '');
  assert.equal(found(read(buildPacket(geneve), at)), 'geneve');
});

test('tunnels - a port setting that cannot be is refused with what can', () => {
  for (const [settings, message] of [
    [['vxlan'], /'vxlan' is not a tunnel's port, such as vxlan=14789/],
    [['vxlan=0'], /from 1 to 65535/],
    [['vxlan=65536'], /from 1 to 65535/],
    [['vxlan=20-10'], /from 1 to 65535/],
    [['gre=47'], /'gre' is no tunnel on UDP: there are mpls-udp, gtp-u, vxlan/],
    [['esp-udp=4501'], /no tunnel on UDP/],
    [['vxlan=5000', 'geneve=4999-5001'], /port 5000 cannot be of two tunnels, vxlan and geneve/],
  ] as const) {
    assert.throws(() => new TunnelPorts(settings), message);
  }
});

test('tunnels - the README has the table of kinds as it is in the code', () => {
  const readme = readFileSync(join(import.meta.dirname, '../../../../../README.md'), 'utf8');
  const expected = tunnelKinds.slice(1).map(({ name, ports: usual, protocol, isEntered, source }) => {
    const by = usual.length > 0 ? `UDP ${usual.join(', ')}` : `IP protocol ${protocol}`;
    return `| \`${name}\` | ${by} | ${isEntered ? 'yes' : 'counted'} | ${source} |`;
  });
  const rows = readme.split('\n').filter((line) => /^\| `[a-z0-9-]+` \| (?:UDP|IP protocol) /.test(line));
  assert.deepEqual(rows, expected);
});
