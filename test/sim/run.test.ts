// The simulation itself: one seed is one run, a fixed set of seeds holds, and a failing one is made smaller and told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RunOptions, runSeed, runWorld } from './run.ts';
import { sabotages } from './sabotage.ts';
import { shrink } from './shrink.ts';
import { storyOf } from './story.ts';

const options: RunOptions = { seconds: 60 };
/** A seed that fails when servers that drain are no members. */
const failing = 4;

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

test('sim - a failing schedule is made smaller, still fails, and its story names the packet, the views and the rungs', async () => {
  const undo = sabotages['drain-drops'].apply();
  try {
    const { finding } = await runSeed(failing, options);
    assert.ok(finding !== undefined);
    const all = (await runWorld(failing, options)).faults.map(({ index }) => index);
    const shrunk = await shrink(failing, options, finding, all);
    assert.ok(shrunk.keep.length < all.length, `${shrunk.keep.length} of ${all.length} faults are kept`);
    const smaller = { ...options, keep: shrunk.keep };
    const again = await runSeed(failing, smaller);
    assert.deepEqual(again.finding, shrunk.finding);
    assert.equal(again.finding?.checker, finding.checker);
    const story = await storyOf(failing, smaller, shrunk.finding);
    assert.match(story, new RegExp(`packet ${shrunk.finding.packet}: client sends \\w+ through t\\d`));
    assert.match(
      story,
      new RegExp(`packet ${shrunk.finding.packet}: s\\d+ \\(has view \\d+\\): accept\\w+ by view \\d+, frame \\d+`),
    );
    for (const index of shrunk.keep) assert.match(story, new RegExp(`fault #${index}: `));
  } finally {
    undo();
  }
});

async function logOf(seed: number): Promise<{ readonly digest: string; readonly lines: readonly string[] }> {
  const lines: string[] = [];
  const { digest } = await runSeed(seed, options, { log: (line) => void lines.push(line) });
  return { digest, lines };
}
