// What tier 1 spends on a packet (parse, keys, hash, group, frame), and that it keeps nothing about a flow.

import { pack } from 'msgpackr';
import type { TrafficGenerator } from '../../services/loadgen/generator/generator.ts';
import { usedBytes } from './memory.ts';
import { benchDistributor, ethernet, feed, packetBytes, startMs, udpGenerator, udpPackets } from './packets.ts';
import { type BenchmarkResult, median, rounded, spread, timeRounds } from './runner.ts';

const flows = 100_000;
const rounds = 9;
const groups = 3;

export async function run(say: (line: string) => void): Promise<BenchmarkResult> {
  const packets = udpPackets(flows);
  say('tier 1, packet by packet');
  const own = timeTier1(packets);
  say('tier 1 with a Map and string keys');
  const map = timeRounds(rounds, flows, mapTier1(packets));
  say('memory of tier 1, 10,000 and 1,000,000 flows');
  const memory = await memoryPerFlow();
  return {
    figures: [
      {
        key: 'tier1NsPerPacket',
        value: median(own),
        unit: 'ns',
        target: { atMost: 120 },
        explain: { flows, groups, packetBytes, ...spread(own) },
      },
      { key: 'tier1MapNsPerPacket', value: median(map), unit: 'ns', explain: { flows, groups, ...spread(map) } },
      {
        key: 'tier1BytesPerFlow',
        value: memory.bytesPerFlow,
        unit: 'bytes',
        target: { atMost: 0 },
        explain: memory,
      },
    ],
  };
}

/** Nanoseconds a packet, one value a round. */
export function timeTier1(packets: Uint8Array): number[] {
  const distributor = benchDistributor(groups, 'bench');
  // Ten times over: a round should last longer than a time slice of the machine.
  return timeRounds(rounds, (10 * packets.length) / packetBytes, () => {
    for (let pass = 0; pass < 10; pass++) feed(distributor, packets);
  });
}

interface MapPacket {
  key: string;
  data: Uint8Array;
}

/**
 * The same work as one would write it at first: addresses and ports become a string, a Map remembers the group of each
 * string, and packets are objects in an array until there are enough for a message.
 */
function mapTier1(packets: Uint8Array): () => void {
  const groupOfFlow = new Map<string, number>();
  const open: MapPacket[][] = Array.from({ length: groups }, () => []);
  let nextGroup = 0;
  let published = 0;
  const handle = (packet: Uint8Array) => {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    if (view.getUint16(12) !== 0x0800) return;
    const transport = 14 + (view.getUint8(14) & 15) * 4;
    const protocol = view.getUint8(23);
    const source = `${packet[26]}.${packet[27]}.${packet[28]}.${packet[29]}:${view.getUint16(transport)}`;
    const target = `${packet[30]}.${packet[31]}.${packet[32]}.${packet[33]}:${view.getUint16(transport + 2)}`;
    const key = source < target ? `${protocol} ${source} ${target}` : `${protocol} ${target} ${source}`;
    let group = groupOfFlow.get(key);
    if (group === undefined) {
      group = nextGroup++ % groups;
      groupOfFlow.set(key, group);
    }
    const waiting = open[group];
    waiting.push({ key, data: packet });
    if (waiting.length === 172) {
      published += pack(waiting).length;
      open[group] = [];
    }
  };
  return () => {
    for (let at = 0; at < packets.length; at += packetBytes) handle(packets.subarray(at, at + packetBytes));
    if (published === 0.5) throw new Error('never');
  };
}

async function memoryPerFlow() {
  const distributor = benchDistributor(groups, 'bench');
  const few = 10_000;
  const many = 1_000_000;
  const packet = new Uint8Array(packetBytes);
  const send = (generator: TrafficGenerator, count: number) => {
    for (let index = 0; index < count; index++) {
      generator.next(packet, 0);
      distributor.packet(packet, 0, packetBytes, ethernet, 0, startMs);
    }
  };
  const fewFlows = udpGenerator(few);
  const manyFlows = udpGenerator(many);
  // Many packets of few flows first, so that the code is compiled and only the number of flows differs.
  send(fewFlows, many);
  const atFew = await usedBytes();
  send(manyFlows, many);
  const atMany = await usedBytes();
  // Whole bytes: the heap itself varies by some ten kilobytes.
  const bytesPerFlow = Math.max(0, Math.round((atMany - atFew) / (many - few)));
  return {
    bytesPerFlow,
    grownBytes: atMany - atFew,
    flows: [few, many],
    received: distributor.received,
    usedMiB: [rounded(atFew / 2 ** 20), rounded(atMany / 2 ** 20)],
  };
}
