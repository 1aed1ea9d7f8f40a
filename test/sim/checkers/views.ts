// The view is a function of the log, and its mirror in the key-value store follows: it goes forwards only, and in the end it is the
// view that the log makes.

import { isDeepStrictEqual } from 'node:util';
import { viewKey } from '../../../shared/bus/subjects.ts';
import { decodeMirror, isNewer, type Mirror } from '../../../shared/membership/mirror.ts';
import type { World } from '../world.ts';
import type { Finding } from './finding.ts';

/** A view is in the store after this at the latest: the members take turns in writing it, and a write may be late. */
const spreadMs = 4_000;

export function views(world: World): Finding | undefined {
  const wrong = (what: string): Finding => ({ checker: 'views', what });
  const { store } = world;
  for (const { id } of world.map.groups) {
    const key = viewKey(id);
    let last: Mirror | undefined;
    let isEmptied = false;
    for (const write of store.writes) {
      if (write.isFirst) isEmptied = true;
      if (write.key !== key) continue;
      const mirror = decodeMirror(write.value);
      if (mirror === undefined) return wrong(`${write.by} wrote something that is no view of ${id}`);
      if (!isEmptied && !isNewer(mirror, last))
        return wrong(`${write.by} wrote view ${mirror.view.number} of ${id} over view ${last?.view.number}`);
      isEmptied = false;
      last = mirror;
    }
    const reference = world.referenceOf(id);
    const newest = reference.views[reference.views.length - 1];
    if (newest === undefined || newest.atMs > world.nowMs - spreadMs) continue;
    const stored = store.get(key);
    const mirror = stored && decodeMirror(stored.value);
    // A log that has lost its end may have lost the view that the mirror tells of; a later one will replace it.
    if (mirror !== undefined && reference.lineless.length > 0 && mirror.position > newest.position) continue;
    if (mirror?.view.number !== newest.view.number || mirror.epoch.id !== reference.epoch?.id)
      return wrong(`the mirror of ${id} ends with view ${mirror?.view.number}, the log with ${newest.view.number}`);
    if (!isDeepStrictEqual(mirror.view, newest.view))
      return wrong(`the mirror of ${id} has another view ${newest.view.number} than the log`);
  }
  return undefined;
}
