// The peer's side of telling a joiner what it holds (sync.ts tells the whole story): a walk over the flow table that is
// spread over ticks, so that a peer with millions of flows goes on deciding packets meanwhile.

import type { Decider } from './decide.ts';
import { ownerOf, protocolClassOf, stateOf } from './flowEntry.ts';
import { heardLatelyMs, type Streams } from './streams.ts';
import { RowKind, RowQueue, rowsPerChunk, type SyncAnswer, type SyncRequest } from './sync.ts';

/** Joiners served at once; further ones ask again. */
const joinersMax = 8;
/** Chunks sent to each joiner in one tick. */
const chunksPerTick = 4;
/** Slots of the flow table looked at between two looks at how full the chunk is. */
const slotsPerStep = 2_048;

interface Lesson {
  readonly request: SyncRequest;
  readonly positions: ReadonlyMap<string, number>;
  readonly rows: RowQueue;
  chunk: number;
  cursor: number;
}

export class Teacher {
  readonly #server: string;
  readonly #incarnation: number;
  readonly #self: number;
  readonly #lessons = new Map<string, Lesson>();

  constructor(server: string, incarnation: number, self: number) {
    this.#server = server;
    this.#incarnation = incarnation;
    this.#self = self;
  }

  /** Begins to answer, cutting at how far this module has come with every tier 1 right now. */
  begin(request: SyncRequest, streams: Streams, nowMs: number): void {
    if (request.to !== this.#server || request.from === this.#server) return;
    if (!this.#lessons.has(request.from) && this.#lessons.size >= joinersMax) return;
    const positions = new Map<string, number>();
    for (const stream of streams.all()) {
      if (nowMs - stream.heardAtMs < heardLatelyMs) positions.set(stream.id, stream.decided);
    }
    this.#lessons.set(request.from, { request, positions, rows: new RowQueue(), chunk: 0, cursor: 0 });
  }

  /** The next chunks for everybody who asked. */
  next(decider: Decider): SyncAnswer[] {
    const answers: SyncAnswer[] = [];
    for (const [joiner, lesson] of this.#lessons) {
      for (let sent = 0; sent < chunksPerTick && this.#lessons.has(joiner); sent++) {
        answers.push(this.#chunk(joiner, lesson, decider));
      }
    }
    return answers;
  }

  #chunk(joiner: string, lesson: Lesson, decider: Decider): SyncAnswer {
    const { rows } = lesson;
    if (lesson.chunk === 0) {
      const { recentStarts } = decider;
      recentStarts.scan(0, Number.POSITIVE_INFINITY, (hi, lo, tick, position) => {
        if (recentStarts.ownerAt(position) === this.#self) rows.add(RowKind.recentStart, hi, lo, tick, 0, 0);
      });
    }
    while (rows.count < rowsPerChunk && lesson.cursor !== -1) {
      lesson.cursor = decider.table.scan(lesson.cursor, slotsPerStep, (hi, lo, lastSeen, info) => {
        if (ownerOf(info) === this.#self)
          rows.add(RowKind.flow, hi, lo, lastSeen, stateOf(info), protocolClassOf(info));
      });
    }
    const chunk = rows.takeChunk();
    const isLast = lesson.cursor === -1 && rows.count === 0;
    if (isLast) this.#lessons.delete(joiner);
    return {
      kind: 'answer',
      to: joiner,
      from: this.#server,
      incarnation: this.#incarnation,
      nonce: lesson.request.nonce,
      chunk: lesson.chunk++,
      isLast,
      positions: lesson.positions,
      rows: chunk,
    };
  }
}
