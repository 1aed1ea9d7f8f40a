// The named mixes do what their names say, and sizes are drawn as they are written.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  drawSize,
  largestSize,
  meanSize,
  parseSizes,
  smallestSize,
} from '../../../../services/loadgen/generator/sizes.ts';
import { Prng } from '../../../../shared/base/prng.ts';
import { buffer, run } from '../../../support/generated.ts';

test('elephants and mice - one flow in a hundred carries most of the bytes', () => {
  const bytesOf = new Map<number, number>();
  const generator = run({ seed: 7, flows: 1_000, mix: 'elephants-and-mice' }, 400_000, (length, at) => {
    bytesOf.set(at.flow, (bytesOf.get(at.flow) ?? 0) + length);
  });
  const sizes = [...bytesOf.values()].sort((a, b) => b - a);
  const share = (flows: number) =>
    sizes.slice(0, Math.round(flows)).reduce((sum, bytes) => sum + bytes, 0) / generator.stats.bytes;
  assert.ok(sizes.length > 10_000, `${sizes.length} flows`);
  const topPercent = share(sizes.length / 100);
  assert.ok(topPercent > 0.85 && topPercent < 0.95, `${topPercent}`);
  // The mice alone have a tail too: without it each hundredth of them would have a hundredth of the bytes.
  const mice = sizes.slice(10);
  const miceBytes = mice.reduce((sum, bytes) => sum + bytes, 0);
  const topMice = mice.slice(0, mice.length / 100).reduce((sum, bytes) => sum + bytes, 0);
  assert.ok(topMice / miceBytes > 0.06, `${topMice / miceBytes}`);
});

test('elephants and mice - six of ten packets are of the ten elephants among a thousand flows', () => {
  const flowsOf = { elephant: new Set<number>(), mouse: new Set<number>() };
  let elephantPackets = 0;
  run({ seed: 7, flows: 1_000, mix: 'elephants-and-mice', ipv6Percent: 0 }, 50_000, (_, at) => {
    const isElephant = buffer[14 + 20 + 2]! * 256 + buffer[14 + 20 + 3]! === 5_001;
    if (isElephant) elephantPackets++;
    flowsOf[isElephant ? 'elephant' : 'mouse'].add(at.flow);
  });
  assert.ok(Math.abs(elephantPackets - 30_000) < 1_000, `${elephantPackets}`);
  assert.ok(flowsOf.elephant.size <= 20 && flowsOf.mouse.size > 400, `${flowsOf.elephant.size} ${flowsOf.mouse.size}`);
});

test('generator - bytes of a flow are what was asked for, on average', () => {
  const bytesPerFlow = parseSizes('20000');
  const options = { seed: 2, flows: 50, mix: 'web', bytesPerFlow, totalFlows: 400, stagger: false } as const;
  const generator = run(options, 1_000_000, () => {});
  const mean = generator.stats.bytes / generator.stats.flowsEnded;
  assert.ok(mean > 17_000 && mean < 23_000, `${mean}`);
});

test('sizes - are read as people write them', () => {
  assert.deepEqual(parseSizes('128'), { kind: 'fixed', size: 128 });
  assert.deepEqual(parseSizes('64-1500'), { kind: 'uniform', min: 64, max: 1_500 });
  assert.deepEqual(parseSizes('pareto:2:10000:1.2'), { kind: 'pareto', min: 2, max: 10_000, shape: 1.2 });
  assert.equal(parseSizes('imix').kind, 'choice');
  for (const text of ['', '-1', '9-3', 'pareto:0:1:1', 'pareto:5:2:1', 'big'])
    assert.throws(() => parseSizes(text), /not a size/);
});

test('sizes - the mean is that of what is drawn, and no draw is beyond the bounds', () => {
  const prng = new Prng('sizes');
  for (const text of ['7', '64-1500', 'imix', 'pareto:4:200:1.3', 'pareto:10:1000:1', 'pareto:6:300:0.7']) {
    const sizes = parseSizes(text);
    let sum = 0;
    for (let i = 0; i < 50_000; i++) {
      const size = drawSize(sizes, prng);
      assert.ok(
        Number.isInteger(size) && size >= smallestSize(sizes) && size <= largestSize(sizes),
        `${text}: ${size}`,
      );
      sum += size;
    }
    const drawn = sum / 50_000;
    assert.ok(Math.abs(drawn - meanSize(sizes)) < 0.03 * drawn, `${text}: ${drawn}, not ${meanSize(sizes)}`);
  }
});
