// The packets of one simulated flow, as bytes that tier 1 parses: made once for the flow, but for fragments.

import { buildPacket, fragmentPacket, type PacketSpec } from '../../shared/packet/build.ts';
import type { PacketKind } from './ledger.ts';

export interface FlowPackets {
  readonly client: number;
  readonly port: number;
  readonly tuple: string;
  /** The next fragments are of another datagram. */
  nextDatagram(): void;
  bytes(kind: PacketKind): Uint8Array;
}

/** Frames made by specification, since building one costs more than sending it. */
const patterns = new Map<string, Uint8Array>();

/** `isFragmented`: every datagram comes in two parts, of kinds 'middle' and 'fragment'. */
export function flowPackets(
  client: number,
  port: number,
  target: number,
  type1: boolean,
  isFragmented: boolean,
  nextDatagram: () => number,
): FlowPackets {
  const made = new Map<string, Uint8Array>();
  const tuple = `10.0.${client >> 8}.${client & 255}:${port} ${type1 ? 'tcp' : 'udp'} 198.18.0.${target + 1}`;
  let datagram = nextDatagram();
  const make = (kind: PacketKind): Uint8Array => {
    const isReply = kind === 'reply' || kind === 'accept';
    const bytes = Uint8Array.from(pattern(type1 ? kind : isReply ? 'answer' : 'datagram'));
    // Ethernet 14 bytes, then addresses at 12 and 16 of IPv4, then the ports.
    const clientAt = isReply ? 30 : 26;
    const targetAt = isReply ? 26 : 30;
    bytes[clientAt + 2] = client >> 8;
    bytes[clientAt + 3] = client & 255;
    bytes[targetAt + 3] = target + 1;
    bytes[isReply ? 36 : 34] = port >> 8;
    bytes[isReply ? 37 : 35] = port & 255;
    return bytes;
  };
  return {
    client,
    port,
    tuple,
    nextDatagram: () => {
      datagram = nextDatagram();
    },
    bytes: (kind) => {
      if (isFragmented) return fragments(client, port, target, datagram)[kind === 'fragment' ? 1 : 0];
      let bytes = made.get(kind);
      if (bytes === undefined) made.set(kind, (bytes = make(kind)));
      return bytes;
    },
  };
}

function pattern(name: string): Uint8Array {
  let bytes = patterns.get(name);
  if (bytes === undefined) patterns.set(name, (bytes = buildPacket(specs[name])));
  return bytes;
}

const there = { source: '10.0.0.0', target: '198.18.0.0' };
const back = { source: '198.18.0.0', target: '10.0.0.0' };
const specs: Readonly<Record<string, PacketSpec>> = {
  start: { ...there, tcp: { sourcePort: 0, targetPort: 443, flags: 'S' } },
  middle: { ...there, tcp: { sourcePort: 0, targetPort: 443, flags: 'PA' } },
  end: { ...there, tcp: { sourcePort: 0, targetPort: 443, flags: 'FA' } },
  accept: { ...back, tcp: { sourcePort: 443, targetPort: 0, flags: 'SA' } },
  reply: { ...back, tcp: { sourcePort: 443, targetPort: 0, flags: 'A' } },
  datagram: { ...there, udp: { sourcePort: 0, targetPort: 53 } },
  answer: { ...back, udp: { sourcePort: 53, targetPort: 0 } },
};

function fragments(client: number, port: number, target: number, identification: number): Uint8Array[] {
  return fragmentPacket(
    {
      source: `10.0.${client >> 8}.${client & 255}`,
      target: `198.18.0.${target + 1}`,
      identification,
      udp: { sourcePort: port, targetPort: 53, payload: new Uint8Array(24) },
    },
    16,
  );
}
