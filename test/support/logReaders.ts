// What tests of the log read and append with: a reader that keeps copies of all it gets and objects to gaps, outcomes that are
// counted, and waiting in real or in virtual time.

import assert from 'node:assert/strict';
import type { VirtualClock } from '../../shared/base/clock.ts';
import type {
  AppendOutcome,
  BrokenReason,
  EntryKind,
  GroupLog,
  LogEntry,
  LogReader,
  LogSettings,
  ReadOptions,
} from '../../shared/log/log.ts';

/** How a test waits. Under a virtual clock waiting moves time on. */
export interface TestTime {
  /** Resolves when `holds` says so; rejects when that takes too long. */
  until(holds: () => boolean | Promise<boolean>): Promise<void>;
  wait<T>(promise: Promise<T>): Promise<T>;
}

export const realTime: TestTime = {
  async until(holds) {
    const endMs = performance.now() + 30_000;
    while (!(await holds())) {
      assert.ok(performance.now() < endMs, `waited too long until ${holds}`);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  },
  wait: (promise) => promise,
};

/** Moves the clock on by some milliseconds at a time, for at most ten minutes. */
export function virtualTime(clock: VirtualClock, stepMs = 5): TestTime {
  const wait = async <T>(promise: Promise<T>): Promise<T> => {
    let settled = false;
    const end = (): void => {
      settled = true;
    };
    promise.then(end, end);
    for (let at = 0; !settled && at < 120_000; at++) await clock.advanceAsync(stepMs);
    assert.ok(settled, 'a promise is not settled');
    return promise;
  };
  return {
    wait,
    async until(holds) {
      for (let at = 0; !(await wait(Promise.resolve(holds()))); at++) {
        assert.ok(at < 120_000, `waited too long until ${holds}`);
        await clock.advanceAsync(stepMs);
      }
    },
  };
}

export const testSettings: LogSettings = {
  retention: { ageMs: 60_000, bytes: 64 * 1024 * 1024 },
  storage: 'memory',
  replicas: 1,
};

/** A reader that keeps copies. Entries must come without a gap. */
export class EntryBox {
  readonly entries: LogEntry[] = [];
  readonly broken: BrokenReason[] = [];
  readonly reader: LogReader;
  /** Called with each entry. */
  onEntry: (entry: LogEntry) => void = () => undefined;
  #faults: string[] = [];

  constructor(log: GroupLog, options: ReadOptions) {
    let last = options.after;
    this.reader = log.read(options, {
      onEntry: (entry) => {
        if (entry.position !== last + 1) this.#faults.push(`${entry.position} follows ${last}`);
        if (this.broken.length > 0) this.#faults.push(`${entry.position} comes after the end`);
        last = entry.position;
        this.entries.push({ ...entry, data: new Uint8Array(entry.data) });
        this.onEntry(entry);
      },
      onBroken: (reason) => this.broken.push(reason),
    });
    assert.equal(this.entries.length + this.broken.length, 0, 'delivered inside read()');
  }

  get texts(): string[] {
    this.check();
    return this.entries.map(textOf);
  }

  /** Throws when there was a gap, a repeat, or something after the end. */
  check(): void {
    assert.deepEqual(this.#faults, []);
  }
}

/** Appends and counts what became of it. */
export class Appends {
  readonly outcomes: (AppendOutcome | undefined)[] = [];
  /** Outcomes that came twice. */
  repeated = 0;
  readonly #log: GroupLog;

  constructor(log: GroupLog) {
    this.#log = log;
  }

  add(kind: EntryKind, data: Uint8Array | string): void {
    const at = this.outcomes.length;
    this.outcomes.push(undefined);
    this.#log.append(kind, typeof data === 'string' ? Buffer.from(data) : data, (outcome) => {
      if (this.outcomes[at] !== undefined) this.repeated++;
      this.outcomes[at] = outcome;
    });
    assert.equal(this.outcomes[at], undefined, 'an outcome inside append()');
  }

  get areKnown(): boolean {
    assert.equal(this.repeated, 0, 'outcomes that came twice');
    return !this.outcomes.includes(undefined);
  }

  /** How many have come to that end. */
  count(kind: AppendOutcome['kind']): number {
    return this.outcomes.filter((outcome) => outcome?.kind === kind).length;
  }

  /** Where the nth was stored; 0 when it was not. */
  positionOf(at: number): number {
    const outcome = this.outcomes[at];
    return outcome?.kind === 'stored' ? outcome.position : 0;
  }
}

export function textOf(entry: LogEntry): string {
  return `${entry.kind} ${Buffer.from(entry.data).toString()}`;
}
