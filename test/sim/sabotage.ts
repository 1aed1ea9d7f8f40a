// Sabotages: each swaps one correct part for a subtly wrong one, as a tired engineer might write it. The checkers must
// catch every one of them within the stated number of seeds (test/sim/sabotage.test.ts), or they could not be trusted
// when they say that all is well.
//
// A sabotage replaces methods of classes in this process, and gives back how to undo that. Nothing in the production code knows of
// it. Those that concern the log and its epochs are in sabotageLog.ts, those of moves between groups in sabotageMoves.ts.

import { Decider } from '../../services/dssl/replica/decide.ts';
import { noServer } from '../../services/dssl/replica/flows/entry.ts';
import { FlowTable } from '../../services/dssl/replica/flows/table.ts';
import { CompiledView } from '../../services/dssl/replica/global/compiledView.ts';
import { DatagramTable } from '../../services/dssl/replica/global/datagramTable.ts';
import { LineTime } from '../../services/dssl/replica/global/lineTime.ts';
import { RecentStarts } from '../../services/dssl/replica/global/recentStarts.ts';
import { Tier1Lasts } from '../../services/dssl/replica/global/tier1Lasts.ts';
import { GroupState } from '../../services/dssl/replica/groupState.ts';
import { Replica } from '../../services/dssl/replica/replica.ts';
import { AbsentSlices } from '../../services/dssl/replica/snapshot/absentSlices.ts';
import type { LogEntry } from '../../shared/log/log.ts';
import { type Command, decodeCommand, encodeCommand } from '../../shared/log/records/command.ts';
import { FailureDetector } from '../../shared/membership/failureDetector.ts';
import { defaultRules } from '../../shared/membership/view.ts';
import { logSabotages } from './sabotageLog.ts';
import { moveSabotages } from './sabotageMoves.ts';
import { replaySabotages } from './sabotageReplay.ts';
import { replace, type Sabotage, wrap } from './sabotaging.ts';

const fig7 = { rules: { ...defaultRules, typeOneMethod: 'fig-7' } } as const;
const fig6 = { rules: { ...defaultRules, typeOneMethod: 'fig-6' } } as const;

/** What all replicas apply in the place of a command, the reference too; undefined: the command as it is. */
function rewriting(rewrite: (command: Command, replica: Replica) => Command | undefined): () => void {
  return wrap(
    Replica,
    'apply',
    (original) =>
      function (this: Replica, entry: LogEntry) {
        const command = entry.kind === 'command' ? decodeCommand(entry.data) : undefined;
        const other = command && rewrite(command, this);
        return original.call(this, other === undefined ? entry : { ...entry, data: encodeCommand(other) });
      },
  );
}

const replicaSabotages: Readonly<Record<string, Sabotage>> = {
  'no-backup': {
    what: 'flows get no backup, and their servers’ deaths end them',
    caughtWithin: 15,
    kinds: ['die', 'crash'],
    plan: { rules: { ...defaultRules, availability: 'active-active' }, groups: 1, serversPerGroup: 3 },
    apply: () =>
      wrap(
        CompiledView,
        'placeBackup',
        () =>
          function (this: CompiledView) {
            // Nor do they go on where they would be placed.
            Object.assign(this, { protects: false });
            return noServer;
          },
      ),
  },
  'backup-of-its-own': {
    what: 'a replica whose server is to take a flow over thinks of somebody else as the next backup',
    caughtWithin: 15,
    kinds: ['die', 'crash'],
    plan: { rules: { ...defaultRules, availability: 'active-active' }, groups: 1, serversPerGroup: 3 },
    apply: () =>
      wrap(
        FlowTable,
        'setOwner',
        (original) =>
          function (this: FlowTable, handle: number, owner: number, backup: number) {
            const { flows } = this.owners.protection([]);
            original.call(this, handle, owner, flows % 2 === 0 ? backup : owner);
          },
      ),
  },
  'homeless-until-a-packet': {
    what: 'one replica in two does not give flows of a server that has gone to others before somebody sends to them',
    caughtWithin: 15,
    kinds: ['die', 'crash'],
    plan: { rules: { ...defaultRules, availability: 'active-active' }, groups: 1, serversPerGroup: 3 },
    apply: () => {
      const known = new WeakMap<Decider, boolean>();
      let others = 0;
      return wrap(
        Decider,
        'rehome',
        (original) =>
          function (this: Decider, slice: number) {
            const isWrong = known.get(this) ?? ++others % 2 === 0;
            known.set(this, isWrong);
            if (!isWrong) original.call(this, slice);
          },
      );
    },
  },
  'slice-repeats-its-entry': {
    what: 'a slice that was fetched as it is behind an entry gets the rows of that entry once more',
    caughtWithin: 15,
    kinds: ['add-server', 'crash', 'slow-reader'],
    plan: { ...fig7, groups: 1, serversPerGroup: 2, flows: 80, packetsPerSecond: 240 },
    apply: () => {
      const positions = new WeakMap<AbsentSlices, number>();
      const undoBegin = wrap(
        AbsentSlices,
        'begin',
        (original) =>
          function (this: AbsentSlices, position: number) {
            positions.set(this, position);
            original.call(this, position);
          },
      );
      const undoCovers = wrap(
        AbsentSlices,
        'covers',
        (original) =>
          function (this: AbsentSlices, slice: number) {
            return original.call(this, slice) && this.positionOf(slice, 0) !== positions.get(this);
          },
      );
      return () => {
        undoCovers();
        undoBegin();
      };
    },
  },
  'slice-of-a-while-ago': {
    what: 'a member gives away a slice as it was when it was asked for it the first time, under the present position',
    caughtWithin: 10,
    kinds: ['add-server', 'crash'],
    plan: { ...fig7, serversPerGroup: 2 },
    apply: () => {
      const kept = new WeakMap<FlowTable, Map<number, unknown>>();
      return wrap(
        FlowTable,
        'content',
        (original) =>
          function (this: FlowTable, slice: number, tick: number) {
            const contents = kept.get(this) ?? new Map<number, unknown>();
            kept.set(this, contents);
            if (!contents.has(slice)) contents.set(slice, original.call(this, slice, tick));
            return contents.get(slice);
          },
      );
    },
  },
  'missing-taken-for-empty': {
    what: 'a slice that is not here yet is decided as if it were empty',
    caughtWithin: 10,
    kinds: ['add-server', 'crash'],
    plan: { ...fig7, serversPerGroup: 2 },
    apply: () => replace(AbsentSlices, 'covers', () => false),
  },
  'expired-not-swept-counts': {
    what: 'flows that are over take room in the table until they are swept, which each replica does in its own time',
    caughtWithin: 10,
    kinds: ['add-server', 'crash'],
    plan: { ...fig7, groups: 1, serversPerGroup: 2, flows: 80, packetsPerSecond: 240 },
    apply: () =>
      wrap(
        FlowTable,
        'insert',
        (original) =>
          function (this: FlowTable, ...args: Parameters<FlowTable['insert']>) {
            return this.size >= 120 ? -1 : original.apply(this, args);
          },
      ),
  },
  'early-sweep': {
    what: 'a sweep takes entries that a packet could still find',
    caughtWithin: 5,
    apply: () =>
      wrap(
        FlowTable,
        'sweepSlice',
        (original) =>
          function (this: FlowTable, slice: number, tick: number) {
            return original.call(this, slice, tick + 100);
          },
      ),
  },
  'fragments-not-fetched': {
    what: 'which datagrams are under way is not among what a joiner fetches',
    caughtWithin: 10,
    kinds: ['add-server', 'crash'],
    plan: fig7,
    apply: () =>
      wrap(
        GroupState,
        'restore',
        (original) =>
          function (this: GroupState, snapshot: object) {
            return original.call(this, {
              ...snapshot,
              datagrams: { next: 0, records: new Int32Array(0) },
              waiting: [],
            });
          },
      ),
  },
  'fragments-forgotten': {
    what: 'nobody remembers which flow a fragmented datagram belongs to',
    caughtWithin: 5,
    apply: () => replace(DatagramTable, 'find', () => -1),
  },
  'own-clock': {
    what: 'entries age by a clock of the replica itself, which goes a little faster than others',
    caughtWithin: 3,
    apply: () => {
      const drifts = new WeakMap<LineTime, number>();
      let made = 0;
      return wrap(
        LineTime,
        'onEntry',
        (original) =>
          function (this: LineTime, stampMs: number) {
            const rate = drifts.get(this) ?? ++made % 5;
            drifts.set(this, rate);
            original.call(this, stampMs + Math.floor((stampMs % 10_000_000) * rate * 1e-4));
          },
      );
    },
  },
  'start-forgotten': {
    what: 'nobody remembers where a start went, so a repeated one is placed again',
    caughtWithin: 20,
    kinds: ['reweigh', 'add-server'],
    plan: { ...fig6, impatience: 40, serversPerGroup: 3, changes: 60 },
    apply: () => replace(RecentStarts, 'find', () => -1),
  },
  'repeated-frames-count': {
    what: 'a frame that comes twice is applied twice',
    caughtWithin: 10,
    kinds: ['lost-answers', 'late-store', 'disconnect'],
    apply: () =>
      wrap(
        Tier1Lasts,
        'judge',
        (original) =>
          function (this: Tier1Lasts, ...args: Parameters<Tier1Lasts['judge']>) {
            const outcome = original.apply(this, args);
            return outcome === 'repeated' ? 'frame' : outcome;
          },
      ),
  },
  'follows-unchecked': {
    what: 'a frame is applied although the one that it follows is missing, which comes later and is taken for a repeated one',
    caughtWithin: 20,
    kinds: ['bus-restart', 'partition'],
    plan: { flows: 80, packetsPerSecond: 240 },
    apply: () =>
      wrap(
        Tier1Lasts,
        'judge',
        (original) =>
          function (this: Tier1Lasts, ...[tier1Id, , number, timeMs]: Parameters<Tier1Lasts['judge']>) {
            return original.call(this, tier1Id, 0, number, timeMs);
          },
      ),
  },
  'no-fencing': {
    what: 'a server that has been removed goes on accepting',
    caughtWithin: 15,
    kinds: ['crash', 'drain-server', 'pause', 'one-way'],
    // With backups a server that was removed unseen does not hand out what it accepts.
    plan: { rules: defaultRules },
    apply: () =>
      wrap(
        Decider,
        'setView',
        (original) =>
          function (this: Decider, view: CompiledView, self: number) {
            original.call(this, self === noServer ? view : withMember(view, [self]), self);
          },
      ),
  },
  'never-gone': {
    what: 'flows of a server that has gone are still taken to be its',
    caughtWithin: 5,
    kinds: ['die', 'crash', 'drain-server', 'add-server'],
    plan: { ...fig7, serversPerGroup: 3 },
    apply: () =>
      wrap(
        Decider,
        'setView',
        (original) =>
          function (this: Decider, view: CompiledView, self: number) {
            original.call(
              this,
              withMember(
                view,
                Array.from({ length: 100 }, (_, number) => number),
              ),
              self,
            );
          },
      ),
  },
  'drain-drops': {
    what: 'a server that drains is no member any more',
    caughtWithin: 5,
    kinds: ['drain-server', 'add-server'],
    plan: { ...fig7, serversPerGroup: 2 },
    apply: () =>
      rewriting((command) =>
        command.kind === 'drain' ? { ...command, kind: 'leave', author: command.life } : undefined,
      ),
  },
};

const memberSabotages: Readonly<Record<string, Sabotage>> = {
  'deaf-judges': {
    what: 'a member counts the silence of others while it hears nobody, itself included',
    caughtWithin: 15,
    kinds: ['one-way'],
    apply: () => {
      const beats = new WeakMap<FailureDetector, number>();
      return wrap(
        FailureDetector,
        'tick',
        (original) =>
          function (this: FailureDetector, nowMs: number) {
            const beat = (beats.get(this) ?? 1_000_000_000) + 1;
            beats.set(this, beat);
            this.heardSelf(beat, nowMs);
            return original.call(this, nowMs);
          },
      );
    },
  },
  'no-agreement': {
    what: 'a member is removed because one of its watchers does not hear it',
    caughtWithin: 15,
    kinds: ['deaf-to-one', 'add-server'],
    apply: () => replace(FailureDetector, 'isSuspected', () => true),
  },
  'back-and-judging': {
    what: 'a member whose connection comes back takes those that come back later for dead',
    caughtWithin: 15,
    kinds: ['bus-restart'],
    apply: () => replace(FailureDetector, 'reconnected', () => undefined),
  },
  'dead-forever': {
    what: 'nobody removes the dead',
    caughtWithin: 15,
    kinds: ['die'],
    apply: () => replace(FailureDetector, 'tick', () => ({ suspects: [], dead: [] })),
  },
};

export const sabotages: Readonly<Record<string, Sabotage>> = {
  ...replicaSabotages,
  ...memberSabotages,
  ...logSabotages,
  ...replaySabotages,
  ...moveSabotages,
};

/** A view in which these are members too. */
function withMember(view: CompiledView, numbers: readonly number[]): CompiledView {
  const isMember = view.isMember.slice();
  for (const number of numbers) isMember[number] = 1;
  return new Proxy(view, {
    get(target, property) {
      if (property === 'isMember') return isMember;
      const value = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
