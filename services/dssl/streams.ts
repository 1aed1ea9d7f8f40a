// One stream of frames for each tier 1 this actor hears: from where on it is complete, how far it has come, what is
// missing, and the frames that wait, for a view not seen yet or for peers to tell what was in frames that were missed. Tier 1s are told apart because each numbers its own frames, and because a
// frame that has to wait must hold back the later frames of the same tier 1 only.

import { Frame } from '../../shared/frame.ts';
import { limits } from '../../shared/limits.ts';

/** A tier 1 silent for longer is taken to be gone; an idle one speaks every `limits.idleFrameMs`. */
export const heardLatelyMs = 20 * limits.idleFrameMs;

export class Tier1Stream {
  readonly id: string;
  /** Every frame from this sequence on was decided here or waits to be: none was lost, none given up. */
  completeFrom: number;
  /** Sequence of the newest frame heard, and of the newest frame decided. */
  received: number;
  decided: number;
  /** View of the newest frame decided, and its packets' time. */
  viewNumber = 0;
  timestampMs = 0;
  heardAtMs: number;
  readonly waiting: { readonly frame: Frame; readonly sinceMs: number }[] = [];

  constructor(id: string, sequence: number, nowMs: number) {
    this.id = id;
    this.completeFrom = sequence;
    this.received = sequence - 1;
    this.decided = sequence - 1;
    this.heardAtMs = nowMs;
  }

  /** Sequence up to which every frame was decided here, or lost for good. */
  get reached(): number {
    return this.waiting.length > 0 ? this.waiting[0].frame.sequence - 1 : this.received;
  }
}

export class Streams {
  /** Frames that the bus lost on the way here, by the holes in the sequences. */
  lostFrames = 0;
  /** Frames that came again or out of order; they are not decided a second time. */
  repeatedFrames = 0;
  readonly #streams = new Map<string, Tier1Stream>();

  /**
   * The stream that a frame continues, with the loss before it counted; undefined when the frame is a repeat.
   * `fromFirst`: whoever listens has listened for so long that a tier 1 it does not know must be new, and its frames
   * begin at number 1.
   */
  arrive(frame: Frame, nowMs: number, fromFirst: boolean): Tier1Stream | undefined {
    let stream = this.#streams.get(frame.tier1Id);
    if (stream === undefined) {
      stream = new Tier1Stream(frame.tier1Id, fromFirst ? 1 : frame.sequence, nowMs);
      this.#streams.set(frame.tier1Id, stream);
      if (this.#streams.size > limits.tier1Streams) this.#forgetSilentest();
    }
    if (frame.sequence <= stream.received) {
      this.repeatedFrames++;
      return undefined;
    }
    const lost = frame.sequence - stream.received - 1;
    if (lost > 0) {
      this.lostFrames += lost;
      stream.completeFrom = frame.sequence;
    }
    stream.received = frame.sequence;
    stream.heardAtMs = nowMs;
    return stream;
  }

  get(id: string): Tier1Stream | undefined {
    return this.#streams.get(id);
  }

  all(): IterableIterator<Tier1Stream> {
    return this.#streams.values();
  }

  #forgetSilentest(): void {
    let silentest: Tier1Stream | undefined;
    for (const stream of this.#streams.values()) {
      if (stream.waiting.length > 0) continue;
      if (silentest === undefined || stream.heardAtMs < silentest.heardAtMs) silentest = stream;
    }
    if (silentest !== undefined) this.#streams.delete(silentest.id);
  }
}

/** A frame that owns its bytes, to be kept beyond the delivery of the message. */
export function keepFrame(message: Uint8Array): Frame {
  const frame = new Frame();
  frame.decode(Uint8Array.from(message));
  return frame;
}
