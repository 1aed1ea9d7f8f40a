// The signs of life that a member listens to: those of the few members that it watches, and its own, which come back from the bus.

import type { Bus, Subscription } from '../../../shared/bus/bus.ts';

export class Beats {
  readonly #bus: Bus;
  readonly #subjectOf: (server: string) => string;
  readonly #onBeat: (data: Uint8Array) => void;
  readonly #heard = new Map<string, Subscription>();
  #stopped = false;

  constructor(bus: Bus, subjectOf: (server: string) => string, onBeat: (data: Uint8Array) => void) {
    this.#bus = bus;
    this.#subjectOf = subjectOf;
    this.#onBeat = onBeat;
  }

  /** From now on hears these servers, and no others. */
  watch(servers: readonly string[]): void {
    if (this.#stopped) return;
    for (const [server, subscription] of this.#heard) {
      if (servers.includes(server)) continue;
      subscription.unsubscribe();
      this.#heard.delete(server);
    }
    for (const server of servers) {
      if (!this.#heard.has(server)) this.#heard.set(server, this.#bus.subscribe(this.#subjectOf(server), this.#onBeat));
    }
  }

  stop(): void {
    this.watch([]);
    this.#stopped = true;
  }
}
