// A flood of SYNs beside other traffic: at its rate, each from somebody new, and without touching what is beside it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { firstFloodFlow } from '../../../../services/loadgen/generator/flood.ts';
import type { GeneratorOptions } from '../../../../services/loadgen/generator/generator.ts';
import { parseSizes } from '../../../../services/loadgen/generator/sizes.ts';
import { FrameFlags, protocolClassOf } from '../../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../../shared/flow/keyer.ts';
import { readStamp } from '../../../../shared/packet/stamp.ts';
import { buffer, run } from '../../../support/generated.ts';

const options: GeneratorOptions = { seed: 5, flows: 100, mix: 'web', ratePps: 10_000, flood: { ratePps: 30_000 } };

test('flood - single SYNs, at their rate beside the others, each from a client and port of its own', () => {
  const keyer = new FlowKeyer({ secret: 'test' });
  const keys = new Set<string>();
  const families = new Set<number>();
  const stamp = { run: 0, id: 0, flow: 0 };
  const generator = run({ ...options, replies: true, stamp: { run: 1 } }, 40_000, (length, at) => {
    assert.equal(at.flood, at.flow >= firstFloodFlow);
    assert.ok(readStamp(buffer, 0, length, stamp));
    assert.equal(stamp.flow, at.flow);
    if (!at.flood) return;
    assert.equal(keyer.read(buffer, 0, length, 1, 0), 0);
    assert.equal(protocolClassOf(keyer.flags), 'tcp');
    assert.ok((keyer.flags & FrameFlags.START) !== 0 && (keyer.flags & FrameFlags.END) === 0);
    assert.equal(keyer.headers.keyed.targetPort, 443);
    assert.deepEqual([at.sequence, at.total, at.last, at.reply], [0, 1, true, false]);
    keys.add(`${keyer.flowHi}/${keyer.flowLo}`);
    families.add(keyer.headers.keyed.version);
  });
  const { floodPackets, packets, flowsStarted } = generator.stats;
  assert.equal(packets, 40_000);
  assert.ok(Math.abs(floodPackets - 30_000) <= 1, `${floodPackets}`);
  assert.equal(keys.size, floodPackets);
  assert.deepEqual([...families].sort(), [4, 6]);
  assert.ok(flowsStarted < 5_000, 'they are no flows in the counts');
});

test('flood - the other packets are the same with and without it, by packets and by flows a second', () => {
  const { ratePps: _, flood, ...others } = options;
  for (const rate of [{ ratePps: 10_000 }, { flowsPerSecond: 1_000, flows: 20 }]) {
    const digests = [{}, { flood: flood! }].map((more) => {
      const hash = createHash('sha256');
      run(
        { ...others, ...rate, ...more, packetsPerFlow: parseSizes('4-40'), totalFlows: 200 },
        1_000_000,
        (length, at) => {
          if (!at.flood) hash.update(buffer.subarray(0, length)).update(`${at.timeMs} ${at.flow}`);
        },
      );
      return hash.digest('hex');
    });
    assert.equal(digests[0], digests[1]);
  }
});

test('flood - it ends with the other traffic', () => {
  const generator = run({ ...options, totalFlows: 50, packetsPerFlow: parseSizes('4') }, 1_000_000, () => {});
  assert.equal(generator.stats.flowsEnded, 50);
  assert.equal(generator.next(buffer, 0), 0);
});

test('flood - clients do not come twice, whichever of several populations they are sent to', () => {
  const population = { clients: 10, targets: 2, share: 1, target: '198.18.0.1' };
  const populations = ['10.1.0.0', '10.2.0.0'].map((source) => ({ ...population, source }));
  const seen = new Set<string>();
  const generator = run({ ...options, populations }, 20_000, (_, at) => {
    if (at.flood) seen.add(Buffer.from(buffer.subarray(26, 30)).toString('hex') + buffer.subarray(34, 36).join('.'));
  });
  assert.equal(seen.size, generator.stats.floodPackets);
  assert.ok([...seen].every((client) => client.startsWith('64') && Number.parseInt(client.slice(2, 4), 16) >> 6 === 1));
});
