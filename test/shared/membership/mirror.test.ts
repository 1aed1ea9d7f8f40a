// The mirror of a view: it comes back as it was, it goes forwards only, and bytes that are none are refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeMirror, encodeMirror, isNewer, type Mirror } from '../../../shared/membership/mirror.ts';
import { defaultRules, type Member, memberStates, placementNames } from '../../../shared/membership/view.ts';

const member: fc.Arbitrary<Member> = fc.record({
  server: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  incarnation: fc.maxSafeNat(),
  number: fc.nat({ max: 4_000 }),
  state: fc.constantFrom(...memberStates),
  weight: fc.nat({ max: 65_535 }),
  base: fc.nat({ max: 65_535 }),
  flows: fc.nat(),
});
const mirror: fc.Arbitrary<Mirror> = fc.record({
  epoch: fc.record({ number: fc.maxSafeNat(), id: fc.string({ maxLength: 64 }) }),
  position: fc.maxSafeNat(),
  view: fc.record({
    group: fc.constant('g1'),
    number: fc.nat(),
    placement: fc.constantFrom(...placementNames),
    seed: fc.nat({ max: 0xffff_ffff }),
    rules: fc.constant(defaultRules),
    members: fc.array(member, { maxLength: 5 }),
  }),
});

const at = (epoch: number, id: string, view: number, position = 0): Mirror => ({
  epoch: { number: epoch, id },
  position,
  view: { group: 'g1', number: view, placement: 'rendezvous', seed: 1, rules: defaultRules, members: [] },
});

test('mirror - what is written comes back as it was', () => {
  fc.assert(fc.property(mirror, (one) => assert.deepEqual(decodeMirror(encodeMirror(one)), structuredClone(one))));
});

test('mirror - bytes that are no mirror, or are cut or changed, never throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => assert.equal(decodeMirror(bytes), undefined)));
  fc.assert(
    fc.property(mirror, fc.nat(), fc.nat({ max: 255 }), (one, where, byte) => {
      const bytes = encodeMirror(one);
      assert.equal(decodeMirror(bytes.subarray(0, where % bytes.length)), undefined);
      bytes[where % bytes.length] = byte;
      decodeMirror(bytes);
    }),
  );
});

test('mirror - a field that is missing or out of its range makes it none', () => {
  const good = { ...at(1, 'e', 1) };
  assert.ok(decodeMirror(Buffer.from(JSON.stringify(good))));
  for (const bad of [
    { ...good, epoch: undefined },
    { ...good, epoch: { number: 1 } },
    { ...good, epoch: { number: -1, id: 'e' } },
    { ...good, position: 1.5 },
    { ...good, view: undefined },
    { ...good, view: { ...good.view, members: [{ server: 'a' }] } },
    [],
    null,
  ])
    assert.equal(decodeMirror(Buffer.from(JSON.stringify(bad))), undefined, JSON.stringify(bad));
});

test('mirror - fields of newer writers are dropped', () => {
  const written = { ...at(3, 'e', 4, 5), later: 1, view: { ...at(3, 'e', 4).view, later: 2 } };
  assert.deepEqual(decodeMirror(Buffer.from(JSON.stringify(written))), at(3, 'e', 4, 5));
});

test('mirror - it goes forwards only: by the epoch, then by the view, then by the position where views differ', () => {
  assert.ok(isNewer(at(1, 'a', 0), undefined));
  assert.ok(isNewer(at(2, 'b', 1), at(1, 'a', 9)), 'a new line may begin with an older view');
  assert.ok(!isNewer(at(1, 'a', 9), at(2, 'b', 1)));
  assert.ok(isNewer(at(1, 'a', 2), at(1, 'a', 1)));
  assert.ok(!isNewer(at(1, 'a', 2, 99), at(1, 'a', 2, 1)), 'it is the same view');
  assert.ok(!isNewer(at(1, 'a', 1), at(1, 'a', 2)));
  const withMember = (incarnation: number, position: number): Mirror => {
    const { view, ...rest } = at(1, 'a', 2, position);
    const member = { server: 'a', incarnation, number: 0, state: 'active', weight: 1, base: 1, flows: 0 } as const;
    return { ...rest, view: { ...view, members: [member] } };
  };
  assert.ok(isNewer(withMember(2, 9), withMember(1, 5)), 'the log has lost its end, and the member joined again');
  assert.ok(!isNewer(withMember(1, 5), withMember(2, 9)));
  assert.ok(!isNewer(withMember(1, 9), withMember(1, 5)));
  assert.ok(
    isNewer(at(1, 'b', 1), at(1, 'a', 2)),
    'another line that took the same number: what is followed now counts',
  );
});
