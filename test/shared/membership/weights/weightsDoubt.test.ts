// What of wishes for other weights is beyond doubt.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../../shared/base/prng.ts';
import { Doubt } from '../../../../shared/membership/weights/doubt.ts';

const lifetimeMs = 10_000;

function heed(doubt: Doubt, wanted: number, nowMs: number, weight = 100, incarnation = 1): number {
  const wishes = [{ server: 's0', incarnation, weight, wanted, chance: 0.4 }];
  return doubt.heed(wishes, lifetimeMs, nowMs).get('s0') ?? Number.NaN;
}

test('weight doubt - a wish further off than chance makes it counts at once, upwards and downwards alike', () => {
  assert.equal(heed(new Doubt(), 141, 0), 141);
  assert.equal(heed(new Doubt(), 139, 0), 100);
  assert.equal(heed(new Doubt(), 71, 0), 71);
  assert.equal(heed(new Doubt(), 72, 0), 100);
});

test('weight doubt - a smaller one counts when it has persisted for lifetimes of flows', () => {
  const doubt = new Doubt();
  let nowMs = 0;
  while (heed(doubt, 125, nowMs) === 100 && nowMs < 20 * lifetimeMs) nowMs += 1_000;
  assert.ok(nowMs > 2 * lifetimeMs && nowMs < 8 * lifetimeMs, `${nowMs}`);
  assert.equal(Math.round(heed(doubt, 125, nowMs + 1_000)), 125);
  const small = new Doubt();
  for (nowMs = 0; nowMs < 100 * lifetimeMs; nowMs += 1_000) assert.equal(heed(small, 115, nowMs), 100);
});

test('weight doubt - wishes to and fro never count', () => {
  const doubt = new Doubt();
  const prng = new Prng(1);
  for (let nowMs = 0; nowMs < 100 * lifetimeMs; nowMs += 1_000) {
    assert.equal(heed(doubt, prng.between(72, 139), nowMs), 100);
  }
});

test('weight doubt - long evenness does not outweigh what comes after it', () => {
  const doubt = new Doubt();
  for (let nowMs = 0; nowMs < 1_000 * lifetimeMs; nowMs += 1_000) heed(doubt, 100, nowMs);
  let nowMs = 1_000 * lifetimeMs;
  while (heed(doubt, 130, nowMs) === 100 && nowMs < 1_020 * lifetimeMs) nowMs += 1_000;
  assert.ok(nowMs < 1_010 * lifetimeMs, `${nowMs - 1_000 * lifetimeMs}`);
});

test('weight doubt - it begins anew with another weight or another life', () => {
  for (const [weight, incarnation] of [
    [101, 1],
    [100, 2],
  ]) {
    const doubt = new Doubt();
    for (let nowMs = 0; nowMs < 100_000; nowMs += 1_000) heed(doubt, 125, nowMs);
    assert.equal(heed(doubt, 125, 100_000, weight, incarnation), weight);
  }
});
