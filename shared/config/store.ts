// What lies in the key-value store: the cluster map, and the mirrors of the groups' views.
//
// Whoever comes first writes the map, by create-only; everybody else takes what is there. A process whose secret differs
// from the map's would key packets otherwise than the rest and is refused. A mirror is only ever replaced by that of a later state.

import { errorCodes, FlowherdError, isFlowherdError } from '../base/errors.ts';
import type { KeyValue } from '../bus/bus.ts';
import { mapKey, viewKey } from '../bus/subjects.ts';
import { decodeMirror, encodeMirror, isNewer, type Mirror } from '../membership/mirror.ts';
import { type ClusterMap, decodeMap, encodeMap } from './map.ts';

/** Compare-and-set attempts for one step; each loses only to somebody who succeeded. */
const commitAttempts = 100;

/** The cluster's map: the one in the store, or `proposal` if the store had none. Rejects with a FlowherdError. */
export async function settleMap(store: KeyValue, proposal: ClusterMap): Promise<ClusterMap> {
  const map = (await readMap(store)) ?? (await createMap(store, proposal));
  if (map.keys.secretFingerprint !== proposal.keys.secretFingerprint) {
    throw new FlowherdError(
      errorCodes.badConfig,
      'this process has another cluster secret than the cluster: set FLOWHERD_SECRET to the same value everywhere',
    );
  }
  return map;
}

/** The map in the store, or undefined when there is none yet. */
export async function readMap(store: KeyValue): Promise<ClusterMap | undefined> {
  const entry = await store.get(mapKey);
  return entry && readableMap(entry.value);
}

/**
 * Writes `step` of the cluster's map, again from a newer one as long as somebody else is first. Resolves to what was written;
 * to undefined when the step gave the map it was given, or none: then nothing was. Rejects with a FlowherdError, `bad-state`
 * for a step that is not to the next version of the same cluster.
 */
export async function changeMap(
  store: KeyValue,
  step: (map: ClusterMap) => ClusterMap | undefined,
): Promise<ClusterMap | undefined> {
  for (let attempt = 0; attempt < commitAttempts; attempt++) {
    const entry = await store.get(mapKey);
    if (entry === undefined) throw new FlowherdError(errorCodes.storeMissing, 'the cluster has no map');
    const map = readableMap(entry.value);
    const next = step(map);
    if (next === undefined || next === map) return undefined;
    if (next.version !== map.version + 1 || next.cluster !== map.cluster) {
      throw new FlowherdError(errorCodes.badState, 'a map is only followed by its next version, of the same cluster');
    }
    if ((await store.update(mapKey, encodeMap(next), entry.revision)) !== undefined) return next;
  }
  throw new FlowherdError(errorCodes.busTimeout, `the map changed ${commitAttempts} times before it could be written`);
}

/** What was in the store that is no newer version of the map. */
export interface MapFollower {
  /** The newest map. */
  readonly map: ClusterMap;
  /** Values that this version cannot read, maps of another life of the store, and versions older than the one at hand. */
  readonly ignored: { unreadable: number; foreign: number; old: number };
  stop(): void;
}

export interface MapListener {
  onMap(map: ClusterMap, former: ClusterMap): void;
  /** Something else is in the store. */
  onIgnored?(what: 'unreadable' | 'foreign'): void;
}

/**
 * Follows the cluster's map from `map` on: `onMap` gets each newer version, the first perhaps before this resolves.
 * Rejects with a FlowherdError.
 */
export async function followMap(store: KeyValue, map: ClusterMap, listener: MapListener): Promise<MapFollower> {
  let present = map;
  const ignored = { unreadable: 0, foreign: 0, old: 0 };
  const stop = await store.watch(mapKey, ({ value }) => {
    const newer = decodeMap(value);
    if (newer === undefined || newer.cluster !== present.cluster) {
      const what = newer === undefined ? 'unreadable' : 'foreign';
      ignored[what]++;
      listener.onIgnored?.(what);
    } else if (newer.version <= present.version) {
      // What comes first is the map that this began with, which is nothing to count.
      if (newer.version < present.version) ignored.old++;
    } else {
      const former = present;
      present = newer;
      listener.onMap(newer, former);
    }
  });
  return {
    get map() {
      return present;
    },
    ignored,
    stop,
  };
}

async function createMap(store: KeyValue, proposal: ClusterMap): Promise<ClusterMap> {
  try {
    if ((await store.create(mapKey, encodeMap(proposal))) !== undefined) return proposal;
  } catch (error) {
    if (!isFlowherdError(error, errorCodes.busRefused)) throw error;
    const text = 'the cluster has no map yet, and this login may not write one';
    throw new FlowherdError(errorCodes.storeMissing, text, error);
  }
  const winner = await readMap(store);
  if (winner === undefined) {
    throw new FlowherdError(errorCodes.storeFailed, 'the cluster map was written and vanished again');
  }
  return winner;
}

/** The mirrored view of each group that has one. */
export async function readMirrors(store: KeyValue, groups: readonly string[]): Promise<ReadonlyMap<string, Mirror>> {
  const mirrors = new Map<string, Mirror>();
  await Promise.all(
    groups.map(async (group) => {
      const entry = await store.get(viewKey(group));
      if (entry !== undefined) mirrors.set(group, readable(entry.key, entry.value));
    }),
  );
  return mirrors;
}

/**
 * Writes a group's mirror unless the store has that one or a newer one; what is no mirror is overwritten. Resolves to whether it wrote. Rejects
 * with a FlowherdError.
 */
export async function writeMirror(store: KeyValue, mirror: Mirror): Promise<boolean> {
  const key = viewKey(mirror.view.group);
  for (let attempt = 0; attempt < commitAttempts; attempt++) {
    const entry = await store.get(key);
    if (entry !== undefined && !isNewer(mirror, decodeMirror(entry.value))) return false;
    const bytes = encodeMirror(mirror);
    const written =
      entry === undefined ? await store.create(key, bytes) : await store.update(key, bytes, entry.revision);
    if (written !== undefined) return true;
  }
  throw new FlowherdError(errorCodes.busTimeout, `${key} changed ${commitAttempts} times before it could be written`);
}

function readableMap(value: Uint8Array): ClusterMap {
  const map = decodeMap(value);
  if (map !== undefined) return map;
  const text = 'the key-value store holds a cluster map that this version cannot read';
  throw new FlowherdError(errorCodes.badDocument, text);
}

function readable(key: string, value: Uint8Array): Mirror {
  const mirror = decodeMirror(value);
  if (mirror !== undefined) return mirror;
  throw new FlowherdError(errorCodes.badDocument, `the key-value store holds no view under ${key}`);
}
