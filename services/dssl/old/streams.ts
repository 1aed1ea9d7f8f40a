// One stream of frames for each tier 1 this actor hears: from where on it is complete, how far it has come, what is
// missing, and the frames that wait, for a view not seen yet or for peers to tell what was in frames that were missed.
// Tier 1s are told apart because each numbers its own frames, and because a frame that has to wait must hold back the
// later frames of the same tier 1 only.

import { limits } from '../../../shared/base/limits.ts';
import { Frame } from '../../../shared/log/records/frame.ts';
import { NumberedStream, NumberedStreams } from '../../../shared/messages/numberedStreams.ts';

/** A tier 1 silent for longer is taken to be gone; an idle one speaks every `limits.idleFrameMs`. */
export const heardLatelyMs = 20 * limits.idleFrameMs;

/** A frame that cannot be decided yet. `order`: its number among the frames of all tier 1s, as they arrived here. */
interface WaitingFrame {
  readonly frame: Frame;
  readonly sinceMs: number;
  readonly order: number;
}

/** Frames of one tier 1 that were missed, and of which the peers have not told yet. */
export interface Hole {
  /** View of the frame decided before them. */
  readonly sinceView: number;
  /** Sequence of the last of them. */
  readonly missedTo: number;
  /** Frames that arrived from this number on came after them. */
  readonly order: number;
}

/** Holes of one tier 1 that are told apart; those beyond count as one. */
const holesMax = 1_024;

export class Tier1Stream extends NumberedStream {
  /** Every frame from this sequence on was decided here or waits to be: none was lost, none given up. */
  completeFrom: number;
  /** Sequence of the newest frame decided. */
  decided: number;
  /** View of the newest frame decided, and its packets' time. */
  viewNumber = 0;
  timestampMs = 0;
  /** What was missed and the peers have not told yet, the earliest first. */
  holes: Hole[] = [];
  /** Number of the last question to peers before the last time that frames were missed. */
  missedAfterQuestion = -1;
  /** It had not been heard for a while when that was looked at last. */
  isSilent = false;
  readonly waiting: WaitingFrame[] = [];

  constructor(id: string, sequence: number, nowMs: number) {
    super(id, sequence, nowMs);
    this.completeFrom = sequence;
    this.decided = sequence - 1;
  }

  /** Sequence up to which every frame was decided here, or lost for good. */
  get reached(): number {
    return this.waiting.length > 0 ? this.waiting[0].frame.sequence - 1 : this.received;
  }

  /** Sequence of the last frame that was missed. */
  get missedTo(): number {
    return this.completeFrom - 1;
  }

  /** A frame is not decided, as if it had been lost. */
  giveUp(sequence: number): void {
    this.decided = Math.max(this.decided, sequence);
    this.completeFrom = Math.max(this.completeFrom, sequence + 1);
  }

  /** Frames were missed after the last one decided; those that came from `order` on wait for what was in them. */
  addHole(missedTo: number, order: number): void {
    const { holes } = this;
    const hole = { sinceView: this.viewNumber, missedTo, order };
    if (holes.length >= holesMax) {
      const last = holes[holes.length - 1];
      holes[holes.length - 1] = { ...last, missedTo: Math.max(last.missedTo, missedTo) };
      return;
    }
    // One that has been given up lies before what was missed since.
    const at = holes.findIndex((other) => other.order > order);
    holes.splice(at === -1 ? holes.length : at, 0, hole);
  }
}

export class Streams {
  /** Number of the newest frame among those of all tier 1s. */
  order = 0;
  /** Up to which frame of tier 1s that it had not heard yet this module was told everything when it became a member. */
  #toldOf: ReadonlyMap<string, number> = new Map();
  readonly #streams = new NumberedStreams<Tier1Stream>({
    most: limits.tier1Streams,
    create: (id, sequence, nowMs) => new Tier1Stream(id, sequence, nowMs),
    mayForget: ({ waiting }) => waiting.length === 0,
  });

  /** Frames that the bus lost on the way here, by the holes in the sequences. */
  get lostFrames(): number {
    return this.#streams.lost;
  }

  /** Frames that came again or out of order; they are not decided a second time. */
  get repeatedFrames(): number {
    return this.#streams.repeated;
  }

  /**
   * The stream that a frame continues, with the loss before it counted; undefined when the frame is a repeat.
   * `fromFirst`: whoever listens has listened for so long that a tier 1 it does not know, and was not told of, must be
   * new, and its frames begin at number 1.
   */
  arrive(frame: Frame, nowMs: number, fromFirst: boolean): Tier1Stream | undefined {
    const first = fromFirst ? Math.min((this.#toldOf.get(frame.tier1Id) ?? 0) + 1, frame.sequence) : frame.sequence;
    const onHole = (stream: Tier1Stream): void => {
      stream.completeFrom = frame.sequence;
    };
    this.order++;
    return this.#streams.arrive(frame.tier1Id, frame.sequence, nowMs, onHole, first);
  }

  /** This module has been told everything up to these frames of tier 1s: of one that it has not heard yet, the next is the first. */
  beginAfter(toldOf: ReadonlyMap<string, number>): void {
    this.#toldOf = toldOf;
  }

  get(id: string): Tier1Stream | undefined {
    return this.#streams.get(id);
  }

  /** The stream whose first waiting frame came before those of all others, these left out. */
  firstWaiting(leftOut: ReadonlySet<Tier1Stream>): Tier1Stream | undefined {
    let first: Tier1Stream | undefined;
    for (const stream of this.#streams.all()) {
      if (stream.waiting.length === 0 || leftOut.has(stream)) continue;
      if (first === undefined || stream.waiting[0].order < first.waiting[0].order) first = stream;
    }
    return first;
  }

  /**
   * Whether frames wait. Behind one that waits in vain, for a view that cannot be had any more, wait those of newer views: who
   * joins does not become active before that is over.
   */
  get areAnyWaiting(): boolean {
    return [...this.all()].some(({ waiting }) => waiting.length > 0);
  }

  all(): IterableIterator<Tier1Stream> {
    return this.#streams.all();
  }
}

/** How far this module has come with every tier 1 that it has heard lately. */
export function reachOf(streams: Streams, nowMs: number): Map<string, number> {
  const heard = [...streams.all()].filter(({ heardAtMs }) => nowMs - heardAtMs < heardLatelyMs);
  return new Map(heard.map(({ id, reached }) => [id, reached]));
}

/** The oldest view that a tier 1 heard lately stamps, as far as this module has come; 0 when none is heard. */
export function oldestStamped(streams: Streams, nowMs: number): number {
  const views = [...streams.all()].filter(({ heardAtMs }) => nowMs - heardAtMs < heardLatelyMs);
  return views.length === 0 ? 0 : Math.min(...views.map(({ viewNumber }) => viewNumber));
}

/** Whether this module has come as far with every tier 1 as somebody else had. */
export function hasReached(streams: Streams, positions: ReadonlyMap<string, number>): boolean {
  for (const [id, sequence] of positions) if ((streams.get(id)?.reached ?? -1) < sequence) return false;
  return true;
}

/** A frame that owns its bytes, to be kept beyond the delivery of the message. */
export function keepFrame(message: Uint8Array): Frame {
  const frame = new Frame();
  frame.decode(Uint8Array.from(message));
  return frame;
}
