// What the members of a group say of themselves, about once a second each: something to wait for that has to do with the group, and not with the clock of the
// machine that the test runs on.

import type { Bus } from '../../shared/bus/bus.ts';
import type { Subjects } from '../../shared/bus/subjects.ts';
import { decodeGossip, type StateMessage } from '../../shared/membership/gossip.ts';

interface Waiting {
  readonly hears: (report: StateMessage) => boolean;
  readonly resolve: () => void;
}

export class Reports {
  #waiting: Waiting[] = [];

  static async of(bus: Bus, subjects: Subjects, group: string): Promise<Reports> {
    const reports = new Reports();
    bus.subscribe(subjects.gossip(group), (bytes) => {
      const message = decodeGossip(bytes);
      if (message?.kind === 'state') reports.#hear(message);
    });
    await bus.flush();
    return reports;
  }

  /** Resolves when each of these servers has reported so often from now on, one time after the other, something of which that holds. */
  async from(
    servers: Iterable<string>,
    times: number,
    holds: (report: StateMessage) => boolean = () => true,
  ): Promise<void> {
    await Promise.all([...servers].map((server) => this.#times(server, times, holds)));
  }

  #times(server: string, times: number, holds: (report: StateMessage) => boolean): Promise<void> {
    let left = times;
    const hears = (report: StateMessage): boolean => {
      if (report.server === server) left = holds(report) ? left - 1 : times;
      return left === 0;
    };
    return new Promise((resolve) => this.#waiting.push({ hears, resolve }));
  }

  #hear(report: StateMessage): void {
    this.#waiting = this.#waiting.filter(({ hears, resolve }) => {
      const isDone = hears(report);
      if (isDone) resolve();
      return !isDone;
    });
  }
}
