// Following numbered messages of several senders. The bus loses a message silently, so whoever must know numbers its
// messages, and a hole in the numbers is a loss. What came again, or behind a later one, is not taken twice. A loss at
// the tail shows only with the next message: senders that care say something now and then.

/** One sender's messages. Extend it with what else is to be known of a sender. */
export class NumberedStream {
  readonly id: string;
  /** Number of the newest message heard. */
  received: number;
  heardAtMs: number;
  /** Messages missing before it, since the first one heard. */
  lost = 0;

  /** `sequence`: of the first message heard; what was sent before it is not known to be lost. */
  constructor(id: string, sequence: number, nowMs: number) {
    this.id = id;
    this.received = sequence - 1;
    this.heardAtMs = nowMs;
  }
}

export interface NumberedStreamsOptions<S extends NumberedStream> {
  /** Senders followed at once; the longest silent one is forgotten first. */
  readonly most: number;
  create(id: string, sequence: number, nowMs: number): S;
  /** May this sender be forgotten? Default: any. */
  mayForget?(stream: S): boolean;
}

export class NumberedStreams<S extends NumberedStream> {
  /** Of all senders so far, the forgotten ones included. */
  lost = 0;
  repeated = 0;
  readonly #options: NumberedStreamsOptions<S>;
  readonly #streams = new Map<string, S>();

  constructor(options: NumberedStreamsOptions<S>) {
    this.#options = options;
  }

  /**
   * The sender of message number `sequence`, with the loss before it counted: `received` has moved on, `onHole` was told
   * how many are missing. Undefined when the message is a repeat. `first`: the number with which an unknown sender is
   * known to have begun; by default with this message.
   */
  arrive(
    id: string,
    sequence: number,
    nowMs: number,
    onHole?: (stream: S, missing: number) => void,
    first: number = sequence,
  ): S | undefined {
    let stream = this.#streams.get(id);
    if (stream === undefined) {
      stream = this.#options.create(id, first, nowMs);
      this.#streams.set(id, stream);
      if (this.#streams.size > this.#options.most) this.#forgetSilentest(stream);
    }
    if (sequence <= stream.received) {
      this.repeated++;
      return undefined;
    }
    const missing = sequence - stream.received - 1;
    if (missing > 0) {
      this.lost += missing;
      stream.lost += missing;
      onHole?.(stream, missing);
    }
    stream.received = sequence;
    stream.heardAtMs = nowMs;
    return stream;
  }

  get(id: string): S | undefined {
    return this.#streams.get(id);
  }

  all(): IterableIterator<S> {
    return this.#streams.values();
  }

  get size(): number {
    return this.#streams.size;
  }

  #forgetSilentest(newest: S): void {
    let silentest: S | undefined;
    for (const stream of this.#streams.values()) {
      if (stream === newest || this.#options.mayForget?.(stream) === false) continue;
      if (silentest === undefined || stream.heardAtMs < silentest.heardAtMs) silentest = stream;
    }
    if (silentest !== undefined) this.#streams.delete(silentest.id);
  }
}
