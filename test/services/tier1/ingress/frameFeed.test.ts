// Packets that come to tier 1 over the bus: every one is distributed or counted under a cause, and holes, repeats and
// garbage are counted too.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Distributor } from '../../../../services/tier1/distribute.ts';
import { FrameFeed } from '../../../../services/tier1/ingress/frameFeed.ts';
import { GroupTable } from '../../../../services/tier1/routing/groupTable.ts';
import { limits } from '../../../../shared/base/limits.ts';
import { FrameFlags } from '../../../../shared/flow/frameFlags.ts';
import type { KeyOptions } from '../../../../shared/flow/keyer.ts';
import { FlowKeyer } from '../../../../shared/flow/keyer.ts';
import { Frame } from '../../../../shared/log/records/frame.ts';
import { buildPacket } from '../../../../shared/packet/encode/build.ts';
import { packetFrame } from '../../../support/packetFrames.ts';

function feedInto(keys: Partial<KeyOptions> = {}) {
  const out: { bytes: Uint8Array; hash: string; timestampMs: number }[] = [];
  const log = { hasRoom: true };
  const take = (message: Uint8Array, packets: number): void => {
    if (!log.hasRoom) {
      distributor.lost('log-full', packets);
      return;
    }
    const frame = new Frame();
    assert.equal(frame.decode(Uint8Array.from(message)), 'none');
    let start = 0;
    for (let row = 0; row < frame.count; row++) {
      const bytes = frame.payload.slice(start, start + frame.length(row));
      out.push({ bytes, hash: `${frame.hashHi(row)}:${frame.hashLo(row)}`, timestampMs: frame.timestampMs });
      start += frame.length(row);
    }
    distributor.stored(0, packets, message.length);
  };
  const distributor: Distributor = new Distributor({
    mapVersion: 1,
    table: new GroupTable([{ id: 'g1', weight: 1, serves: 'both' }], 'hash'),
    keyer: new FlowKeyer({ secret: 'test', ...keys }),
    outlets: [{ next: () => ({ life: 't1', number: 1 }), take }],
  });
  distributor.setServed(0, true);
  return { feed: new FrameFeed(distributor), distributor, out, log };
}

const udp = (client: number): Uint8Array =>
  buildPacket({ source: `10.0.0.${client}`, target: '192.0.2.1', udp: { sourcePort: 5_000, targetPort: 53 } });
const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, each) => total + each, 0);

describe('frame feed', () => {
  it('frame feed - packets come out as they were put in, in order, at the time they came', () => {
    const { feed, distributor, out } = feedInto();
    const packets = [udp(1), udp(2), udp(3)];
    feed.onMessage(packetFrame('gen', 1, packets.slice(0, 2)), 1_000, true);
    feed.onMessage(packetFrame('gen', 2, packets.slice(2)), 1_001, true);
    distributor.flush();
    assert.deepEqual(
      out.map(({ bytes }) => bytes),
      packets,
    );
    assert.equal(out[0].timestampMs, 1_000);
    assert.equal(distributor.received, 3);
    assert.deepEqual(feed.senders, [{ name: 'gen', received: 3, lostFrames: 0, dropped: {} }]);
  });

  it('frame feed - the link kind says how a packet is read', () => {
    const { feed, distributor, out } = feedInto();
    const raw = udp(1).subarray(14);
    feed.onMessage(packetFrame('gen', 1, [raw], { linkType: 101 }), 0, true);
    feed.onMessage(packetFrame('gen', 2, [udp(1)]), 0, true);
    distributor.flush();
    assert.equal(out[0].hash, out[1].hash);
  });

  it('frame feed - an unknown link kind, and rows that carry no packet', () => {
    const { feed, distributor } = feedInto();
    feed.onMessage(packetFrame('gen', 1, [udp(1)], { flags: 15 << 8 }), 0, true);
    assert.deepEqual(distributor.dropped, { 'link-type': 1 });
    assert.deepEqual(feed.senders[0].dropped, { 'link-type': 1 });
    feed.onMessage(packetFrame('gen', 2, [new Uint8Array(0)], { flags: FrameFlags.DATAGRAM }), 0, true);
    assert.equal(distributor.received, 1);
    assert.equal(feed.packets, 1);
  });

  it('frame feed - by ingress link: each sender is a link, the same one at every tier 1', () => {
    const hashes = (sender: string, before: readonly string[]): string[] => {
      const { feed, distributor, out } = feedInto({ flowKey: 'link-source' });
      for (const other of before) feed.onMessage(packetFrame(other, 1, [udp(9)]), 0, true);
      feed.onMessage(packetFrame(sender, 1, [udp(1)]), 0, true);
      distributor.flush();
      return out.slice(before.length).map(({ hash }) => hash);
    };
    assert.deepEqual(hashes('a', []), hashes('a', ['x', 'y']));
    assert.notDeepEqual(hashes('a', []), hashes('b', []));
  });

  it('frame feed - what comes while there is no room is dropped and counted as overload', () => {
    const { feed, distributor } = feedInto();
    feed.onMessage(packetFrame('gen', 1, [udp(1), udp(2)]), 0, false);
    feed.onMessage(packetFrame('gen', 2, [udp(3)]), 0, true);
    distributor.flush();
    assert.deepEqual(distributor.dropped, { overload: 2 });
    assert.equal(distributor.received, distributor.distributed + 2);
    assert.deepEqual(feed.senders, [{ name: 'gen', received: 3, lostFrames: 0, dropped: { overload: 2 } }]);
  });

  it('frame feed - drops are told by sender, except for those of frames that others share', () => {
    const { feed, distributor, log } = feedInto();
    feed.onMessage(packetFrame('a', 1, [udp(1), new Uint8Array(3)]), 0, true);
    feed.onMessage(packetFrame('b', 1, [udp(2)]), 0, true);
    log.hasRoom = false;
    feed.onMessage(packetFrame('b', 2, [udp(2)]), 1_000, true);
    distributor.flush();
    const [a, b] = feed.senders;
    assert.deepEqual(a.dropped, { 'link-header-cut': 1 });
    assert.deepEqual(b.dropped, {});
    assert.deepEqual(distributor.dropped, { 'link-header-cut': 1, 'log-full': 3 });
  });

  it('frame feed - holes, repeats and garbage are counted, and nothing throws', () => {
    const { feed, distributor } = feedInto();
    for (const number of [1, 2, 5, 5, 4, 6]) feed.onMessage(packetFrame('gen', number, [udp(1)]), 0, true);
    feed.onMessage(new Uint8Array(0), 0, true);
    feed.onMessage(Uint8Array.of(0x99, 1, 2), 0, true);
    assert.deepEqual([feed.frames, feed.lostFrames, feed.repeatedFrames, feed.faulty], [4, 2, 2, 2]);
    assert.equal(distributor.received, 4);
  });

  it('frame feed - any bytes in any state: what was taken is distributed, pending or dropped by cause', () => {
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc
        .tuple(fc.constantFrom('a', 'b'), fc.integer({ min: 1, max: 9 }), fc.array(fc.uint8Array({ maxLength: 90 })))
        .map(([sender, number, packets]) => packetFrame(sender, number, [...packets, udp(1)])),
    );
    const property = fc.property(fc.array(fc.tuple(message, fc.boolean(), fc.nat())), (messages) => {
      const { feed, distributor } = feedInto();
      for (const [bytes, hasRoom, at] of messages) {
        const copy = Uint8Array.from(bytes);
        if (at % 4 === 0 && copy.length > 0) copy[at % copy.length] ^= 1 + (at % 255);
        feed.onMessage(copy, 0, hasRoom);
      }
      distributor.flush();
      assert.equal(distributor.received, feed.packets);
      assert.equal(distributor.received, distributor.distributed + sum(distributor.dropped));
      assert.equal(distributor.droppedPackets, sum(distributor.dropped));
      assert.equal(
        feed.senders.reduce((total, { dropped }) => total + sum(dropped), 0),
        distributor.droppedPackets,
      );
    });
    fc.assert(property);
  });

  it('frame feed - senders beyond the limit push out the longest silent one', () => {
    const { feed } = feedInto();
    for (let sender = 0; sender <= limits.inputSenders; sender++)
      feed.onMessage(packetFrame(`s${sender}`, 1, [udp(1)]), sender, true);
    assert.equal(feed.senders.length, limits.inputSenders);
    assert.ok(!feed.senders.some(({ name }) => name === 's0'));
  });
});
