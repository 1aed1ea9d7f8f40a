// Sabotages of what concerns the log: reading it, appending to it, and the epochs by which its lines begin. See sabotage.ts.

import { Fetch } from '../../services/dssl/recovery/fetch.ts';
import { Handed } from '../../services/dssl/recovery/handed.ts';
import { Recovery } from '../../services/dssl/recovery/recovery.ts';
import { Seek } from '../../services/dssl/recovery/seek.ts';
import { EpochLine } from '../../services/dssl/replica/global/epochLine.ts';
import { AbsentSlices } from '../../services/dssl/replica/snapshot/absentSlices.ts';
import { Outlet } from '../../services/tier1/outlet.ts';
import { AppendWindow } from '../../shared/log/appendWindow.ts';
import type { AppendOutcome, ReadHandlers, ReadOptions } from '../../shared/log/log.ts';
import { type Command, decodeCommand } from '../../shared/log/records/command.ts';
import { defaultRules } from '../../shared/membership/view.ts';
import { SimGroupLog } from './groupLog.ts';
import { SimReader } from './logReader.ts';
import { replace, type Sabotage, together, wrap } from './sabotaging.ts';
import { SimStore } from './store.ts';

const fig7 = { rules: { ...defaultRules, typeOneMethod: 'fig-7' } } as const;

export const logSabotages: Readonly<Record<string, Sabotage>> = {
  'no-log-matching': {
    what: 'a reader whose log has lost its end goes on behind its position as if nothing had happened',
    caughtWithin: 10,
    kinds: ['log-tail'],
    apply: () =>
      wrap(
        SimReader,
        'problem',
        (original) =>
          function (this: SimReader) {
            const problem = original.call(this);
            return problem === 'trimmed' ? problem : undefined;
          },
      ),
  },
  'holes-unseen': {
    what: 'a reader does not see that entries which it has not read have been trimmed',
    caughtWithin: 15,
    kinds: ['short-log', 'pause', 'slow-reader', 'disconnect'],
    plan: { ...fig7, logAgeMs: 2_500, serversPerGroup: 2 },
    apply: () =>
      together(
        replace(SimReader, 'isHole', () => false),
        wrap(
          SimReader,
          'problem',
          (original) =>
            function (this: SimReader) {
              const problem = original.call(this);
              return problem === 'trimmed' ? undefined : problem;
            },
        ),
      ),
  },
  'refusal-taken-for-stored': {
    what: 'an empty answer, by which a log without a leader refuses, counts as an acknowledgement',
    caughtWithin: 10,
    kinds: ['no-leader', 'bus-restart', 'log-restart'],
    apply: () =>
      wrap(
        AppendWindow,
        'settle',
        (original) =>
          function (this: AppendWindow, ...[held, attempt, outcome, nowMs]: Parameters<AppendWindow['settle']>) {
            const taken: AppendOutcome = outcome.kind === 'refused' ? { kind: 'stored', position: 1e9 } : outcome;
            return original.call(this, held, attempt, taken, nowMs);
          },
      ),
  },
  'no-answer-taken-for-stored': {
    what: 'a frame without an answer is not sent again',
    caughtWithin: 15,
    kinds: ['disconnect', 'partition', 'bus-restart'],
    apply: () =>
      wrap(
        AppendWindow,
        'settle',
        (original) =>
          function (this: AppendWindow, ...[held, attempt, outcome, nowMs]: Parameters<AppendWindow['settle']>) {
            const taken: AppendOutcome = outcome.kind === 'unknown' ? { kind: 'stored', position: 1e9 } : outcome;
            return original.call(this, held, attempt, taken, nowMs);
          },
      ),
  },
  'no-new-numbers': {
    what: 'a tier 1 goes on with its numbers when a group has begun another line, in which they leave a gap',
    // One in twenty: the gap must be there yet when all troubles have been over for long.
    caughtWithin: 120,
    kinds: ['log-emptied'],
    plan: { ...fig7, workMs: 0, faults: 6 },
    apply: () => replace(Outlet, 'renew', () => undefined),
  },
  'cold-start-unasked': {
    what: 'whoever finds nobody that holds state begins an empty line at once',
    caughtWithin: 20,
    kinds: ['pause', 'one-way', 'add-server', 'crash', 'disconnect'],
    plan: { ...fig7, serversPerGroup: 1 },
    apply: () => replace(EpochLine, 'asksOf', () => 10),
  },
  'epochs-race': {
    what: 'an epoch counts although somebody follows the line that it would end',
    caughtWithin: 20,
    kinds: ['log-tail', 'pause', 'slow-reader'],
    plan: { ...fig7, serversPerGroup: 3 },
    apply: () =>
      wrap(
        EpochLine,
        'onCommand',
        (original) =>
          function (this: EpochLine, command: Command, ...rest: [number, number, boolean]) {
            const begun = original.call(this, command, ...rest);
            return command.kind === 'epoch' && command.id !== this.inForce?.id ? command : begun;
          },
      ),
  },
  'former-state-thrown-away': {
    what: 'a member whose log is another one forgets its state before it has a new one',
    caughtWithin: 15,
    kinds: ['log-tail', 'log-emptied', 'short-log'],
    plan: { ...fig7, serversPerGroup: 2 },
    apply: () =>
      wrap(
        Recovery,
        'onBroken',
        (original) =>
          function (this: Recovery, ...args: Parameters<Recovery['onBroken']>) {
            original.apply(this, args);
            this.replica = undefined;
          },
      ),
  },
  'begins-twice': {
    what: 'a member begins a line once more when it reads again the entry by which it had begun it',
    caughtWithin: 20,
    kinds: ['log-tail', 'log-emptied', 'reader-forgotten'],
    plan: { ...fig7, serversPerGroup: 1, faults: 60, logAgeMs: 10_000 },
    apply: () =>
      wrap(
        Seek,
        'onScouted',
        (original) =>
          function (this: Seek, ...[entry, nowMs]: Parameters<Seek['onScouted']>) {
            const command = decodeCommand(entry.data);
            const begins = original.call(this, entry, nowMs);
            const isOwn = command?.kind === 'epoch' && command.donor?.incarnation === command.author.incarnation;
            return this.isOn && isOwn && command.donor !== undefined ? 'with-state' : begins;
          },
      ),
  },
  'handed-again': {
    what: 'entries that a server was handed before its log lost its end are handed to it once more',
    caughtWithin: 40,
    kinds: ['log-tail', 'slow-reader', 'pause'],
    plan: { ...fig7, groups: 1, serversPerGroup: 3, faults: 60 },
    apply: () => replace(Handed, 'note', () => false),
  },
  'fetch-across-lines': {
    what: 'state of a peer is taken without a look whether its log is the same',
    caughtWithin: 40,
    kinds: ['log-tail', 'add-server', 'slow-reader', 'pause'],
    plan: { ...fig7, groups: 1, serversPerGroup: 3, faults: 60, logAgeMs: 10_000, logBytes: 1_000_000_000 },
    apply: () =>
      together(
        replace(AbsentSlices, 'mismatched', () => []),
        wrap(
          Fetch,
          'onApplied',
          (original) =>
            function (this: Fetch, ...args: Parameters<Fetch['onApplied']>) {
              original.apply(this, args);
              if (this.state === 'failed') this.state = 'slices';
            },
        ),
        wrap(
          SimGroupLog,
          'read',
          (original) =>
            function (this: SimGroupLog, { expect: _, ...options }: ReadOptions, handlers: ReadHandlers) {
              return original.call(this, options, handlers);
            },
        ),
      ),
  },
  'mirror-overwritten': {
    what: 'mirrors are written over whatever is there',
    caughtWithin: 20,
    kinds: ['slow-store', 'failing-store', 'add-server', 'reweigh', 'pause'],
    apply: () =>
      wrap(
        SimStore,
        'write',
        (original) =>
          function (this: SimStore, ...args: Parameters<SimStore['write']>) {
            this.compares = false;
            return original.apply(this, args);
          },
      ),
  },
};
