// The demo's traffic: recorded and generated packets from one loop, at their own paces.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { HeldCapture } from '../../../../services/local/demo/capture.ts';
import { Traffic, type TrafficTarget } from '../../../../services/local/demo/traffic.ts';
import { VirtualClock } from '../../../../shared/base/clock.ts';
import { readCapture } from '../../../../shared/capture/reader.ts';

const town = join(import.meta.dirname, '../../../captures/town.pcap');
const ratePps = 1_000;

interface Fed {
  /** By ingress link; the generator's is 0. */
  readonly packets: number[];
  lastMs: number;
}

/** Feeds a tier 1 that only counts, for `ms` of virtual time. */
async function play(seconds: number, ms: number): Promise<{ traffic: Traffic; fed: Fed; capture: HeldCapture }> {
  const clock = new VirtualClock(1_000_000);
  const capture = await HeldCapture.read(town);
  const fed: Fed = { packets: [0, 0], lastMs: 0 };
  const tier1: TrafficTarget = {
    isReady: true,
    ready: () => Promise.resolve(),
    fed: () => undefined,
    distributor: {
      packet: (_buffer, start, end, _linkType, link, timestampMs) => {
        assert.ok(end > start && timestampMs >= fed.lastMs);
        fed.lastMs = timestampMs;
        fed.packets[link]++;
      },
    },
  };
  const traffic = new Traffic({ tier1, clock, capture, ratePps, seconds, onTurn: () => undefined });
  const running = traffic.run();
  await clock.advanceAsync(ms);
  traffic.stop();
  await clock.advanceAsync(1_000);
  await running;
  return { traffic, fed, capture };
}

test('demo traffic - the generated rate is kept and the capture fits in once', async () => {
  const { traffic, fed, capture } = await play(3, 2_995);
  assert.ok(Math.abs(fed.packets[0] - 2_995) <= 10, `${fed.packets[0]} packets`);
  assert.deepEqual(fed.packets, [traffic.sent.generated, traffic.sent.capture]);
  assert.equal(traffic.sent.passes, 1);
  assert.ok(traffic.sent.capture > capture.packets.length * 0.9);
});

test('demo traffic - a long show plays the capture again, at its own pace', async () => {
  const capture = await HeldCapture.read(town);
  const { traffic } = await play(120, capture.durationMs - 100);
  assert.equal(traffic.sent.passes, 1);
  const later = await play(120, capture.durationMs * 1.5);
  assert.equal(later.traffic.sent.passes, 2);
  assert.ok(later.traffic.sent.capture > capture.packets.length);
});

test('demo capture - holds every packet of the file, in order', async () => {
  const capture = await HeldCapture.read(town);
  let index = 0;
  for await (const batch of readCapture(town)) {
    for (let row = 0; row < batch.count; row++, index++) {
      const { offset, length, linkType } = capture.packets[index];
      const start = batch.offsets[row];
      assert.equal(linkType, batch.linkTypes[row]);
      const held = capture.bytes.subarray(offset, offset + length);
      assert.equal(Buffer.compare(held, batch.buffer.subarray(start, start + batch.lengths[row])), 0);
    }
  }
  assert.equal(capture.packets.length, index);
  assert.ok(capture.packets.every(({ atMs }, i) => i === 0 || atMs >= capture.packets[i - 1].atMs));
});
