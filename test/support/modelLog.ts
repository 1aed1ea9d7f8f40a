// A log in virtual time that does to its appends what a bad day does to a server's: it refuses, answers late or not at all, stores
// what it gave no answer for, at once or much later, lets one overtake another, and is not connected for a while. And a replica that reads it by the rule
// of frames.

import assert from 'node:assert/strict';
import type { Clock } from '../../shared/base/clock.ts';
import type { Prng } from '../../shared/base/prng.ts';
import type { AppendOutcome, EntryKind, GroupLog } from '../../shared/log/log.ts';

/** What may happen to an append; likelier the more often it is named. */
export type Fate = 'stored' | 'slow' | 'refused' | 'answerLost' | 'lost' | 'storedLate';

/** `follows` and `number` as two big-endian doubles; what a message of the tests is. */
export function messageOf(number: number, bytes = 16): Uint8Array {
  const message = new Uint8Array(Math.max(16, bytes));
  new DataView(message.buffer).setFloat64(8, number);
  return message;
}

export function setFollows(message: Uint8Array, follows: number): void {
  new DataView(message.buffer, message.byteOffset).setFloat64(0, follows);
}

export class ModelLog implements Pick<GroupLog, 'append' | 'writable' | 'maxEntryBytes' | 'group'> {
  readonly group = 'g';
  readonly maxEntryBytes = 1_000_000;
  writable = true;
  /** What happens to appends at present. */
  fates: readonly Fate[] = ['stored'];
  answerMs = 1;
  /** Numbers that a replica has applied, in order. */
  readonly applied: number[] = [];
  /** How appends have ended. */
  readonly ends = { stored: 0, refused: 0, unknown: 0 };
  entries = 0;
  /** What the entry stored last says that it follows. */
  lastFollows = -1;
  readonly #clock: Clock;
  readonly #prng: Prng;
  #last = 0;
  #position = 0;
  /** Answers keep their order. */
  #answerAtMs = 0;

  constructor(clock: Clock, prng: Prng) {
    this.#clock = clock;
    this.#prng = prng;
  }

  /** Positions begin again, as in a log that was made anew. Replicas remember what they have applied. */
  startAgain(): void {
    this.#position = 0;
  }

  append(_kind: EntryKind, data: Uint8Array, onOutcome: (outcome: AppendOutcome) => void = () => undefined): void {
    const fate = this.writable ? this.fates[this.#prng.below(this.fates.length)] : 'refused';
    const sent = data.slice();
    const end = (outcome: AppendOutcome, delayMs: number): void => {
      const atMs = Math.max(this.#answerAtMs, this.#clock.monotonicMs() + delayMs);
      if (outcome.kind === 'stored') this.#answerAtMs = atMs;
      this.#clock.setTimer(atMs - this.#clock.monotonicMs(), () => {
        this.ends[outcome.kind]++;
        assert.deepEqual(data, sent, 'written to while it was under way');
        onOutcome(outcome);
      });
    };
    const answerMs = this.#prng.below(this.answerMs + 1);
    switch (fate) {
      case 'stored':
        end({ kind: 'stored', position: this.#store(data) }, answerMs);
        break;
      case 'slow':
        this.#clock.setTimer(this.#prng.below(300), () =>
          end({ kind: 'stored', position: this.#store(sent) }, answerMs),
        );
        break;
      case 'refused':
        end({ kind: 'refused', reason: 'model' }, answerMs);
        break;
      case 'answerLost':
        this.#store(data);
        end({ kind: 'unknown', reason: 'model' }, 2_000);
        break;
      case 'lost':
        end({ kind: 'unknown', reason: 'model' }, 2_000);
        break;
      case 'storedLate': {
        this.#clock.setTimer(this.#prng.below(20_000), () => this.#store(sent));
        end({ kind: 'unknown', reason: 'model' }, 2_000);
      }
    }
  }

  #store(data: Uint8Array): number {
    const view = new DataView(data.buffer, data.byteOffset);
    const [follows, number] = [view.getFloat64(0), view.getFloat64(8)];
    if (follows <= this.#last && this.#last < number) {
      this.#last = number;
      this.applied.push(number);
    }
    this.lastFollows = follows;
    this.entries++;
    return ++this.#position;
  }
}
