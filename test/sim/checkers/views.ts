// Views never fork: each number is written once, one after the other. And they converge: in the end everybody who lives
// has the newest one, or one that was replaced at the very end.

import { viewKey } from '../../../shared/bus/subjects.ts';
import { decodeView } from '../../../shared/membership/view.ts';
import type { World } from '../world.ts';
import type { Finding } from './finding.ts';

/** A view is known to everybody after this, the longest delay of news from the store included. */
const spreadMs = 1_000;

export function views(world: World): Finding | undefined {
  for (const { id } of world.map.groups) {
    let number = 0;
    let spread = 0;
    for (const write of world.store.writes.filter(({ key }) => key === viewKey(id))) {
      const view = decodeView(write.value);
      if (view === undefined) return { checker: 'views', what: `${write.by} wrote something that is no view of ${id}` };
      if (view.number !== number + 1)
        return { checker: 'views', what: `${write.by} wrote view ${view.number} of ${id} after view ${number}` };
      number = view.number;
      if (write.atMs <= world.nowMs - spreadMs) spread = number;
    }
    for (const server of world.servers) {
      if (!server.options.process.isAlive || server.options.group !== id) continue;
      const newest = server.actor.core.views.newest?.view.number ?? 0;
      if (newest < spread || newest > number)
        return {
          checker: 'views',
          what: `${server.options.name} ended with view ${newest} of ${id}, the store with ${spread}`,
        };
    }
  }
  return undefined;
}
