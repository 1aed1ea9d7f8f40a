// The stateless first tier: what goes into which frame, how it is stamped, and that everything is accounted for.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TrafficGenerator } from '../../../services/loadgen/generator/generator.ts';
import { Distributor } from '../../../services/tier1/distribute.ts';
import { GroupTable } from '../../../services/tier1/routing/groupTable.ts';
import { limits } from '../../../shared/base/limits.ts';
import { FrameFlags } from '../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../shared/flow/keyer.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import { buildPacket, fragmentPacket } from '../../../shared/packet/encode/build.ts';
import { heapBytes } from '../../support/heap.ts';

interface Sent {
  readonly group: number;
  readonly sequence: number;
  readonly packets: number;
  readonly frame: Frame;
}

const ethernet = 1;

function tier1(groups = 3, secret = 'test') {
  const sent: Sent[] = [];
  const bus = { up: true };
  const entries = Array.from({ length: groups }, (_, index) => ({
    id: `g${index}`,
    weight: 1,
    serves: 'both' as const,
  }));
  const distributor = new Distributor({
    tier1Id: 't1',
    mapVersion: 1,
    groups,
    table: new GroupTable(entries, 'weighted'),
    keyer: new FlowKeyer({ secret }),
    publish: (group, message, sequence, packets) => {
      if (!bus.up) return false;
      const frame = new Frame();
      assert.equal(frame.decode(Uint8Array.from(message)), 'none');
      sent.push({ group, sequence, packets, frame });
      return true;
    },
  });
  for (let group = 0; group < groups; group++) distributor.setView(group, 1, true);
  return { distributor, sent, bus };
}

function feed(distributor: Distributor, packets: readonly Uint8Array[], timestampMs = 1_000): void {
  for (const bytes of packets) distributor.packet(bytes, 0, bytes.length, ethernet, 0, timestampMs);
}

function udpPacket(client: number, bytes = 100): Uint8Array {
  const source = `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client & 255}`;
  const udp = { sourcePort: 5_000, targetPort: 53, payload: new Uint8Array(bytes) };
  return buildPacket({ source, target: '192.0.2.1', udp });
}

const synPacket = (client: number): Uint8Array =>
  buildPacket({
    source: `10.0.0.${client}`,
    target: '192.0.2.1',
    tcp: { sourcePort: 6_000, targetPort: 80, flags: 'S' },
  });

test('distribute - the same packet goes to the same group on every replica and after a restart, and groups differ', () => {
  const packets = Array.from({ length: 200 }, (_, client) => udpPacket(client));
  const choices = [tier1(), tier1()].map(({ distributor, sent }) =>
    packets.map((packet) => {
      feed(distributor, [packet]);
      distributor.flush();
      return sent[sent.length - 1].group;
    }),
  );
  assert.deepEqual(choices[0], choices[1]);
  assert.equal(new Set(choices[0]).size, 3);
  const other = tier1(3, 'another secret');
  feed(other.distributor, packets);
  other.distributor.flush();
  const shares = (groups: readonly number[]) =>
    [0, 1, 2].map((group) => groups.filter((each) => each === group).length);
  assert.notDeepEqual(
    shares(choices[0]),
    [0, 1, 2].map((group) => other.distributor.sentTo(group).packets),
    'whoever does not know the secret cannot tell the group',
  );
});

test('distribute - frames close when full and when packet time moves on, and number themselves by group', () => {
  const { distributor, sent } = tier1(1);
  const packets = Array.from({ length: 100 }, (_, client) => udpPacket(client, 1_000));
  feed(distributor, packets);
  distributor.flush();
  assert.ok(sent.length > 3);
  for (const { frame } of sent) assert.ok(frame.payload.length <= limits.frameTargetBytes);
  assert.deepEqual(
    sent.map(({ frame }) => frame.sequence),
    sent.map((_, index) => index + 1),
  );
  assert.equal(
    sent.reduce((sum, each) => sum + each.packets, 0),
    100,
  );
  const before = sent.length;
  feed(distributor, [udpPacket(1)], 5_000);
  feed(distributor, [udpPacket(2)], 5_000 + limits.frameSpanMs);
  feed(distributor, [udpPacket(3)], 5_000 + limits.frameSpanMs + 1);
  distributor.flush();
  const times = sent.slice(before).map(({ frame }) => [frame.timestampMs, frame.count]);
  assert.deepEqual(times, [
    [5_000, 2],
    [5_000 + limits.frameSpanMs + 1, 1],
  ]);
});

test('distribute - a frame is stamped with the view that tier 1 holds when it leaves; older views are refused', () => {
  const { distributor, sent } = tier1(1);
  feed(distributor, [udpPacket(1)]);
  distributor.setView(0, 7, true);
  distributor.setView(0, 5, true);
  distributor.flush();
  assert.equal(sent[0].frame.viewNumber, 7);
});

test('distribute - starts are numbered through all frames of a group', () => {
  const { distributor, sent } = tier1(1);
  feed(distributor, [synPacket(1), udpPacket(9), synPacket(2)]);
  distributor.flush();
  feed(distributor, [synPacket(3)]);
  distributor.flush();
  assert.deepEqual(
    sent.map(({ frame }) => frame.startOrdinal),
    [0, 2],
  );
});

test('distribute - a first fragment is announced by its datagram, and later ones carry that hash', () => {
  const { distributor, sent } = tier1(1);
  const spec = {
    source: '10.0.0.1',
    target: '192.0.2.1',
    udp: { sourcePort: 1, targetPort: 2, payload: new Uint8Array(3_000) },
  };
  feed(distributor, fragmentPacket(spec, 1_400));
  distributor.flush();
  const [{ frame, packets }] = sent;
  assert.equal(packets, 3, 'the row that names the datagram is no packet');
  assert.equal(frame.count, 4);
  assert.ok(frame.flags(0) & FrameFlags.DATAGRAM);
  assert.equal(frame.length(0), 0);
  for (const row of [2, 3]) {
    assert.ok(frame.flags(row) & FrameFlags.LATER_FRAGMENT);
    assert.deepEqual([frame.hashHi(row), frame.hashLo(row)], [frame.hashHi(0), frame.hashLo(0)]);
  }
  assert.notDeepEqual([frame.hashHi(1), frame.hashLo(1)], [frame.hashHi(0), frame.hashLo(0)]);
});

test('distribute - what is not sent is counted by cause, and what is received adds up', () => {
  const { distributor, sent, bus } = tier1(2);
  feed(distributor, [udpPacket(1), new Uint8Array(0), new Uint8Array(limits.packetBytes + 1).fill(1)]);
  distributor.packet(udpPacket(2), 0, 60, 127, 0, 1_000);
  distributor.flush();
  bus.up = false;
  feed(distributor, [udpPacket(3), udpPacket(4), udpPacket(5)]);
  distributor.flush();
  bus.up = true;
  const numbers = new Map(sent.map(({ group, sequence }) => [group, sequence]));
  distributor.setView(0, 2, false);
  distributor.setView(1, 2, false);
  feed(distributor, [udpPacket(6)]);
  distributor.setView(0, 3, true);
  distributor.setView(1, 3, true);
  feed(distributor, [udpPacket(1), udpPacket(3), udpPacket(4)]);
  distributor.flush();
  const { received, distributed, dropped, pending } = distributor;
  assert.equal(pending, 0);
  assert.equal(received, distributed + Object.values(dropped).reduce((sum, count) => sum + count, 0));
  assert.deepEqual(dropped, { empty: 1, 'link-80211': 1, oversize: 1, 'no-server': 1, 'bus-down': 3 });
  for (const [group, sequence] of numbers) {
    const next = sent.find((each) => each.group === group && each.sequence > sequence);
    if (next !== undefined) assert.equal(next.sequence, sequence + 1, 'a frame that never left is no hole');
  }
});

test('distribute - an idle tier 1 says where it stands to every group that has servers', () => {
  const { distributor, sent } = tier1(3);
  distributor.setView(2, 2, false);
  distributor.idle(1_234);
  assert.deepEqual(
    sent.map(({ group, packets, frame }) => [group, packets, frame.count, frame.sequence, frame.timestampMs]),
    [
      [0, 0, 0, 1, 1_234],
      [1, 0, 0, 1, 1_234],
    ],
  );
});

test('distribute - memory does not depend on how many flows there were', () => {
  const { distributor, sent } = tier1(3);
  const pass = (flows: number, seed: number) => {
    const generator = new TrafficGenerator({ seed, flows, mix: 'bench-udp' });
    const buffer = new Uint8Array(2_048);
    for (let packet = 0; packet < flows; packet++) {
      const length = generator.next(buffer, 0);
      distributor.packet(buffer, 0, length, ethernet, 0, 1_000);
      sent.length = 0;
    }
    distributor.flush();
    sent.length = 0;
  };
  pass(20_000, 1);
  const before = heapBytes();
  pass(200_000, 2);
  const grown = heapBytes() - before;
  assert.ok(grown < 200_000, `grew by ${grown} bytes over 200,000 flows`);
});
