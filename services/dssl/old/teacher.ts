// The peer's side of telling what it knows (sync.ts tells the whole story): a walk over the flow table that is spread over
// ticks, so that a peer with millions of flows goes on deciding packets meanwhile.

import { limits } from '../../../shared/base/limits.ts';
import { ProtocolClass } from '../../../shared/flow/frameFlags.ts';
import { findMember } from '../../../shared/membership/view.ts';
import type { Decider } from '../replica/decide.ts';
import { FlowState, ownerOf, protocolClassOf, stateOf } from '../replica/flows/entry.ts';
import { ageTicks, tickOfMs } from '../replica/ticks.ts';
import { noServer, type ServerLife, type ViewHistory } from '../replica/viewHistory.ts';
import { heardLatelyMs, type Streams } from './streams.ts';
import { RowKind, RowQueue, rowsPerChunk, type SyncAnswer, type SyncRequest } from './sync.ts';

/** Modules served at once; further ones ask again. */
const pupilsMax = 8;
/** Chunks sent to each of them in one tick. */
const chunksPerTick = 4;
/** Slots of the flow table looked at between two looks at how full the chunk is, and such steps for one chunk. */
const slotsPerStep = 2_048;
const stepsPerChunk = 32;

interface Lesson {
  readonly request: SyncRequest;
  readonly positions: ReadonlyMap<string, number>;
  readonly rows: RowQueue;
  readonly owners: ServerLife[];
  /** Number in `owners` of a server number of this module. */
  readonly ownerIndex: Map<number, number>;
  /** Only what happened since this tick; undefined for everything. */
  since: number | undefined;
  chunk: number;
  cursor: number;
}

export class Teacher {
  readonly #server: string;
  readonly #incarnation: number;
  readonly #views: ViewHistory;
  readonly #lessons = new Map<string, Lesson>();

  constructor(server: string, incarnation: number, views: ViewHistory) {
    this.#server = server;
    this.#incarnation = incarnation;
    this.#views = views;
  }

  /** Begins to answer, cutting at how far this module has come with every tier 1 right now. */
  begin(request: SyncRequest, streams: Streams, nowMs: number): void {
    if (request.to !== this.#server || request.from === this.#server) return;
    if (!this.#lessons.has(request.from) && this.#lessons.size >= pupilsMax) return;
    const positions = new Map<string, number>();
    for (const stream of streams.all()) {
      if (nowMs - stream.heardAtMs < heardLatelyMs) positions.set(stream.id, stream.reached);
    }
    this.#lessons.set(request.from, {
      request,
      positions,
      rows: new RowQueue(),
      owners: [],
      ownerIndex: new Map(),
      since: undefined,
      chunk: 0,
      cursor: 0,
    });
  }

  /** The next chunks for everybody who asked. */
  next(decider: Decider): SyncAnswer[] {
    const answers: SyncAnswer[] = [];
    for (const [pupil, lesson] of this.#lessons) {
      for (let sent = 0; sent < chunksPerTick && this.#lessons.has(pupil); sent++) {
        answers.push(this.#chunk(pupil, lesson, decider));
      }
    }
    return answers;
  }

  #chunk(pupil: string, lesson: Lesson, decider: Decider): SyncAnswer {
    const { rows, request } = lesson;
    if (lesson.chunk === 0) {
      this.#ownerIndex(lesson, this.#views.self);
      // Where starts have been forgotten already, the flows themselves are all there is to tell.
      const { since } = request;
      if (since !== undefined && decider.recentStarts.reachesBack(since, decider.tick)) lesson.since = since;
      this.#addStarts(lesson, decider);
      // Who joins itself tells of starts alone: which flows the members hold it has from them.
      if (decider.guesses !== undefined) lesson.cursor = -1;
    }
    if (lesson.cursor !== -1) this.#addFlows(lesson, decider, this.#numberOf(request.from));
    const chunk = rows.takeChunk();
    const isLast = lesson.cursor === -1 && rows.count === 0;
    if (isLast) this.#lessons.delete(pupil);
    return {
      kind: 'answer',
      to: pupil,
      from: this.#server,
      incarnation: this.#incarnation,
      nonce: request.nonce,
      chunk: lesson.chunk++,
      isLast,
      positions: lesson.positions,
      owners: [...lesson.owners],
      rows: chunk,
    };
  }

  #addStarts(lesson: Lesson, decider: Decider): void {
    const { recentStarts, table } = decider;
    // Whose time is over by this clock may still be remembered by another tier 1's.
    const earliest = lesson.since ?? decider.tick - recentStarts.windowTicks - tickOfMs(limits.clockErrorMs);
    const add = (hi: number, lo: number, tick: number, position: number): void => {
      if (decider.guesses?.get(hi, lo) !== undefined) return;
      const inTable = recentStarts.inTableAt(position);
      const handle = inTable ? table.peek(hi, lo) : -1;
      // A start is remembered for longer than a flow that ended soon. Heard of as the beginning of one that goes on, it would
      // make the pupil ignore the next flow on that tuple.
      if (inTable && handle === -1) return;
      const isClosing = inTable && table.state(handle) === FlowState.closing;
      const owner = this.#ownerIndex(lesson, isClosing ? table.owner(handle) : recentStarts.ownerAt(position));
      if (owner === -1) return;
      const protocolClass = recentStarts.protocolClassAt(position);
      const view = recentStarts.viewAt(position);
      const row = { hi, lo, tick, state: FlowState.unconfirmed, protocolClass, owner, view };
      if (isClosing)
        lesson.rows.add({ ...row, kind: RowKind.flow, tick: table.lastSeen(handle), state: FlowState.closing });
      else lesson.rows.add({ ...row, kind: inTable ? RowKind.startInTable : RowKind.start });
    };
    recentStarts.scan(0, Number.POSITIVE_INFINITY, add, earliest);
  }

  /**
   * Own flows; those whose owner has gone, which nobody else can tell; and those that this module believes the pupil
   * holds, in case the pupil missed their beginning. To one that missed frames, all that had packets since, whosever they
   * are: their owner may have missed the same frames, and what is not kept alive is forgotten earlier than elsewhere.
   */
  #addFlows(lesson: Lesson, decider: Decider, pupil: number): void {
    const { rows, since } = lesson;
    const { self, newest } = this.#views;
    for (let step = 0; step < stepsPerChunk && rows.count < rowsPerChunk && lesson.cursor !== -1; step++) {
      lesson.cursor = decider.table.scan(lesson.cursor, slotsPerStep, (hi, lo, lastSeen, info) => {
        const owner = ownerOf(info);
        if (since === undefined) {
          if (owner !== self && owner !== pupil && newest?.isGone(owner) !== true) return;
        } else if (ageTicks(lastSeen, since) < 0) return;
        // Fig. 6: connections are known to their owners alone.
        if (newest?.ownFlowsOnly && owner !== pupil && hasVisibleStart(protocolClassOf(info))) return;
        const index = this.#ownerIndex(lesson, owner);
        if (index === -1) return;
        const state = stateOf(info);
        // Since when the pupil has it is not known any more: at the latest since now.
        const view = newest?.view.number ?? 0;
        const protocolClass = protocolClassOf(info);
        rows.add({ kind: RowKind.flow, hi, lo, tick: lastSeen, state, protocolClass, owner: index, view });
      });
    }
  }

  #ownerIndex(lesson: Lesson, serverNumber: number): number {
    let index = lesson.ownerIndex.get(serverNumber);
    if (index !== undefined) return index;
    const life = serverNumber === noServer ? undefined : this.#views.lifeOf(serverNumber);
    // Of one that no view is known to have had, nobody could say whether it has gone.
    index = life === undefined || life.joinedIn === Number.POSITIVE_INFINITY ? -1 : lesson.owners.push(life) - 1;
    lesson.ownerIndex.set(serverNumber, index);
    return index;
  }

  #numberOf(server: string): number {
    const view = this.#views.newest?.view;
    const member = view && findMember(view, server);
    return member === undefined ? -1 : this.#views.numberOf(server, member.incarnation);
  }
}

/** Flows of these are of type 1; those that hold several sessions are kept under another class. */
export function hasVisibleStart(protocolClass: number): boolean {
  return (
    protocolClass === ProtocolClass.TCP || protocolClass === ProtocolClass.SCTP || protocolClass === ProtocolClass.DCCP
  );
}
