// What the replicas of one life have decided, added up. A life has another replica after it has fetched its group's state anew,
// and each replica counts from 0.

import { countsByName, type Verdict, verdicts } from '../../../dssl/replica/verdict.ts';

export interface Counted {
  /** Packets by verdict. */
  readonly counts: Float64Array;
  readonly counters: object;
}

export interface Tally {
  readonly verdicts: Readonly<Record<Verdict, number>>;
  /** What a replica counts of the log's entries. */
  readonly entries: Numbers;
}

export class ReplicaTally {
  readonly #former: Counted[] = [];
  #present: Counted | undefined;

  /** To be called with the replica at hand for each entry. */
  note(replica: Counted): void {
    if (replica === this.#present) return;
    if (this.#present !== undefined) this.#keep(this.#present);
    this.#present = replica;
  }

  /** Packets with that verdict. */
  count(verdict: number): number {
    return this.#all.reduce((sum, { counts }) => sum + counts[verdict], 0);
  }

  sum(): Tally {
    const counts = verdicts.map((_, verdict) => this.count(verdict));
    return { verdicts: countsByName(counts), entries: this.#all.map(numbersOf).reduce(addNumbers, {}) };
  }

  get #all(): readonly Counted[] {
    return this.#present === undefined ? this.#former : [...this.#former, this.#present];
  }

  /** Only its counts, and not the flows that it knew. */
  #keep({ counts, counters }: Counted): void {
    this.#former.push({ counts, counters });
    if (this.#former.length < 2) return;
    const [one, other] = this.#former.splice(0);
    const both = one.counts.map((count, verdict) => count + other.counts[verdict]);
    this.#former.push({ counts: both, counters: addNumbers(numbersOf(one), numbersOf(other)) });
  }
}

/** Numbers by name, in any depth. */
export interface Numbers {
  readonly [name: string]: number | Numbers;
}

function numbersOf({ counters }: Counted): Numbers {
  return counters as Numbers;
}

/** The sum of both, name by name; a name that only one of them has counts as 0 in the other. */
export function addNumbers(one: Numbers, other: Numbers): Numbers {
  const sum: Record<string, number | Numbers> = { ...one };
  for (const [name, value] of Object.entries(other)) {
    const former = sum[name];
    if (typeof value === 'number') sum[name] = value + (typeof former === 'number' ? former : 0);
    else sum[name] = typeof former === 'object' ? addNumbers(former, value) : value;
  }
  return sum;
}
