// The load that a server tells its group: rates from running totals, and nothing in it that a message could not carry.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LoadMeter, type LoadSample } from '../../../../services/dssl/member/loadMeter.ts';
import { flattenLoad, readLoad } from '../../../../shared/membership/load.ts';

const idle: LoadSample = {
  flows: 0,
  acceptedPackets: 0,
  acceptedBytes: 0,
  newFlows: 0,
  tableFill: 0,

  machine: { loopDelayMs: 0, cpu: 0, memoryBytes: 0, temperature: undefined },
  handler: { handler: undefined, latencyMs: undefined, loss: undefined },
};

const at = (packets: number, bytes = 0, newFlows = 0): LoadSample => ({
  ...idle,
  acceptedPackets: packets,
  acceptedBytes: bytes,
  newFlows,
});

test('load meter - rates are those of the last five seconds, and a burst is forgotten after them', () => {
  const meter = new LoadMeter();
  assert.equal(meter.sample(at(7_000), 0).packets, 0, 'nothing to compare with');
  const first = meter.sample(at(7_100, 5_000, 10), 1_000);
  assert.deepEqual([first.packets, first.bytes, first.newFlows], [100, 5_000, 10]);
  for (let second = 2; second <= 5; second++) meter.sample(at(7_100, 5_000, 10), second * 1_000);
  assert.equal(meter.sample(at(7_100, 5_000, 10), 5_900).newFlows, 10 / 5.9);
  assert.equal(meter.sample(at(7_100, 5_000, 10), 6_000).newFlows, 0);
});

test('load meter - whoever asks often gets the rates of the same span', () => {
  const meter = new LoadMeter();
  let last = 0;
  for (let ms = 0; ms <= 60_000; ms += 7) last = meter.sample(at(ms), ms).packets;
  assert.ok(Math.abs(last - 1_000) < 1, `${last}`);
  last = meter.sample(at(60_000 + 5_000), 60_007).packets;
  assert.ok(last < 3_000, `${last}: a jump in 7 ms is not the rate of 7 ms`);
});

test('load meter - a clock that was set back, and totals of another life, begin anew', () => {
  const meter = new LoadMeter();
  meter.sample(at(0), 10_000);
  meter.sample(at(1_000), 11_000);
  assert.equal(meter.sample(at(1_100), 2_000).packets, 0);
  assert.equal(meter.sample(at(1_200), 3_000).packets, 100);
  assert.equal(meter.sample(at(0), 4_000).packets, 0);
  assert.equal(meter.sample(at(50), 5_000).packets, 50);
});

test('load meter - what machine and server say is passed on; what they do not say stays unsaid', () => {
  const meter = new LoadMeter();
  const machine = { loopDelayMs: 1.5, cpu: 0.7, memoryBytes: 1e8, temperature: -3 };
  const handler = { handler: 1.2, latencyMs: 40, loss: 0 };
  const load = meter.sample({ ...idle, flows: 9, tableFill: 0.25, machine, handler }, 0);
  const rates = { newFlows: 0, packets: 0, bytes: 0 };
  assert.deepEqual(load, { flows: 9, tableFill: 0.25, ...rates, ...machine, ...handler });
  const { temperature, handler: busy, latencyMs, loss } = meter.sample(idle, 1_000);
  assert.deepEqual([temperature, busy, latencyMs, loss], [undefined, undefined, undefined, undefined]);
});

test('load meter - whatever the numbers are, the load can be sent and read', () => {
  const any = fc.oneof(fc.double(), fc.integer());
  const orNot = fc.option(any, { nil: undefined });
  const temperature = fc.option(fc.double({ min: -273, max: 1_000 }), { nil: undefined });
  const sample = fc.record({
    flows: any,
    acceptedPackets: any,
    acceptedBytes: any,
    newFlows: any,
    tableFill: any,

    machine: fc.record({ loopDelayMs: any, cpu: any, memoryBytes: any, temperature }),
    handler: fc.record({ handler: orNot, latencyMs: orNot, loss: orNot }),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(sample, fc.nat(10_000)), { minLength: 1 }), (samples) => {
      const meter = new LoadMeter();
      for (const [each, nowMs] of samples) assert.ok(readLoad(flattenLoad(meter.sample(each, nowMs))) !== undefined);
    }),
  );
});
