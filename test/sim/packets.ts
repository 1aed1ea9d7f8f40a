// The packets of one simulated flow, as bytes that tier 1 parses: copies of a pattern with the flow's addresses in them.

import { buildPacket, fragmentPacket, type PacketSpec } from '../../shared/packet/encode/build.ts';
import { stampBytes } from '../../shared/packet/stamp.ts';
import type { PacketKind } from './ledger.ts';
import { copyOf } from './slab.ts';

export interface FlowPackets {
  readonly client: number;
  readonly port: number;
  readonly tuple: string;
  /** The next fragments are of another datagram. */
  nextDatagram(): void;
  /** A packet, and room for its stamp. */
  bytes(kind: PacketKind): Uint8Array;
}

/** Packets made by specification, since building one costs more than sending it. */
const patterns = new Map<string, Uint8Array>();

/** `isFragmented`: every datagram comes in two parts, of kinds 'middle' and 'fragment'. Packets end with room for a stamp. */
export function flowPackets(
  client: number,
  port: number,
  target: number,
  type1: boolean,
  isFragmented: boolean,
  nextDatagram: () => number,
): FlowPackets {
  const tuple = `10.0.${client >> 8}.${client & 255}:${port} ${type1 ? 'tcp' : 'udp'} 198.18.0.${target + 1}`;
  let datagram = nextDatagram();
  const nameOf = (kind: PacketKind): string => {
    if (isFragmented) return kind === 'fragment' ? 'laterFragment' : 'firstFragment';
    if (type1) return kind;
    return kind === 'reply' ? 'answer' : 'datagram';
  };
  return {
    client,
    port,
    tuple,
    nextDatagram: () => {
      datagram = nextDatagram();
    },
    bytes: (kind) => {
      const isReply = kind === 'reply' || kind === 'accept' || kind === 'bye';
      const bytes = copyOf(pattern(nameOf(kind)));
      // Ethernet 14 bytes, then addresses at 12 and 16 of IPv4, then the ports.
      const clientAt = isReply ? 30 : 26;
      const targetAt = isReply ? 26 : 30;
      bytes[clientAt + 2] = client >> 8;
      bytes[clientAt + 3] = client & 255;
      bytes[targetAt + 3] = target + 1;
      if (kind !== 'fragment') {
        bytes[isReply ? 36 : 34] = port >> 8;
        bytes[isReply ? 37 : 35] = port & 255;
      }
      if (isFragmented) {
        bytes[18] = datagram >> 8;
        bytes[19] = datagram & 255;
      }
      return bytes;
    },
  };
}

function pattern(name: string): Uint8Array {
  let bytes = patterns.get(name);
  if (bytes === undefined) {
    const made = make(name);
    bytes = new Uint8Array(made.length + stampBytes);
    bytes.set(made);
    patterns.set(name, bytes);
  }
  return bytes;
}

function make(name: string): Uint8Array {
  if (name.endsWith('Fragment')) {
    const udp = { sourcePort: 0, targetPort: 53, payload: new Uint8Array(24) };
    return fragmentPacket({ ...there, identification: 0, udp }, 16)[name === 'firstFragment' ? 0 : 1];
  }
  return buildPacket(specs[name]);
}

const there = { source: '10.0.0.0', target: '198.18.0.0' };
const back = { source: '198.18.0.0', target: '10.0.0.0' };
const specs: Readonly<Record<string, PacketSpec>> = {
  start: { ...there, tcp: { sourcePort: 0, targetPort: 443, flags: 'S' } },
  middle: { ...there, tcp: { sourcePort: 0, targetPort: 443, flags: 'PA' } },
  end: { ...there, tcp: { sourcePort: 0, targetPort: 443, flags: 'FA' } },
  reset: { ...there, tcp: { sourcePort: 0, targetPort: 443, flags: 'R' } },
  bye: { ...back, tcp: { sourcePort: 443, targetPort: 0, flags: 'FA' } },
  accept: { ...back, tcp: { sourcePort: 443, targetPort: 0, flags: 'SA' } },
  reply: { ...back, tcp: { sourcePort: 443, targetPort: 0, flags: 'A' } },
  datagram: { ...there, udp: { sourcePort: 0, targetPort: 53 } },
  answer: { ...back, udp: { sourcePort: 53, targetPort: 0 } },
};
