// The packets that the benchmarks send: whole Ethernet frames of 128 bytes with IPv4 and UDP, one of each flow in turn,
// made once and kept in memory so that making them is never part of what is measured.

import { TrafficGenerator } from '../../services/loadgen/generator/generator.ts';
import type { FlowClass } from '../../services/loadgen/generator/mixes.ts';
import { Distributor } from '../../services/tier1/distribute.ts';
import { GroupTable } from '../../services/tier1/routing/groupTable.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { FlowKeyer } from '../../shared/flow/keyer.ts';

export const packetBytes = 128;
export const ethernet = 1;
export const benchGroup = 'g1';
/** The packets' time in milliseconds since 1970: any will do, as long as it does not move further than a flow may be idle. */
export const startMs = 1_700_000_000_000;

const udpInTurn: readonly FlowClass[] = [
  {
    name: 'bench',
    protocol: 'udp',
    targetPort: 9_000,
    flowShare: 1,
    packetShare: 1,
    packetsPerFlow: { kind: 'fixed', size: 0 },
    packetBytes: { kind: 'fixed', size: packetBytes },
    order: 'in-turn',
  },
];

/** A source of packets of `flows` flows in turn. `seed` decides their addresses and ports. */
export function udpGenerator(flows: number, seed = 1): TrafficGenerator {
  return new TrafficGenerator({ seed, flows, mix: udpInTurn, ipv6Percent: 0 });
}

/** One packet of each of `flows` flows, end to end, `packetBytes` each. */
export function udpPackets(flows: number): Uint8Array {
  const generator = udpGenerator(flows);
  const bytes = new Uint8Array(flows * packetBytes);
  for (let at = 0; at < bytes.length; at += packetBytes) {
    if (generator.next(bytes, at) !== packetBytes) throw new Error('the generator made a packet of another size');
  }
  return bytes;
}

/** The map of a cluster with one group. */
export function benchMap(cluster: string): ClusterMap {
  return {
    version: 1,
    cluster,
    groupSelection: 'weighted',
    groups: [{ id: benchGroup, weight: 100, serves: 'both', vlan: 0 }],
    keys: {
      flow: 'five-tuple',
      group: 'address-pair',
      symmetric: true,
      tunnel: 'outer',
      subscriberNetworks: [],
      secretFingerprint: '0000000000000000',
    },
    placement: 'rendezvous',
    rules: { typeOneMethod: 'fig-7', tableFirst: false, midFlow: 'ignore' },
    seed: 1,
    settings: defaultSettings,
  };
}

export function benchKeyer(): FlowKeyer {
  return new FlowKeyer({ secret: 'bench' });
}

export function benchGroups(groups: number): GroupTable {
  const entries = Array.from({ length: groups }, (_, index) => ({
    id: `g${index + 1}`,
    weight: 100,
    serves: 'both' as const,
  }));
  return new GroupTable(entries, 'weighted');
}

/** A distributor that knows a view of each of its groups. */
export function benchDistributor(
  groups: number,
  tier1Id: string,
  publish: (group: number, frame: Uint8Array, sequence: number, packets: number) => boolean,
): Distributor {
  const options = { tier1Id, mapVersion: 1, groups, table: benchGroups(groups), keyer: benchKeyer(), publish };
  const distributor = new Distributor(options);
  for (let group = 0; group < groups; group++) distributor.setView(group, 1, true);
  return distributor;
}

/** Feeds all of `packets` once. */
export function feed(distributor: Distributor, packets: Uint8Array): void {
  for (let at = 0; at < packets.length; at += packetBytes) {
    distributor.packet(packets, at, at + packetBytes, ethernet, 0, startMs);
  }
}

/** The frames in which `packets` travel to one group, and how many packets each holds. */
export function framesOf(packets: Uint8Array, tier1Id: string): { frames: Uint8Array[]; counts: number[] } {
  const frames: Uint8Array[] = [];
  const counts: number[] = [];
  const distributor = benchDistributor(1, tier1Id, (_group, frame, _sequence, count) => {
    frames.push(Uint8Array.prototype.slice.call(frame));
    counts.push(count);
    return true;
  });
  feed(distributor, packets);
  distributor.flush();
  return { frames, counts };
}
