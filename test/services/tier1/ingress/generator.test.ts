// Generated traffic: the same for a seed, without holes, and with starts and ends where flows have them.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { type GeneratorOptions, noRoom, TrafficGenerator } from '../../../../services/tier1/ingress/generator.ts';
import { mixNames, parseSizes } from '../../../../services/tier1/ingress/generatorMixes.ts';
import { FlowKeyer } from '../../../../shared/flow.ts';
import { FrameFlags } from '../../../../shared/frameFlags.ts';
import { addWords, foldChecksum } from '../../../../shared/packet/checksum.ts';
import { readStamp, stampBytes } from '../../../../shared/packet/stamp.ts';

const buffer = new Uint8Array(70_000);

/** The first `packets` packets, each handed to `look` with the generator's word on it. */
function run(
  options: GeneratorOptions,
  packets: number,
  look: (length: number, generator: TrafficGenerator) => void,
): TrafficGenerator {
  const generator = new TrafficGenerator(options);
  for (let i = 0; i < packets; i++) {
    const length = generator.next(buffer, 0);
    if (length === 0) break;
    look(length, generator);
  }
  return generator;
}

function digest(options: GeneratorOptions, packets: number): string {
  const hash = createHash('sha256');
  run(options, packets, (length, generator) => hash.update(buffer.subarray(0, length)).update(`${generator.timeMs}`));
  return hash.digest('hex');
}

test('generator - one seed gives the same packets and times, another seed others', () => {
  for (const mix of mixNames) {
    for (const replies of [false, true]) {
      const options = { flows: 300, mix, replies } as const;
      assert.equal(digest({ ...options, seed: 1 }, 3_000), digest({ ...options, seed: 1 }, 3_000), mix);
      assert.notEqual(digest({ ...options, seed: 1 }, 3_000), digest({ ...options, seed: 2 }, 3_000), mix);
    }
  }
});

test('generator - every packet can be keyed, its flow keeps its key, and no two open flows share one', () => {
  const keyer = new FlowKeyer({ secret: 'test' });
  for (const mix of mixNames) {
    for (const replies of [false, true]) {
      const keys = new Map<number, string>();
      const owners = new Map<string, number>();
      // Few clients and short flows: addresses and ports come round soon.
      const options = { seed: mix, flows: 500, mix, replies, clients: 3, packetsPerFlow: parseSizes('1-12') };
      run(options, 20_000, (length, generator) => {
        assert.equal(keyer.read(buffer, 0, length, 1, 0), 0);
        const key = `${keyer.flowHi}/${keyer.flowLo}`;
        if (generator.sequence === 0) {
          assert.ok(!owners.has(key), 'a key is free when a flow begins with it');
          keys.set(generator.flow, key);
          owners.set(key, generator.flow);
        }
        assert.equal(keys.get(generator.flow), key);
        if (generator.last) {
          owners.delete(key);
          keys.delete(generator.flow);
        }
      });
      assert.ok(keys.size <= 500);
    }
  }
});

test('generator - a flow that can say so starts with its first packet and ends with its last, and only there', () => {
  const keyer = new FlowKeyer({ secret: 'test' });
  for (const mix of mixNames) {
    for (const replies of [false, true]) {
      let starts = 0;
      const generator = run(
        { seed: 3, flows: 200, mix, replies, packetsPerFlow: parseSizes('1-20') },
        20_000,
        (length, at) => {
          keyer.read(buffer, 0, length, 1, 0);
          if ((keyer.flags & FrameFlags.TYPE1) === 0) return;
          assert.equal((keyer.flags & FrameFlags.START) !== 0, at.sequence === 0, `start ${mix} ${at.sequence}`);
          assert.equal((keyer.flags & FrameFlags.END) !== 0, at.last, `end ${mix} ${at.sequence} of ${at.total}`);
          if (at.sequence === 0) starts++;
        },
      );
      if (mix === 'web') assert.ok(starts > 100);
      assert.ok(generator.stats.flowsStarted - generator.stats.flowsEnded <= 200);
    }
  }
});

test('generator - sequences have no hole, and packets are counted from 0', () => {
  const next = new Map<number, number>();
  let packets = 0;
  run({ seed: 4, flows: 100, mix: 'iot', packetsPerFlow: parseSizes('3-9') }, 10_000, (_, generator) => {
    assert.equal(generator.id, packets++);
    assert.equal(generator.sequence, next.get(generator.flow) ?? 0);
    next.set(generator.flow, generator.sequence + 1);
    assert.equal(generator.last, generator.sequence + 1 === generator.total);
  });
  assert.equal(packets, 10_000);
});

test('generator - a stamp stands behind every packet, which is otherwise the same', () => {
  const plain = new Uint8Array(70_000);
  const stamp = { run: 0, id: 0, flow: 0 };
  for (const mix of mixNames) {
    const options = { seed: 15, flows: 100, mix, replies: true, packetsPerFlow: parseSizes('1-20') };
    const twin = new TrafficGenerator(options);
    const generator = run({ ...options, stamp: { run: 0xfedc_ba98 } }, 2_000, (length, { id, flow, timeMs }) => {
      assert.ok(readStamp(buffer, 0, length, stamp), mix);
      assert.deepEqual(stamp, { run: 0xfedc_ba98, id, flow });
      assert.equal(twin.next(plain, 0), length - stampBytes);
      assert.equal(Buffer.compare(buffer.subarray(0, length - stampBytes), plain.subarray(0, length - stampBytes)), 0);
      assert.equal(timeMs, twin.timeMs);
    });
    assert.equal(generator.maxPacketBytes, twin.maxPacketBytes + stampBytes);
    assert.equal(generator.stats.bytes, twin.stats.bytes + 2_000 * stampBytes);
  }
});

test('generator - IPv4 headers and TCP and UDP checksums are right', () => {
  for (const mix of mixNames) {
    run({ seed: 5, flows: 100, mix, vlans: [9] }, 2_000, (length) => {
      const isIpv4 = buffer[18]! >> 4 === 4;
      const ip = 18;
      const header = isIpv4 ? 20 : 40;
      const protocol = buffer[isIpv4 ? ip + 9 : ip + 6]!;
      if (isIpv4) assert.equal(foldChecksum(addWords(0, buffer, ip, ip + 20)), 0);
      if (protocol === 132) return;
      const addresses = addWords(0, buffer, isIpv4 ? ip + 12 : ip + 8, ip + header);
      assert.equal(foldChecksum(addWords(addresses + protocol + length - ip - header, buffer, ip + header, length)), 0);
    });
  }
});

test('generator - TCP sequence numbers go on by what was sent, and acknowledge what was received', () => {
  const view = new DataView(buffer.buffer);
  const next = new Map<string, number>();
  run(
    { seed: 6, flows: 50, mix: 'web', replies: true, ipv6Percent: 0, packetsPerFlow: parseSizes('4-30') },
    10_000,
    (length, at) => {
      if (buffer[23] !== 6) return;
      const own = `${at.flow} ${at.reply}`;
      const other = `${at.flow} ${!at.reply}`;
      const sequence = view.getUint32(14 + 20 + 4);
      if (at.sequence > 1) assert.equal(sequence, next.get(own));
      if (at.sequence > 0) assert.equal(view.getUint32(14 + 20 + 8), next.get(other));
      const opens = (buffer[14 + 20 + 13]! & 2) !== 0;
      next.set(own, (sequence + (opens ? 1 : length - 54)) >>> 0);
    },
  );
  assert.ok(next.size > 200);
});

test('generator - classes have their share of flows and packets', () => {
  const flowsOf = { elephant: new Set<number>(), mouse: new Set<number>() };
  let elephantPackets = 0;
  const generator = run({ seed: 7, flows: 1_000, mix: 'elephants-and-mice', ipv6Percent: 0 }, 50_000, (_, at) => {
    const isElephant = buffer[14 + 20 + 2]! * 256 + buffer[14 + 20 + 3]! === 5_001;
    if (isElephant) elephantPackets++;
    flowsOf[isElephant ? 'elephant' : 'mouse'].add(at.flow);
  });
  // Bursts of 8 to bursts of 2, cut short by ends of flows, in 60 to 40 draws.
  assert.ok(elephantPackets > 40_000 && elephantPackets < 45_000, `${elephantPackets}`);
  assert.ok(flowsOf.elephant.size <= 20 && flowsOf.mouse.size > 400, `${flowsOf.elephant.size} ${flowsOf.mouse.size}`);
  assert.ok(generator.stats.packets === 50_000);
});

test('generator - voice flows send evenly: each once before any sends again', () => {
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

test('generator - fixed sizes are kept: bench-udp is 128-byte UDP over exactly N flows', () => {
  const flows = new Set<number>();
  const generator = run({ seed: 9, flows: 64, mix: 'bench-udp' }, 5_000, (length, at) => {
    assert.equal(length, 128);
    assert.ok(!at.last);
    flows.add(at.flow);
  });
  assert.equal(flows.size, 64);
  assert.deepEqual(generator.stats, { packets: 5_000, bytes: 640_000, flowsStarted: 64, flowsEnded: 0 });
});

test('generator - time follows the rate, evenly or at random with the same mean', () => {
  const times: number[] = [];
  run({ seed: 10, flows: 10, mix: 'bench-udp', ratePps: 4_000, startMs: 1_000 }, 5, (_, at) => times.push(at.timeMs));
  assert.deepEqual(times, [1_000, 1_000.25, 1_000.5, 1_000.75, 1_001]);
  let last = 0;
  run({ seed: 10, flows: 10, mix: 'bench-udp', ratePps: 4_000, arrivals: 'poisson' }, 40_000, (_, at) => {
    assert.ok(at.timeMs > last);
    last = at.timeMs;
  });
  assert.ok(Math.abs(last - 10_000) < 250, `${last}`);
});

test('generator - totalFlows is how many flows there are, all of them whole, and then it is over', () => {
  for (const mix of mixNames) {
    if (mix === 'bench-udp') continue;
    const options = {
      seed: 11,
      flows: 50,
      mix,
      totalFlows: 400,
      packetsPerFlow: parseSizes('pareto:2:60:1.2'),
      stagger: false,
    };
    const ended = new Set<number>();
    const generator = run(options, 1_000_000, (_, at) => {
      if (at.last) ended.add(at.flow);
    });
    assert.equal(ended.size, 400, mix);
    assert.equal(generator.next(buffer, 0), 0);
    assert.equal(generator.stats.flowsEnded, 400);
  }
});

test('generator - draining ends endless flows too', () => {
  const generator = run({ seed: 12, flows: 20, mix: 'bench-udp' }, 1_000, () => {});
  generator.drain();
  const ended = new Set<number>();
  while (generator.next(buffer, 0) > 0) {
    assert.ok(generator.last);
    ended.add(generator.flow);
  }
  assert.equal(ended.size, 20);
});

test('generator - without room nothing happens, and nothing is written outside a packet', () => {
  const generator = new TrafficGenerator({ seed: 13, flows: 20, mix: 'web' });
  const twin = new TrafficGenerator({ seed: 13, flows: 20, mix: 'web' });
  const small = new Uint8Array(generator.maxPacketBytes + 10);
  assert.equal(generator.next(small, 11), noRoom);
  for (let i = 0; i < 500; i++) {
    small.fill(0xee);
    const length = generator.next(small, 10);
    assert.equal(length, twin.next(buffer, 0));
    assert.deepEqual(small.subarray(10, 10 + length), buffer.subarray(0, length));
    assert.ok(small.subarray(0, 10).every((byte) => byte === 0xee));
    assert.ok(small.subarray(10 + length).every((byte) => byte === 0xee));
  }
});

test('generator - populations get their shares, and clients of a population about the same', () => {
  const flowsOf = new Map<string, number>();
  const populations = [
    { source: '10.1.0.0', clients: 2, target: '198.18.0.1', targets: 1, share: 3 },
    { source: '10.2.0.0', clients: 100, target: '198.18.0.1', targets: 1, share: 1 },
  ];
  run({ seed: 14, flows: 400, mix: 'dns', populations }, 40_000, (_, at) => {
    if (at.sequence > 0) return;
    const source = buffer.subarray(26, 30).join('.');
    flowsOf.set(source, (flowsOf.get(source) ?? 0) + 1);
  });
  const [few, many] = ['10.1.', '10.2.'].map((prefix) =>
    [...flowsOf].filter(([source]) => source.startsWith(prefix)).map(([, flows]) => flows),
  );
  assert.equal(few!.length, 2);
  assert.equal(many!.length, 100);
  const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum(few!) / sum(many!) - 3) < 0.8, `${sum(few!)} ${sum(many!)}`);
  assert.ok(Math.max(...many!) <= 2 * Math.min(...many!), `${Math.min(...many!)} ${Math.max(...many!)}`);
});

test('generator - options that cannot be are refused, with their name', () => {
  const good = { seed: 1, flows: 10, mix: 'web' } as const;
  assert.throws(() => new TrafficGenerator({ ...good, flows: 0 }), /flows/);
  assert.throws(() => new TrafficGenerator({ ...good, mix: 'nothing' as 'web' }), /mix nothing/);
  assert.throws(() => new TrafficGenerator({ ...good, ratePps: 0 }), /ratePps/);
  assert.throws(() => new TrafficGenerator({ ...good, clients: 0 }), /clients/);
  assert.throws(() => new TrafficGenerator({ ...good, clients: 1, flows: 100_000, ipv6Percent: 0 }), /too few/);
  assert.throws(() => new TrafficGenerator({ ...good, packetBytes: parseSizes('70000') }), /packetBytes/);
});

test('generator - sizes are read as people write them', () => {
  assert.deepEqual(parseSizes('128'), { kind: 'fixed', size: 128 });
  assert.deepEqual(parseSizes('64-1500'), { kind: 'uniform', min: 64, max: 1_500 });
  assert.deepEqual(parseSizes('pareto:2:10000:1.2'), { kind: 'pareto', min: 2, max: 10_000, shape: 1.2 });
  assert.equal(parseSizes('imix').kind, 'choice');
  for (const text of ['', '-1', '9-3', 'pareto:0:1:1', 'pareto:5:2:1', 'big'])
    assert.throws(() => parseSizes(text), /not a size/);
});
