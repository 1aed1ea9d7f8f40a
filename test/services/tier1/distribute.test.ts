// The stateless first tier: what goes into which frame, how it is numbered, and that everything is accounted for.

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
  readonly packets: number;
  readonly frame: Frame;
}

const ethernet = 1;

/** A distributor whose frames are stored at once, unless `log` says otherwise. */
function tier1(groups = 3, secret = 'test') {
  const sent: Sent[] = [];
  const log = { stores: true, settles: true };
  const entries = Array.from({ length: groups }, (_, index) => ({
    id: `g${index}`,
    weight: 1,
    serves: 'both' as const,
  }));
  const numbers = new Array<number>(groups).fill(0);
  const distributor: Distributor = new Distributor({
    mapVersion: 1,
    table: new GroupTable(entries, 'weighted'),
    keyer: new FlowKeyer({ secret }),
    outlets: entries.map((_, group) => ({
      next: () => ({ life: 't1', number: numbers[group] + 1 }),
      take: (message, packets) => {
        if (!log.stores) {
          distributor.lost('log-full', packets);
          return;
        }
        numbers[group]++;
        const frame = new Frame();
        assert.equal(frame.decode(Uint8Array.from(message)), 'none');
        sent.push({ group, packets, frame });
        if (!log.settles) return;
        distributor.stored(group, packets, message.length);
        distributor.settled(group, Number.NEGATIVE_INFINITY);
      },
    })),
  });
  for (let group = 0; group < groups; group++) distributor.setServed(group, true);
  return { distributor, sent, log };
}

function feed(distributor: Distributor, packets: readonly Uint8Array[], timestampMs = 1_000): void {
  for (const bytes of packets) distributor.packet(bytes, 0, bytes.length, ethernet, 0, timestampMs);
}

function udpPacket(client: number, bytes = 100): Uint8Array {
  const source = `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client & 255}`;
  const udp = { sourcePort: 5_000, targetPort: 53, payload: new Uint8Array(bytes) };
  return buildPacket({ source, target: '192.0.2.1', udp });
}

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
    sent.map(({ frame }) => [frame.tier1Id, frame.number, frame.follows]),
    sent.map((_, index) => ['t1', index + 1, index]),
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

test('distribute - what is not stored is counted by cause, and what is received adds up', () => {
  const { distributor, sent, log } = tier1(2);
  feed(distributor, [udpPacket(1), new Uint8Array(0), new Uint8Array(limits.packetBytes + 1).fill(1)]);
  distributor.packet(udpPacket(2), 0, 60, 127, 0, 1_000);
  distributor.flush();
  log.stores = false;
  feed(distributor, [udpPacket(3), udpPacket(4), udpPacket(5)]);
  distributor.flush();
  log.stores = true;
  for (const group of [0, 1]) distributor.setServed(group, false);
  feed(distributor, [udpPacket(6)]);
  for (const group of [0, 1]) distributor.setServed(group, true);
  feed(distributor, [udpPacket(1), udpPacket(3), udpPacket(4)]);
  distributor.refuse('overload', 2, 200);
  distributor.flush();
  const { received, distributed, dropped, droppedPackets, pending, underWay } = distributor;
  assert.deepEqual([pending, underWay], [0, 0]);
  assert.equal(received, distributed + droppedPackets);
  assert.deepEqual(dropped, { empty: 1, 'link-80211': 1, oversize: 1, 'no-server': 1, 'log-full': 3, overload: 2 });
  for (const group of [0, 1]) {
    const numbers = sent.filter((each) => each.group === group).map(({ frame }) => frame.number);
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index + 1),
      'a frame that was not taken leaves no gap',
    );
  }
});

test('distribute - packets are pending, under way, then distributed when the log has their frame', () => {
  const { distributor, log } = tier1(1);
  log.settles = false;
  feed(distributor, [udpPacket(1), udpPacket(2)]);
  const counts = () => [distributor.pending, distributor.underWay, distributor.distributed];
  assert.deepEqual(counts(), [2, 0, 0]);
  distributor.flush();
  assert.deepEqual(counts(), [0, 2, 0]);
  distributor.stored(0, 2, 500);
  assert.deepEqual(counts(), [0, 0, 2]);
  assert.deepEqual(distributor.sentTo(0), { packets: 2, bytes: 500, frames: 1 });
});

test('distribute - an open frame leaves when it is due, and when the one before it is stored', () => {
  const { distributor, sent, log } = tier1(1);
  log.settles = false;
  feed(distributor, [udpPacket(1)]);
  assert.ok(distributor.isFresh);
  distributor.fed(10);
  assert.deepEqual([distributor.isFresh, distributor.dueMs], [false, 10 + limits.frameLingerMs]);
  distributor.sendDue(10.5);
  assert.equal(sent.length, 0);
  distributor.sendDue(11);
  assert.equal(sent.length, 1);
  feed(distributor, [udpPacket(2)]);
  distributor.fed(12);
  assert.equal(distributor.dueMs, 12 + limits.frameLatestMs, 'the first frame is under way');
  distributor.sendDue(13);
  assert.equal(sent.length, 1);
  distributor.stored(0, 1, 100);
  distributor.settled(0, 13.5);
  assert.equal(sent.length, 2, 'the linger has passed, and the frame before it is stored');
  feed(distributor, [udpPacket(3)]);
  distributor.fed(14);
  distributor.settled(0, 14.2);
  assert.equal(sent.length, 2, 'the linger has not passed');
  distributor.sendDue(15);
  assert.equal(sent.length, 3);
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
