// The map from flows to a handler's state, compared with the language's own Map.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FlowMap, formatFlowId } from '../../../../../services/dssl/egress/handlers/flowMap.ts';
import { Prng } from '../../../../../shared/base/prng.ts';

test('flow map - does what a Map of strings does, also where all keys want the same place', () => {
  // Few distinct halves, so that keys collide, meet again after deletion, and wrap round the end of the table.
  const half = fc.constantFrom(0, 1, -1, 63, 64, 127, 1 << 25, -(1 << 25));
  const step = fc.record({ what: fc.constantFrom('set', 'set', 'delete', 'get'), hi: half, lo: half });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const map = new FlowMap<number>();
      const model = new Map<string, number>();
      for (const [i, { what, hi, lo }] of steps.entries()) {
        const key = `${hi} ${lo}`;
        if (what === 'set') {
          map.set(hi, lo, i);
          model.set(key, i);
        } else if (what === 'delete') {
          assert.equal(map.delete(hi, lo), model.get(key));
          model.delete(key);
        }
        assert.equal(map.get(hi, lo), model.get(key));
        assert.equal(map.size, model.size);
      }
      assert.deepEqual(
        [...map.values()].sort((a, b) => a - b),
        [...model.values()].sort((a, b) => a - b),
      );
    }),
  );
});

test('flow map - grows, and holds every flow of many until it is taken out', () => {
  const map = new FlowMap<number>();
  const prng = new Prng('flows');
  const keys = Array.from({ length: 20_000 }, () => [prng.i32(), prng.i32()] as const);
  for (const [i, [hi, lo]] of keys.entries()) map.set(hi, lo, i);
  for (const [i, [hi, lo]] of keys.entries()) if (i % 3 !== 0) assert.equal(map.delete(hi, lo), i);
  for (const [i, [hi, lo]] of keys.entries()) assert.equal(map.get(hi, lo), i % 3 === 0 ? i : undefined);
  map.clear();
  assert.equal(map.size, 0);
  assert.equal(map.get(...keys[0]!), undefined);
});

test('flow map - a flow id is both halves in hex, unsigned', () => {
  assert.equal(formatFlowId(-1, 1), 'ffffffff00000001');
});
