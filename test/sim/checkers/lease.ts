// A server that was removed because it was silent, and comes back, does not go on handing out packets for long: its heirs have them.

import type { World } from '../world.ts';
import type { Finding } from './finding.ts';

export function lease(world: World): Finding | undefined {
  const server = world.servers.find(({ overslept }) => overslept !== undefined);
  return server?.overslept === undefined ? undefined : { checker: 'lease', what: server.overslept };
}
