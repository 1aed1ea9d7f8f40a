// The simulation itself: one seed is one run, a fixed set of seeds holds, and a failing one is made smaller and told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Finding } from './checkers/finding.ts';
import { type RunOptions, runSeed, runWorld } from './run.ts';
import { sabotages } from './sabotage.ts';
import { shrink } from './shrink.ts';
import { storyOf } from './story.ts';

const options: RunOptions = { seconds: 60 };

test('sim - one seed run twice is the same run, to the last line, and another seed another one', async () => {
  const once = await logOf(11);
  const again = await logOf(11);
  const other = await logOf(12);
  assert.ok(once.lines.length > 20, `only ${once.lines.length} lines`);
  assert.deepEqual(again, once);
  assert.notEqual(other.digest, once.digest);
  assert.notDeepEqual(other.lines, once.lines);
});

test('sim - leaving out a fault leaves all other faults as they were', async () => {
  const whole = await runWorld(11, options);
  const kept = whole.faults.filter(({ index }) => index !== whole.faults[0].index);
  const without = await runWorld(11, { ...options, keep: kept.map(({ index }) => index) });
  assert.deepEqual(without.faults, kept);
});

test('sim - a fixed set of seeds holds', async () => {
  const failed: string[] = [];
  let unserved = 0;
  let packets = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const outcome = await runSeed(seed, options);
    packets += outcome.packets;
    unserved += outcome.unserved;
    if (outcome.finding !== undefined) failed.push(`seed ${seed}: ${outcome.finding.checker}: ${outcome.finding.what}`);
  }
  assert.deepEqual(failed, []);
  // Faults must hurt, and not so much that there is nothing left to check.
  assert.ok(packets > 100_000, `only ${packets} packets`);
  assert.ok(unserved > 0 && unserved < packets / 20, `${unserved} of ${packets} packets went unserved`);
});

test('sim - a failing schedule is made smaller, still fails, and its story names the packet, positions and rungs', async () => {
  const { apply, kinds, plan } = sabotages['never-gone'];
  const run = { ...options, ...(kinds && { kinds }), ...(plan && { plan }) };
  const undo = apply();
  try {
    const { seed, finding } = await firstWithPacket(run, 10);
    const all = (await runWorld(seed, run)).faults.map(({ index }) => index);
    const shrunk = await shrink(seed, run, finding, all);
    assert.ok(shrunk.keep.length < all.length, `${shrunk.keep.length} of ${all.length} faults are kept`);
    const smaller = { ...run, keep: shrunk.keep };
    const again = await runSeed(seed, smaller);
    assert.deepEqual(again.finding, shrunk.finding);
    assert.equal(again.finding?.checker, finding.checker);
    const story = await storyOf(seed, smaller, shrunk.finding);
    const { packet } = shrunk.finding;
    assert.match(story, new RegExp(`packet ${packet}: client sends \\w+ through t\\d`));
    assert.match(story, new RegExp(`packet ${packet}: stored at \\d+ of g\\d`));
    assert.match(story, /packet \d+: s\d+ at \d+, view \d+: \w+, frame \d+ of t\d/);
    for (const index of shrunk.keep) assert.match(story, new RegExp(`fault #${index}: `));
  } finally {
    undo();
  }
});

/** The first seed whose failure is about a packet; which one that is changes with the product. */
async function firstWithPacket(
  run: RunOptions,
  seeds: number,
): Promise<{ readonly seed: number; readonly finding: Finding }> {
  for (let seed = 1; seed <= seeds; seed++) {
    const { finding } = await runSeed(seed, run);
    if (finding?.packet !== undefined) return { seed, finding };
  }
  throw new Error(`none of ${seeds} seeds fails so`);
}

async function logOf(seed: number): Promise<{ readonly digest: string; readonly lines: readonly string[] }> {
  const lines: string[] = [];
  const { digest } = await runSeed(seed, options, { log: (line) => void lines.push(line) });
  return { digest, lines };
}
