// Settings that change while a service runs: told once a change, with who and what; the rest of a map is kept.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { followSettings } from '../../../../services/cli/config/liveSettings.ts';
import { systemClock } from '../../../../shared/base/clock.ts';
import { MemoryHub } from '../../../../shared/bus/memory.ts';
import { mapKey } from '../../../../shared/bus/subjects.ts';
import { changedMap, encodeMap } from '../../../../shared/config/map.ts';
import { type ClusterSettings, settingsSchema } from '../../../../shared/config/settings.ts';
import { changeMap, settleMap } from '../../../../shared/config/store.ts';
import { Waiter } from '../../../support/busInbox.ts';
import { mapByHand } from '../../../support/cluster.ts';

const first = mapByHand(['g1']);
const beating = (beatMs: number): ClusterSettings => settingsSchema.parse({ watching: { beatMs } });

test('live settings - they are handed on once a change, and other parts of the map are kept and warned of', async () => {
  const store = await new MemoryHub({ clock: systemClock }).connect('test').openKeyValue('fh_c');
  await settleMap(store, first);
  /** Writes what changeMap would not. */
  const force = async (value: Uint8Array) => {
    const entry = await store.get(mapKey);
    assert.ok((await store.update(mapKey, value, entry?.revision ?? 0)) !== undefined);
  };
  const change = { by: 'me@here', atMs: 7, what: 'beat 50' };
  const changes = new Waiter<ClusterSettings>();
  const said = new Waiter<[object, string]>();
  const log = {
    info: (fields: object, message: string) => said.add([fields, message]),
    warn: (fields: object, message: string) => said.add([fields, message]),
  };
  const follower = await followSettings({ store, map: first, log, onSettings: (settings) => changes.add(settings) });
  await changeMap(store, (map) => changedMap(map, { settings: beating(50) }, change));
  assert.deepEqual(await changes.count(1), [beating(50)]);
  assert.deepEqual(said.items, [[{ version: 2, by: 'me@here', atMs: 7, what: 'beat 50' }, 'settings changed']]);
  const map = { ...first, settings: beating(50), placement: 'maglev' as const, seed: 2 };
  await force(encodeMap({ ...map, version: 3 }));
  await said.count(2);
  assert.deepEqual(said.items[1][0], { version: 3, kept: ['placement', 'seed'] });
  await force(encodeMap({ ...map, version: 4, settings: beating(60) }));
  assert.deepEqual(await changes.count(2), [beating(50), beating(60)]);
  follower.stop();
});
