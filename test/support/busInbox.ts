// What the bus tests wait with: boxes that fill as messages come, and a test for error codes.

import { isFlowherdError } from '../../shared/base/errors.ts';
import type { Bus } from '../../shared/bus/bus.ts';

/** Collects things and lets a test wait for a number of them. */
export class Waiter<T> {
  readonly items: T[] = [];
  #wanted = Number.POSITIVE_INFINITY;
  #done: () => void = () => undefined;

  add(item: T): void {
    this.items.push(item);
    if (this.items.length >= this.#wanted) this.#done();
  }

  async count(wanted: number): Promise<T[]> {
    if (this.items.length < wanted) {
      this.#wanted = wanted;
      await new Promise<void>((resolve) => {
        this.#done = resolve;
      });
    }
    return this.items;
  }
}

/** Collects copies of what is published on a subject. */
export class Inbox {
  readonly subject: string;
  readonly subjects: string[] = [];
  readonly #waiter = new Waiter<Uint8Array>();

  constructor(bus: Bus, subject: string) {
    this.subject = subject;
    bus.subscribe(subject, (data, from) => {
      this.subjects.push(from);
      this.#waiter.add(new Uint8Array(data));
    });
  }

  get messages(): Uint8Array[] {
    return this.#waiter.items;
  }

  firstBytes(): number[] {
    return this.messages.map((data) => data[0]);
  }

  count(wanted: number): Promise<Uint8Array[]> {
    return this.#waiter.count(wanted);
  }
}

export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => isFlowherdError(error) && error.code === code;
}
