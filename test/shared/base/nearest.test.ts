// Mistyped words: the nearest known one is offered, and none where none is near.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { didYouMean, nearest } from '../../../shared/base/nearest.ts';

test('nearest - a letter dropped, added, wrong or swapped, and capitals', () => {
  const known = ['beatMs', 'suspectMs', 'confirmMs', 's1', 's12'];
  for (const word of ['beatM', 'beatMss', 'beetMs', 'baetMs', 'BEATMS']) assert.equal(nearest(word, known), 'beatMs');
  assert.equal(nearest('s11', known), 's1');
  assert.equal(didYouMean('suspctMs', known), ', did you mean suspectMs?');
});

test('nearest - nothing is offered where nothing is near', () => {
  assert.equal(nearest('frobnicate', ['beatMs', 'weights']), undefined);
  assert.equal(nearest('x', ['y']), undefined);
  assert.equal(nearest('', ['y']), undefined);
  assert.equal(nearest('a', []), undefined);
  assert.equal(didYouMean('frobnicate', ['beatMs']), '');
  assert.equal(nearest('a'.repeat(100_000), ['b'.repeat(100_000)]), undefined);
});
