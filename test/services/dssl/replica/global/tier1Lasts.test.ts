// Which frames apply: each once and in order, as long as a life of a tier 1 is known.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  gapPatienceMs,
  mostLives,
  silentMs,
  Tier1Lasts,
} from '../../../../../services/dssl/replica/global/tier1Lasts.ts';
import { Fingerprint } from '../../../../../services/dssl/replica/snapshot/fingerprint.ts';
import { limits } from '../../../../../shared/base/limits.ts';

test('tier 1 lasts - a frame applies if it follows what was applied, and is not there already', () => {
  const lasts = new Tier1Lasts();
  const judge = (follows: number, number: number) => lasts.judge('t', follows, number, 0);
  assert.equal(judge(1, 2), 'gap');
  assert.equal(judge(0, 3), 'frame');
  assert.equal(judge(0, 1), 'repeated');
  assert.equal(judge(2, 3), 'repeated');
  assert.equal(judge(1, 4), 'frame', 'it follows a frame before the last one');
  assert.equal(judge(5, 6), 'gap');
  assert.equal(judge(4, 6), 'frame');
  assert.equal(lasts.judge('other', 0, 1, 0), 'frame');
});

test('tier 1 lasts - a gap that frames have followed for long stays: the next one applies, and what was missing does not any more', () => {
  const lasts = new Tier1Lasts();
  lasts.judge('t', 0, 1, 0);
  assert.equal(lasts.judge('t', 4, 5, 1_000), 'gap');
  assert.equal(lasts.judge('t', 5, 6, 1_000 + gapPatienceMs - 1), 'gap');
  assert.equal(lasts.judge('t', 6, 7, 1_000 + gapPatienceMs), 'frame');
  assert.equal(lasts.judge('t', 3, 4, 1_000 + gapPatienceMs), 'repeated');
  assert.equal(lasts.judge('t', 7, 8, 20_000), 'frame');
  assert.equal(lasts.judge('t', 9, 10, 20_000), 'gap');
  assert.equal(lasts.judge('t', 8, 9, 24_000), 'frame', 'it was only late');
  assert.equal(lasts.judge('t', 11, 12, 25_000), 'gap', 'and this is another gap');
});

test('tier 1 lasts - whatever is sent again and in whatever order it is stored, frames apply once, and in order', () => {
  const sent = fc.array(fc.nat(12), { maxLength: 80, size: 'max' });
  fc.assert(
    fc.property(sent, (numbers) => {
      const lasts = new Tier1Lasts();
      const applied = numbers.filter((number) => lasts.judge('t', number, number + 1, 0) === 'frame');
      assert.deepEqual(applied, [...applied.keys()]);
    }),
  );
});

test('tier 1 lasts - silent lives are forgotten when there are many, and only then', () => {
  const lasts = new Tier1Lasts();
  const add = (from: number, count: number, timeMs: number) => {
    for (let life = from; life < from + count; life++) lasts.judge(`t${life}`, 0, 1, timeMs);
  };
  add(0, limits.tier1Streams - 1, 0);
  add(1_000, 1, silentMs + 1);
  assert.equal(lasts.size, limits.tier1Streams);
  lasts.judge('t1', 1, 2, silentMs);
  add(2_000, 1, silentMs + 1);
  assert.deepEqual(
    lasts.entries().map(({ tier1Id }) => tier1Id),
    ['t1', 't1000', 't2000'],
  );
});

test('tier 1 lasts - beyond the bound the one that was silent for longest goes, by name where several were', () => {
  const lasts = new Tier1Lasts();
  for (let life = mostLives - 1; life >= 0; life--) lasts.judge(`t${life}`, 0, 1, life < 100 ? 0 : 1);
  lasts.judge('one more', 0, 1, 2);
  assert.equal(lasts.size, mostLives);
  const names = new Set(lasts.entries().map(({ tier1Id }) => tier1Id));
  assert.deepEqual([names.has('t0'), names.has('t1'), names.has('one more')], [false, true, true]);
});

test('tier 1 lasts - restored they go on alike, and the order in which lives came does not count', () => {
  const lasts = new Tier1Lasts();
  for (const name of ['b', 'a', 'c']) lasts.judge(name, 0, 7, 5);
  const restored = new Tier1Lasts();
  assert.ok(restored.restore(lasts.entries()));
  const sumOf = (each: Tier1Lasts) => {
    const sum = new Fingerprint();
    each.addTo(sum);
    return sum.value;
  };
  assert.equal(sumOf(restored), sumOf(lasts));
  assert.equal(restored.judge('a', 6, 7, 5), 'repeated');
  assert.equal(restored.judge('a', 6, 8, 5), 'frame');
  assert.notEqual(sumOf(restored), sumOf(lasts));
  const twice = [...lasts.entries(), ...lasts.entries()];
  assert.equal(new Tier1Lasts().restore(twice), false);
});
