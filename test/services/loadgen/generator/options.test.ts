// What people write about traffic is what is generated, and what cannot be read is refused in one line.

import assert from 'node:assert/strict';
import test from 'node:test';
import { mixes, mixNames } from '../../../../services/loadgen/generator/mixes.ts';
import { type MixWords, readMix, readProtocols } from '../../../../services/loadgen/generator/options.ts';
import { isFlowherdError } from '../../../../shared/base/errors.ts';
import { protocolClassOf } from '../../../../shared/flow/frameFlags.ts';
import { FlowKeyer } from '../../../../shared/flow/keyer.ts';
import { buffer, run } from '../../../support/generated.ts';

test('traffic options - a mix is the named one, web when nothing is said, with sizes in place of its own', () => {
  assert.deepEqual(readMix({}), mixes.web);
  for (const mix of mixNames) assert.deepEqual(readMix({ mix }), [...mixes[mix]]);
  const classes = readMix({ mix: 'iot', packetBytes: '64-1500', packetsPerFlow: '12' });
  assert.equal(classes.length, 2);
  for (const { packetBytes, packetsPerFlow } of classes) {
    assert.deepEqual(packetBytes, { kind: 'uniform', min: 64, max: 1_500 });
    assert.deepEqual(packetsPerFlow, { kind: 'fixed', size: 12 });
  }
});

test('traffic options - protocols come in the shares that are written', () => {
  const keyer = new FlowKeyer({ secret: 'test' });
  const packets = new Map<string, number>();
  const mix = readMix({ protocols: 'tcp:70,udp/53:25,icmp:5', packetsPerFlow: '5-9' });
  assert.deepEqual(
    mix.map(({ targetPort }) => targetPort),
    [443, 53, 0],
  );
  run({ seed: 1, flows: 500, mix }, 20_000, (length) => {
    keyer.read(buffer, 0, length, 1, 0);
    const protocol = protocolClassOf(keyer.flags);
    packets.set(protocol, (packets.get(protocol) ?? 0) + 1);
  });
  for (const [protocol, percent] of Object.entries({ tcp: 70, udp: 25, icmp: 5 }))
    assert.ok(Math.abs(packets.get(protocol)! / 200 - percent) < 2, `${protocol} ${packets.get(protocol)}`);
});

test('traffic options - without a share all are alike, and gtp is both of its kinds', () => {
  const shares = (text: string) => readProtocols(text).map(({ protocol, packetShare }) => [protocol, packetShare]);
  assert.deepEqual(shares('tcp, sctp'), [
    ['tcp', 10],
    ['sctp', 10],
  ]);
  assert.deepEqual(shares('gtp:2,gtp-c'), [
    ['gtp-u', 18],
    ['gtp-c', 2],
    ['gtp-c', 10],
  ]);
});

test('traffic options - what cannot be read is refused, with the option and what to write', () => {
  const refused: readonly [MixWords, RegExp][] = [
    [{ mix: 'nothing' }, /^--mix nothing: there are web, /],
    [{ mix: '__proto__' }, /^--mix __proto__: /],
    [{ mix: 'web', protocols: 'tcp' }, /^--mix and --protocols: /],
    [{ packetBytes: 'big' }, /^--packet-bytes big: write 128/],
    [{ packetsPerFlow: '9-3' }, /^--packets-per-flow 9-3: write 128/],
    [{ protocols: '' }, /^--protocols : '' is not like/],
    [{ protocols: 'tcp:' }, /'tcp:' is not like/],
    [{ protocols: 'tcp:70,,udp' }, /'' is not like/],
    [{ protocols: 'tcp:-1' }, /'tcp:-1' is not like/],
    [{ protocols: 'tcp:0' }, /share in 'tcp:0'/],
    [{ protocols: 'tcp:1000001' }, /share in 'tcp:1000001'/],
    [{ protocols: 'tcp/70000' }, /port in 'tcp\/70000'/],
    [{ protocols: 'quic:3' }, /there is no 'quic', but tcp, udp/],
  ];
  for (const [words, message] of refused) {
    assert.throws(
      () => readMix(words),
      (error) => isFlowherdError(error, 'bad-config') && message.test(error.message) && !error.message.includes('\n'),
      `${message}`,
    );
  }
});
