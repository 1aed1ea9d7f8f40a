// Gossip on the wire: what is said comes back as it was, with any part of a state missing, and garbage is refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pack, unpack } from 'msgpackr';
import {
  decodeGossip,
  digestsMax,
  encodeGossip,
  type GossipMessage,
  lineStates,
  liveStates,
} from '../../../shared/membership/gossip.ts';
import type { Load } from '../../../shared/membership/load.ts';

const amount = fc.integer({ min: 0, max: 10_000_000 }).map((thousandths) => thousandths / 1_000);
const maybe = fc.option(amount, { nil: undefined });
const load: fc.Arbitrary<Load> = fc.record({
  flows: fc.nat(),
  newFlows: amount,
  packets: amount,
  bytes: amount,
  loopDelayMs: amount,
  cpu: amount,
  memoryBytes: fc.nat(),
  tableFill: amount,
  temperature: fc.option(
    fc.integer({ min: -40_000, max: 120_000 }).map((milli) => milli / 1_000),
    { nil: undefined },
  ),
  handler: maybe,
  latencyMs: maybe,
  loss: maybe,
});
const life = { server: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/), incarnation: fc.maxSafeNat() };
const line = fc.record({
  state: fc.constantFrom(...lineStates),
  epochNumber: fc.nat(),
  epoch: fc.string({ maxLength: 64 }),
  position: fc.maxSafeNat(),
  lag: fc.nat(),
  lagMs: fc.nat(),
  handled: fc.maxSafeNat(),
});
const digest = fc.record({ slice: fc.nat({ max: 255 }), position: fc.maxSafeNat(), digest: fc.maxSafeNat() });
const count = fc.maxSafeNat();
const protection = fc.record({
  flows: count,
  unprotected: count,
  promoted: count,
  replaying: count,
  replays: count,
  replayed: count,
  unreplayed: count,
  partial: count,
});
const stateMessage = fc.record({
  kind: fc.constant('state' as const),
  ...life,
  beat: fc.nat(),
  state: fc.option(fc.constantFrom(...liveStates), { nil: undefined }),
  view: fc.nat(),
  line: fc.option(line, { nil: undefined }),
  load: fc.option(load, { nil: undefined }),
  digests: fc.array(digest, { maxLength: 20 }),
});
const message: fc.Arbitrary<GossipMessage> = fc.oneof(
  fc.record({ kind: fc.constant('beat' as const), ...life, beat: fc.nat() }),
  fc.record({ kind: fc.constant('suspect' as const), ...life, from: life.server, isSure: fc.boolean() }),
  fc
    .tuple(stateMessage, fc.option(protection))
    .map(([said, safety]) => (safety === null ? said : { ...said, protection: safety })),
);

test('gossip - what is said comes back as it was, with any part of a state missing', () => {
  fc.assert(fc.property(message, (said) => assert.deepEqual(decodeGossip(encodeGossip(said)), structuredClone(said))));
});

test('gossip - bytes that are no message, or are cut or changed, are refused or read as another message, and never throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeGossip(bytes)));
  fc.assert(
    fc.property(message, fc.nat(), fc.nat({ max: 255 }), (said, at, byte) => {
      const bytes = encodeGossip(said);
      assert.equal(decodeGossip(bytes.subarray(0, at % bytes.length)), undefined);
      bytes[at % bytes.length] = byte;
      decodeGossip(bytes);
    }),
  );
});

test('gossip - a state is small: a thousand members can afford it', () => {
  const one = { flows: 1e6, newFlows: 1e4, packets: 1e6, bytes: 1e9, loopDelayMs: 10, cpu: 1, memoryBytes: 2e9 };
  const full: Load = {
    ...one,
    tableFill: 0.5,
    temperature: 55.5,
    handler: 0.7,
    latencyMs: 12.5,
    loss: 0.001,
  };
  const following = { state: 'following', epochNumber: 12, epoch: 'k3j5h2k3-server-12-1' } as const;
  const state = {
    kind: 'state',
    server: 'server-12',
    incarnation: 2 ** 47,
    beat: 1e6,
    state: 'active',
    view: 99,
    line: { ...following, position: 2 ** 40, lag: 1_000, lagMs: 250, handled: 2 ** 40 },
    digests: [],
  } as const;
  assert.ok(encodeGossip({ ...state, load: full }).length < 180);
  const digests = Array.from({ length: 25 }, (_, slice) => ({ slice, position: 2 ** 40, digest: 2 ** 52 }));
  assert.ok(encodeGossip({ ...state, load: full, digests }).length < 700, 'with the digests of a second');
  assert.ok(encodeGossip({ kind: 'beat', server: 'server-12', incarnation: 2 ** 47, beat: 1e6 }).length < 40);
});

test('gossip - of more digests than fit the newest are said, and the message can still be read', () => {
  const digests = Array.from({ length: digestsMax + 8 }, (_, index) => ({
    slice: index & 255,
    position: 2 ** 50 + index,
    digest: 2 ** 52 + index,
  }));
  const nothing = { state: undefined, view: 0, line: undefined, load: undefined };
  const bytes = encodeGossip({ kind: 'state', server: 'a', incarnation: 1, beat: 1, ...nothing, digests });
  const read = decodeGossip(bytes);
  assert.ok(read?.kind === 'state');
  assert.deepEqual(read.digests, digests.slice(8));
});

test('gossip - how safe flows are may be left out; a later version may say more of it, and nonsense is refused', () => {
  const plain = structuredClone(fc.sample(stateMessage, 1)[0]);
  const read = (...more: readonly unknown[]) => {
    const fields = unpack(encodeGossip(plain)) as unknown[];
    return decodeGossip(pack([...fields, ...more]));
  };
  assert.deepEqual(read(), plain);
  const safety = { flows: 1, unprotected: 2, promoted: 3, replaying: 4, replays: 5, replayed: 6, unreplayed: 7 };
  assert.deepEqual(read([1, 2, 3, 4, 5, 6, 7, 8, 9]), { ...plain, protection: { ...safety, partial: 8 } });
  const nonsense = [
    null,
    1,
    [],
    [1, 2, 3, 4, 5, 6, 7],
    [1, 2, 3, 4, 5, 6, 7, -8],
    Array(33).fill(1),
    ['a', 2, 3, 4, 5, 6, 7, 8],
  ];
  for (const each of nonsense) assert.equal(read(each), undefined, JSON.stringify(each));
  assert.equal(read([1, 2, 3, 4, 5, 6, 7, 8], 0), undefined);
});
