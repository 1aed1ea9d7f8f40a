// How much traffic there is and when: by packets a second, or by flows a second, of which the other one follows.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { GeneratorOptions } from '../../../../services/loadgen/generator/generator.ts';
import { type FlowClass, type MixName, mixes, mixNames } from '../../../../services/loadgen/generator/mixes.ts';
import { parseSizes } from '../../../../services/loadgen/generator/sizes.ts';
import { buffer, run } from '../../../support/generated.ts';

const near = (value: number, expected: number, part: number, what: string) =>
  assert.ok(Math.abs(value - expected) <= part * expected, `${what}: ${value}, not about ${expected}`);

function udpClass(flowClass: Partial<FlowClass>): FlowClass {
  const shares = { flowShare: 1, packetShare: 1 };
  const sizes = { packetsPerFlow: parseSizes('10'), packetBytes: parseSizes('60') };
  return { name: 'udp', protocol: 'udp', targetPort: 9, ...shares, ...sizes, ...flowClass };
}

test('generator, packets a second - time follows the rate, evenly or at random with the same mean', () => {
  const times: number[] = [];
  run({ seed: 10, flows: 10, mix: 'bench-udp', ratePps: 4_000, startMs: 1_000 }, 5, (_, at) => times.push(at.timeMs));
  assert.deepEqual(times, [1_000, 1_000.25, 1_000.5, 1_000.75, 1_001]);
  let last = 0;
  run({ seed: 10, flows: 10, mix: 'bench-udp', ratePps: 4_000, arrivals: 'poisson' }, 40_000, (_, at) => {
    assert.ok(at.timeMs > last);
    last = at.timeMs;
  });
  near(last, 10_000, 0.025, 'end');
});

test('generator, packets a second - voice flows send evenly: each once before any sends again', () => {
  const gaps = new Set<number>();
  const sentAt = new Map<number, number>();
  let rtp = 0;
  run({ seed: 8, flows: 100, mix: 'voip', ipv6Percent: 0 }, 5_000, (_, at) => {
    if (buffer[14 + 20 + 2]! * 256 + buffer[14 + 20 + 3]! !== 16_384 || buffer[23] !== 17) return;
    const before = sentAt.get(at.flow);
    if (before !== undefined && at.sequence > 0) gaps.add(rtp - before);
    sentAt.set(at.flow, rtp++);
  });
  assert.deepEqual([...gaps], [80]);
});

test('generator, packets a second - classes have their share of packets whatever their bursts, to the end of a burst', () => {
  const ports = [1, 2, 3];
  const mix = ports.map((port, i) =>
    udpClass({ targetPort: port, packetShare: [1, 2, 5][i]!, burst: [8, 3, 1][i]!, packetsPerFlow: parseSizes('5') }),
  );
  const packets = [0, 0, 0, 0];
  const flowsOfBurst = new Set<number>();
  run({ seed: 7, flows: 60, mix, ipv6Percent: 0, stagger: false }, 80_000, (_, at) => {
    const port = buffer[14 + 20 + 3]!;
    packets[port]!++;
    if (port === 1 && packets[1]! <= 8) flowsOfBurst.add(at.flow);
  });
  near(packets[1]!, 10_000, 0.05, 'first');
  near(packets[2]!, 20_000, 0.05, 'second');
  near(packets[3]!, 50_000, 0.05, 'third');
  assert.equal(flowsOfBurst.size, 2, 'five packets of one flow, then three of the next');
});

test('generator, flows a second - flows begin evenly at that rate, or at random with the same mean', () => {
  const begins: number[] = [];
  const options: GeneratorOptions = { seed: 1, flows: 1_000, mix: 'dns', flowsPerSecond: 200, startMs: 5_000 };
  run({ ...options, totalFlows: 400 }, 10_000, (_, at) => {
    if (at.sequence === 0) begins.push(at.timeMs);
  });
  assert.deepEqual(
    begins,
    Array.from({ length: 400 }, (_, i) => 5_000 + i * 5),
  );
  let lastMs = 0;
  const generator = run({ ...options, arrivals: 'poisson' }, 20_000, (_, at) => {
    assert.ok(at.timeMs >= lastMs);
    lastMs = at.timeMs;
  });
  near(generator.stats.flowsStarted, ((lastMs - 5_000) / 1_000) * 200, 0.03, 'flows');
});

test('generator, flows a second - a flow sends at its pace, its bursts at one moment', () => {
  const mix = [
    udpClass({ targetPort: 1, burst: 2, packetShare: 3 }),
    udpClass({ targetPort: 2, burst: 1, packetShare: 1 }),
  ];
  // 20 a second on average over both: 30 and 10 by their shares, so 66.7 ms between bursts of two, and 100 ms.
  const options: GeneratorOptions = { seed: 2, flows: 500, mix, flowsPerSecond: 50, flowPps: 20, ipv6Percent: 0 };
  const lastMs = new Map<number, number>();
  run(options, 5_000, (_, at) => {
    const port = buffer[14 + 20 + 3]!;
    if (at.sequence > 0) {
      const gap = at.timeMs - lastMs.get(at.flow)!;
      const expected = port === 2 ? 100 : at.sequence % 2 === 0 ? 200 / 3 : 0;
      assert.ok(Math.abs(gap - expected) < 1e-6, `${port} ${at.sequence}: ${gap}`);
    }
    lastMs.set(at.flow, at.timeMs);
  });
  assert.ok(lastMs.size > 200);
});

test('generator, flows a second - packets and open flows follow, and classes have their shares of both', () => {
  const named: readonly MixName[] = ['web', 'dns', 'iot', 'mobile', 'every-protocol'];
  for (const mix of named) {
    const packetsPerFlow = parseSizes('8-40');
    const flowPps = 20;
    const options: GeneratorOptions = { seed: 3, flows: 20_000, mix, packetsPerFlow, flowPps, flowsPerSecond: 400 };
    const seen = { packets: new Map<string, number>(), open: new Map<string, number>() };
    const count = (of: Map<string, number>, name: string, by = 1) => of.set(name, (of.get(name) ?? 0) + by);
    let lastMs = 0;
    const generator = run({ ...options, ipv6Percent: 0 }, 100_000, (_, at) => {
      const name = classNameOf(mix);
      if (at.sequence === 0) count(seen.open, name);
      if (at.last) count(seen.open, name, -1);
      count(seen.packets, name);
      lastMs = at.timeMs;
    });
    const { flowsStarted, flowsEnded, flowsDeferred } = generator.stats;
    assert.equal(flowsDeferred, 0);
    const meanPackets = 24.3;
    near((100_000 * 1_000) / lastMs, 400 * meanPackets, 0.1, `${mix}, packets a second`);
    near(flowsStarted - flowsEnded, (400 * meanPackets) / flowPps, 0.15, `${mix}, open flows`);
    const classes: readonly FlowClass[] = mixes[mix];
    const sum = (share: (flowClass: FlowClass) => number) => classes.reduce((all, each) => all + share(each), 0);
    for (const { name, flowShare, packetShare } of classes) {
      const packets = (100_000 * packetShare) / sum((each) => each.packetShare);
      const open = ((flowsStarted - flowsEnded) * flowShare) / sum((each) => each.flowShare);
      // As far as so few flows can tell.
      if (packets > 4_000) near(seen.packets.get(name)!, packets, 0.15, `${mix}, packets of ${name}`);
      if (open > 50) near(seen.open.get(name)!, open, 0.3, `${mix}, open flows of ${name}`);
    }
  }
});

test('generator, flows a second - above the most there may be, flows are put off, counted, and begin when one ends', () => {
  // Each lasts 900 ms, 100 begin a second: 90 are open where 30 may be.
  const mix = [udpClass({})];
  const options: GeneratorOptions = { seed: 4, flows: 30, mix, flowsPerSecond: 100, totalFlows: 300 };
  let endedAtMs = -1;
  let began = 0;
  const generator = run(options, 10_000, (_, at) => {
    const { flowsStarted, flowsEnded } = at.stats;
    assert.ok(flowsStarted - flowsEnded <= 30);
    if (at.sequence === 0) {
      if (began >= 30) assert.equal(at.timeMs, endedAtMs);
      else assert.equal(at.timeMs, began * 10);
      began++;
    }
    if (at.last) endedAtMs = at.timeMs;
  });
  assert.equal(began, 300);
  assert.equal(generator.stats.flowsEnded, 300);
  assert.ok(generator.stats.flowsDeferred >= 270, `${generator.stats.flowsDeferred}`);
  const roomy = run({ ...options, flows: 100 }, 10_000, () => {});
  assert.equal(roomy.stats.flowsDeferred, 0);
  assert.equal(roomy.stats.flowsEnded, 300);
});

test('generator - after drain() no flow begins, and the open ones run to their ends', () => {
  for (const mix of mixNames) {
    for (const rate of mix === 'bench-udp' ? [{}] : [{}, { flowsPerSecond: 5_000 }, { flowsPerSecond: 90_000 }]) {
      const packetsPerFlow = mix === 'bench-udp' ? {} : { packetsPerFlow: parseSizes('4-40') };
      const options: GeneratorOptions = { seed: 12, flows: 50, mix, replies: true, ...packetsPerFlow, ...rate };
      const generator = run(options, 1_000, () => {});
      const { flowsStarted } = generator.stats;
      generator.drain();
      while (generator.next(buffer, 0) > 0);
      assert.equal(generator.stats.flowsEnded, flowsStarted, mix);
      assert.equal(generator.stats.flowsStarted, flowsStarted, mix);
      assert.equal(generator.next(buffer, 0), 0);
    }
  }
});

/** Whose packet lies in the buffer (IPv4): the class of that protocol and port, whichever direction. */
function classNameOf(mix: MixName): string {
  const numbers = { tcp: 6, udp: 17, sctp: 132, icmp: 1, 'gtp-u': 17, 'gtp-c': 17 };
  const port = buffer[14 + 20 + 2]! * 256 + buffer[14 + 20 + 3]!;
  const classes: readonly FlowClass[] = mixes[mix];
  const found = classes.find(({ protocol, targetPort }) => {
    if (buffer[23] !== numbers[protocol]) return false;
    return protocol === 'icmp' || port === (protocol === 'gtp-u' ? 2_152 : targetPort);
  });
  return found!.name;
}
