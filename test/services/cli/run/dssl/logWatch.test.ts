// Whether a member keeps up with its log, as its readiness has it: the state of its line, entries that come, and how far it is behind.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LogFacts, LogWatch } from '../../../../../services/cli/run/dssl/logWatch.ts';

const facts: LogFacts = { state: 'following', position: 7, lag: { entries: 0, ms: 0 } };
const watch = () => new LogWatch({ ageMs: 10_000, bytes: 1_000 });

test('log watch - one that follows and is not half of the log behind keeps up', () => {
  const it = watch();
  assert.equal(it.look(facts, 0), true);
  assert.equal(it.look({ ...facts, position: 8, lag: { entries: 900, ms: 5_000 } }, 1_000), true);
  const late = it.look({ ...facts, position: 9, lag: { entries: 1_200, ms: 5_040 } }, 2_000);
  assert.equal(late, '1200 entries and 5 s behind the log, which keeps 10 s');
  assert.equal(it.look({ ...facts, position: 10 }, 2_100), true, 'it has caught up');
});

test('log watch - a log that brings nothing for longer than ticks take cannot be reached', () => {
  const it = watch();
  assert.equal(it.look(facts, 100_000), true);
  assert.equal(it.look(facts, 104_999), true);
  assert.equal(it.look(facts, 105_000), 'nothing has come from the log for 5 s');
  assert.equal(it.look(facts, 112_340), 'nothing has come from the log for 12.3 s');
  assert.equal(it.look({ ...facts, position: 8 }, 113_000), true);
});

test('log watch - one that does not follow says what it does instead', () => {
  const it = watch();
  for (const [state, words] of [
    ['empty', /state was not found/],
    ['fetching', /fetched from a peer/],
    ['broken', /not the one that was followed/],
  ] as const) {
    assert.match(String(it.look({ ...facts, state }, 0)), words);
  }
});
