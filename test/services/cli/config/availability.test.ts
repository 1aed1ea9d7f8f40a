// `--availability`: for the cluster and for groups of it, and what cannot be.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAvailability } from '../../../../services/cli/config/availability.ts';
import { mapFromOptions, usualCluster } from '../../../../services/cli/config/settings.ts';
import { rolesOf } from '../../../../services/cli/run/dssl/roles.ts';
import { birthOf, decodeMap, encodeMap } from '../../../../shared/config/map.ts';

const mapOf = (text: string, groups = 3) =>
  mapFromOptions({ ...usualCluster, groups, availability: parseAvailability(text) }, 'secret');

test('availability - one word is for all groups, others are for the groups they name', () => {
  const map = mapOf('n-plus-m,g2=none,g3=active-passive');
  const of = (group: string) => birthOf(map, group).rules.availability;
  assert.deepEqual(['g1', 'g2', 'g3'].map(of), ['n-plus-m', 'none', 'active-passive']);
  assert.equal(birthOf(mapOf('g2=active-active'), 'g1').rules.availability, 'none');
  const again = decodeMap(encodeMap(map));
  assert.deepEqual(again && birthOf(again, 'g3'), birthOf(map, 'g3'));
});

test('availability - a word that is none, a name that is none and a group that is none are refused', () => {
  for (const text of ['always', 'g1=', 'g1=none=none', '', 'none,', 'a b=none'])
    assert.throws(() => parseAvailability(text), /./, text);
  assert.throws(
    () => mapOf('none,g9=n-plus-m'),
    /--availability g9=n-plus-m: there is no group g9; the groups are g1, g2, g3/,
  );
});

test('availability - what a process is: a server, a standby, or one in each of several groups', () => {
  const map = mapOf('n-plus-m,g3=active-passive');
  assert.deepEqual(rolesOf({}, 's1', map), [{ server: 's1', memberOf: undefined }]);
  assert.deepEqual(rolesOf({ memberOf: ['g2', 'g3'] }, 's5', map), [
    { server: 's5', memberOf: 'g2' },
    { server: 's5', memberOf: 'g3' },
  ]);
  assert.throws(
    () => rolesOf({ memberOf: ['g2', 'g3'], egress: 'bus' }, 's5', map),
    /--member-of g2,g3: .*--egress bus/,
  );
  assert.deepEqual(rolesOf({ memberOf: ['g3'], standbyFor: ['a', 'b'] }, 'x', map), [
    { server: 'x', memberOf: 'g3', standsFor: ['a', 'b'] },
  ]);
  assert.deepEqual(rolesOf({ memberOf: ['g1', 'g2'], standbyFor: ['all'] }, 'x', map), [
    { server: 'x-g1', memberOf: 'g1', standsFor: [] },
    { server: 'x-g2', memberOf: 'g2', standsFor: [] },
  ]);
  const wide = mapOf('n-plus-m', 2);
  assert.deepEqual(
    rolesOf({ memberOf: ['all'], standbyFor: ['all'] }, 'x', wide).map(({ memberOf }) => memberOf),
    ['g1', 'g2'],
  );
  assert.deepEqual(rolesOf({ standbyFor: ['all'] }, 'x', mapOf('n-plus-m', 1)), [
    { server: 'x', memberOf: 'g1', standsFor: [] },
  ]);
});
