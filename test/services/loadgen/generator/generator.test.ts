// Generated traffic: the same for a seed, without holes, and with starts and ends where flows have them.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { type GeneratorOptions, noRoom, TrafficGenerator } from '../../../../services/loadgen/generator/generator.ts';
import { mixNames, parseSizes } from '../../../../services/loadgen/generator/mixes.ts';
import { isFlowherdError } from '../../../../shared/base/errors.ts';
import { readStamp, stampBytes } from '../../../../shared/packet/stamp.ts';
import { buffer, run } from '../../../support/generated.ts';

function digest(options: GeneratorOptions, packets: number): string {
  const hash = createHash('sha256');
  run(options, packets, (length, generator) => hash.update(buffer.subarray(0, length)).update(`${generator.timeMs}`));
  return hash.digest('hex');
}

test('generator - one seed gives the same packets and times, another seed others', () => {
  for (const mix of mixNames) {
    for (const more of [{}, { replies: true }, { flowsPerSecond: 900, packetsPerFlow: parseSizes('1-9') }]) {
      const options = { flows: 300, mix, flood: { ratePps: 1_000 }, ...more } as const;
      assert.equal(digest({ ...options, seed: 1 }, 3_000), digest({ ...options, seed: 1 }, 3_000), mix);
      assert.notEqual(digest({ ...options, seed: 1 }, 3_000), digest({ ...options, seed: 2 }, 3_000), mix);
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

test('generator - fixed sizes are kept: bench-udp is 128-byte UDP over exactly N flows', () => {
  const flows = new Set<number>();
  const generator = run({ seed: 9, flows: 64, mix: 'bench-udp' }, 5_000, (length, at) => {
    assert.equal(length, 128);
    assert.ok(!at.last);
    flows.add(at.flow);
  });
  assert.equal(flows.size, 64);
  const { packets, bytes, flowsStarted, flowsEnded } = generator.stats;
  assert.deepEqual([packets, bytes, flowsStarted, flowsEnded], [5_000, 640_000, 64, 0]);
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

test('generator - nothing is allocated for a packet', () => {
  const packets = 200_000;
  // A single number on the heap would be 16 bytes.
  const few = 10;
  for (const more of [{}, { flowsPerSecond: 3_000 }, { flood: { ratePps: 50_000 } }]) {
    const generator = new TrafficGenerator({ seed: 1, flows: 10_000, mix: 'mobile', stamp: { run: 1 }, ...more });
    // The engine boxes numbers until it has compiled the code, and takes its time on a busy machine.
    let bytes = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 20 && bytes > few; round++) {
      const before = getHeapStatistics().total_allocated_bytes;
      for (let i = 0; i < packets; i++) generator.next(buffer, 0);
      bytes = Math.min(bytes, (getHeapStatistics().total_allocated_bytes - before) / packets);
    }
    assert.ok(bytes <= few, `${JSON.stringify(more)}: ${bytes} bytes a packet`);
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
  const good: GeneratorOptions = { seed: 1, flows: 10, mix: 'web' };
  const source = { clients: 10, targets: 1, share: 1, source: '10.0.0.0', target: '198.18.0.1' };
  const refused: readonly [Partial<GeneratorOptions>, RegExp][] = [
    [{ flows: 0 }, /flows: 0/],
    [{ flows: 2 ** 24 + 1 }, /flows: 16777217/],
    [{ mix: 'nothing' as 'web' }, /mix nothing/],
    [{ mix: 'constructor' as 'web' }, /mix constructor/],
    [{ mix: [] }, /no classes/],
    [{ ratePps: 0 }, /ratePps/],
    [{ ipv6Percent: 101 }, /ipv6Percent: 101/],
    [{ vlans: [5, 4_096] }, /vlans: 4096/],
    [{ stamp: { run: -1 } }, /stamp: -1/],
    [{ clients: 0 }, /clients: 0/],
    [{ targets: 0 }, /targets: 0/],
    [{ clients: 1, flows: 100_000, ipv6Percent: 0 }, /too few/],
    [{ mix: 'mobile', clients: 3, flows: 100 }, /too few.*GTP-U/],
    [{ packetBytes: parseSizes('70000') }, /packetBytes/],
    [{ packetBytes: parseSizes('65535'), stamp: { run: 1 } }, /packetBytes/],
    [{ packetsPerFlow: parseSizes('0-9') }, /packetsPerFlow/],
    [{ packetsPerFlow: parseSizes('3000000000') }, /packetsPerFlow/],
    [{ ratePps: 1_000, flowsPerSecond: 10 }, /ratePps and flowsPerSecond/],
    [{ flowsPerSecond: 0 }, /flowsPerSecond: 0/],
    [{ flowsPerSecond: 10, flowPps: 0 }, /flowPps: 0/],
    [{ flowsPerSecond: 10, mix: 'bench-udp' }, /flows of bench have no end/],
    [{ flood: { ratePps: 0 } }, /flood/],
    [{ flood: { ratePps: 1, targetPort: 70_000 } }, /flood: 70000/],
    [{ flood: { ratePps: 1 }, populations: [{ ...source, source: '100.127.255.255' }] }, /100.127.255.255/],
    [{ flood: { ratePps: 1 }, populations: [{ ...source, source: '100.63.255.250' }] }, /100.63.255.250/],
    [{ populations: [{ ...source, target: '2001:db8::1' }] }, /one family/],
    [{ populations: [{ ...source, target: 'nowhere' }] }, /nowhere/],
    [{ populations: [] }, /populations/],
  ];
  for (const [options, message] of refused) {
    assert.throws(
      () => new TrafficGenerator({ ...good, ...options }),
      (error) => isFlowherdError(error, 'bad-config') && message.test(error.message),
      `${message}`,
    );
  }
  const beside = [{ ...source, source: '100.63.255.246' }];
  assert.ok(new TrafficGenerator({ ...good, flood: { ratePps: 1 }, populations: beside }));
});
