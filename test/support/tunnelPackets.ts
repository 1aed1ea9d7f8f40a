// Packets in tunnels of every kind: one function a way to wrap, from the packet inside to the whole frame. Both ends are
// given, so that either direction can be made.

import { buildPacket, type PacketSpec } from '../../shared/packet/encode/build.ts';

export interface Ends {
  readonly source: string;
  readonly target: string;
}

/** Wraps the packet `inside`. `turn` is 0 or 1: what may differ between two packets of one tunnel, differs. */
export interface Wrapping {
  readonly name: string;
  /** Name in the table of kinds. */
  readonly kind: string;
  /** The network identifier of its packets, where it has one. */
  readonly vni?: number;
  wrap(inside: PacketSpec, ends: Ends, turn: number): PacketSpec;
}

const bare = (spec: PacketSpec) => buildPacket({ ...spec, link: 'none' });
const family = ({ source = '' }: PacketSpec) => (source.includes(':') ? 6 : 4);
const etherType = (spec: PacketSpec) => (family(spec) === 4 ? [0x08, 0x00] : [0x86, 0xdd]);
const ipProtocol = (spec: PacketSpec) => (family(spec) === 4 ? 4 : 41);
const ppp = (spec: PacketSpec) => (family(spec) === 4 ? 0x21 : 0x57);
const bytes = (...parts: readonly (number | Uint8Array | readonly number[])[]) =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === 'number' ? [part] : [...part])));
const zeros = (length: number) => new Uint8Array(length);
const label = [0, 0x12, 0x31, 0x40];

function onIp(name: string, kind: string, protocol: number, head: Head, vni?: number): Wrapping {
  const wrap = (inside: PacketSpec, ends: Ends, turn: number) => ({ ...ends, protocol, payload: head(inside, turn) });
  return { name, kind, ...(vni === undefined ? {} : { vni }), wrap };
}

function onUdp(name: string, kind: string, targetPort: number, head: Head, vni?: number): Wrapping {
  const wrap = (inside: PacketSpec, ends: Ends, turn: number) => ({
    ...ends,
    udp: { sourcePort: 49_152 + turn, targetPort, payload: head(inside, turn) },
  });
  return { name, kind, ...(vni === undefined ? {} : { vni }), wrap };
}

type Head = (inside: PacketSpec, turn: number) => Uint8Array;

export const wrappings: readonly Wrapping[] = [
  { name: 'IP in IP', kind: '', wrap: (inside, ends) => ({ ...ends, inner: inside }) },
  onIp('GRE', 'gre', 47, (p) => bytes(0, 0, etherType(p), bare(p))),
  onIp('GRE, key and sequence', 'gre', 47, (p, turn) =>
    bytes(0x30, 0, etherType(p), zeros(4), [0, 0, 0, turn], bare(p)),
  ),
  onIp('NVGRE', 'nvgre', 47, (p, turn) => bytes(0x20, 0, 0x65, 0x58, [0, 0x12, 0x34, turn], buildPacket(p)), 0x1234),
  onIp('ERSPAN I', 'erspan', 47, (p) => bytes(0, 0, 0x88, 0xbe, buildPacket(p))),
  onIp('ERSPAN II', 'erspan', 47, (p, turn) =>
    bytes(0x10, 0, 0x88, 0xbe, [0, 0, 0, turn], [0x10, 0x64, 0xff, 0xff, 0, 0, turn, 1], buildPacket(p)),
  ),
  onIp('ERSPAN III', 'erspan', 47, (p, turn) =>
    bytes(0x10, 0, 0x22, 0xeb, [0, 0, 0, turn], [0x20, 0x64, 0, 1], zeros(4), [0, 0, 0x80, 0], buildPacket(p)),
  ),
  onIp('ERSPAN III, platform header', 'erspan', 47, (p) =>
    bytes(0x10, 0, 0x22, 0xeb, zeros(4), [0x20, 0, 0, 1], zeros(4), [0, 0, 0x80, 1], zeros(8), buildPacket(p)),
  ),
  onIp('ERSPAN III, IP', 'erspan', 47, (p) =>
    bytes(0x10, 0, 0x22, 0xeb, zeros(4), [0x20, 0, 0, 1], zeros(4), [0, 0, 0x08, 0], bare(p)),
  ),
  onIp('PPTP', 'pptp', 47, (p, turn) =>
    bytes(0x30, 0x81, 0x88, 0x0b, zeros(8), [0, 0, 0, turn], 0xff, 3, 0, ppp(p), bare(p)),
  ),
  onIp('EtherIP', 'etherip', 97, (p) => bytes(0x30, 0, buildPacket(p))),
  onIp('MPLS in IP', 'mpls-ip', 137, (p) => bytes(label, bare(p))),
  onUdp('MPLS in UDP', 'mpls-udp', 6635, (p) => bytes(label, bare(p))),
  onUdp('MPLS in UDP, pseudowire', 'mpls-udp', 6635, (p) => bytes(label, [0, 0x71, 1, 0], buildPacket(p))),
  onUdp('GTP-U', 'gtp-u', 2152, (p, turn) => bytes(0x32, 255, [0, 8, 0, 0, 0, turn], [0, turn, 0, 0], bare(p))),
  onUdp('VXLAN', 'vxlan', 4789, (p) => bytes([8, 0, 0, 0, 0, 0, 7, 0], buildPacket(p)), 7),
  onUdp(
    'VXLAN, every reserved bit of one packet',
    'vxlan',
    8472,
    (p, turn) =>
      turn === 0
        ? bytes([8, 0, 0, 0, 0, 0, 7, 0], buildPacket(p))
        : bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 7, 0xff], buildPacket(p)),
    7,
  ),
  onUdp(
    'VXLAN, policy bits of one packet',
    'vxlan',
    4789,
    (p, turn) => bytes([turn ? 0x88 : 8, turn && 0x48, 0, turn, 0, 0, 7, 0], buildPacket(p)),
    7,
  ),
  onUdp(
    'VXLAN-GPE, IP',
    'vxlan-gpe',
    4790,
    (p) => bytes([0x0c, 0, 0, family(p) === 4 ? 1 : 2, 1, 0, 0, 0], bare(p)),
    0x1_0000,
  ),
  onUdp('VXLAN-GPE, Ethernet', 'vxlan-gpe', 4790, (p) => bytes([0x0c, 0, 0, 3, 0, 0, 9, 0], buildPacket(p)), 9),
  onUdp(
    'VXLAN-GPE without next protocol',
    'vxlan-gpe',
    4790,
    (p) => bytes([0x08, 0, 0, 0, 0, 0, 9, 0], buildPacket(p)),
    9,
  ),
  onUdp(
    'VXLAN-GPE, service header',
    'vxlan-gpe',
    4790,
    (p, turn) =>
      bytes(
        [0x0c, 0, 0, 4, 0, 0, 9, 0],
        [0x0f, 0xc6, 1, family(p) === 4 ? 1 : 2, 0, 0, 5, 255 - turn],
        zeros(16),
        bare(p),
      ),
    9,
  ),
  onUdp('VXLAN-GPE, MPLS', 'vxlan-gpe', 4790, (p) => bytes([0x0c, 0, 0, 5, 0, 0, 9, 0], label, bare(p)), 9),
  onUdp(
    'Geneve, Ethernet and options',
    'geneve',
    6081,
    (p, turn) => bytes([turn * 2, 0x40, 0x65, 0x58, 0, 1, 0, 0], zeros(turn * 8), buildPacket(p)),
    256,
  ),
  onUdp('Geneve, IP', 'geneve', 6081, (p) => bytes([0, 0], etherType(p), [0, 1, 0, 0], bare(p)), 256),
  onUdp('GUE', 'gue', 6080, (p, turn) => bytes([turn, ipProtocol(p), 0, 0], zeros(turn * 4), bare(p))),
  onUdp('GUE, variant 1', 'gue', 6080, (p) => bare(p)),
  onUdp('GUE, GRE', 'gue', 6080, (p) => bytes([0, 47, 0, 0], [0, 0], etherType(p), bare(p))),
  onUdp('TZSP', 'tzsp', 37_008, (p, turn) =>
    bytes([1, turn, 0, 1], [10, 1, turn], [0, 0], [41, 2, 1, 2], 1, buildPacket(p)),
  ),
  onUdp('L2TP', 'l2tp', 1701, (p) => bytes([0, 2, 0, 1, 0, 2], 0xff, 3, 0, ppp(p), bare(p))),
  onUdp('L2TP, every field', 'l2tp', 1701, (p, turn) =>
    bytes([0x4a, 2, 0, 99, 0, 1, 0, 2], [0, turn, 0, 0], [0, 2 * turn], zeros(2 * turn), ppp(p), bare(p)),
  ),
];
