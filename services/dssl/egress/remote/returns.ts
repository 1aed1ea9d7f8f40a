// The way back: answers for clients go to the tier 1 that their packets came by, in batches (shared/messages/answers.ts). Answers
// that are there at the same turn of the event loop travel together, so batching costs no time.
//
// Whether somebody listens at the other end the bus does not tell. But one whose frames do not come any more, for minutes and
// from no client at all, is taken to be gone, and answers for it are dropped here and counted. A tier 1 that lives and has
// no VIP (it reads a capture) takes no answers, and nobody knows.

import { randomInt } from 'node:crypto';
import type { Clock } from '../../../../shared/base/clock.ts';
import { limits } from '../../../../shared/base/limits.ts';
import type { Bus } from '../../../../shared/bus/bus.ts';
import { isName, type Subjects } from '../../../../shared/bus/subjects.ts';
import { tier1Of } from '../../../../shared/log/records/frame.ts';
import { AnswersBuilder } from '../../../../shared/messages/answers.ts';

/** A tier 1 of which the log has had no frame for so long is gone: by then it would number its frames anew. */
export const goneMs = limits.lifeSilentMs;

export interface ReturnsOptions {
  readonly server: string;
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly clock: Clock;
}

/** What answers to one tier 1 need. */
export class Tier1Return {
  readonly id: string;
  /** Undefined when the name could not be part of a subject. */
  readonly subject: string | undefined;
  /** Tells this numbering of messages from any other of the same server. */
  readonly stream: number = randomInt(2 ** 47);
  sequence = 0;
  heardAtMs: number;
  /** Made with the first answer. */
  builder: AnswersBuilder | undefined;

  constructor(id: string, subject: string | undefined, nowMs: number) {
    this.id = id;
    this.subject = subject;
    this.heardAtMs = nowMs;
  }
}

export class Returns {
  /** Answers that were handed to the bus. */
  sent = 0;
  readonly dropped = { 'tier1-gone': 0, 'tier1-name': 0, 'bus-down': 0, overload: 0 };
  readonly #options: ReturnsOptions;
  readonly #tier1s = new Map<string, Tier1Return>();
  #last: Tier1Return | undefined;
  #waiting: Tier1Return[] = [];

  constructor(options: ReturnsOptions) {
    this.#options = options;
  }

  /** A frame of that life of a tier 1 has come; answers to it go by the tier 1's own name. */
  heard(life: string, nowMs: number): Tier1Return {
    const id = tier1Of(life);
    let tier1 = this.#last?.id === id ? this.#last : this.#tier1s.get(id);
    if (tier1 === undefined) {
      tier1 = new Tier1Return(id, isName(id) ? this.#options.subjects.return(id) : undefined, nowMs);
      this.#tier1s.set(id, tier1);
      if (this.#tier1s.size > limits.tier1Streams) this.#forgetSilentest();
    }
    tier1.heardAtMs = nowMs;
    this.#last = tier1;
    return tier1;
  }

  /** An answer of at most `limits.udpPayloadBytes` for the client in `row`. The bytes are copied. */
  add(tier1: Tier1Return, row: Uint8Array, datagram: Uint8Array, nowMs: number): void {
    if (tier1.subject === undefined) {
      this.dropped['tier1-name']++;
      return;
    }
    if (nowMs - tier1.heardAtMs > goneMs) {
      this.dropped['tier1-gone']++;
      return;
    }
    const builder = (tier1.builder ??= new AnswersBuilder());
    if (builder.isFull(datagram.length)) this.#send(tier1, builder);
    if (builder.count === 0) {
      if (this.#waiting.length === 0) this.#options.clock.defer(() => this.flush());
      this.#waiting.push(tier1);
    }
    builder.add(row, datagram);
  }

  /** Sends what has not left yet. */
  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const tier1 of waiting) {
      if (tier1.builder !== undefined && tier1.builder.count > 0) this.#send(tier1, tier1.builder);
    }
  }

  #send(tier1: Tier1Return, builder: AnswersBuilder): void {
    const { bus, server } = this.#options;
    const { subject = '', stream } = tier1;
    const { count } = builder;
    const message = builder.finish({ server, incarnation: stream, sequence: tier1.sequence + 1 });
    if (!bus.writable) {
      this.dropped.overload += count;
    } else if (bus.publish(subject, message)) {
      // One that never left must not look like a loss on the way: its number is used again.
      tier1.sequence++;
      this.sent += count;
    } else {
      this.dropped['bus-down'] += count;
    }
  }

  #forgetSilentest(): void {
    let silentest: Tier1Return | undefined;
    for (const tier1 of this.#tier1s.values()) {
      if (silentest === undefined || tier1.heardAtMs < silentest.heardAtMs) silentest = tier1;
    }
    if (silentest !== undefined) this.#tier1s.delete(silentest.id);
  }
}
