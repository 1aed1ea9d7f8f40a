// A connection in the test's hand: the process behind it may stand still, its log may be held back or trimmed in front of it, and what it says to
// peers may take its time. Everything else goes through as it is.

import type { Clock } from '../../shared/base/clock.ts';
import type { Bus } from '../../shared/bus/bus.ts';
import type { BrokenReason, GroupLog, LogEntry, LogReader, ReadHandlers } from '../../shared/log/log.ts';

export class GatedBus {
  /** The connection as the process sees it. */
  readonly bus: Bus;
  /** Messages to peers take so long. */
  peerDelayMs = 0;
  /** What is appended gets to the log so much later. */
  appendDelayMs = 0;
  /** What others say of themselves does not arrive. */
  isDeaf = false;
  readonly #clock: Clock;
  readonly #readers = new Set<GatedReader>();
  #isHeld = false;
  #isMute = false;
  #waiting: (() => void)[] = [];

  constructor(inner: Bus, clock: Clock) {
    this.#clock = clock;
    this.bus = delegate(inner, {
      publish: (subject: string, data: Uint8Array) => this.#publish(inner, subject, data),
      subscribe: (subject: string, handler: (data: Uint8Array, subject: string) => void) =>
        inner.subscribe(subject, (data, from) => {
          if (this.#isMute || (this.isDeaf && from.includes('.gossip.'))) return;
          handler(data, from);
        }),
      openLog: async (...options: Parameters<Bus['openLog']>) => this.#gate(await inner.openLog(...options)),
    });
  }

  /** Entries of the log wait from now on. */
  hold(): void {
    this.#isHeld = true;
  }

  /** The process stands still: it hears nothing and is not heard. Its log waits. */
  pause(): void {
    this.#isMute = true;
    this.hold();
  }

  /** What has waited comes, and everything goes on. */
  release(): void {
    this.#isMute = false;
    this.isDeaf = false;
    this.#isHeld = false;
    for (const deliver of this.#waiting.splice(0)) deliver();
  }

  /** The log has trimmed what waits. */
  trim(): void {
    this.#waiting = [];
    this.#isHeld = false;
    for (const reader of this.#readers) reader.break('trimmed');
  }

  #publish(inner: Bus, subject: string, data: Uint8Array): boolean {
    if (this.#isMute) return true;
    if (this.peerDelayMs === 0 || !subject.includes('.peer.')) return inner.publish(subject, data);
    const copy = data.slice();
    this.#clock.setTimer(this.peerDelayMs, () => {
      if (!this.#isMute) inner.publish(subject, copy);
    });
    return true;
  }

  #gate(log: GroupLog): GroupLog {
    return delegate(log, {
      append: (...options: Parameters<GroupLog['append']>) => {
        if (this.#isMute) return;
        if (this.appendDelayMs === 0) log.append(...options);
        else this.#clock.setTimer(this.appendDelayMs, () => log.append(...options));
      },
      read: (options: Parameters<GroupLog['read']>[0], handlers: ReadHandlers): LogReader => {
        const gated = new GatedReader(handlers, (deliver) => this.#pass(deliver));
        this.#readers.add(gated);
        return gated.over(log.read(options, gated), () => this.#readers.delete(gated));
      },
    });
  }

  #pass(deliver: () => void): void {
    if (this.#isHeld) this.#waiting.push(deliver);
    else deliver();
  }
}

class GatedReader implements ReadHandlers {
  readonly #handlers: ReadHandlers;
  readonly #pass: (deliver: () => void) => void;
  #stop: () => void = () => undefined;
  #isStopped = false;
  #position = 0;

  constructor(handlers: ReadHandlers, pass: (deliver: () => void) => void) {
    this.#handlers = handlers;
    this.#pass = pass;
  }

  over(reader: LogReader, onStop: () => void): LogReader {
    this.#stop = () => {
      this.#isStopped = true;
      reader.stop();
      onStop();
    };
    return delegate(reader, { stop: () => this.#stop() });
  }

  onEntry(entry: LogEntry): void {
    const kept = { ...entry, data: entry.data.slice() };
    this.#pass(() => {
      if (this.#isStopped) return;
      this.#position = entry.position;
      this.#handlers.onEntry(kept);
    });
  }

  onBroken(reason: BrokenReason): void {
    this.#pass(() => {
      if (!this.#isStopped) this.#handlers.onBroken(reason);
    });
  }

  break(reason: BrokenReason): void {
    if (this.#isStopped || this.#position === 0) return;
    this.#stop();
    this.#handlers.onBroken(reason);
  }
}

/** An object with some other methods; the rest is that of `inner`, private fields and all. */
function delegate<T extends object>(inner: T, others: Partial<T>): T {
  return new Proxy(inner, {
    get: (target, key) => {
      const other: unknown = Reflect.get(others, key);
      const value: unknown = other ?? Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(other === undefined ? target : others) : value;
    },
  });
}
