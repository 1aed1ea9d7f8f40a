// The packets that the benchmarks send: whole Ethernet frames of 128 bytes with IPv4 and UDP, one of each flow in turn,
// made once and kept in memory so that making them is never part of what is measured.

import { TrafficGenerator } from '../../services/loadgen/generator/generator.ts';
import type { FlowClass } from '../../services/loadgen/generator/mixes.ts';
import { Distributor } from '../../services/tier1/distribute.ts';
import { GroupTable } from '../../services/tier1/routing/groupTable.ts';
import { type ClusterMap, defaultLogSettings } from '../../shared/config/map.ts';
import { defaultSettings } from '../../shared/config/settings.ts';
import { FlowKeyer } from '../../shared/flow/keyer.ts';
import { defaultRules, type GroupBirth } from '../../shared/membership/view.ts';

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
    rules: defaultRules,
    seed: 1,
    log: defaultLogSettings,
    settings: defaultSettings,
  };
}

/** What the view of that group begins with, where its table is to hold so many flows. */
export function benchBirth(maxFlows: number): GroupBirth {
  const { placement, seed, rules } = benchMap('bench');
  return { group: benchGroup, placement, seed, rules: { ...rules, maxFlows } };
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

/** A distributor whose groups have servers, and logs that store every frame at once. */
export function benchDistributor(
  groups: number,
  tier1Id: string,
  onFrame?: (group: number, frame: Uint8Array, number: number, packets: number) => void,
): Distributor {
  const outletOf = (group: number) => {
    const next = { life: tier1Id, number: 1 };
    return {
      next: () => next,
      take: (frame: Uint8Array, packets: number) => {
        onFrame?.(group, frame, next.number++, packets);
        distributor.stored(group, packets, frame.length);
        distributor.settled(group, Number.NEGATIVE_INFINITY);
      },
    };
  };
  const outlets = Array.from({ length: groups }, (_, group) => outletOf(group));
  const distributor = new Distributor({ mapVersion: 1, table: benchGroups(groups), keyer: benchKeyer(), outlets });
  for (let group = 0; group < groups; group++) distributor.setServed(group, true);
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
  const distributor = benchDistributor(1, tier1Id, (_group, frame, _number, count) => {
    frames.push(Uint8Array.prototype.slice.call(frame));
    counts.push(count);
  });
  feed(distributor, packets);
  distributor.flush();
  return { frames, counts };
}
