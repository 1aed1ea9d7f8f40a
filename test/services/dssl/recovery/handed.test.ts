// Entries that come a second time after the end of a log was lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Handed } from '../../../../services/dssl/recovery/handed.ts';

test('handed - the same entry at the same position is known; another one there, or one of long ago, is not', () => {
  const handed = new Handed();
  for (let position = 1; position <= 5_000; position++) assert.equal(handed.note(position, position * 7), false);
  for (let position = 4_000; position <= 5_000; position++) assert.equal(handed.note(position, position * 7), true);
  assert.equal(handed.note(4_500, 1), false, 'another line');
  assert.equal(handed.note(4_500, 1), true);
  assert.equal(handed.note(1, 7), false, 'forgotten');
});
