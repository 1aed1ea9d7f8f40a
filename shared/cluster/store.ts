// Reading and first writing of the cluster map. Whoever comes first writes it, by create-only; everybody else takes what
// is there. A process whose secret differs from the map's would key packets otherwise than the rest and is refused.

import type { KeyValue } from '../bus/bus.ts';
import { errorCodes, FlowherdError, isFlowherdError } from '../errors.ts';
import { mapKey } from '../subjects.ts';
import { type ClusterMap, decodeMap, encodeMap } from './map.ts';

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
