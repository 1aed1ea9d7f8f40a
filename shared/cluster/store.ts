// What a cluster agrees on, as it lies in the key-value store: the map and the views.
//
// Whoever comes first writes the map, by create-only; everybody else takes what is there. A process whose secret differs
// from the map's would key packets otherwise than the rest and is refused. A view is only ever replaced by its successor.

import type { KeyValue } from '../bus/bus.ts';
import { errorCodes, FlowherdError } from '../errors.ts';
import { mapKey, viewKey } from '../subjects.ts';
import { type ClusterMap, decodeMap, encodeMap } from './map.ts';
import { decodeView, encodeView, type View } from './view.ts';

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
  if (entry === undefined) return undefined;
  const map = decodeMap(entry.value);
  if (map === undefined) {
    throw new FlowherdError(
      errorCodes.badDocument,
      'the key-value store holds a cluster map that this version cannot read',
    );
  }
  return map;
}

async function createMap(store: KeyValue, proposal: ClusterMap): Promise<ClusterMap> {
  if ((await store.create(mapKey, encodeMap(proposal))) !== undefined) return proposal;
  const winner = await readMap(store);
  if (winner === undefined) {
    throw new FlowherdError(errorCodes.storeFailed, 'the cluster map was written and vanished again');
  }
  return winner;
}

/**
 * Writes `step` of a group's newest view, again from a newer one as long as somebody else is first. Resolves to what was
 * written; to undefined when the step gave the view it was given, or none: then nothing was. Rejects with a FlowherdError.
 */
export async function changeView(
  store: KeyValue,
  group: string,
  step: (view: View | undefined) => View | undefined,
): Promise<View | undefined> {
  const key = viewKey(group);
  for (let attempt = 0; attempt < commitAttempts; attempt++) {
    const entry = await store.get(key);
    const view = entry && readable(key, entry.value);
    const next = step(view);
    if (next === undefined || next === view) return undefined;
    const bytes = encodeView(next);
    const written =
      entry === undefined ? await store.create(key, bytes) : await store.update(key, bytes, entry.revision);
    if (written !== undefined) return next;
  }
  throw new FlowherdError(errorCodes.busTimeout, `${key} changed ${commitAttempts} times before it could be written`);
}

/** The newest view of each group that has one. */
export async function readViews(store: KeyValue, groups: readonly string[]): Promise<ReadonlyMap<string, View>> {
  const views = new Map<string, View>();
  await Promise.all(
    groups.map(async (group) => {
      const entry = await store.get(viewKey(group));
      if (entry !== undefined) views.set(group, readable(entry.key, entry.value));
    }),
  );
  return views;
}

function readable(key: string, value: Uint8Array): View {
  const view = decodeView(value);
  if (view !== undefined) return view;
  throw new FlowherdError(errorCodes.badDocument, `the key-value store holds no view under ${key}`);
}
