// Counts of a life whose replica was replaced, once or several times: nothing is lost and nothing counts twice.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addNumbers, ReplicaTally } from '../../../../../services/cli/run/dssl/tally.ts';
import { V, verdicts } from '../../../../../services/dssl/replica/verdict.ts';

function replica(accepted: number, frames: number) {
  const counts = new Float64Array(verdicts.length);
  counts[V.acceptKnown] = accepted;
  return { counts, counters: { frames, badFrames: { size: frames * 10 } } };
}

test('tally - the counts of all replicas of a life are added up, whenever they change', () => {
  const tally = new ReplicaTally();
  assert.deepEqual([tally.count(V.acceptKnown), tally.sum().entries], [0, {}]);
  const [first, second, third] = [replica(5, 1), replica(70, 2), replica(900, 3)];
  for (const each of [first, first, second, third, third]) {
    tally.note(each);
    each.counts[V.acceptNew]++;
  }
  const { verdicts: counted, entries } = tally.sum();
  assert.deepEqual([counted.acceptKnown, counted.acceptNew, counted.dropNoOwner], [975, 5, 0]);
  assert.deepEqual(entries, { frames: 6, badFrames: { size: 60 } });
  assert.equal(tally.count(V.acceptNew), 5);
  third.counts[V.acceptNew]++;
  assert.equal(tally.count(V.acceptNew), 6, 'as of now');
});

test('tally - numbers are added name by name, in any depth', () => {
  assert.deepEqual(addNumbers({ a: 1, b: { c: 2 } }, { a: 3, b: { c: 4, d: 5 }, e: 6 }), {
    a: 4,
    b: { c: 6, d: 5 },
    e: 6,
  });
});
