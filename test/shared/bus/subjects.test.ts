// Every name on the bus: the grammar, spelled out and the other way round.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { errorCodes, isFlowherdError } from '../../../shared/base/errors.ts';
import {
  assertName,
  channels,
  groupOfViewKey,
  isName,
  parseSubject,
  subjectsOf,
  viewKey,
} from '../../../shared/bus/subjects.ts';
import { entryKinds } from '../../../shared/log/log.ts';

const names = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);

describe('subjects', () => {
  it('subjects - the grammar, spelled out', () => {
    const subjects = subjectsOf('prod');
    assert.equal(subjects.control('g1'), 'fh.prod.ctl.g1');
    assert.equal(subjects.gossip('g1'), 'fh.prod.gossip.g1');
    assert.equal(subjects.every('gossip'), 'fh.prod.gossip.*');
    assert.equal(subjects.peer('g1', 's1'), 'fh.prod.peer.g1.s1');
    assert.equal(subjects.beat('g1', 's1'), 'fh.prod.beat.g1.s1');
    assert.equal(subjects.every('beat'), 'fh.prod.beat.*.*');
    assert.equal(subjects.log('g1', 'frame'), 'fh.prod.log.g1.frame');
    assert.equal(subjects.log('g1', 'command'), 'fh.prod.log.g1.command');
    assert.equal(subjects.every('log'), 'fh.prod.log.*.*');
    assert.equal(subjects.logStream('g1'), 'fh_prod_g1');
    assert.equal(subjects.bucket, 'fh_prod');
    assert.equal(viewKey('g1'), 'view.g1');
  });

  it('subjects - what is built parses back, and is never mistaken for another', () => {
    const property = fc.property(
      names,
      names,
      names,
      fc.constantFrom(...channels),
      (cluster, name, server, channel) => {
        const subjects = subjectsOf(cluster);
        if (channel === 'log') {
          for (const kind of entryKinds)
            assert.deepEqual(parseSubject(subjects.log(name, kind)), { cluster, channel, name, kind });
          return;
        }
        if (channel === 'peer' || channel === 'beat') {
          assert.equal(subjects[channel](name, server), subjects[channel](name, server));
          assert.deepEqual(parseSubject(subjects[channel](name, server)), { cluster, channel, name, server });
          return;
        }
        const build = channel === 'ctl' ? subjects.control : subjects[channel];
        assert.equal(build(name), build(name));
        assert.deepEqual(parseSubject(build(name)), { cluster, channel, name });
        assert.equal(groupOfViewKey(viewKey(name)), name);
      },
    );
    fc.assert(property);
  });

  it('subjects - any text parses or is undefined, and never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseSubject(text);
        groupOfViewKey(text);
      }),
    );
    for (const text of [
      '',
      'fh',
      'fh.a.data',
      'fh.a.data.b.c',
      'fh.a.data.b.frame',
      'fh.a.log.b',
      'fh.a.peer.b',
      'fh.a.beat.b.*',
      'fh.a.gossip.b.c',
      'fh.a.log.b.other',
      'fh.a.log.b.frame.c',
      'gh.a.data.b',
      'fh.a.other.b',
      'fh.a.data.*',
      'fh..data.b',
    ]) {
      assert.equal(parseSubject(text), undefined, text);
    }
    for (const key of ['map', 'view', 'view.', 'view.a.b', 'views.a', 'view.*'])
      assert.equal(groupOfViewKey(key), undefined);
  });

  it('subjects - a bad name says what is wrong, also where a wildcard or a dot would reach further', () => {
    for (const name of ['', 'a.b', '*', '>', 'a b', 'ü', 'a\n', 'x'.repeat(65)]) {
      assert.equal(isName(name), false);
      assert.throws(() => assertName('group', name), isBadName);
      assert.throws(() => subjectsOf('c').gossip(name), isBadName);
      assert.throws(() => subjectsOf('c').log(name, 'frame'), isBadName);
      assert.throws(() => subjectsOf('c').logStream(name), isBadName);
      assert.throws(() => subjectsOf(name), isBadName);
      assert.throws(() => viewKey(name), isBadName);
    }
    assert.throws(() => assertName('group', 'a.b'), /"a\.b" cannot be the name of a group: use 1 to 64/);
    assert.equal(isName('x'.repeat(64)), true);
  });
});

function isBadName(error: unknown): boolean {
  return isFlowherdError(error, errorCodes.badName) && !error.message.includes('\n') && error.message.length < 200;
}
