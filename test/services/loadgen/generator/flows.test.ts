// Whatever is generated is right and can be told apart: parsed, keyed into the flow it was meant for, and with starts and
// ends where flows have them.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { GeneratorOptions } from '../../../../services/loadgen/generator/generator.ts';
import { mixes, mixNames, protocols, usualPorts } from '../../../../services/loadgen/generator/mixes.ts';
import { parseSizes } from '../../../../services/loadgen/generator/sizes.ts';
import { FrameFlags, protocolClassOf } from '../../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../../shared/flow/keyer.ts';
import { readStamp, stampBytes } from '../../../../shared/packet/stamp.ts';
import { assertChecksums, ipLength } from '../../../support/checksums.ts';
import { buffer, run } from '../../../support/generated.ts';

/** Keys of open flows, and which flow has each. */
class Keys {
  readonly #keyer: FlowKeyer;
  readonly #keys = new Map<number, string>();
  readonly #owners = new Map<string, number>();

  constructor(tunnel: 'outer' | 'inner') {
    this.#keyer = new FlowKeyer({ secret: 'test', tunnel });
  }

  /** Fails unless the packet has the key of its flow, and no other open flow has it. Returns its flags. */
  check(length: number, flow: number, isFirst: boolean, isLast: boolean): number {
    assert.equal(this.#keyer.read(buffer, 0, length, 1, 0), 0);
    const key = `${this.#keyer.flowHi}/${this.#keyer.flowLo}`;
    if (isFirst) {
      assert.ok(!this.#owners.has(key), 'a key is free when a flow begins with it');
      this.#keys.set(flow, key);
      this.#owners.set(key, flow);
    }
    assert.equal(this.#keys.get(flow), key, 'a flow keeps its key');
    if (isLast) {
      this.#owners.delete(key);
      this.#keys.delete(flow);
    }
    return this.#keyer.flags;
  }
}

const anything = fc.record(
  {
    seed: fc.nat(),
    mix: fc.constantFrom(...mixNames),
    flows: fc.integer({ min: 1, max: 400 }),
    replies: fc.boolean(),
    vlans: fc.constantFrom([], [9], [4, 17]),
    ipv6Percent: fc.constantFrom(0, 50, 100),
    packetsPerFlow: fc.constantFrom('1-12', '1', '6', 'pareto:1:200:1.2').map(parseSizes),
    packetBytes: fc.constantFrom('20', '60-300', 'imix').map(parseSizes),
    // Few clients: addresses and ports come round soon. GTP-U needs a pair of addresses for each flow.
    clients: fc.constantFrom(110, 1_000),
    arrivals: fc.constantFrom('even', 'poisson'),
    flowsPerSecond: fc.constantFrom(20, 100_000),
    totalFlows: fc.constantFrom(50, 5_000),
    flood: fc.record({ ratePps: fc.constantFrom(10, 100_000) }),
    stamp: fc.record({ run: fc.nat() }),
  },
  { requiredKeys: ['seed', 'mix', 'flows', 'replies', 'vlans', 'ipv6Percent', 'packetsPerFlow', 'clients'] },
);

test('generated flows - any packet is right, has the key of its flow alone, and flows start and end where they say', () => {
  const classes = new Set<string>();
  fc.assert(
    fc.property(anything, (options) => {
      const [outer, inner] = [new Keys('outer'), new Keys('inner')];
      const ip = 14 + 4 * options.vlans.length;
      const stamp = { run: 0, id: 0, flow: 0 };
      let timeMs = 0;
      const generator = run(options as GeneratorOptions, 1_500, (length, at) => {
        assert.equal(ip + ipLength(buffer.subarray(ip)) + (options.stamp ? stampBytes : 0), length);
        assertChecksums(buffer.subarray(ip, options.stamp ? length - stampBytes : length));
        assert.equal(readStamp(buffer, 0, length, stamp), options.stamp !== undefined);
        if (options.stamp) assert.deepEqual(stamp, { run: options.stamp.run, id: at.id, flow: at.flow });
        assert.ok(at.timeMs >= timeMs, 'time does not go back');
        timeMs = at.timeMs;

        const flags = outer.check(length, at.flow, at.sequence === 0, at.last && !at.flood);
        inner.check(length, at.flow, at.sequence === 0, at.last && !at.flood);
        const protocol = protocolClassOf(flags);
        classes.add(protocol);
        if ((flags & FrameFlags.TYPE1) === 0) return;
        // The request that deletes a session ends it; its response may still come.
        const isEnd = protocol === 'gtp-c' && options.replies ? at.sequence === at.total - 2 : at.last && !at.flood;
        assert.equal((flags & FrameFlags.START) !== 0, at.sequence === 0, `start, ${protocol} ${at.sequence}`);
        assert.equal((flags & FrameFlags.END) !== 0, isEnd, `end, ${protocol} ${at.sequence} of ${at.total}`);
      });
      const { flowsStarted, flowsEnded, packets } = generator.stats;
      assert.ok(flowsStarted - flowsEnded <= options.flows);
      assert.ok(packets === 1_500 || (flowsStarted === options.totalFlows && flowsEnded === options.totalFlows));
    }),
    { numRuns: 150 },
  );
  assert.deepEqual([...classes].sort(), ['gtp-c', 'icmp', 'sctp', 'tcp', 'udp']);
});

test('generated flows - each protocol is recognised, in both families', () => {
  const names = { tcp: 'tcp', udp: 'udp', sctp: 'sctp', icmp: 'icmp', 'gtp-u': 'udp', 'gtp-c': 'gtp-c' };
  const keyer = new FlowKeyer({ secret: 'test', tunnel: 'inner' });
  for (const protocol of protocols) {
    for (const ipv6Percent of [0, 100]) {
      const mix = mixes['every-protocol'].filter((flowClass) => flowClass.protocol === protocol);
      const options = { seed: 3, flows: 20, mix, ipv6Percent, replies: true, packetsPerFlow: parseSizes('8') };
      run(options, 500, (length, at) => {
        keyer.read(buffer, 0, length, 1, 0);
        assert.equal(protocolClassOf(keyer.flags), names[protocol]);
        const { keyed } = keyer.headers;
        assert.equal(keyed.version, protocol === 'gtp-u' || ipv6Percent > 0 ? 6 : 4);
        if (protocol === 'icmp') {
          assert.equal(keyed.messageType, (ipv6Percent > 0 ? [128, 129] : [8, 0])[at.reply ? 1 : 0]);
        } else {
          assert.equal(at.reply ? keyed.sourcePort : keyed.targetPort, usualPorts[protocol]);
        }
      });
    }
  }
});

test('generated flows - a response has the number of its request, and both ends their own tunnel', () => {
  const view = new DataView(buffer.buffer);
  const udp = 14 + 20 + 8;
  const requests = new Map<number, number>();
  const endpoints = new Map<string, number>();
  for (const protocol of ['icmp', 'gtp-c', 'gtp-u'] as const) {
    const mix = mixes['every-protocol'].filter((flowClass) => flowClass.protocol === protocol);
    requests.clear();
    endpoints.clear();
    let responses = 0;
    run({ seed: 4, flows: 20, mix, ipv6Percent: 0, replies: true, packetsPerFlow: parseSizes('9') }, 2_000, (_, at) => {
      if (protocol !== 'gtp-u') {
        const isV2 = protocol === 'gtp-c' && buffer[udp]! >> 5 === 2;
        const number = protocol === 'icmp' ? view.getUint16(14 + 20 + 6) : view.getUint32(udp + 8) >>> (isV2 ? 8 : 16);
        assert.equal(number, at.sequence >> 1);
        if (at.reply) assert.equal(requests.get(at.flow), number);
        else requests.set(at.flow, number);
        if (protocol === 'gtp-c') assert.equal(buffer[udp + 1]! & 1, at.reply ? 1 : 0, 'types of responses are odd');
        responses += at.reply ? 1 : 0;
      }
      if (protocol === 'icmp') return;
      const endpoint = view.getUint32(udp + 4);
      if (protocol === 'gtp-c' && at.sequence === 0) assert.equal(endpoint, 0, 'nothing is known of the other end yet');
      else assert.equal(endpoint, endpoints.get(`${at.flow} ${at.reply}`) ?? endpoint);
      if (endpoint !== 0) endpoints.set(`${at.flow} ${at.reply}`, endpoint);
    });
    assert.ok(protocol === 'gtp-u' || responses > 900);
    assert.ok(protocol === 'icmp' || new Set(endpoints.values()).size === endpoints.size);
  }
});
