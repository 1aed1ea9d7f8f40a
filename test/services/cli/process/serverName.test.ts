// Names of servers: the host's name in them, and what cannot be one.

import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { test } from 'node:test';
import { expandName, serverOption, uniqueServerName } from '../../../../services/cli/process/serverName.ts';
import { isName } from '../../../../shared/bus/subjects.ts';

test('serverName - %h is the host name, in the grammar of names and short enough', () => {
  assert.equal(expandName('lab', 'host'), 'lab');
  assert.equal(expandName('%h', '3f9c2d'), '3f9c2d');
  assert.equal(expandName('lab-%h-a', 'node7.example.org'), 'lab-node7-example-org-a');
  assert.equal(expandName('%h', 'x'.repeat(253)), 'x'.repeat(64));
  assert.equal(expandName('lab-%h-7', 'x'.repeat(253)), `lab-${'x'.repeat(58)}-7`);
  assert.equal(expandName('%h-%h', 'y'.repeat(100)), `${'y'.repeat(31)}-${'y'.repeat(31)}`);
  assert.equal(expandName('%h', ''), '-');
  for (const host of ['', 'ü', 'a b', '%h', 'x'.repeat(500)]) assert.ok(isName(expandName('s-%h', host)), host);
});

test('serverName - a server without a name gets one of its own', () => {
  const [one, other] = [uniqueServerName(), uniqueServerName()];
  assert.ok(isName(one));
  assert.notEqual(one, other);
});

test('serverName - the option takes a name or %h, and nothing that cannot be a name', () => {
  const parse = (text: string) => serverOption().parseArg?.(text, '');
  assert.equal(parse('lab-7'), 'lab-7');
  assert.equal(parse('s-%h'), expandName('s-%h', hostname()));
  assert.equal(parse(''), '', 'as a variable that is set to nothing: the default');
  for (const bad of ['a.b', 'a b', '%x', 'x'.repeat(65), `${'x'.repeat(64)}%h`]) assert.throws(() => parse(bad), /%h/);
});
