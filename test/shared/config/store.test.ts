// The cluster's map in the store: changes by compare-and-set when others change it too, and followers that take newer
// versions of the same cluster and nothing else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../shared/base/clock.ts';
import { errorCodes } from '../../../shared/base/errors.ts';
import type { KeyValue } from '../../../shared/bus/bus.ts';
import { MemoryHub } from '../../../shared/bus/memory.ts';
import { mapKey } from '../../../shared/bus/subjects.ts';
import { type ClusterMap, changedMap, decodeMap, encodeMap } from '../../../shared/config/map.ts';
import { type ClusterSettings, settingsSchema } from '../../../shared/config/settings.ts';
import { changeMap, followMap, readMap, settleMap } from '../../../shared/config/store.ts';
import { hasCode, Waiter } from '../../support/busInbox.ts';
import { mapByHand } from '../../support/cluster.ts';

const first = mapByHand(['g1']);

const beating = (beatMs: number): ClusterSettings => settingsSchema.parse({ watching: { beatMs } });
const step = (beatMs: number) => (map: ClusterMap) =>
  changedMap(map, { settings: beating(beatMs) }, { by: 'me@here', atMs: 7, what: `beat ${beatMs}` });

async function openStore(): Promise<KeyValue> {
  const store = await new MemoryHub({ clock: systemClock }).connect('test').openKeyValue('fh_c');
  await settleMap(store, first);
  return store;
}

/** Writes what changeMap would not. */
async function force(store: KeyValue, value: Uint8Array): Promise<void> {
  const entry = await store.get(mapKey);
  assert.ok((await store.update(mapKey, value, entry?.revision ?? 0)) !== undefined);
}

test('store - a change of the map is its next version, with who, when and what, and history keeps them all', async () => {
  const store = await openStore();
  const second = await changeMap(store, step(50));
  assert.deepEqual(second, {
    ...first,
    version: 2,
    settings: beating(50),
    changed: { by: 'me@here', atMs: 7, what: 'beat 50' },
  });
  assert.deepEqual(await readMap(store), second);
  await changeMap(store, step(60));
  const versions = (await store.history(mapKey)).map(({ value }) => decodeMap(value)?.version);
  assert.deepEqual(versions, [1, 2, 3]);
});

test('store - nothing is written by a step that gives no map, or the same', async () => {
  const store = await openStore();
  assert.equal(await changeMap(store, () => undefined), undefined);
  assert.equal(await changeMap(store, (map) => map), undefined);
  assert.equal((await store.history(mapKey)).length, 1);
});

test('store - many who change the map at once all do, one after the other', async () => {
  const store = await openStore();
  await Promise.all(Array.from({ length: 20 }, (_, index) => changeMap(store, step(100 + index))));
  const map = await readMap(store);
  assert.equal(map?.version, 21);
  const seen = new Set((await store.history(mapKey)).map(({ value }) => decodeMap(value)?.changed?.what));
  assert.equal(seen.size, 21, 'each change was made from the one before');
});

test('store - a step that is not to the next version of the same cluster is refused, and so is one without a map', async () => {
  const store = await openStore();
  await assert.rejects(
    changeMap(store, (map) => ({ ...map, version: 3 })),
    hasCode(errorCodes.badState),
  );
  await assert.rejects(
    changeMap(store, (map) => ({ ...map, version: 2, cluster: 'd' })),
    hasCode(errorCodes.badState),
  );
  const empty = await new MemoryHub({ clock: systemClock }).connect('test').openKeyValue('fh_d');
  await assert.rejects(changeMap(empty, step(50)), hasCode(errorCodes.storeMissing));
  await force(store, Buffer.from('{}'));
  await assert.rejects(changeMap(store, step(50)), hasCode(errorCodes.badDocument));
});

test('store - who follows the map hears newer versions of its cluster, and the rest is counted', async () => {
  const store = await openStore();
  const heard = new Waiter<number>();
  const told: string[] = [];
  await changeMap(store, step(50));
  const follower = await followMap(store, first, {
    onMap: (map, former) => {
      assert.equal(former.version < map.version, true);
      heard.add(map.version);
    },
    onIgnored: (what) => told.push(what),
  });
  assert.deepEqual(await heard.count(1), [2], 'also what changed before it began');
  await force(store, Buffer.from('no map'));
  await force(store, encodeMap({ ...first, cluster: 'other', version: 9 }));
  await force(store, encodeMap(first));
  for (const version of [5, 5, 6]) await force(store, encodeMap({ ...first, version }));
  assert.deepEqual(await heard.count(3), [2, 5, 6]);
  assert.deepEqual(follower.ignored, { unreadable: 1, foreign: 1, old: 1 });
  assert.deepEqual(told, ['unreadable', 'foreign']);
  assert.equal(follower.map.version, 6);
  follower.stop();
});
