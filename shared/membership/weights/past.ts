// By which weight the present load of a member was made. Flows stay where they were placed, so a load is made by the weights
// of the time in which flows live: here the running mean, over that time, of the share of new flows that a member got.
//
// How long flows live, nobody says, but Little's law does: flows held are new flows a second times the seconds that they
// live. It is the same for all members as far as weights are concerned, so it is taken of the group as a whole.
//
// Whoever takes over knows no weights but those in force, and begins with these as if they had been so for long.

import type { Load } from '../load.ts';
import type { Life } from '../transitions.ts';

interface Weighted extends Life {
  readonly weight: number;
}

interface Past {
  readonly incarnation: number;
  /** Of the share now in force, and over the past; 1 is all new flows. */
  share: number;
  mean: number;
}

export class PastShares {
  #past = new Map<string, Past>();
  #sinceMs = 0;

  /** The shares in force up to `nowMs` go into the means, and the weights of `members` are in force from here on. */
  pass(members: readonly Weighted[], lifetimeMs: number, nowMs: number): void {
    const part = 1 - Math.exp(-Math.max(0, nowMs - this.#sinceMs) / lifetimeMs);
    this.#sinceMs = nowMs;
    const all = members.reduce((sum, { weight }) => sum + weight, 0);
    const next = new Map<string, Past>();
    for (const { server, incarnation, weight } of members) {
      const share = all === 0 ? 1 / members.length : weight / all;
      const past = this.#past.get(server);
      const mean = past?.incarnation === incarnation ? past.mean + part * (past.share - past.mean) : share;
      next.set(server, { incarnation, share, mean });
    }
    this.#past = next;
  }

  /** The share that made the load of a server, which was among the last members. */
  of(server: string): number {
    return this.#past.get(server)?.mean ?? 0;
  }
}

/** How long flows live, in ms, by what all members together hold and get. Endless when nothing new comes. */
export function lifetimeOf(loads: readonly Load[]): number {
  let flows = 0;
  let newFlows = 0;
  for (const load of loads) {
    flows += load.flows;
    newFlows += load.newFlows;
  }
  return flows === 0 ? 0 : (1_000 * flows) / newFlows;
}
