// Flows that are this module's own by the word of one peer alone.
//
// A member that is removed although it lives may have told this one of a flow, and nobody else: all others had missed its
// start, and place it anew, by the view without that member. So its word counts no more when it is removed before a
// second peer has said the same, and before a packet of the flow has come. One that drained and left is another matter.

import { flowKey } from '../replica/flows/key.ts';
import { ageTicks } from '../replica/ticks.ts';

/** Words that are noted at most; more than this nobody tells in the time for which they matter. */
const wordsMax = 1_000_000;

interface LoneWord {
  readonly hi: number;
  readonly lo: number;
  /** Server number of the peer. */
  readonly teller: number;
  readonly tick: number;
}

export class LoneWords {
  readonly #byFlow = new Map<number, LoneWord>();
  readonly #lastsTicks: number;

  /** Words are remembered for so long. */
  constructor(lastsTicks: number) {
    this.#lastsTicks = lastsTicks;
  }

  /** A peer says at `tick` that the flow is this module's, which knew that already or not. */
  hear(hi: number, lo: number, teller: number, tick: number, isNews: boolean): void {
    this.#forgetOld(tick);
    const key = flowKey(hi, lo);
    const word = this.#byFlow.get(key);
    if (word === undefined) {
      if (isNews && this.#byFlow.size < wordsMax) this.#byFlow.set(key, { hi, lo, teller, tick });
    } else if (word.teller !== teller) {
      this.#byFlow.delete(key);
    }
  }

  /** Forgets the words of peers that were removed, and returns them. */
  takeVoid(wasRemoved: (teller: number) => boolean, tick: number): LoneWord[] {
    this.#forgetOld(tick);
    const words = [...this.#byFlow.values()].filter(({ teller }) => wasRemoved(teller));
    for (const { hi, lo } of words) this.#byFlow.delete(flowKey(hi, lo));
    return words;
  }

  /** They lie in the order in which they came. */
  #forgetOld(tick: number): void {
    for (const [key, word] of this.#byFlow) {
      if (ageTicks(tick, word.tick) <= this.#lastsTicks) return;
      this.#byFlow.delete(key);
    }
  }
}
