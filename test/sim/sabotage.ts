// Sabotages: each swaps one correct part for a subtly wrong one, as a tired engineer might write it. The checkers must
// catch every one of them within the stated number of seeds (test/sim/sabotage.test.ts), or they could not be trusted
// when they say that all is well.
//
// A sabotage replaces methods of production classes in this process, and gives back how to undo that. Nothing in the
// production code knows of it.

import { AntiEntropy } from '../../services/dssl/old/antiEntropy.ts';
import { DsslCore } from '../../services/dssl/old/core.ts';
import { Guesses } from '../../services/dssl/old/hearsay.ts';
import { Learner } from '../../services/dssl/old/learner.ts';
import { Streams } from '../../services/dssl/old/streams.ts';
import { DatagramTable } from '../../services/dssl/replica/datagramTable.ts';
import { Decider } from '../../services/dssl/replica/decide.ts';
import { FlowState } from '../../services/dssl/replica/flows/entry.ts';
import { FlowTable } from '../../services/dssl/replica/flows/table.ts';
import { RecentStarts } from '../../services/dssl/replica/recentStarts.ts';
import { CompiledView, ViewHistory } from '../../services/dssl/replica/viewHistory.ts';
import { FailureDetector } from '../../shared/membership/failureDetector.ts';
import { decodeView, defaultRules, encodeView } from '../../shared/membership/view.ts';
import type { FaultKind } from './faults.ts';
import type { Plan } from './plan.ts';
import { SimStore } from './store.ts';

export interface Sabotage {
  /** What is wrong, in a sentence. */
  readonly what: string;
  /** Seeds from 1 on within which a checker must catch it. */
  readonly caughtWithin: number;
  /** Faults that bring it out; default all. */
  readonly kinds?: readonly FaultKind[];
  /** The kind of cluster that brings it out. */
  readonly plan?: Partial<Plan>;
  apply(): () => void;
}

const fig7: Partial<Plan> = { rules: { ...defaultRules, typeOneMethod: 'fig-7' } };

export const sabotages: Readonly<Record<string, Sabotage>> = {
  'unstamped-views': {
    what: 'an actor decides by the newest view it knows, not by the one that the frame names',
    caughtWithin: 12,
    apply: () =>
      replace(ViewHistory, 'get', function (this: ViewHistory) {
        return this.newest;
      }),
  },
  'private-counters': {
    what: 'fewest-flows goes by what the module itself has counted',
    caughtWithin: 12,
    apply: () => {
      const viewsOf = new WeakMap<Decider, ViewHistory>();
      const undoView = wrap(
        DsslCore,
        'onView',
        (original) =>
          function (this: DsslCore, ...args: Parameters<DsslCore['onView']>) {
            viewsOf.set(this.decider, this.views);
            original.apply(this, args);
          },
      );
      const undoBegin = wrap(
        Decider,
        'begin',
        (original) =>
          function (this: Decider, view: CompiledView, timestampMs: number) {
            const views = viewsOf.get(this);
            original.call(this, views === undefined ? view : byOwnCount(view, this, views), timestampMs);
          },
      );
      return () => {
        undoBegin();
        undoView();
      };
    },
  },
  'local-clock': {
    what: "entries age by the actor's own clock, not by the frames' time",
    caughtWithin: 15,
    kinds: ['clock-jump', 'add-server', 'reweigh'],
    apply: () => {
      let nowMs = 0;
      const undoFrame = wrap(
        DsslCore,
        'onFrame',
        (original) =>
          function (this: DsslCore, message: Uint8Array, now: number) {
            nowMs = now;
            original.call(this, message, now);
          },
      );
      const undoAt = wrap(
        Decider,
        'at',
        (original) =>
          function (this: Decider) {
            original.call(this, nowMs);
          },
      );
      return () => {
        undoAt();
        undoFrame();
      };
    },
  },
  'join-unsynchronised': {
    what: 'a joiner takes flows before it has learnt which ones the others hold',
    caughtWithin: 15,
    kinds: ['add-server', 'crash'],
    apply: () => replace(Learner, 'isComplete', () => true),
  },
  'start-forgotten': {
    what: 'nobody remembers where a start went, so a repeated one is placed again',
    caughtWithin: 20,
    kinds: ['reweigh', 'add-server'],
    apply: () => replace(RecentStarts, 'find', () => -1),
  },
  'put-for-compare-and-set': {
    what: 'views are written over whatever is there',
    caughtWithin: 5,
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
  seam: {
    what: 'a joiner asks its peers once, and not how far they had come when they answered',
    caughtWithin: 15,
    // A second peer that is not behind would tell of the flows that this one leaves out.
    kinds: ['add-server', 'slow-network', 'crash'],
    plan: { ...fig7, groups: 3, serversPerGroup: 1, tier1s: 1, nodes: 1, flows: 200, packetsPerSecond: 200 },
    apply: () => {
      const undoAgain = wrap(
        Learner,
        'again',
        (original) =>
          function (this: Learner, ...args: Parameters<Learner['again']>) {
            if (args[2] === undefined) original.apply(this, args);
          },
      );
      const undoAccepts = wrap(
        Learner,
        'accepts',
        (original) =>
          function (this: Learner, ...[answer, nowMs]: Parameters<Learner['accepts']>) {
            return original.call(this, { ...answer, positions: new Map() }, nowMs);
          },
      );
      const undoSilence = withoutRepair();
      return () => {
        undoSilence();
        undoAccepts();
        undoAgain();
      };
    },
  },
  'drain-drops': {
    what: 'a server that drains is no member any more',
    caughtWithin: 5,
    kinds: ['drain-server', 'add-server'],
    apply: () =>
      wrap(
        SimStore,
        'write',
        (original) =>
          function (this: SimStore, ...[key, value, ...rest]: Parameters<SimStore['write']>) {
            const view = decodeView(value);
            const members = view?.members.filter(({ state }) => state !== 'draining');
            const bytes = view === undefined ? value : encodeView({ ...view, members: members ?? [] });
            return original.call(this, key, bytes, ...rest);
          },
      ),
  },
  'holes-unnoticed': {
    what: 'a member that missed frames goes on as if nothing had happened',
    caughtWithin: 15,
    kinds: ['loss', 'disconnect', 'reweigh', 'drain-server', 'add-server'],
    apply: () =>
      wrap(
        Streams,
        'arrive',
        (original) =>
          function (this: Streams, ...args: Parameters<Streams['arrive']>) {
            const stream = this.get(args[0].tier1Id);
            if (stream !== undefined && args[0].sequence > stream.received) stream.received = args[0].sequence - 1;
            return original.apply(this, args);
          },
      ),
  },
  'never-gone': {
    what: 'flows of a server that has gone are still taken to be its',
    caughtWithin: 5,
    apply: () => replace(CompiledView, 'isGone', () => false),
  },
  'gone-by-newest': {
    what: 'whether an owner has gone is asked of the newest view, not of the one that the frame names',
    caughtWithin: 10,
    // The members hear of a leave long before the tier 1s.
    kinds: ['drain-server', 'add-server'],
    plan: { ...fig7, groups: 1, serversPerGroup: 3, watchDelayMs: 300, flows: 80, packetsPerSecond: 300 },
    apply: () => {
      const newestOf = new WeakMap<CompiledView, ViewHistory>();
      const undoAdd = wrap(
        ViewHistory,
        'get',
        (original) =>
          function (this: ViewHistory, number: number) {
            const view = original.call(this, number);
            if (view !== undefined) newestOf.set(view, this);
            return view;
          },
      );
      const undoGone = wrap(
        CompiledView,
        'isGone',
        (original) =>
          function (this: CompiledView, server: number) {
            return original.call(newestOf.get(this)?.newest ?? this, server);
          },
      );
      return () => {
        undoGone();
        undoAdd();
      };
    },
  },
  'guesses-kept': {
    what: 'a joiner keeps to what it guessed of flows that it first saw in their middle',
    caughtWithin: 15,
    kinds: ['add-server', 'drain-server', 'reweigh', 'crash'],
    plan: {
      groups: 1,
      serversPerGroup: 2,
      flows: 400,
      packetsPerSecond: 600,
      impatience: 40,
      watchDelayMs: 200,
      faults: 40,
    },
    apply: () => {
      const undoSilence = withoutRepair();
      const undoNote = replace(Guesses, 'note', () => undefined);
      const undoPass = replace(Guesses, 'pass', () => undefined);
      return () => {
        undoPass();
        undoNote();
        undoSilence();
      };
    },
  },
  'early-sweep': {
    what: 'a sweep takes entries that a packet could still find',
    caughtWithin: 5,
    apply: () =>
      wrap(
        FlowTable,
        'sweep',
        (original) =>
          function (this: FlowTable, slots: number, tick: number) {
            return original.call(this, slots, tick + 200);
          },
      ),
  },
  'fragments-forgotten': {
    what: 'nobody remembers which flow a fragmented datagram belongs to',
    caughtWithin: 5,
    apply: () => replace(DatagramTable, 'find', () => -1),
  },
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
  'no-repair': {
    what: 'nobody compares tables, so what slips of memory make different stays different',
    caughtWithin: 10,
    kinds: ['slow-network', 'bus-restart', 'reweigh'],
    // Few faults, so that in some seeds the last one lies so far back that tables must agree again.
    plan: {
      ...fig7,
      ...{ groups: 2, serversPerGroup: 3, tier1s: 3, faults: 4, flows: 80, packetsPerSecond: 240, impatience: 40 },
      placement: 'weighted-round-robin',
    },
    apply: () => {
      const undoSlips = withSlips();
      const undoSilence = withoutRepair();
      return () => {
        undoSilence();
        undoSlips();
      };
    },
  },
  'no-fencing': {
    what: 'a server that has been removed goes on deciding',
    caughtWithin: 15,
    kinds: ['crash', 'drain-server', 'reweigh', 'pause'],
    apply: () =>
      wrap(
        CompiledView,
        'markGone',
        (original) =>
          function (this: CompiledView, ...args: Parameters<CompiledView['markGone']>) {
            original.apply(this, args);
            this.selfGone = false;
          },
      ),
  },
};

// biome-ignore lint/suspicious/noExplicitAny: a method of any class
type Method = (...args: any[]) => any;
type Class = { readonly prototype: object };

/** Nobody says or compares anything: what a join leaves wrong would be found within a second by what members say then. */
/** Now and then a member takes a flow that begins for an established one, and keeps it for longer than others do. */
export function withSlips(): () => void {
  let begun = 0;
  return wrap(
    FlowTable,
    'insert',
    (original) =>
      function (this: FlowTable, ...args: Parameters<FlowTable['insert']>) {
        const handle: number = original.apply(this, args);
        if (handle !== -1 && ++begun % 50 === 0) this.setState(handle, FlowState.established);
        return handle;
      },
  );
}

function withoutRepair(): () => void {
  return replace(AntiEntropy, 'tick', () => undefined);
}

function replace(target: Class, name: string, method: Method): () => void {
  return wrap(target, name, () => method);
}

/** Puts another method in the place of one; returns how to put it back. */
function wrap(target: Class, name: string, make: (original: Method) => Method): () => void {
  const methods = target.prototype as Record<string, Method>;
  const original = methods[name];
  methods[name] = make(original);
  return () => {
    methods[name] = original;
  };
}

/** A view whose placement looks into the table of one module, which no other module has. */
function byOwnCount(view: CompiledView, { table }: Decider, views: ViewHistory): CompiledView {
  const active = view.view.members.filter(({ state }) => state === 'active');
  if (view.view.placement !== 'fewest-flows' || active.length === 0) return view;
  const numbers = active.map(({ server, incarnation }) => views.numberOf(server, incarnation));
  const fewest = numbers.reduce((best, each) => (table.countByOwner(each) < table.countByOwner(best) ? each : best));
  return new Proxy(view, {
    get(target, property) {
      if (property === 'place') return () => fewest;
      const value = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
