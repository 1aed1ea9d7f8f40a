// Which subjects a pattern stands for, and which texts are no subject.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { matches } from '../../../shared/bus/subjectMatch.ts';

/** From the NATS documentation of subject-based messaging: pattern, what it matches, what it does not. */
const cases: [string, string[], string[]][] = [
  ['time.us', ['time.us'], ['time', 'time.us.east', 'time.u', 'xtime.us']],
  ['time.*.east', ['time.us.east', 'time.eu.east'], ['time.us.east.atlanta', 'time.east', 'time.us.west']],
  ['time.us.*', ['time.us.east'], ['time.us', 'time.us.east.atlanta']],
  ['time.us.>', ['time.us.east', 'time.us.east.atlanta'], ['time.us', 'time.eu.east']],
  ['*.*.east.>', ['time.us.east.atlanta'], ['time.us.east', 'time.east.x']],
  ['>', ['a', 'a.b'], []],
];

describe('subject patterns', () => {
  for (const [pattern, yes, no] of cases) {
    it(`subjects - what ${pattern} stands for`, () => {
      for (const subject of yes) assert.equal(matches(pattern, subject), true, subject);
      for (const subject of no) assert.equal(matches(pattern, subject), false, subject);
    });
  }
});
