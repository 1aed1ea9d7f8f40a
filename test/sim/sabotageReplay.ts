// Sabotages of what becomes of a dead server's packets: see sabotage.ts.

import { HandledUpTo } from '../../services/dssl/egress/handledUpTo.ts';
import { Lease } from '../../services/dssl/failover/lease.ts';
import { Replay } from '../../services/dssl/failover/replay.ts';
import { LogLine } from '../../services/dssl/logLine.ts';
import { defaultRules } from '../../shared/membership/view.ts';
import { replace, type Sabotage, wrap } from './sabotaging.ts';
import { SimServer } from './server.ts';

const deaths: Pick<Sabotage, 'caughtWithin' | 'kinds'> = { caughtWithin: 15, kinds: ['die', 'crash'] };
const plan = {
  rules: { ...defaultRules, availability: 'active-active' },
  groups: 1,
  serversPerGroup: 3,
  logAgeMs: 10_000,
  logBytes: 1_000_000_000,
} as const;

export const replaySabotages: Readonly<Record<string, Sabotage>> = {
  'no-replay': {
    what: 'what a dead server had not handled is left where it is',
    ...deaths,
    plan,
    apply: () => replace(Replay, 'begin', () => undefined),
  },
  'applied-is-handled': {
    what: 'a server says that it is done with what it has only been handed',
    ...deaths,
    plan: { ...plan, workMs: 900 },
    apply: () => replace(HandledUpTo, 'at', (position: number) => position),
  },
  'replay-unmarked': {
    what: 'a server is not told that a dead one may have had what it gets',
    ...deaths,
    plan: { ...plan, workMs: 0 },
    apply: () =>
      wrap(
        SimServer,
        'workOn',
        (original) =>
          function (this: SimServer, packets: readonly number[], _isRepeat: boolean, handled: HandledUpTo) {
            original.call(this, packets, false, handled);
          },
      ),
  },
  'no-lease': {
    what: 'a server that was asleep hands out what is in the log before it was removed',
    caughtWithin: 15,
    kinds: ['pause'],
    plan: { ...plan, workMs: 0 },
    apply: () => replace(Lease, 'holds', () => true),
  },
  'replay-beside-the-reader': {
    what: 'an heir goes on with the log while it replays',
    ...deaths,
    plan: { ...plan, packetsPerSecond: 240, flows: 20, workMs: 0 },
    apply: () => replace(LogLine, 'hold', () => undefined),
  },
};
