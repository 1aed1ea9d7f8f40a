// How each fault of a log comes over the world.

import { busReturnsMs, restartBus } from './befall.ts';
import type { Fault } from './faults.ts';
import type { World } from './world.ts';

/** What comes over the log of one group. */
export function befallLog(world: World, fault: Fault): void {
  const { weather, clock } = world;
  const { kind, lastsMs, pick, amount } = fault;
  const { id: group } = world.map.groups[pick % world.plan.groups];
  const log = world.network.logOf(group);
  const note = (what: string, ms = lastsMs) => weather.note(kind, group, ms, `the log of ${group} ${what}`);
  switch (kind) {
    case 'reader-forgotten':
      note('forgets its readers', 0);
      log.forgetReaders();
      return;
    case 'no-leader':
      note('has no leader');
      log.loseLeader(lastsMs);
      clock.setTimer(lastsMs, () => {
        log.clockErrorMs = Math.round((amount - 0.5) * 4_000);
      });
      return;
    case 'short-log': {
      note('keeps little');
      log.keepLess({ ageMs: Math.floor(150 + amount * 1_500), bytes: 2_000 + (pick % 30_000) }, lastsMs);
      return;
    }
    case 'log-clock': {
      const errorMs = Math.round((amount - 0.5) * 7_200_000);
      note(`has a clock that is wrong by ${errorMs} ms`);
      log.clockErrorMs = errorMs;
      clock.setTimer(lastsMs, () => {
        log.clockErrorMs = 0;
      });
      return;
    }
    case 'log-restart':
    case 'log-tail':
    case 'log-emptied': {
      const count = 1 + (pick % 12);
      if (kind === 'log-restart') note('is started again');
      else note(kind === 'log-tail' ? `loses its last ${count} entries` : 'is empty');
      // A single server takes all connections with it.
      if (world.plan.nodes === 1) {
        weather.note('bus-restart', '*', lastsMs + busReturnsMs, 'NATS is started again');
        restartBus(world, fault);
      } else log.restart(lastsMs);
      if (kind === 'log-tail') log.cutTail(count);
      if (kind === 'log-emptied') log.destroy();
      return;
    }
  }
}
